"""Two models' answers to the same rows compared: differences with intervals and p-values. Works on numbers alone."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from tasks.frozen import Frozen
from tasks.metrics import SIGNED, Truth, resampled, score

SHARES = {"accuracy", "exact_match"}  # scores that are the share of rows with a right answer
DRAWS = 2000


class Estimate(Frozen):
    """A value with the interval that holds the true one with a stated confidence."""

    value: float
    low: float
    high: float


def hits(truth: Truth, predicted: Truth) -> Truth:
    """[N] whether a row's answer is right; of several labels, whether all are."""
    equal = truth == predicted
    right: Truth = equal.all(axis=1) if equal.ndim == 2 else equal
    return right


def split_votes(truth: Truth, ours: Truth, theirs: Truth) -> tuple[int, int]:
    """How many rows ours alone answers rightly, and how many theirs alone."""
    own, other = hits(truth, ours), hits(truth, theirs)
    return int((own & ~other).sum()), int((other & ~own).sum())


def mcnemar(only_ours: int, only_theirs: int) -> float:
    """Two-sided exact p-value that two models are right equally often, from the rows that one alone has right.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions (1947), with the
    binomial distribution instead of chi-squared.
    """
    from scipy.stats import binomtest

    apart = only_ours + only_theirs
    return float(binomtest(only_ours, apart).pvalue) if apart else 1.0


def combined(p_values: Sequence[float]) -> float:
    """One p-value from several of one hypothesis, however they depend on each other (here: one for each seed).

    The K/k-fold of the k-th smallest of K, with k the upper half's first. Source: Rüger, Das maximale
    Signifikanzniveau des Tests "Lehne H0 ab, wenn k unter n gegebenen Tests zur Ablehnung führen" (1978).
    """
    count = len(p_values)
    middle = (count + 1) // 2
    return min(1.0, sorted(p_values)[middle - 1] * count / middle)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values raised so that all of them together err with the stated chance, in their order.

    Source: Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    raised = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        raised[index] = highest
    return raised


def over_seeds(
    name: str,
    truth: Truth,
    ours: Sequence[Truth],
    theirs: Sequence[Truth] | None = None,
    confidence: float = 0.95,
    draws: int = DRAWS,
) -> Estimate:
    """The mean score over seeds, or its difference to another method's with the same seeds, with an interval.

    The interval holds the chance of the rows (their paired bootstrap, all models on the same draw) and, from two
    seeds on, that of the seeds: the two variances add up, with Student's t by the Welch-Satterthwaite degrees of
    freedom, for the seeds are few. It ends where the score does: beyond, there is no true value to hold.

    Args:
        name: a score of `tasks.metrics`.
        truth: [N] class indices or numbers, or [N, K] labels of 0 and 1.
        ours: for each seed, the answers to these rows, shaped as the truth.
        theirs: the other method's, in the order of the same seeds.
        confidence: of the two-sided interval, below 1.
        draws: of the bootstrap.

    Source: Satterthwaite, An approximate distribution of estimates of variance components (1946).
    """
    from scipy.stats import t

    def scores(rows: Truth | slice) -> Truth:
        own = np.array([score(name, truth[rows], answers[rows]) for answers in ours])
        if theirs is None:
            return own
        return own - [score(name, truth[rows], answers[rows]) for answers in theirs]

    seeds = scores(slice(None))
    of_rows = float(resampled(lambda rows: scores(rows).mean(), len(truth), draws).var(ddof=1))
    of_seeds = float(seeds.var(ddof=1)) / len(seeds) if len(seeds) > 1 else 0.0
    both = of_rows + of_seeds
    freedom = (len(seeds) - 1) * (both / of_seeds) ** 2 if of_seeds else np.inf
    room = float(t.ppf((1 + confidence) / 2, freedom)) * both**0.5
    middle, lowest = float(seeds.mean()), -1 if name in SIGNED else 0
    least, most = (lowest, 1) if theirs is None else (lowest - 1, 1 - lowest)
    return Estimate(value=middle, low=max(least, middle - room), high=min(most, middle + room))


def difference(name: str, truth: Truth, ours: Truth, theirs: Truth, confidence: float = 0.95) -> Estimate:
    """How much better our model scores than theirs on the same rows; each bound holds by itself.

    The true difference is above `low` with this confidence, and below `high` with this confidence (so that the two
    together are an interval of 2 x confidence - 1). For the share of right answers both are Tango's score bounds,
    which hold for few rows and few differences too; for other scores, percentiles of the paired bootstrap.

    Args:
        name: a score of `tasks.metrics`.
        truth: [N] class indices or numbers, or [N, K] labels of 0 and 1.
        ours: the answers of our model, shaped as the truth.
        theirs: those of the other.
        confidence: of each bound, above a half and below 1.
    """
    value = score(name, truth, ours) - score(name, truth, theirs)
    if name in SHARES:
        rows, (own, other) = len(truth), split_votes(truth, ours, theirs)
        low, high = lower_bound(own, other, rows, confidence), -lower_bound(other, own, rows, confidence)
        return Estimate(value=value, low=low, high=high)

    def apart(rows: Truth) -> float:
        return score(name, truth[rows], ours[rows]) - score(name, truth[rows], theirs[rows])

    low, high = np.quantile(resampled(apart, len(truth), DRAWS), [1 - confidence, confidence])
    return Estimate(value=value, low=float(low), high=float(high))


def lower_bound(only_ours: int, only_theirs: int, rows: int, confidence: float) -> float:
    """What the difference of two shares of right answers exceeds with this confidence.

    Tango's score bound with a row of continuity correction, as McNemar's test has it by Edwards: with it, models that
    are worse by exactly a margin pass in no more than the stated share of cases, also where the rows are few
    (`tests/test_paired.py` adds up all cases), and what passes at 0 is what the exact test calls better.

    Source: Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design (1998), equations 5 to 8; Edwards, Note on the "correction for continuity" in testing the significance of
    the difference between correlated proportions (1948).
    """
    from scipy.optimize import brentq

    z = NormalDist().inv_cdf(confidence)

    def room(apart: float) -> float:
        return _standing(only_ours, only_theirs, rows, apart) - z

    if room(-1.0) <= 0:
        return -1.0
    return float(brentq(room, -1.0, (only_ours - only_theirs) / rows))


def _standing(only_ours: int, only_theirs: int, rows: int, apart: float) -> float:
    """How many standard errors the seen difference, less a row, lies above a true one."""
    both, less = only_ours + only_theirs, only_ours - only_theirs
    linear, constant = (2 * rows - less) * apart - both, -only_theirs * apart * (1 - apart)
    share = (np.sqrt(max(linear**2 - 8 * rows * constant, 0.0)) - linear) / (4 * rows)  # theirs alone, most likely
    variance = rows * (2 * share + apart * (1 - apart))
    over = less - rows * apart - 1
    return float(over / np.sqrt(max(variance, 1e-12)))
