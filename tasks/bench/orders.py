"""What goes into a side's process and what comes out of it."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from tasks import memory
from tasks.bench.works import Kind, Peer, Settings
from tasks.frozen import Frozen
from tasks.recipe import Recipe
from tasks.results import Prepared

TAKEN, ANSWERS, LAPS = "taken.json", "answers.npy", "laps.json"  # the files in a side's folder
BATCHES, TAKES = 12, 4  # of a training's rows and of its validation rows; of each with each setting, in each turn
PLAIN, ALL = "none", "all"  # settings of the means, as `GRAFT_MEANS` calls them

Part = Literal["steps", "answers"]


class Order(Frozen):
    """One side of one turn.

    Attributes:
        by: who is to do it.
        rows: train on so many of the first rows; None for all.
        epochs: so many; None for the recipe's.
        out: the folder for the answer, the side's own.
        model: the folder of the model that is asked, where nothing trains.
        keep: where Graft's trained model is to lie afterwards.
        means: by which Graft's training is made faster, as `GRAFT_MEANS` says it; None for what that variable has.
    """

    by: Literal["graft"] | Peer
    kind: Kind
    recipe: Recipe
    data: Prepared
    settings: Settings = Settings()
    rows: int | None = None
    epochs: int | None = None
    out: Path
    model: Path | None = None
    keep: Path | None = None
    means: str | None = None


class Taken(Frozen):
    """What a side took.

    Attributes:
        seconds: of training, or of answering; imports, loading, tokenising before a training, scoring and checkpoints
            are not in it.
        ready: to load the network and tokenise the rows before that; shown in the CSV alone.
        rows: in one epoch, or answered.
        steps: of the optimizer.
        trained: weights that train.
        peak: bytes that the process had at its highest until then, all libraries with it (on a GPU, its tensors).
        seen: 16 hex digits of the rows with their labels.
        flops: of the matrix products that the plain method needs for this training; None where nobody counted.
    """

    seconds: float
    ready: float
    rows: int
    epochs: int
    steps: int
    trained: int
    peak: int
    seen: str
    flops: float | None = None

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows * self.epochs / self.seconds


class Alternated(Frozen):
    """A training whose batches are taken with each setting of the means in turn, in one process.

    Attributes:
        repeats: laps of each.
        batches: of the training rows, and as many of the validation rows.
        takes: of each batch with each setting, in each lap; the fastest counts.
        out: the folder for the answer, the process's own.
    """

    recipe: Recipe
    data: Prepared
    repeats: int
    batches: int = BATCHES
    takes: int = TAKES
    out: Path


class Lap(Frozen):
    """All batches with one setting of the means.

    Attributes:
        turn: from 1.
        rows: in all batches.
        seconds: of steps, or of answers, by the fastest take of each batch.
    """

    part: Part
    means: str
    turn: int
    rows: int
    seconds: float


class Laps(Frozen):
    """All that such a process has measured."""

    laps: tuple[Lap, ...]


def digest(inputs: Iterable[Any], labels: Iterable[Any]) -> str:
    """16 hex digits of inputs (texts, or pictures' files) and their labels, in this order."""
    told = hashlib.sha256()
    for given, label in zip(inputs, labels, strict=True):
        content = given if isinstance(given, bytes) else str(given).encode()
        told.update(f"{len(content)} {int(label)}\n".encode() + content)
    return told.hexdigest()[:16]


def answered(texts: Sequence[str], labels: Iterable[Any], ready: float, seconds: float) -> Taken:
    """What a side took that only answered these rows, until now."""
    return Taken(
        seconds=seconds,
        ready=ready,
        rows=len(texts),
        epochs=1,
        steps=0,
        trained=0,
        peak=memory.device_peak() or memory.peak(),
        seen=digest(texts, labels),
    )
