"""The table as Markdown with what must be said beside it, and its place in a README."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tasks.bench.machine import Described
from tasks.bench.table import Line, as_objects, cells
from tasks.bench.works import Asked
from tasks.files import write_file
from tasks.frozen import GraftError

NO_PROOF = "With --quick: a few hundred rows and one epoch. This shows that everything runs, and proves nothing."


class Told(NamedTuple):
    """What a benchmark has to tell.

    Attributes:
        name: of its files and its place in a README.
        rows: of the table, each by the columns' names.
        good: which of them have reached their goals.
        about: what each work is.
        notes: what must be said of single works.
        how: how the figures came about.
        objects: the same for a program.
        failed: works with the reason.
        quick: nothing is proven.
    """

    name: str
    rows: Sequence[Mapping[str, str]]
    good: Sequence[bool]
    about: Sequence[str]
    notes: Sequence[str]
    how: str
    objects: Mapping[str, object]
    failed: Mapping[str, str]
    quick: bool


def told_of(asked: Asked, lines: Sequence[Line], failed: Mapping[str, str], tried: Sequence[str]) -> Told:
    """Both sides of every work, and what was tried before."""
    return Told(
        name="bench",
        rows=[cells(one, asked.quick) for one in lines],
        good=[one.reached for one in lines],
        about=[f"`{work.name}`: {work.about}. Beside it: {work.against}." for work in asked.works],
        notes=tried,
        how=how(asked),
        objects=as_objects(lines, failed) | {"quick": asked.quick, "repeats": asked.repeats},
        failed=failed,
        quick=asked.quick,
    )


def markdown(told: Told, machine: Described) -> str:
    """Table, what each work is, notes, what failed, and the machine."""
    parts = [f"**{NO_PROOF}**"] if told.quick else []
    parts.append(tabled(told.rows) if told.rows else "Nothing was measured.")
    notes = [*told.notes, *(f"failed: {name}: {why}" for name, why in told.failed.items())]
    parts += ["\n".join(f"- {line}" for line in lines) for lines in (told.about, notes) if lines]
    return "\n\n".join([*parts, told.how, on(machine)]) + "\n"


def tabled(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of cells as a table; the first row's names are the header."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def how(asked: Asked) -> str:
    """How the figures came about."""
    turns = f"{asked.repeats} turns, Graft first" if asked.repeats > 1 else "One turn"
    return (
        f"{turns}; in each, both sides one after the other, each in a fresh process, on the same rows, with the turn's "
        "own seed. Rows a second of training alone; medians, with the lowest and highest turn; ratios are of one turn. "
        "Scores, ours first, are means over the turns on the same test rows; the interval of their difference holds "
        "the chance of the rows and, from two turns on, of the seeds. Memory, ours first, is the process's highest "
        "until the end of training. A line that names its sides has each in the precision in which it was faster, fp32 "
        "or bf16, in the first turn; the share of the peak is of that precision's."
    )


def on(machine: Described) -> str:
    """The machine in one sentence."""
    speeds = ", ".join(f"{speed:,.0f} in {kind}" for kind, speed in machine.gflops.items())
    libraries = ", ".join(f"{name} {number}" for name, number in machine.libraries.items() if name != "graft")
    cores = f"{machine.cores} cores, " if machine.cores else ""
    return (
        f"{machine.date}, commit {machine.commit}: {machine.gpu if machine.device == 'cuda' else machine.cpu}, {cores}"
        f"{machine.threads} threads of {machine.hardware_threads}, {machine.memory / 1e9:,.0f} GB; a matrix product's "
        f"GFLOP/s: {speeds}; {machine.system}, Python {machine.python}, {libraries}."
    )


def markers(name: str) -> tuple[str, str]:
    """What a file holds before and after the place of this name."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def check_readme(file: Path, name: str) -> None:
    """Raise a GraftError if a file has no place of this name: each marker once, in their order."""
    _parts(file, name)


def write_readme(file: Path, name: str, table: str) -> None:
    """Replace what stands between the markers, and nothing else.

    Raises:
        GraftError: there is no such place, or the file cannot be written.
    """
    before, after = _parts(file, name)
    begin, end = markers(name)
    write_file(file, f"{before}{begin}\n{table.strip()}\n{end}{after}".encode())


def _parts(file: Path, name: str) -> tuple[str, str]:
    """What stands before the first marker and after the last."""
    begin, end = markers(name)
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise GraftError(f"--readme {file} cannot be read: {error.strerror}. Give a file that is there.") from error
    before, begun, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (begun and ended) or text.count(begin) + text.count(end) > 2:
        raise GraftError(
            f"{file} must hold {begin} and {end}, once each, in this order. Put them where the table goes."
        )
    return before, after
