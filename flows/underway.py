"""What every benchmark of `graft bench` has while it runs: a place, failures that stop nothing else, the time left."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from tasks import runtime
from tasks.bench import page, turns
from tasks.bench.machine import Described, again, described
from tasks.export.folder import free_place
from tasks.files import write_file
from tasks.frozen import GraftError
from tasks.screen import Bar, console, say

Key = tuple[str, str]  # a work, and a side of it


class Underway:
    """A benchmark under way: what failed, what each process has cost so far, and which are still to run."""

    def __init__(self, csv: Path, folder: Path) -> None:
        self.csv, self.folder = csv, folder
        self.failed: dict[str, str] = {}
        self.walls: dict[Key, list[float]] = {}
        self.todo: list[Key] = []

    def run(self) -> None:
        """Measure all of it; what fails is noted, and the others go on."""
        raise NotImplementedError

    @contextmanager
    def noting(self, name: str) -> Iterator[None]:
        """Note why a work of this name failed, and say it."""
        try:
            yield
        except GraftError as error:
            self.failed[name] = str(error)
            say(f"{name} failed: {error}", style="red")
            for told in getattr(error, "tail", ())[:-1]:
                say(f"    {told}", style="dim")

    def ran(self, key: Key, wall: float, shown: Bar) -> None:
        """A process has ended well after so many seconds."""
        self.walls.setdefault(key, []).append(wall)
        if key in self.todo:  # sides in bf16 were not foreseen
            self.todo.remove(key)
            shown.advance(self.left())

    def left(self) -> str:
        """The time left in words."""
        seconds = turns.left(self.todo, self.walls)
        if seconds is None:
            return "how long is not known yet"
        return f"about {max(1, round(seconds / 60))} min left" if self.todo else "done"

    def drop(self, work: str, side: str | None = None) -> int:
        """Forget what a failed work (or one side of it) has not run; returns how many processes that are."""
        rest = [key for key in self.todo if key[0] != work or side not in (None, key[1])]
        gone, self.todo = len(self.todo) - len(rest), rest
        return gone


Running = TypeVar("Running", bound=Underway)


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for the sides that is thrown away, and an MLflow of the benchmark's own."""
    root = runtime.home() / "bench"
    root.mkdir(exist_ok=True)
    with tracked(root), tempfile.TemporaryDirectory(dir=root, prefix="work-") as folder:
        yield Path(folder)


@contextmanager
def tracked(home: Path) -> Iterator[None]:
    """MLflow's database of this folder is the one in force; it is made where there is none."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{home / 'mlflow.db'}"
    try:
        turns.ready()
        yield
    finally:
        del os.environ["MLFLOW_TRACKING_URI"]
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def sitting(
    name: str,
    begin: Callable[[Path, Path], Running],
    finish: Callable[[Running, Described, Path], int],
    to: Path | None,
    readme: Path | None,
) -> int:
    """One benchmark from its checks to its files; returns the exit code.

    Args:
        name: of its CSV, its page and its place in the README.
        begin: makes it, from the CSV and the folder for the sides.
        finish: shows it, with the machine and the folder of its files; gives the exit code.
        to: that folder; a new one in GRAFT_HOME if not given.
        readme: a file with a place for the table.

    Raises:
        GraftError: the folder is not empty, or the README has no place for the table.
    """
    if readme:
        page.check_readme(readme, name)
    place = free_place(to or runtime.home() / "bench" / f"{datetime.now():%Y-%m-%d-%H%M%S}")
    place.mkdir(parents=True, exist_ok=True)
    with console.status("timing the machine's matrix product"):
        machine = described()
    write_file(place / "machine.json", machine.model_dump_json(indent=1).encode())
    with workplace() as folder:
        running = begin(place / f"{name}.csv", folder)
        try:
            running.run()
        except KeyboardInterrupt:
            say(f"Stopped. What was measured until then lies in {running.csv}.", style="yellow")
            return 130
    machine = again(machine)
    write_file(place / "machine.json", machine.model_dump_json(indent=1).encode())
    return finish(running, machine, place)
