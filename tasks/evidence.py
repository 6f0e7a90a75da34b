"""What a model showed on the test rows: all that a gate judges by. Arrays and numbers, no network."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.metrics import Truth
from tasks.results import Scorecard


@dataclass(frozen=True)
class Evidence:
    """One model's answers to the test rows, and what it takes to ask it.

    Attributes:
        card: its scores; says which rows, by their hash.
        truth: [N] class indices or numbers, or [N, K] labels of 0 and 1.
        predicted: its answers, shaped as the truth.
        slices: by what the rows are parted, the name of each part, and the rows in it, [N] of bool; a property of the
            rows, the same for every model.
        asked: [M] the rows that were corrupted too.
        corrupted: of each corruption the answers to the rows asked, [M] or [M, K].
        milliseconds: for one row on the CPU, 95 of 100 times not longer; 0 if the gate does not ask.
        megabytes: of the saved model's files, 10^6 bytes each; 0 if the gate does not ask.
    """

    card: Scorecard
    truth: Truth
    predicted: Truth
    slices: Mapping[str, Mapping[str, Truth]] = field(default_factory=dict)
    asked: Truth | None = None
    corrupted: Mapping[str, Truth] = field(default_factory=dict)
    milliseconds: float = 0.0
    megabytes: float = 0.0
