"""A network from behind its frozen front on: fed with features instead of raw inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tasks import runtime
from tasks.backbones.network import Batch, Network, Rows
from tasks.backbones.ways import Way
from tasks.batches import Feed, seeds_of
from tasks.recipe import Recipe, Schedule
from tasks.speed.cut import Cut, find
from tasks.speed.features import NAME, remember, stacked
from tasks.speed.means import wanted


@dataclass
class Behind(Network):
    """The same module behind the same face. Rows without features it answers as the whole network does.

    Attributes:
        whole: the network.
        cut: where its front ends; None in a process that only encodes.
        by_token: see `Cut`.
    """

    whole: Network
    cut: Cut | None
    by_token: bool

    @classmethod
    def of(cls, whole: Network, cut: Cut) -> Behind:
        """The rest of a network."""
        return cls(whole.module, whole.head, whole.groups, whole, cut, cut.by_token)

    def rows(self, rows: Rows, features: Any) -> Rows:
        """The rows with their features, by row; pictures need not be opened any more."""
        return {NAME: features} if self.whole.augmented else {**rows, NAME: features}

    def encode(self, rows: Rows, seeds: Sequence[int] | None = None) -> Batch:
        if NAME not in rows:
            return self.whole.encode(rows, seeds)
        features = stacked(rows[NAME], self.by_token)
        beside = {name: column for name, column in rows.items() if name != NAME}
        return self.whole.beside(beside, features) | {NAME: features}

    def logits(self, batch: Batch) -> Tensor:
        if NAME not in batch:
            return self.whole.logits(batch)
        assert self.cut
        rest = {name: tensor for name, tensor in batch.items() if name != NAME}
        with self.cut.passed(batch[NAME]):
            return self.whole.logits(rest)

    def light(self) -> Network:
        light = self.whole.light()
        return Behind(light.module, self.head, self.groups, light, None, self.by_token)

    def ready(self, rows: Rows, content: str | None = None) -> Rows:
        return rows if NAME in rows else self.whole.ready(rows, content)

    def lengths(self, rows: Rows) -> NDArray[np.int64]:
        return self.whole.lengths({name: column for name, column in rows.items() if name != NAME} or rows)

    def describe(self, folder: Path) -> None:
        self.whole.describe(folder)

    def way(self, row: Rows) -> Way:
        return self.whole.way(row)


def spared(
    network: Network, recipe: Recipe, folder: Path, train: Rows, validation: Rows, labels: NDArray[Any]
) -> tuple[Network, Feed, Rows]:
    """What a training goes on with once its frozen front has run for every row; as it was, where that spares nothing.

    Training rows whose augmentation is drawn anew in each epoch stay raw, and so do rows for which the disk is too
    small.

    Args:
        network: adapted, in the precision in which it trains.
        recipe: what trains.
        folder: where the features are kept; those of an earlier start are used.
        train: N rows as `ready` gives them, with their `labels` [N] or [N, K].
        validation: likewise.

    Returns:
        the network to run, the training rows for it, and the validation rows.

    Raises:
        GraftError: the disk is full.
    """
    schedule = recipe.schedule
    cut = front(network, recipe, train)
    if cut is None:
        return network, Feed(network, train, labels, schedule.draws), validation
    behind, name = Behind.of(network, cut), f"{cut.place}-of-{runtime.precision()}.f32"
    kept = remember(network, cut, validation, folder / f"validation-{name}")
    scored = behind.rows(validation, kept) if kept else validation
    seeds = [seeds_of(len(labels), recipe.seed, draw) for draw in draws_kept(network, schedule)]
    learnt = remember(network, cut, train, folder / f"train-{name}", seeds) if seeds else None
    if learnt is None:
        return behind, Feed(behind, train, labels, schedule.draws), scored
    return behind, Feed(behind, behind.rows(train, learnt), labels, schedule.draws, len(seeds) > 1), scored


def front(network: Network, recipe: Recipe, rows: Rows) -> Cut | None:
    """Where the front ends that a training needs to run but once for each row; puts the network in eval mode.

    None where nothing of it is frozen, its dropout is on, or one epoch is all.
    """
    if "frozen_front" not in wanted() or recipe.method.whole or recipe.schedule.epochs < 2:
        return None
    network.module.eval()
    return find(network, rows)


def draws_kept(network: Network, schedule: Schedule) -> Sequence[int | None]:
    """The draws of the training rows of which each serves more than one epoch."""
    if not network.augmented or schedule.draws == 0:
        return [None]
    return range(schedule.draws) if schedule.draws and schedule.draws < schedule.epochs else []
