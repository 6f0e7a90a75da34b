"""Rows to batches: buckets of similar length, a pure function of seed and epoch, so that any step can be resumed."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
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
    """Batch number i, encoded; augmentation is drawn from seed, epoch and row alone."""

    def __init__(self, network: Network, rows: pd.DataFrame, batches: list[list[int]], seed: int, epoch: int) -> None:
        self._network, self._inputs, self._batches = network, inputs_of(rows), batches
        whole = np.issubdtype(rows[LABEL].dtype, np.integer)
        self._labels = torch.tensor(rows[LABEL].to_numpy(), dtype=torch.long if whole else torch.float32)
        self._seeds = np.random.default_rng([seed, epoch, 1]).integers(0, 2**31, len(rows))

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[Batch, Tensor]:
        chosen = self._batches[index]
        inputs = {name: [column[row] for row in chosen] for name, column in self._inputs.items()}
        return self._network.encode(inputs, [int(self._seeds[row]) for row in chosen]), self._labels[chosen]


def encoded(
    network: Network, rows: pd.DataFrame, batches: list[list[int]], seed: int, epoch: int, first: int
) -> Iterable[tuple[Batch, Tensor]]:
    """The batches of an epoch from number `first` on: inputs and labels [B]."""
    return DataLoader(
        _Encoded(network, rows, batches, seed, epoch),
        batch_size=None,
        sampler=range(first, len(batches)),
        num_workers=runtime.workers(),
        pin_memory=runtime.device() == "cuda",
        generator=torch.Generator(),  # its own, so that the loop's random state is untouched
    )
