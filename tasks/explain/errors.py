"""The rows on which a model is wrong: the surest first, which classes it confuses, and where two models part."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.objective import probabilities
from tasks.results import Target


@dataclass(frozen=True)
class Answers:
    """What a model answered to labelled rows: truth [N] or [N, K] (see `tasks.rows`), logits [N, K].

    `predicted` are its answers, shaped as the truth.
    """

    target: Target
    truth: NDArray[Any]
    logits: NDArray[Any]
    predicted: NDArray[Any]

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """[N] whether the answer is the truth: of several labels all, of a number the very same."""
        return _same(self.predicted, self.truth)

    @cached_property
    def far(self) -> NDArray[Any]:
        """[N] how wrong an answer is: the probability given to what is not so, at most one; of a number, how far off.

        Of several labels it is that of the label that is wrong with the highest one.
        """
        if self.target.kind == "number":
            return np.asarray(np.abs(self.predicted - self.truth))
        found = probabilities(self.target, torch.from_numpy(self.logits)).numpy()
        if self.target.kind == "class":
            own = np.take_along_axis(found, self.predicted[:, None], axis=1)[:, 0]
            return np.where(self.right, 0.0, own)
        sure = np.where(self.predicted != self.truth, np.maximum(found, 1 - found), 0.0)
        return np.asarray(sure.max(1))

    def named(self, values: Any) -> str:
        """A truth or an answer in words."""
        if self.target.labels is None:
            return f"{float(values):.3f}"
        if self.target.kind == "class":
            return self.target.labels[int(values)]
        return "|".join(compress(self.target.labels, values)) or "(none)"

    def named_all(self, places: Sequence[int]) -> list[str]:
        """The answers to some rows in words."""
        return [self.named(self.predicted[place]) for place in places]


def _same(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """[N] of values [N] or [N, K]."""
    return np.asarray((one == other).reshape(len(one), -1).all(1))


def worst(given: Answers, count: int) -> list[int]:
    """The rows with the worst wrong answers, the worst first; at most so many."""
    order = np.argsort(-given.far, kind="stable")
    return [int(row) for row in order if not given.right[row]][:count]


class Confused(NamedTuple):
    """So many rows of one class were answered with another one."""

    label: str
    prediction: str
    rows: int


def confused(given: Answers) -> list[Confused]:
    """The pairs of classes that are taken for each other, the most frequent first.

    Where a row may have several labels, each label that was missed or was too many counts by itself. Empty for
    numbers.
    """
    names, wrong = given.target.labels, np.flatnonzero(~given.right)
    if names is None:
        return []
    if given.target.kind == "class":
        pairs = Counter((given.named(given.truth[row]), given.named(given.predicted[row])) for row in wrong)
    else:
        rows, labels = np.nonzero(given.truth != given.predicted)
        missed = given.truth[rows, labels] == 1
        pairs = Counter(
            (names[label], f"no {names[label]}") if gone else (f"no {names[label]}", names[label])
            for label, gone in zip(labels.tolist(), missed.tolist(), strict=True)
        )
    return [Confused(*pair, rows) for pair, rows in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))]


class Parting(NamedTuple):
    """A row to which two models give different answers; `right` is `this`, `other` or `neither`."""

    row: int
    right: str


def partings(this: Answers, other: Answers) -> list[Parting]:
    """All rows on which the answers differ, those first where the wrong model is the surest.

    Of a number, the nearer answer is right. Both must have answered to the same rows.
    """
    apart = ~_same(this.predicted, other.predicted)
    order = np.argsort(-np.maximum(this.far, other.far), kind="stable")
    return [Parting(int(row), _right(this, other, int(row))) for row in order if apart[row]]


def _right(this: Answers, other: Answers, row: int) -> str:
    if this.target.kind == "number" and this.far[row] != other.far[row]:
        return "this" if this.far[row] < other.far[row] else "other"
    if this.right[row]:
        return "this"
    return "other" if other.right[row] else "neither"
