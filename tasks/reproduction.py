"""Two runs of one recipe held against each other: equal, within seed noise, or different. Works on numbers alone."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np

from tasks.frozen import Frozen
from tasks.metrics import Truth, score
from tasks.paired import Estimate, difference, hits
from tasks.rounding import TOLERANCE, apart

FEW = 2  # other seeds, from which on they tell what seed noise is
CAUSES = 4  # named in a sentence

Answer = Literal["equal", "within seed noise", "different"]


class Answers(NamedTuple):
    """A model's logits [N, K] for the test rows, and its answers, shaped as the truth."""

    logits: Truth
    predicted: Truth


class Apart(Frozen):
    """How far the two are apart on `rows` test rows; scores are 0 to 1 (correlations -1 to 1), headline metric.

    `difference` is now less then, with bounds of 95 % each.
    """

    metric: str
    same_weights: bool
    rows: int
    other_answers: int
    logits: float
    then: float
    now: float
    difference: Estimate


class Judged(Frozen):
    """The answer and why. `apart` is None where nothing was trained; `seeds` are those that told what noise is."""

    answer: Answer
    reasons: tuple[str, ...]
    apart: Apart | None = None
    seeds: tuple[int, ...] = ()


def judged(
    metric: str,
    truth: Truth,
    then: Answers,
    now: Answers,
    same_weights: bool,
    others: Mapping[int, Answers],
    changes: Sequence[str],
) -> Judged:
    """Whether `now` is the run that `then` was.

    Equal: the weights are bit for bit the same, or every row has the same answer with logits within 1e-5 of their size.
    Within seed noise: the interval of the paired difference includes 0 and, where at least two other seeds of the
    recipe are known, neither the scores nor the answers are further apart than those of two seeds. Different: else.

    Args:
        metric: a score of `tasks.metrics`.
        truth: [N] class indices or numbers, or [N, K] labels of 0 and 1.
        then: the recorded run's answers to these rows.
        now: those of the reproduction.
        same_weights: whether the two models' weights are bit for bit the same.
        others: the answers of the recipe's other seeds to these rows, by seed.
        changes: what has changed since then, the most likely cause of a difference first.
    """
    far = _apart(metric, truth, then, now, same_weights)
    if same_weights or (far.other_answers == 0 and apart(then.logits, now.logits).max() <= TOLERANCE):
        return Judged(answer="equal", reasons=(_equal(far),), apart=far)
    known = others if len(others) >= FEW else {}
    zero = far.difference.low <= 0 <= far.difference.high
    reasons, near = [_paired(far, zero)], True
    if known:
        near, told = _beside(metric, truth, then, now, known)
        reasons.append(told)
    else:
        reasons.append("No two other seeds of this recipe are finished: the interval alone tells what noise is.")
    answer: Answer = "within seed noise" if zero and near else "different"
    return Judged(answer=answer, reasons=(*reasons, why(changes)), apart=far, seeds=tuple(known))


def why(changes: Sequence[str]) -> str:
    """The sentence that names the most likely causes."""
    if not changes:
        return "Nothing that is recorded has changed: this device does not compute the same way twice."
    more = f", and {len(changes) - CAUSES} more" if len(changes) > CAUSES else ""
    return f"Most likely causes: {'; '.join(changes[:CAUSES])}{more}."


def _apart(metric: str, truth: Truth, then: Answers, now: Answers, same_weights: bool) -> Apart:
    return Apart(
        metric=metric,
        same_weights=same_weights,
        rows=len(truth),
        other_answers=int(_other(then.predicted, now.predicted).sum()),
        logits=float(np.abs(then.logits - now.logits).max()),
        then=score(metric, truth, then.predicted),
        now=score(metric, truth, now.predicted),
        difference=difference(metric, truth, now.predicted, then.predicted),
    )


def _other(one: Truth, two: Truth) -> Truth:
    """[N] whether a row has another answer; numbers are the same within the tolerance of logits."""
    if np.issubdtype(one.dtype, np.floating):
        return np.asarray(apart(one, two) > TOLERANCE)
    return ~hits(one, two)


def _disagreement(one: Truth, two: Truth) -> float:
    """The share of rows with another answer, or the mean distance of numbers."""
    far = np.abs(one - two) if np.issubdtype(one.dtype, np.floating) else _other(one, two)
    return float(far.mean())


def _beside(metric: str, truth: Truth, then: Answers, now: Answers, others: Mapping[int, Answers]) -> tuple[bool, str]:
    """Whether then and now are as near as two seeds, and the sentence that says so."""
    seeds = [then.predicted, *(one.predicted for one in others.values())]
    scores = [score(metric, truth, predicted) for predicted in seeds]
    spread = max(scores) - min(scores)
    far = max(_disagreement(one, two) for one, two in combinations(seeds, 2))
    moved, here = abs(score(metric, truth, now.predicted) - scores[0]), _disagreement(then.predicted, now.predicted)
    told = (
        f"With the seeds {', '.join(map(str, others))} beside it, {metric} ranges over {spread:.4f} and the answers of "
        f"two seeds are up to {far:.4f} apart; here it is {moved:.4f} and {here:.4f}."
    )
    return moved <= spread and here <= far, told


def _equal(apart: Apart) -> str:
    bits = "The weights are the same bit for bit" if apart.same_weights else "The weights are not the same bit for bit"
    return (
        f"{bits}; {apart.rows - apart.other_answers:,} of {apart.rows:,} test rows have the same answer, "
        f"with logits at most {apart.logits:.2g} apart."
    )


def _paired(apart: Apart, zero: bool) -> str:
    low, high = apart.difference.low, apart.difference.high
    return (
        f"{apart.metric} was {apart.then:.4f} and is {apart.now:.4f}: the 90 % interval of the difference, {low:.4f} "
        f"to {high:.4f}, {'includes' if zero else 'does not include'} 0; {apart.other_answers:,} of {apart.rows:,} "
        f"test rows have another answer, with logits up to {apart.logits:.2g} apart."
    )
