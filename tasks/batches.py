"""Rows to batches: buckets of similar length, a pure function of seed and epoch, so that any step can be resumed."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from tasks import runtime
from tasks.backbones.network import Batch, Network, Rows

POOL = 50  # batches whose rows are sorted by length together: little padding, still much chance


def epoch_batches(lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Row indices of every batch of an epoch; each row once, the last batch perhaps short.

    Rows are shuffled, sorted by length within pools of `POOL` batches, and the batches shuffled again.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), batch_size * POOL):
        pool = order[start : start + batch_size * POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def truth(labels: NDArray[Any]) -> Tensor:
    """Labels [N] or [N, K] as the loss takes them: class indices, or numbers."""
    classes = labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer)
    return torch.tensor(labels, dtype=torch.long if classes else torch.float32)


class Chosen(NamedTuple):
    """A batch: its rows, their places in the columns of inputs, and their seeds (none: as they are)."""

    rows: list[int]
    places: list[int]
    seeds: list[int] | None


class _Encoded(Dataset[tuple[Batch, Tensor]]):
    """A batch as tensors; augmentation is drawn from the row's seed alone."""

    def __init__(self, network: Network, inputs: Rows, labels: NDArray[Any]) -> None:
        self._network, self._inputs, self._labels = network.light(), inputs, truth(labels)

    def __getitem__(self, batch: Chosen) -> tuple[Batch, Tensor]:
        inputs = {name: [column[place] for place in batch.places] for name, column in self._inputs.items()}
        return self._network.encode(inputs, batch.seeds), self._labels[batch.rows]


class _Order(Sampler[Chosen]):
    """The batches of the current epoch; the loader reads it anew for each epoch."""

    def __init__(self) -> None:
        self.batches: list[NDArray[np.int64]] = []
        self.seeds: NDArray[np.int64] | None = None
        self.first = 0  # place of row 0

    def __iter__(self) -> Iterator[Chosen]:
        for batch in self.batches:
            seeds = None if self.seeds is None else self.seeds[batch].tolist()
            yield Chosen(batch.tolist(), (batch + self.first).tolist(), seeds)


def draw_of(epoch: int, draws: int | None) -> int | None:
    """Which draw of the augmentation an epoch (0, 1, ...) sees: its own, one of `draws`, or none at all (0)."""
    return epoch if draws is None else epoch % draws if draws else None


def seeds_of(count: int, seed: int, draw: int | None) -> NDArray[np.int64] | None:
    """[N] the rows' seeds in a draw; None where nothing is drawn."""
    return None if draw is None else np.random.default_rng([seed, draw, 1]).integers(0, 2**31, count)


class Feed:
    """The training rows as tensors, epoch after epoch.

    Worker processes start once and from nothing: one forked from a process that has threads can die or hang.

    Args:
        network: encodes them.
        inputs: columns of N inputs; of N for each draw, one after the other, if they are `kept_by_draw`.
        labels: [N] or [N, K].
        draws: see `draw_of`.
        kept_by_draw: whether the inputs hold every draw.
    """

    def __init__(
        self,
        network: Network,
        inputs: Rows,
        labels: NDArray[Any],
        draws: int | None = None,
        kept_by_draw: bool = False,
    ) -> None:
        workers = runtime.workers()
        self._count, self._draws, self._kept_by_draw = len(labels), draws, kept_by_draw
        self._order = _Order()
        self._loader = DataLoader(
            _Encoded(network, inputs, labels),
            batch_size=None,
            sampler=self._order,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers else None,
            pin_memory=runtime.device() == "cuda",
            generator=torch.Generator(),  # its own, so that the loop's random state is untouched
        )

    def epoch(
        self, batches: list[NDArray[np.int64]], seed: int, epoch: int, first: int
    ) -> Iterator[tuple[Batch, Tensor]]:
        """The batches of an epoch from number `first` on: inputs, and labels [B] or [B, K]."""
        draw = draw_of(epoch, self._draws)
        self._order.batches = batches[first:]
        self._order.seeds = seeds_of(self._count, seed, draw)
        self._order.first = self._count * (draw or 0) if self._kept_by_draw else 0
        return iter(self._loader)
