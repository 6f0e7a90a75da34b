"""Pieces of work done several at once, each in a process of its own with its share of the cores.

A process does one piece after another, so that its imports are paid once. One that dies takes the piece with it that
it was at, and nothing else. None outlives the process that started it.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

from flows.quiet import hush
from tasks import runtime, screen
from tasks.frozen import Frozen

Item = TypeVar("Item")

SPAWN = multiprocessing.get_context("spawn")  # a process forked from one that has threads can die or hang
STOPS = (signal.SIGINT, signal.SIGTERM)
EVERY = 0.3  # seconds between two movements that a process tells of
GRACE = 5.0  # seconds for a process to end by itself
LOOK = 1.0  # seconds between two looks for a stop: one that another thread was told of does not wake this one


class Died(Frozen):
    """Instead of what a piece of work gives: its process ended on the way, and how."""

    reason: str


class Listener(Protocol):
    """Who is told what becomes of the pieces, each by its place."""

    def moved(self, place: int, told: str) -> None:
        """What it is at now."""

    def said(self, place: int, text: str) -> None:
        """It said a line (see `tasks.screen.say`)."""

    def ended(self, place: int, made: Any) -> None:
        """It is over: what it gave, or that its process `Died`."""


def share(jobs: int, cores: int) -> dict[str, str]:
    """The environment of one of so many processes: its threads, and how many decode for it unless the user says so."""
    threads = str(max(1, cores // jobs))
    own = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    return {"GRAFT_WORKERS": str(runtime.workers() // jobs)} | own if "GRAFT_WORKERS" not in os.environ else own


def each(
    work: Callable[[Item], Any],
    items: Mapping[int, Item],
    jobs: int,
    environment: Mapping[str, str],
    listener: Listener,
) -> None:
    """Do the work on every item, begun in their order, so many at once.

    After a process died there is one fewer, but at last one: most die for want of memory.

    Args:
        work: it can be pickled, as can the items and what it gives. An error that it lets out ends its process.
        items: what it is done on, by the places of which the listener is told.
        jobs: processes at once.
        environment: variables of the processes (see `share`).
        listener: is told of everything, in this thread.
    """
    waiting = deque(items.items())
    hands: dict[Any, _Hand] = {}
    try:
        while waiting or hands:
            while waiting and len(hands) < jobs:
                hand = _Hand(environment)
                hands[hand.pipe] = hand
                hand.take(work, waiting.popleft(), listener)
            for pipe in wait(list(hands), LOOK):
                hand = hands[pipe]
                if hand.tells(listener):
                    continue
                jobs = jobs if hand.living else max(1, jobs - 1)
                if hand.living and waiting:
                    hand.take(work, waiting.popleft(), listener)
                else:
                    hands.pop(pipe).leave()
    except BaseException:
        for hand in hands.values():
            hand.process.terminate()
        raise
    finally:
        for hand in hands.values():
            hand.leave()


class _Hand:
    """A process, seen from the one that started it, and the place of the piece that it is at."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_hand, args=(theirs,))
        self.place, self.living = -1, True
        try:
            self._start(environment)
        except BaseException:  # stopped meanwhile: nobody else knows of it yet
            if self.process.ident is not None:
                self.process.kill()
                self.leave()
            raise
        theirs.close()  # its death is seen by this end alone

    def _start(self, environment: Mapping[str, str]) -> None:
        held = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # in the process too, until it can end quietly
        try:
            with runtime.setting(environment):
                self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def take(self, work: Callable[[Item], Any], piece: tuple[int, Item], listener: Listener) -> None:
        self.place, item = piece
        listener.moved(self.place, "begins")
        with suppress(OSError):  # it is dead, which is seen by what it does not tell
            self.pipe.send((work, item))

    def tells(self, listener: Listener) -> bool:
        """Pass on what it tells; whether it is still at its piece."""
        try:
            kind, told = self.pipe.recv()
        except (EOFError, OSError):
            self.living = False
            self.leave()
            kind, told = "ended", Died(reason=_end(self.process.exitcode))
        {"moved": listener.moved, "said": listener.said, "ended": listener.ended}[kind](self.place, told)
        return bool(kind != "ended")

    def leave(self) -> None:
        """There is nothing more to do: see the process end."""
        self.pipe.close()
        self.process.join(GRACE)
        self.process.kill()
        self.process.join()


def _end(code: int | None) -> str:
    if code is None or code >= 0:
        return f"Its process ended with exit code {code}."
    why = ", as the system does where memory is short" if -code == signal.SIGKILL else ""
    return f"Its process was killed by {signal.Signals(-code).name}{why}."


def _hand(pipe: Connection) -> None:
    """What the process does: one piece after another, until nobody gives it any more."""
    hush()
    screen.console.quiet = True
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for stop in STOPS:
        signal.signal(stop, _stopped)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        teller = _Teller(pipe)
        with screen.watched(teller):
            for work, item in _given(pipe):
                teller.tell("ended", work(item))
    except KeyboardInterrupt:
        sys.exit(130)


def _given(pipe: Connection) -> Iterator[tuple[Callable[[Any], Any], Any]]:
    with suppress(EOFError, OSError):
        while True:
            yield pipe.recv()


def _stopped(number: int, _: object) -> None:
    """Stopped once, it is stopped: what it tidies up then must not be stopped again."""
    for stop in STOPS:
        signal.signal(stop, _stopping)  # not SIG_IGN: Python complains where one of them has arrived by now
    raise KeyboardInterrupt


def _stopping(number: int, _: object) -> None:
    pass


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


class _Teller:
    """Tells the starting process what is said and shown here (a `tasks.screen.Watcher`)."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock, self._last = pipe, threading.Lock(), 0.0

    def moved(self, stage: str, done: int, total: int | None, figures: str) -> None:
        if time.monotonic() - self._last > EVERY or done == total:
            self._last = time.monotonic()
            self.tell("moved", f"{stage} {100 * done // total} %" if total else stage)

    def said(self, text: str) -> None:
        self.tell("said", text)

    def tell(self, kind: str, told: object) -> None:
        with self._lock, suppress(OSError):  # where nobody listens any more, this process is about to end
            self._pipe.send((kind, told))
