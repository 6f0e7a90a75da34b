"""The frozen front of a training tried out: what it will take for all rows, and features of some to step on."""

import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.backbones.network import Batch, Network, Rows
from tasks.batches import seeds_of, truth
from tasks.planning.pace import fit, in_order, sizes_of
from tasks.speed.behind import Behind, draws_kept, front
from tasks.speed.features import fits, made
from tasks.train import Training

Rowset = NDArray[np.int64]


class Front:
    """What a training spares by running its front once for each row.

    Attributes:
        network: what the training will run: what lies behind the front, or all.
        spent: seconds in the front until now.
    """

    def __init__(self, training: Training) -> None:
        self._training, self._whole = training, training.network
        self._cut = front(self._whole, training.recipe, training.inputs)
        self.network: Network = Behind.of(self._whole, self._cut) if self._cut else self._whole
        self._draws = draws_kept(self._whole, training.recipe.schedule) if self._cut else []
        self._timed: list[tuple[int, float]] = []
        self._width = 0  # bytes of a row's features, or of one of its tokens'
        self.spent = 0.0

    def fed(self, batches: list[Rowset], chosen: list[int]) -> Iterator[tuple[Batch, torch.Tensor]]:
        """Some batches of the first epoch as the training will have them: inputs and labels."""
        training, seed = self._training, self._training.recipe.seed
        if not self._draws:
            yield from training.feed.epoch([batches[index] for index in chosen], seed, 0, 0)
            return
        seeds, labels = seeds_of(len(training.rows), seed, self._draws[0]), truth(training.rows.labels)
        for index in chosen:
            yield self.encoded(training.inputs, batches[index], seeds), labels[batches[index]]

    def encoded(self, rows: Rows, chosen: Rowset, seeds: Rowset | None = None) -> Batch:
        """A batch with what the front gives for it, made and timed before."""
        some = {name: [column[row] for row in chosen] for name, column in rows.items()}
        if self._cut is None or not isinstance(self.network, Behind):
            return self.network.encode(some)
        lengths = self._whole.lengths(rows)
        began = time.perf_counter()
        kept = made(self._whole, self._cut, rows, chosen, seeds, lengths)
        self._timed.append((int(sizes_of(lengths, [chosen])[0]), time.perf_counter() - began))
        self.spent += self._timed[-1][1]
        self._width = kept[int(chosen[0])][0].nbytes
        return self.network.encode(self.network.rows(some, [kept[row] for row in chosen.tolist()]))

    def seconds(self) -> float:
        """What the front takes for all rows of the training, each of their draws, and for those to validate."""
        if not self._timed:
            return 0.0
        pace = fit(*zip(*self._timed, strict=True))
        train, scored = (self._all(rows) for rows in (self._training.inputs, self._training.scored))
        return len(self._draws) * pace.seconds(train) + pace.seconds(scored)

    def kept(self) -> int:
        """Bytes that the features of all rows take while it trains; 0 where the disk is too small for them."""
        by_token = self._cut is not None and self._cut.by_token
        train, scored = (
            int(self._whole.lengths(rows).sum()) if by_token else len(self._whole.lengths(rows))
            for rows in (self._training.inputs, self._training.scored)
        )
        needed = [self._width * units for units in (len(self._draws) * train, scored)]
        return sum(own for own in needed if fits(own, self._training.work))

    def _all(self, rows: Rows) -> NDArray[np.int64]:
        lengths = self._whole.lengths(rows)
        return sizes_of(lengths, in_order(lengths, self._whole.at_once))
