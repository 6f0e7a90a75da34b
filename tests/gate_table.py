"""How often the gate errs: 2,000 comparisons of made models for each line (500 by bootstrap). Run by `make gate-table`.

Two models answer the same rows of two classes. `apart` is the share of rows that exactly one of them has right; the
candidate is truly better by `gain`. What the gate says is counted; for accuracy without a margin the share that chance
would bring on and on is added up beside it, over all cases that there are.
"""

from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binom, binomtest

from tasks.evidence import Evidence
from tasks.gates import Gate
from tasks.metrics import score
from tasks.results import Measured, Scorecard

COMPARISONS = 2000


class Setting(NamedTuple):
    """What is compared, and by which gate."""

    rows: int
    apart: float
    gain: float
    margin: float = 0.0
    metric: str = "accuracy"


SETTINGS = [
    *(Setting(2000, apart, 0.0) for apart in (0.02, 0.04, 0.06, 0.08, 0.1, 0.2)),
    *(Setting(rows, 0.08, 0.0) for rows in (100, 400, 10_000)),
    *(Setting(2000, apart, 0.02) for apart in (0.04, 0.06, 0.08, 0.1, 0.2)),
    *(Setting(rows, 0.08, 0.02) for rows in (400, 872)),
    *(Setting(2000, 0.08, gain, 0.01) for gain in (-0.01, 0.0)),
    *(Setting(rows, 0.08, 0.0, 0.0, "macro_f1") for rows in (100, 400, 2000)),
    Setting(2000, 0.08, 0.02, 0.0, "macro_f1"),
]


def simulated(asked: Setting, seed: int = 0, comparisons: int = COMPARISONS) -> dict[str, float]:
    """The shares of PROMOTE, HOLD and REJECT."""
    rng = np.random.default_rng(seed)
    gate = Gate(margin=asked.margin)
    told = {"PROMOTE": 0, "HOLD": 0, "REJECT": 0}
    for _ in range(comparisons):
        truth = rng.integers(0, 2, asked.rows)
        chance = rng.random(asked.rows)
        own_alone = chance < (asked.apart + asked.gain) / 2
        other_alone = ~own_alone & (chance < asked.apart)
        both_wrong = chance > 0.95
        own, other = (np.where(wrong | both_wrong, 1 - truth, truth) for wrong in (other_alone, own_alone))
        told[gate.judge(_shown(asked.metric, truth, own), _shown(asked.metric, truth, other)).decision] += 1
    return {decision: count / comparisons for decision, count in told.items()}


def added_up(asked: Setting) -> float:
    """The chance of PROMOTE for accuracy with margin 0: over all numbers of rows apart, and all ways they can fall."""
    apart = np.arange(asked.rows + 1)
    least = np.ceil((apart + NormalDist().inv_cdf(Gate().confidence) * np.sqrt(apart) + 1) / 2)  # that pass
    least += (2 * least - apart - 1) / np.sqrt(np.maximum(apart, 1)) <= NormalDist().inv_cdf(Gate().confidence)
    passing = binom.sf(least - 1, apart, (asked.apart + asked.gain) / (2 * asked.apart))
    return float(binom.pmf(apart, asked.rows, asked.apart) @ passing)


def _shown(metric: str, truth: Any, predicted: Any) -> Evidence:
    value = score(metric, truth, predicted)
    card = Scorecard(
        headline=metric, metrics={metric: Measured(value=value, low=value, high=value)}, calibration_error=None,
        classes=(), rows=len(truth), test_hash="", pretraining_overlap="unknown", folder=Path(),
    )  # fmt: skip
    return Evidence(card, truth, predicted)


def main() -> None:
    """One line for each setting, as Markdown."""
    print("| metric | rows | apart | truly better by | margin | PROMOTE (95 % interval) | added up | HOLD | REJECT |")
    print("|---|---|---|---|---|---|---|---|---|")
    for one in SETTINGS:
        count = COMPARISONS if one.metric == "accuracy" else COMPARISONS // 4
        found = simulated(one, comparisons=count)
        span = binomtest(round(found["PROMOTE"] * count), count).proportion_ci(method="exact")
        sure = f"{added_up(one):.1%}" if one.metric == "accuracy" and not one.margin else ""
        setting = (
            f"{one.metric} | {one.rows:,} | {one.apart:.0%} | {100 * one.gain:+.0f} points | {100 * one.margin:.0f}"
        )
        promoted = f"{found['PROMOTE']:.1%} ({span.low:.1%} to {span.high:.1%})"
        print(f"| {setting} | {promoted} | {sure} | {found['HOLD']:.1%} | {found['REJECT']:.1%} |", flush=True)


if __name__ == "__main__":
    main()
