"""What `graft bench` leaves: the table and the picture, in files and on the terminal."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.bench import page, picture
from tasks.bench.machine import Described
from tasks.bench.page import Told
from tasks.bench.table import Scores, lines
from tasks.bench.turns import Raw
from tasks.bench.works import Asked
from tasks.files import write_file

WIDE = 190  # characters of a line in a file


class Measured(Protocol):
    """What was measured: raw lines, scores and failures by work, and what was tried before.

    `best` are the scores of the sides in the precision in which each is faster, where that is not fp32 for both.
    """

    asked: Asked
    raws: list[Raw]
    scores: dict[str, Scores]
    best: dict[str, Scores]
    failed: dict[str, str]
    tried: list[str]


def finished(bench: Measured, machine: Described, place: Path, readme: Path | None, as_json: bool) -> int:
    """Table and picture of what was measured, in files and on the terminal; returns the exit code."""
    found = [
        one
        for work in bench.asked.works
        if work.name not in bench.failed
        for one in lines(work, bench.raws, machine.gflops, bench.scores.get(work.name), bench.best.get(work.name))
    ]
    if found:
        picture.draw(found, place / "bench.png", bench.asked.quick)
    return leave(page.told_of(bench.asked, found, bench.failed, bench.tried), machine, place, readme, as_json)


def leave(told: Told, machine: Described, place: Path, readme: Path | None, as_json: bool) -> int:
    """A benchmark's table in files and on the terminal; returns the exit code, 1 if a work failed."""
    table = page.markdown(told, machine)
    write_file(place / f"{told.name}.md", table.encode())
    if readme:
        page.write_readme(readme, told.name, table)
    show(Console(stderr=as_json), told, machine, place)
    if as_json:
        objects = {**told.objects, "machine": machine.model_dump(), "folder": str(place)}
        sys.stdout.write(json.dumps(objects) + "\n")
    return 1 if told.failed else 0


def show(screen: Console, told: Told, machine: Described, place: Path) -> None:
    """The table, what failed, and where all of it lies."""
    widen(screen)
    if told.rows:
        screen.print(tabled(told.rows, ["" if good else "yellow" for good in told.good]))
    conclude(screen, (*told.notes, told.how, page.on(machine)), told.quick, told.failed)
    kept = "Table, picture, every turn" if any(place.glob("*.png")) else "Table, every turn"
    screen.print(f"{kept} and the machine: {place}", markup=False, highlight=False, soft_wrap=True)


def tabled(rows: Sequence[Mapping[str, str]], styles: Sequence[str]) -> Table:
    """Rows of cells in their styles; the first column stands left."""
    shown = Table(box=None, header_style="dim", padding=(0, 1, 0, 0))
    for place, name in enumerate(rows[0]):
        shown.add_column(name, justify="right" if place else "left", overflow="fold")
    for row, style in zip(rows, styles, strict=True):
        shown.add_row(*map(escape, row.values()), style=style)
    return shown


def widen(screen: Console) -> None:
    """Let a file be as wide as its lines."""
    if not screen.is_terminal:
        screen.width = max(screen.width, WIDE)


def conclude(screen: Console, notes: Sequence[str], quick: bool, failed: Mapping[str, str]) -> None:
    """How the figures came about, and what failed."""
    for told in notes:
        screen.print(told, style="dim", markup=False, highlight=False)
    if quick:
        screen.print(page.NO_PROOF, style="yellow", markup=False, highlight=False)
    for name, why in failed.items():
        screen.print(f"[red]failed[/] {escape(f'{name}: {why}')}", highlight=False)
