"""What `graft bench` leaves: the table and the picture, in files and on the terminal."""

import json
import sys
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.bench import page, picture
from tasks.bench.machine import Described
from tasks.bench.page import Told
from tasks.bench.table import Scores, line
from tasks.bench.turns import Raw
from tasks.bench.works import Asked
from tasks.files import write_file

WIDE = 190  # characters of a line in a file
WORDS = {"work", "means", "command"}  # columns that hold no figures


class Measured(Protocol):
    """What was measured: raw lines, scores and failures by work, and what was tried before."""

    asked: Asked
    raws: list[Raw]
    scores: dict[str, Scores]
    failed: dict[str, str]
    tried: list[str]


def finished(bench: Measured, machine: Described, place: Path, readme: Path | None, as_json: bool) -> int:
    """Table and picture of what was measured, in files and on the terminal; returns the exit code."""
    peak = machine.gflops["fp32"] * 1e9
    found = [line(work, bench.raws, bench.scores.get(work.name), peak) for work in bench.asked.works]
    lines = [one for one in found if one and one.work.name not in bench.failed]
    if lines:
        picture.draw(lines, place / "bench.png", bench.asked.quick)
    return leave(page.told_of(bench.asked, lines, bench.failed, bench.tried), machine, place, readme, as_json)


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
    if not screen.is_terminal:  # a file is as wide as its lines
        screen.width = max(screen.width, WIDE)
    if told.rows:
        shown = Table(box=None, header_style="dim", padding=(0, 1, 0, 0))
        for name in told.rows[0]:
            shown.add_column(name, justify="left" if name in WORDS else "right", overflow="fold")
        for row, good in zip(told.rows, told.good, strict=True):
            shown.add_row(*map(escape, row.values()), style="" if good else "yellow")
        screen.print(shown)
    for words in (*told.notes, told.how, page.on(machine)):
        screen.print(words, style="dim", markup=False, highlight=False)
    if told.quick:
        screen.print(page.NO_PROOF, style="yellow", markup=False, highlight=False)
    for name, why in told.failed.items():
        screen.print(f"[red]failed[/] {escape(f'{name}: {why}')}", highlight=False)
    screen.print(f"All figures, the table and the machine: {place}", markup=False, highlight=False, soft_wrap=True)
