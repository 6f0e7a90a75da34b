"""One thread computes for all who ask: what arrives together goes through the network together."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

from tasks.backbones.network import Rows
from tasks.frozen import GraftError
from tasks.serving.models import Loaded

Answers = list[dict[str, Any]]
WAITING = 2048  # rows


class Full(GraftError):
    """So much waits already that this would wait too long."""


@dataclass(eq=False)
class _Asked:
    model: Loaded
    rows: Rows
    since: float = field(default_factory=time.monotonic)
    answers: Future[Answers] = field(default_factory=Future)

    def __len__(self) -> int:
        return len(next(iter(self.rows.values())))


class Batches:
    """The queue of rows that wait, and the one thread in which torch runs.

    Args:
        rows: go through a network at once, at most.
        wait: seconds that a row waits for others at most, where the thread is free.
        waiting: rows that may wait; more are refused.
        seen: is told of each batch's rows.
    """

    def __init__(
        self, rows: int, wait: float, waiting: int = WAITING, seen: Callable[[int], object] = lambda rows: None
    ) -> None:
        self._rows, self._wait, self._most, self._seen = rows, wait, waiting, seen
        self._queue: deque[_Asked] = deque()
        self._changed = Condition()
        self._closed = False
        self._thread = Thread(target=self._run, name="graft-batches", daemon=True)
        self._thread.start()

    def ask(self, model: Loaded, rows: Rows) -> Future[Answers]:
        """What the model will answer, row by row; the version asked now is the one that answers.

        Args:
            model: the version.
            rows: its input columns, of one length, known to be usable.

        Raises:
            Full: too many rows wait, or the queue is closed.
        """
        asked = _Asked(model, rows)
        with self._changed:
            if self._closed:
                raise Full("The server is stopping. Ask another one.")
            waiting = sum(map(len, self._queue))
            if waiting and waiting + len(asked) > self._most:
                raise Full(f"{waiting} rows wait already, of {self._most} that may. Ask again in a second.")
            self._queue.append(asked)
            self._changed.notify_all()
        return asked.answers

    def close(self) -> None:
        """Take nothing more, answer what was taken, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            self._answer([asked for asked in batch if asked.answers.set_running_or_notify_cancel()])

    def _next(self) -> list[_Asked]:
        """Those that are answered together, all of one model; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if not self._queue:
                return []
            first = self._queue[0]
            left = first.since + self._wait - time.monotonic()
            self._changed.wait_for(lambda: self._closed or self._full(first.model), max(0, left))
            return self._taken(first.model)

    def _full(self, model: Loaded) -> bool:
        return sum(len(asked) for asked in self._queue if asked.model is model) >= self._rows

    def _taken(self, model: Loaded) -> list[_Asked]:
        """The oldest of this model, as many as fit; one with more rows than fit goes alone."""
        taken: list[_Asked] = []
        for asked in [one for one in self._queue if one.model is model]:
            if taken and sum(map(len, taken)) + len(asked) > self._rows:
                break
            taken.append(asked)
            self._queue.remove(asked)
        return taken

    def _answer(self, batch: list[_Asked]) -> None:
        """Answer all; where that fails, each alone, so that nobody bears another's fault."""
        if not batch:
            return
        rows = {name: [cell for asked in batch for cell in asked.rows[name]] for name in batch[0].rows}
        try:
            answers = batch[0].model.answers(rows, self._rows)
        except Exception as error:  # noqa: BLE001  # any at all: who asked gets it
            if len(batch) == 1:
                batch[0].answers.set_exception(error)
                return
            for asked in batch:
                self._answer([asked])
            return
        self._seen(sum(map(len, batch)))
        for asked in batch:
            asked.answers.set_result(answers[: len(asked)])
            del answers[: len(asked)]
