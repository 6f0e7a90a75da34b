"""A benchmark that runs side after side: what each process has cost so far, what is still to run, and what failed."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from tasks.bench import turns
from tasks.bench.table import append
from tasks.screen import Bar

Key = tuple[str, str]  # a work, and a side of it
Ran = TypeVar("Ran")  # what is noted of a process


class Underway(Generic[Ran]):
    """A benchmark under way; `csv` gets a line of `columns` for every side, `folder` is thrown away at the end."""

    def __init__(self, csv: Path, folder: Path, columns: Callable[[Ran], dict[str, object]]) -> None:
        self.csv, self.folder, self._columns = csv, folder, columns
        self.raws: list[Ran] = []
        self.failed: dict[str, str] = {}
        self.walls: dict[Key, list[float]] = {}
        self.todo: list[Key] = []

    def ran(self, key: Key, wall: float, shown: Bar) -> None:
        """A process has ended well after so many seconds."""
        self.walls.setdefault(key, []).append(wall)
        if key in self.todo:  # sides in bf16 were not foreseen
            self.todo.remove(key)
            shown.advance(self.left())

    def note(self, raw: Ran) -> None:
        """What came of a process: kept, and a line of the CSV."""
        self.raws.append(raw)
        append(self.csv, self._columns(raw))

    def left(self) -> str:
        """The time left in words."""
        return turns.words_left(self.todo, self.walls)

    def drop(self, work: str, side: str | None = None) -> int:
        """Forget what a failed work (or one side of it) has not run; returns how many processes that are."""
        rest = [key for key in self.todo if key[0] != work or side not in (None, key[1])]
        gone, self.todo = len(self.todo) - len(rest), rest
        return gone
