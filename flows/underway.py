"""A benchmark that runs side after side: what each process has cost so far, what is still to run, and what failed."""

from pathlib import Path

from tasks.bench import turns
from tasks.screen import Bar

Key = tuple[str, str]  # a work, and a side of it


class Underway:
    """A benchmark under way; `csv` gets a line for every side, `folder` is thrown away at the end."""

    def __init__(self, csv: Path, folder: Path) -> None:
        self.csv, self.folder = csv, folder
        self.failed: dict[str, str] = {}
        self.walls: dict[Key, list[float]] = {}
        self.todo: list[Key] = []

    def ran(self, key: Key, wall: float, shown: Bar) -> None:
        """A process has ended well after so many seconds."""
        self.walls.setdefault(key, []).append(wall)
        if key in self.todo:  # sides in bf16 were not foreseen
            self.todo.remove(key)
            shown.advance(self.left())

    def left(self) -> str:
        """The time left in words."""
        return turns.words_left(self.todo, self.walls)

    def drop(self, work: str, side: str | None = None) -> int:
        """Forget what a failed work (or one side of it) has not run; returns how many processes that are."""
        rest = [key for key in self.todo if key[0] != work or side not in (None, key[1])]
        gone, self.todo = len(self.todo) - len(rest), rest
        return gone
