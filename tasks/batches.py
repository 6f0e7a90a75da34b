"""Rows to batches: buckets of similar length, a pure function of seed and epoch, so that any step can be resumed."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
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


class _Encoded(Dataset[tuple[Batch, Tensor]]):
    """A batch by its rows and their seeds, encoded; augmentation is drawn from the row's seed alone."""

    def __init__(self, network: Network, inputs: Rows, labels: NDArray[Any]) -> None:
        self._network = replace(network, module=nn.Identity())  # a worker process needs no weights
        self._inputs = inputs
        classes = labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer)
        self._labels = torch.tensor(labels, dtype=torch.long if classes else torch.float32)

    def __getitem__(self, batch: tuple[list[int], list[int]]) -> tuple[Batch, Tensor]:
        chosen, seeds = batch
        inputs = {name: [column[row] for row in chosen] for name, column in self._inputs.items()}
        return self._network.encode(inputs, seeds), self._labels[chosen]


class _Order(Sampler[tuple[list[int], list[int]]]):
    """The batches of the current epoch with the rows' seeds; the loader reads it anew for each epoch."""

    def __init__(self) -> None:
        self.batches: list[NDArray[np.int64]] = []
        self.seeds = np.empty(0, np.int64)

    def __iter__(self) -> Iterator[tuple[list[int], list[int]]]:
        return ((batch.tolist(), self.seeds[batch].tolist()) for batch in self.batches)


class Feed:
    """The training rows as tensors, epoch after epoch.

    Worker processes start once and from nothing: one forked from a process that has threads can die or hang.
    """

    def __init__(self, network: Network, inputs: Rows, labels: NDArray[Any]) -> None:
        workers = runtime.workers()
        self._count = len(labels)
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
        self._order.batches = batches[first:]
        self._order.seeds = np.random.default_rng([seed, epoch, 1]).integers(0, 2**31, self._count)
        return iter(self._loader)
