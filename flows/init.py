"""Two files from a look at the user's data: the data set and an experiment, ready to run."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks import runtime
from tasks.frozen import GraftError
from tasks.proposal import Proposal, name_of, propose, prove
from tasks.screen import console
from tasks.survey.folders import survey_folder
from tasks.survey.roles import Wanted
from tasks.survey.seen import Survey
from tasks.survey.tables import survey_table


def main(
    data: str,
    wanted: Wanted,
    test: str | None,
    encoding: str | None,
    name: str | None,
    to: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Look, propose, prove, write and show.

    Raises:
        GraftError: the data cannot be used, a decision is missing, or a file is there already.
    """
    path, tested = place(data), place(test) if test else None
    outside = [folder for folder in folders(path, tested) if not runtime.allowed(folder)]
    with runtime.allowing(*outside):
        seen = survey(path, tested, wanted, encoding)
        with console.status("choosing"):
            made = propose(seen, name_of(name or path.stem), to)
        if there := [file for file in made.files.values() if file.exists() and not force]:
            raise GraftError(f"{there[0]} exists. Write over it with --force, or give another --name (or --to FOLDER).")
        with console.status("trying the files"):
            prove(made, seen)
    write(made)
    allow = f"GRAFT_ALLOW={runtime.allowance(*outside)}" if outside else None
    if as_json:
        sys.stdout.write(json.dumps(told(seen, made, allow)) + "\n")
    show(Console(stderr=as_json), path, seen, made, allow)


def folders(path: Path, test: Path | None) -> list[Path]:
    """The folders that the data are, or lie in; each once."""
    return list(dict.fromkeys(own if own.is_dir() else own.parent for own in (path, test) if own))


def place(given: str) -> Path:
    """A path from the current folder, or else from GRAFT_DATA; `..` are taken as they are written.

    Raises:
        GraftError: there is nothing.
    """
    own = os.path.expanduser(given)
    places = (Path(os.path.abspath(folder / own)) for folder in (Path.cwd(), runtime.data_path(".")))
    found = next((path for path in places if path.exists()), None)
    if found is None:
        raise GraftError(f"{given!r} does not exist, neither from here nor below {runtime.data_path('.')}.")
    return found


def survey(path: Path, test: Path | None, wanted: Wanted, encoding: str | None) -> Survey:
    """A table by its file, a folder by what lies in it.

    Raises:
        GraftError: it cannot be seen what the data are; or a flag is for tables, and this is a folder of pictures.
    """
    saved = path.is_dir() and any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))
    if saved or path.is_file():
        return survey_table(path, test, wanted, encoding)
    if wanted.named or wanted.target or test or encoding:
        raise GraftError(f"{path} is a folder of pictures: its class folders say all. Leave out the flags for columns.")
    return survey_folder(path)


def write(made: Proposal) -> None:
    """Both files in their folders.

    Raises:
        GraftError: a folder or a file cannot be written.
    """
    texts = {"dataset": made.dataset_text, "experiment": made.experiment_text}
    for kind, file in made.files.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(texts[kind], "utf-8")
        except OSError as error:
            raise GraftError(f"{file} cannot be written: {error.strerror or error}. Give --to FOLDER.") from error


def told(seen: Survey, made: Proposal, allow: str | None) -> dict[str, Any]:
    """All that the terminal shows, for a program; `allow` is what must be set to read the data, if anything must."""
    return {
        "name": made.name,
        **{kind: str(file) for kind, file in made.files.items()},
        "target": seen.target,
        "labels": list(seen.labels.values()),
        "rows": seen.rows,
        "all_rows_seen": seen.whole,
        "columns": [own.model_dump() for own in seen.seen],
        "reasons": made.reasons,
        "notes": seen.notes,
        "allow": allow,
        "next": made.commands,
    }


def show(screen: Console, path: Path, seen: Survey, made: Proposal, allow: str | None) -> None:
    """What was seen, why the files are as they are, where they lie, what to set, and what to run next."""
    rows = f"all {seen.rows:,} rows" if seen.whole else f"the first {seen.rows:,} rows; there are more"
    table = Table(title=f"{escape(path.name)}: {rows}", title_justify="left", box=None, header_style="dim")
    for column in ("folder" if seen.kind == "image_folder" else "column", "role", "what was seen"):
        table.add_column(column)
    for own in seen.seen:
        role = f"[bold]{own.role}[/]" if own.role else "[dim]not used[/]"
        table.add_row(escape(own.column), role, escape(own.why))
    screen.print(table)
    for reason in made.reasons:
        screen.print(f"  {reason}.", highlight=False, markup=False)
    for note in seen.notes:
        screen.print(f"  {note}", style="yellow", highlight=False, markup=False)
    for kind, file in made.files.items():
        screen.print(f"{kind:<10} {file}", highlight=False, markup=False, soft_wrap=True)
    if allow:
        screen.print(f"First:     export {shlex.quote(allow)}", highlight=False, markup=False, soft_wrap=True)
    for word, command in zip(("Next:", "", ""), made.commands, strict=True):
        screen.print(f"{word:<10} [bold]{escape(command)}[/]", highlight=False, soft_wrap=True)
