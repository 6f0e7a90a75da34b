"""Rows to batches: buckets of similar length, a pure function of seed and epoch, so that any step can be resumed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tasks import runtime
from tasks.backbones.network import Batch, Network
from tasks.prepare import inputs_of
from tasks.tables import LABEL

POOL = 50  # batches whose rows are sorted by length together: little padding, still much chance


def epoch_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Row indices of every batch of an epoch; each row once, the last batch perhaps short.

    Rows are shuffled, sorted by length within pools of `POOL` batches, and the batches shuffled again.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    batches: list[list[int]] = []
    for start in range(0, len(order), batch_size * POOL):
        pool = sorted(order[start : start + batch_size * POOL].tolist(), key=lambda row: lengths[row])
        batches += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
    return [batches[index] for index in rng.permutation(len(batches))]


class _Encoded(Dataset[tuple[Batch, Tensor]]):
    """A batch by its rows and their seeds, encoded; augmentation is drawn from the row's seed alone."""

    def __init__(self, network: Network, rows: pd.DataFrame) -> None:
        self._network = replace(network, module=nn.Identity())  # a worker process needs no weights
        self._inputs = inputs_of(rows)
        whole = np.issubdtype(rows[LABEL].dtype, np.integer)
        self._labels = torch.tensor(rows[LABEL].to_numpy(), dtype=torch.long if whole else torch.float32)

    def __getitem__(self, batch: tuple[list[int], list[int]]) -> tuple[Batch, Tensor]:
        chosen, seeds = batch
        inputs = {name: [column[row] for row in chosen] for name, column in self._inputs.items()}
        return self._network.encode(inputs, seeds), self._labels[chosen]


class Feed:
    """The training rows as tensors, epoch after epoch.

    Worker processes start once and from nothing: one forked from a process that has threads can die or hang.
    """

    def __init__(self, network: Network, rows: pd.DataFrame) -> None:
        workers = runtime.workers()
        self._count = len(rows)
        self._order: list[tuple[list[int], list[int]]] = []  # of the current epoch: the loader reads it anew for each
        self._loader = DataLoader(
            _Encoded(network, rows),
            batch_size=None,
            sampler=self._order,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers else None,
            pin_memory=runtime.device() == "cuda",
            generator=torch.Generator(),  # its own, so that the loop's random state is untouched
        )

    def epoch(self, batches: list[list[int]], seed: int, epoch: int, first: int) -> Iterator[tuple[Batch, Tensor]]:
        """The batches of an epoch from number `first` on: inputs and labels [B]."""
        seeds = np.random.default_rng([seed, epoch, 1]).integers(0, 2**31, self._count)
        self._order[:] = [(batch, seeds[batch].tolist()) for batch in batches[first:]]
        return iter(self._loader)
