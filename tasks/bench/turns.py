"""Sides run in fresh processes, one after another: what each measured, and what it says if it fails."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks import tracking
from tasks.bench.orders import ALL, ANSWERS, LAPS, TAKEN, Alternated, Lap, Laps, Order, Taken
from tasks.bench.works import Settings, Work
from tasks.frozen import Frozen, GraftError

ROOT = Path(__file__).parents[2]
TAIL = 4  # lines of a failed side's stderr that are shown
STDOUT = "stdout.txt"
OURS = "graft"
BF16 = "-bf16"  # behind the name of a side that runs in it
TRIED = 20  # steps of a trial
QUICK_ROWS = 64  # of a side that takes so few that a row costs the same in any, with --quick
NEAR = 0.9  # of its rate in fp32, from which on the other side runs in bf16 too: a few rows tell no better

Side = tuple[str, Settings]  # its name in the CSV, and how it is set up


class Raw(Frozen):
    """A line of the CSV: one side of one turn.

    Attributes:
        turn: from 1; 0 is a trial of settings on a few rows.
        side: `graft`, or the peer's name; with `-bf16` or `-dropout` where it is a variant.
        wall: seconds of the whole process.
        score: on the test rows, 0 to 1; None where it did not train on all rows.
        failed: why there is nothing else.
    """

    work: str
    turn: int
    side: str
    settings: str = ""
    wall: float
    taken: Taken | None = None
    score: float | None = None
    failed: str = ""


class SideFailed(GraftError):
    """A side's process ended badly; `tail` are its last lines."""

    def __init__(self, message: str, tail: Sequence[str], wall: float) -> None:
        super().__init__(message)
        self.tail, self.wall = tuple(tail), wall


def run(order: Order) -> tuple[Taken, NDArray[np.float32] | None, float]:
    """Do an order in a fresh process without network.

    Returns:
        what it took, its answers [N, K] to the test rows if it has any, and the seconds of the whole process.

    Raises:
        SideFailed: it ended badly.
    """
    settings = {"GRAFT_PRECISION": "bf16" if order.settings.bf16 else "fp32"} if order.by == OURS else {}
    settings |= {"GRAFT_MEANS": order.means} if order.means else {}
    wall = process(order.by, ("tasks.bench.side",), order.out, settings, order.model_dump_json())
    answers = order.out / ANSWERS
    taken = Taken.model_validate_json((order.out / TAKEN).read_text())
    return taken, np.load(answers) if answers.exists() else None, wall


def alternate(order: Alternated) -> tuple[tuple[Lap, ...], float]:
    """Take batches with each setting of the means in turn, in a fresh process without network.

    Returns:
        what was measured, and the seconds of the whole process.

    Raises:
        SideFailed: it ended badly.
    """
    settings = {"GRAFT_MEANS": ALL, "GRAFT_PRECISION": "fp32"}
    wall = process(OURS, ("tasks.bench.alternate",), order.out, settings, order.model_dump_json())
    return Laps.model_validate_json((order.out / LAPS).read_text()).laps, wall


def process(name: str, words: Sequence[str], out: Path, settings: Mapping[str, str], given: str = "") -> float:
    """Run a module of this checkout in a fresh process without network; returns its seconds.

    Args:
        name: of the side, for its error.
        words: the module and its arguments.
        out: a folder, made if need be; `stdout.txt` and `stderr.txt` there hold what it has said.
        settings: environment variables that it has beside ours.
        given: its stdin.

    Raises:
        SideFailed: it ended badly.
    """
    out.mkdir(parents=True, exist_ok=True)
    told, began = out / "stderr.txt", time.perf_counter()
    with told.open("w") as errors, (out / STDOUT).open("w") as said:
        code = subprocess.run(
            [sys.executable, "-m", *words],
            input=given,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), **settings},
            stdout=said,
            stderr=errors,
            check=False,
        ).returncode
    wall = time.perf_counter() - began
    if code:
        tail = [line for line in told.read_text(errors="replace").splitlines() if line.strip()][-TAIL:]
        raise SideFailed(f"{name} ended with exit code {code}: {tail[-1] if tail else 'no output'}", tail, wall)
    return wall


def trials(work: Work, bf16: bool = True) -> tuple[Side, ...]:
    """The settings of the other side that are tried on a few rows before the first turn.

    Args:
        bf16: whether this machine's matrix product is no slower in it; on some it takes 100 times as long.
    """
    if not work.tries:
        return ()
    plain = ((work.peer, Settings()), (f"{work.peer}-dropout", Settings(dropout=True)))
    return (*plain, (f"{work.peer}{BF16}", Settings(bf16=True))) if bf16 else plain


def chosen(tried: Mapping[str, float], work: Work, bf16: bool = True) -> tuple[Side, ...]:
    """The sides of every turn, ours first, by the rows a second of the trials.

    In fp32 the other side runs in the faster of its settings. Beside that comparison, as sides of their own, it runs in
    bf16 where the trial does not say that it is clearly slower, and ours where the other side has trials or the work
    says so.

    Args:
        tried: what each of `trials` gave, but for those that failed.
        work: the work.
        bf16: as for `trials`.
    """
    named = dict(trials(work))
    plain = {name: rate for name, rate in tried.items() if not named[name].bf16}
    best = max(plain, key=lambda name: plain[name]) if plain else work.peer
    sides = [(OURS, Settings()), (work.peer, named.get(best, work.settings))]
    if bf16 and (tried or work.bf16):
        sides.append((f"{OURS}{BF16}", Settings(bf16=True)))
    if tried.get(f"{work.peer}{BF16}", 0.0) >= NEAR * max(plain.values(), default=np.inf):
        sides.append((f"{work.peer}{BF16}", Settings(bf16=True)))
    return tuple(sides)


def fastest(work: Work, rates: Mapping[str, float]) -> tuple[str, str]:
    """Of the sides of a turn, by rows a second: ours and theirs in the precision in which each is faster."""
    ours, theirs = (
        max((name for name in (side, f"{side}{BF16}") if name in rates), key=lambda name: rates[name])
        for side in (OURS, work.peer)
    )
    return ours, theirs


def rows_of_peer(work: Work, there: int, quick: bool) -> int | None:
    """Rows on which the other side trains where a row costs the same in any; None where it trains on all."""
    return None if work.peer_rows is None else min(there, QUICK_ROWS if quick else work.peer_rows)


def left(todo: Sequence[tuple[str, str]], walls: Mapping[tuple[str, str], Sequence[float]]) -> float | None:
    """Seconds until the end: a side takes as long as it last did, one that never ran as long as the mean of all.

    Args:
        todo: the work and the side of each process that is still to run.
        walls: seconds of those that ran.
    """
    seen = [wall for own in walls.values() for wall in own]
    if not seen:
        return None
    mean = sum(seen) / len(seen)
    return sum(walls[key][-1] if walls.get(key) else mean for key in todo)


def words_left(todo: Sequence[tuple[str, str]], walls: Mapping[tuple[str, str], Sequence[float]]) -> str:
    """The same in words."""
    seconds = left(todo, walls)
    if seconds is None:
        return "how long is not known yet"
    return f"about {max(1, round(seconds / 60))} min left" if todo else "done"


def ready() -> None:
    """Make MLflow's database where there is none: the first of our sides would spend seconds and memory on it."""
    with tracking.explained():
        tracking.client().search_experiments(max_results=1)


def words(settings: Settings) -> str:
    """Settings in one cell of the CSV: those that are on."""
    return " ".join(name for name, on in settings.model_dump().items() if on)
