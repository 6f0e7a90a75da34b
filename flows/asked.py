"""Whom an explanation is asked of, and where it goes: the terminal, a folder, a JSON object."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table

from tasks import registry, runtime
from tasks.frozen import GraftError
from tasks.results import Registered
from tasks.screen import console


class Asked(NamedTuple):
    """Whom is asked, and where the answer goes."""

    version: Registered
    out: Path
    as_json: bool

    @property
    def name(self) -> str:
        """Such as tickets/3."""
        return f"{self.version.name}/{self.version.version}"

    def end(self, told: dict[str, Any], *files: Path) -> None:
        """The last line: the files, or the JSON object."""
        if self.as_json:
            whole = {"model": self.version.name, "version": self.version.version, **told, "files": [*map(str, files)]}
            sys.stdout.write(json.dumps(whole) + "\n")
        console.print(f"Written: {', '.join(map(str, files))}", markup=False, highlight=False, soft_wrap=True)


def asked(name: str, version: int, out: Path | None, as_json: bool) -> Asked:
    """A version of a model (0: its champion) and a folder for the answer, which is made now.

    Raises:
        GraftError: there is no such version, no champion, or the folder cannot be made.
    """
    found = registry.version(name, version) if version else registry.champion(name)
    if found is None:
        raise GraftError(f"{name!r} has no champion in {runtime.tracking_uri()}. Give --version, such as --version 1.")
    folder = out or runtime.home() / "reports" / f"explain-{name}-{found.version}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GraftError(f"{folder} cannot be written: {error.strerror}. Give another folder with --out.") from error
    return Asked(found, folder, as_json)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Rows of plain text for the terminal."""
    shown = Table(*columns, box=None, header_style="dim", padding=(0, 2, 0, 0))
    for row in rows:
        shown.add_row(*map(escape, row))
    return shown
