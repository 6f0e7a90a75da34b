"""Receipts: what a verb left on disk, as small frozen values that cross from verb to verb."""

from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from tasks.frozen import Frozen

Overlap = Literal["yes", "no", "unknown"]


class Target(Frozen):
    """What a model answers: one of `labels` in their fixed order, any number of them, or a number (labels is None)."""

    kind: Literal["class", "multilabel", "number"] = "class"
    labels: tuple[str, ...] | None
    raw: tuple[str, ...] = ()  # the same classes as the source writes them

    @model_validator(mode="before")
    @classmethod
    def _number_without_labels(cls, given: Any) -> Any:
        return {"kind": "number"} | given if isinstance(given, dict) and given.get("labels") is None else given

    @property
    def outputs(self) -> int:
        """The width of the head."""
        return len(self.labels) if self.labels else 1

    @property
    def names(self) -> tuple[str, ...]:
        """What each output is called in files that other programs read: its label, or `score` for a number."""
        return self.labels or ("score",)


class Prepared(Frozen):
    """The rows of a run in `folder`, each split a file that is read from disk as it is needed.

    The splits are `train`, `validation`, `test`, and perhaps more that are scored too; `hashes` are of their content.
    `left_out` training rows were not taken because the very same input is in a split that is scored.
    """

    folder: Path
    origin: str
    revision: str = ""
    accepts: Literal["text", "image"]
    target: Target
    rows: dict[str, int]
    hashes: dict[str, str]
    left_out: int = 0

    def file(self, split: str) -> Path:
        """The file of a split (Arrow's IPC format; see `tasks.rows`)."""
        return self.folder / f"{split}.arrow"


class Checkpoint(Frozen):
    """A trained model's folder (see `tasks.saved`) and what its training took."""

    folder: Path
    adapter_weights: int
    head_weights: int
    total_weights: int
    steps: int
    epochs: int
    best_epoch: int
    validation: float
    seconds: float
    rows_per_second: float
    resumed_at: int | None = None

    @property
    def trained_weights(self) -> int:
        """Adapter (or trunk) and head together."""
        return self.adapter_weights + self.head_weights


class Measured(Frozen):
    """A score with its 95 % interval over the rows."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {(self.high - self.low) / 2:.3f}"


class Scorecard(Frozen):
    """What a model scored on fixed rows; `headline` names the first of `metrics`.

    `pretraining_overlap`: whether the trunk's pretraining saw the collections that the rows come from (see
    `tasks.overlap`).
    """

    headline: str
    metrics: dict[str, Measured]
    calibration_error: float | None
    classes: tuple[dict[str, float | str], ...]
    rows: int
    test_hash: str
    pretraining_overlap: Overlap
    folder: Path
    seconds: float = 0.0

    @property
    def score(self) -> Measured:
        """The headline's score."""
        return self.metrics[self.headline]


class Registered(Frozen):
    """A verified version of a model in the registry."""

    name: str
    version: int
    uri: str
    run_id: str
    seconds: float = 0.0


class Verdict(Frozen):
    """The gate's answer, with every reason as a sentence."""

    passed: bool
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return "promoted" if self.passed else "held"
