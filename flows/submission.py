"""The GLUE leaderboard's zip from registered models, told on the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from tasks.frozen import GraftError
from tasks.glue.submission import Submission, submit
from tasks.registry import model_folder
from tasks.screen import console


def submission(runs: Sequence[str], out: Path, fill: bool) -> None:
    """Write the zip that the runs' models answer, and say what answers which file.

    Raises:
        GraftError: a run is not there or given twice, or they make no submission (see `tasks.glue.submission`).
    """
    if twice := {run for run in runs if runs.count(run) > 1}:
        raise GraftError(f"{min(twice)!r} is given twice. Give one run for each task.")
    with console.status("looking for the models"):
        folders = {run: model_folder(run) for run in runs}
    show(submit(folders, out, fill))


def show(made: Submission) -> None:
    """The files as a table on stderr; a constant is marked."""
    shown = Table("file", "rows", "answered by", box=None, header_style="dim")
    for sheet, run in made.answered_by.items():
        told = escape(run) if run else f"[yellow]no model: every row says {made.fills[sheet]!r}[/]"
        shown.add_row(f"{sheet}.tsv", f"{made.rows[sheet]:,}", told)
    console.print(shown)
    if made.fills:
        console.print(
            f"[yellow]{len(made.fills)} of {len(made.rows)} files are constants: the leaderboard's average is not "
            "that of these models.[/]"
        )
    console.print(f"{made.file} written; {made.note.name} beside it says what is in it.", markup=False)
