"""A sitting of a benchmark: its folder, its machine before and after, its sides' workplace, and what failed."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from tasks import runtime
from tasks.bench import page, turns
from tasks.bench.machine import Described, again, described
from tasks.export.folder import free_place
from tasks.files import write_file
from tasks.frozen import GraftError
from tasks.screen import console, say

STOPPED = 130  # the exit code after Ctrl-C


class Running(Protocol):
    """A benchmark that can be run."""

    def run(self) -> None:
        """Measure all; what fails is noted, and the others go on."""


Ran = TypeVar("Ran", bound=Running)


def opened(to: Path | None, readme: Path | None, name: str) -> Path:
    """The new folder for the files, once it is sure that the README has a place of this name for them.

    Raises:
        GraftError: the folder is not empty, or the README has no such place.
    """
    if readme:
        page.check_readme(readme, name)
    place = free_place(to or runtime.home() / "bench" / f"{datetime.now():%Y-%m-%d-%H%M%S}")
    place.mkdir(parents=True, exist_ok=True)
    return place


def measured(place: Path, csv: Path, make: Callable[[Path, Described], Ran]) -> tuple[Ran, Described | None]:
    """Run what is made for the sides' folder and the machine; gives both back, the machine timed once more.

    There is no machine where it was stopped by Ctrl-C.
    """
    with console.status("timing the machine's matrix product"):
        machine = described()
    write_file(place / "machine.json", machine.model_dump_json(indent=1).encode())
    with workplace() as folder:
        running = make(folder, machine)
        try:
            running.run()
        except KeyboardInterrupt:
            say(f"Stopped. What was measured until then lies in {csv}.", style="yellow")
            return running, None
    machine = again(machine)
    write_file(place / "machine.json", machine.model_dump_json(indent=1).encode())
    return running, machine


@contextmanager
def noting(failed: dict[str, str], name: str) -> Iterator[None]:
    """Note why what bears this name failed, and say it."""
    try:
        yield
    except GraftError as error:
        failed[name] = str(error)
        say(f"{name} failed: {error}", style="red")
        for told in getattr(error, "tail", ())[:-1]:
            say(f"    {told}", style="dim")


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for the sides that is thrown away, and an MLflow of the benchmark's own."""
    root = runtime.home() / "bench"
    root.mkdir(exist_ok=True)
    with tracked(root), tempfile.TemporaryDirectory(dir=root, prefix="work-") as folder:
        yield Path(folder)


@contextmanager
def tracked(home: Path) -> Iterator[None]:
    """MLflow's database of this folder, made where there is none, is the one in force."""
    with runtime.setting({"MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}"}):
        turns.ready()
        yield
