"""Receipts: what a verb left on disk, as small frozen values that cross from verb to verb."""

from pathlib import Path
from typing import Literal

from tasks.frozen import Frozen


class Target(Frozen):
    """What a model answers: one of `labels` in their fixed order, or a number (labels is None)."""

    labels: tuple[str, ...] | None
    raw: tuple[str, ...] = ()  # the same classes as the source writes them

    @property
    def outputs(self) -> int:
        """The width of the head."""
        return len(self.labels) if self.labels else 1


class Prepared(Frozen):
    """The rows of a run: parquet files `train`, `validation`, `test` in `folder`, each fingerprinted by content."""

    folder: Path
    origin: str
    accepts: Literal["text", "image"]
    target: Target
    rows: dict[str, int]
    hashes: dict[str, str]

    def file(self, split: str) -> Path:
        """The parquet file of a split."""
        return self.folder / f"{split}.parquet"


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
    """What a model scored on fixed rows; `headline` names the first of `metrics`."""

    headline: str
    metrics: dict[str, Measured]
    calibration_error: float | None
    classes: tuple[dict[str, float | str], ...]
    rows: int
    test_hash: str
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
