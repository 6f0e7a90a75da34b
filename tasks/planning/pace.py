"""Seconds from padded tokens: a straight line through batches that were really timed.

A batch's size is its rows times its longest row's tokens; where all inputs have one size, it is its rows.
"""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tasks import runtime
from tasks.frozen import Frozen

Sizes = NDArray[np.int64]
TURN = (5**0.5 - 1) / 2  # multiples of the golden ratio lie evenly in 0..1 wherever one stops


class Pace(Frozen):
    """How fast batches go.

    Attributes:
        batch: seconds of any batch, however small.
        unit: seconds more for each padded token (or row).
        low: the fastest tenth of the batches took at most this share of what the line says.
        high: the slowest tenth took at least this share of it.
        timed: how many batches.
    """

    batch: float
    unit: float
    low: float = 1.0
    high: float = 1.0
    timed: int

    def seconds(self, sizes: Sizes) -> float:
        """What all batches of these sizes take together."""
        return float(self.batch * len(sizes) + self.unit * sizes.sum())


def fit(sizes: Sequence[int], seconds: Sequence[float]) -> Pace:
    """The line with the least squares whose rise and start are not negative; through 0 where all sizes are one."""
    from scipy.optimize import nnls

    size, took = np.asarray(sizes, float), np.asarray(seconds, float)
    batch, unit = 0.0, float(took.sum() / size.sum())
    if len(set(sizes)) > 1:
        (batch, unit), _ = nnls(np.stack([np.ones_like(size), size], 1), took)
    shares = took / (batch + unit * size)
    low, high = np.quantile(shares, [0.1, 0.9])
    return Pace(batch=batch, unit=unit, low=min(1.0, float(low)), high=max(1.0, float(high)), timed=len(took))


def sizes_of(lengths: NDArray[np.int64], batches: Sequence[NDArray[np.int64]]) -> Sizes:
    """[N] the sizes of batches, each given by the indices of its rows."""
    return np.array([len(batch) * max(1, lengths[batch].max()) for batch in batches], np.int64)


def in_order(lengths: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """The batches that `logits_of` makes: rows by their length."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def telling(sizes: Sizes) -> Iterator[int]:
    """Indices of batches to time, without end: the smallest, the largest, a middle one, then evenly spread ones."""
    order = np.argsort(sizes, kind="stable").tolist()
    yield from (order[0], order[-1], order[len(order) // 2])
    turn = 0.0
    while True:
        turn = (turn + TURN) % 1
        yield order[int(turn * len(order))]


def timed(act: Callable[[], None]) -> float:
    """Seconds of it, with what it leaves to a GPU."""
    began = time.perf_counter()
    act()
    if runtime.device() == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began
