"""What a person sees while a stage runs: one calm console on stderr, one progress bar a stage."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True)


class Watcher(Protocol):
    """Somebody else who is told what the bars show, as often as they show it."""

    def moved(self, stage: str, done: int, total: int | None, figures: str) -> None:
        """So much of a stage is done."""

    def said(self, text: str) -> None:
        """A line was shown."""


_watchers: list[Watcher] = []


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Tell `watcher` too, while the body runs."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def say(text: str, style: str | None = None) -> None:
    """Show a line, and tell those who watch."""
    console.print(text, style=style, markup=False)
    for watcher in _watchers:
        watcher.said(text)


class Bar:
    """A stage's progress: steps done, and a line of figures."""

    def __init__(self, progress: Progress, stage: str, total: int | None, done: int) -> None:
        self._progress, self._stage, self._total, self._done = progress, stage, total, done
        self._task = progress.add_task(stage, total=total, completed=done, figures="")

    def advance(self, figures: str = "", steps: int = 1) -> None:
        """Some steps done, with the figures that matter now."""
        self._progress.update(self._task, advance=steps, figures=figures)
        self._done += steps
        for watcher in _watchers:
            watcher.moved(self._stage, self._done, self._total, figures)


@contextmanager
def bar(stage: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A progress bar with rate and time left, from `done` of `total` steps."""
    columns = (
        TextColumn("[bold]{task.description:<9}"),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bar(progress, stage, total, done)


@contextmanager
def counting(stage: str) -> Iterator[Bar]:
    """A count of what is done, where nobody knows the whole; it vanishes at its end."""
    columns = (
        TextColumn("[bold]{task.description:<9}"),
        BarColumn(24),
        TextColumn("{task.completed:,.0f}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, stage, None, 0)
