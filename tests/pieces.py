"""Pieces of work for `flows.atonce`, and one who hears of them; the processes that import it start soon."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from tasks.screen import bar, console, say


class Heard:
    """All that a listener is told."""

    def __init__(self) -> None:
        self.at: list[tuple[int, str]] = []
        self.lines: list[tuple[int, str]] = []
        self.made: dict[int, Any] = {}

    def moved(self, place: int, told: str) -> None:
        self.at.append((place, told))

    def said(self, place: int, text: str) -> None:
        self.lines.append((place, text))

    def ended(self, place: int, made: Any) -> None:
        self.made[place] = made


def work(order: str) -> tuple[str, int, str, bool]:
    """What the pieces do here; gives its order, its process, its threads, and whether it shows nothing itself."""
    if order == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "raise":
        raise ValueError("nobody catches this")
    if order.endswith("waits.txt"):
        while not Path(order).exists():
            time.sleep(0.02)
    if order.endswith("ends it"):
        Path(order.removesuffix(" ends it")).touch()
    say(f"{order} is done")
    return order, os.getpid(), os.environ["OMP_NUM_THREADS"], console.quiet


def wait_for_ever(folder: str) -> None:
    """Notes its process; stopped, it tidies up, and a second stop does not stop that."""
    file = Path(folder, str(os.getpid()))
    file.write_text("waits")
    try:
        while True:
            time.sleep(0.1)
    finally:
        time.sleep(1)
        file.write_text("tidied")


def count(steps: int) -> int:
    """A bar over so many steps."""
    with bar("train", steps) as shown:
        for _ in range(steps):
            shown.advance("loss 1")
    return steps
