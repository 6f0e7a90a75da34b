"""Receipts: what a verb left on disk, as small frozen values that cross from verb to verb."""

from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from tasks.frozen import Frozen

Overlap = Literal["yes", "no", "unknown"]
Outcome = Literal["passed", "open", "failed", "not judged"]


class Target(Frozen):
    """What a model answers: one of `labels` in their fixed order, any number of them, or a number (labels is None).

    Of a trained model alone (see `tasks.decision`):

    Attributes:
        temperature: what its logits were divided by; it is in the head's weights.
        thresholds: of each label: answered is the largest probability by its threshold, or every label above its own.
            None where nothing was tuned: the largest, or those above a half.
        abstain_below: a row whose answer is less probable is answered with no label.
    """

    kind: Literal["class", "multilabel", "number"] = "class"
    labels: tuple[str, ...] | None
    raw: tuple[str, ...] = ()  # the same classes as the source writes them
    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None
    abstain_below: float | None = None

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


class Covered(Frozen):
    """Of rows whose answer is not less probable than `below`: their share of all, and the share that is right."""

    below: float
    coverage: float
    accuracy: float


class Checkpoint(Frozen):
    """A trained model's folder (see `tasks.saved`), what it answers and what its training took.

    `target` is that of the data with all that was fitted on the validation rows; `covered` is of these rows, for rising
    confidences, and empty where a row does not have one class.

    `peak_memory`: bytes that the training process held at its highest, its libraries and rows with it (on a GPU: that
    tensors held there); of the process that ended the training, if it was resumed; 0 where nobody looked.
    """

    folder: Path
    target: Target
    adapter_weights: int
    head_weights: int
    total_weights: int
    steps: int
    epochs: int
    best_epoch: int
    validation: float
    seconds: float
    rows_per_second: float
    peak_memory: int = 0
    resumed_at: int | None = None
    covered: tuple[Covered, ...] = ()

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


class Part(Frozen):
    """The score of those rows that have something in common: `name` of `by` (see `tasks.slices`)."""

    by: str
    name: str
    rows: int
    metric: str
    score: Measured


class Scorecard(Frozen):
    """What a model scored on fixed rows; `headline` names the first of `metrics`.

    Attributes:
        calibration_error: of the probabilities that it tells; `raw_calibration_error` without its temperature.
        untuned: the headline's score without its thresholds; None where it has none.
        pretraining_overlap: whether the trunk's pretraining saw the collections that the rows come from (see
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
    raw_calibration_error: float | None = None
    untuned: float | None = None
    parts: tuple[Part, ...] = ()

    @property
    def score(self) -> Measured:
        """The headline's score."""
        return self.metrics[self.headline]


class Latency(Frozen):
    """Milliseconds in which a model answers one row: half of the rows within `p50`, 95 % within `p95`."""

    p50: float
    p95: float


class Registered(Frozen):
    """A verified version of a model in the registry."""

    name: str
    version: int
    uri: str
    run_id: str
    seconds: float = 0.0


class Reason(Frozen):
    """One thing that a gate looked at.

    Attributes:
        about: what: a metric, a slice, a limit.
        outcome: "failed" is shown to be bad, "open" is not shown to be good, "not judged" had too few rows.
        told: all of it as a sentence.
        candidate: the candidate's figure.
        champion: the champion's.
        low: what the candidate's advantage exceeds with the gate's confidence.
        high: what it stays below with the same.
    """

    about: str
    outcome: Outcome
    told: str
    candidate: float | None = None
    champion: float | None = None
    low: float | None = None
    high: float | None = None


class Verdict(Frozen):
    """A gate's answer, with every reason; `against` is the version of the champion that it was judged against."""

    judged: tuple[Reason, ...]
    against: int | None = None
    test_hash: str = ""
    rows: int = 0

    @property
    def decision(self) -> Literal["PROMOTE", "HOLD", "REJECT"]:
        """REJECT if anything failed, else HOLD if anything is open."""
        outcomes = {reason.outcome for reason in self.judged}
        if "failed" in outcomes:
            return "REJECT"
        return "HOLD" if "open" in outcomes else "PROMOTE"

    @property
    def passed(self) -> bool:
        """Whether the candidate may replace the champion."""
        return self.decision == "PROMOTE"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every reason as a sentence, what decided first."""
        weight = {"failed": 0, "open": 1, "passed": 2, "not judged": 3}
        return tuple(reason.told for reason in sorted(self.judged, key=lambda reason: weight[reason.outcome]))

    def __str__(self) -> str:
        return {"PROMOTE": "promoted", "HOLD": "held", "REJECT": "rejected"}[self.decision]
