"""Scores by name, their bootstrap intervals and the calibration error. Works on numbers alone."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Truth = NDArray[Any]
Score = Callable[[Truth, Truth], float]


def _correlation(name: Literal["pearsonr", "spearmanr"]) -> Score:
    def score(truth: Truth, predicted: Truth) -> float:
        from scipy import stats

        if np.ptp(truth) == 0 or np.ptp(predicted) == 0:
            return 0.0  # a constant tells nothing: scipy would answer NaN
        return float(getattr(stats, name)(truth, predicted).statistic)

    return score


def _f1_by_class(truth: Truth, predicted: Truth) -> Truth:
    """F1 of every class that occurs among the true or the predicted, in their order."""
    size = int(max(truth.max(), predicted.max())) + 1
    hits = np.bincount(truth[truth == predicted], minlength=size)
    seen = np.bincount(truth, minlength=size) + np.bincount(predicted, minlength=size)
    return np.where(seen > 0, 2 * hits / np.maximum(seen, 1), np.nan)


def _f1(truth: Truth, predicted: Truth) -> float:
    scores = _f1_by_class(truth, predicted)
    return float(scores[1]) if len(scores) > 1 and not np.isnan(scores[1]) else 0.0


def _matthews(truth: Truth, predicted: Truth) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(truth, predicted))


def _hits(truth: Truth, predicted: Truth) -> Truth:
    hits: Truth = np.sum((truth == 1) & (predicted == 1), axis=0)
    return hits


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0


def _macro_f1_of_labels(truth: Truth, predicted: Truth) -> float:
    seen = truth.sum(0, dtype=int) + predicted.sum(0, dtype=int)
    scores = 2 * _hits(truth, predicted)[seen > 0] / seen[seen > 0]
    return float(scores.mean()) if len(scores) else 0.0


# Each takes true and predicted class indices [N]; `f1` is of class 1, as GLUE has it for MRPC.
CLASS_SCORES: dict[str, Score] = {
    "accuracy": lambda truth, predicted: float(np.mean(truth == predicted)),
    "f1": _f1,
    "macro_f1": lambda truth, predicted: float(np.nanmean(_f1_by_class(truth, predicted))),
    "matthews": _matthews,
}
# Each takes true and predicted labels as 0 and 1, [N, K].
LABEL_SCORES: dict[str, Score] = {
    "micro_f1": lambda truth, predicted: _share(2 * _hits(truth, predicted).sum(), truth.sum() + predicted.sum()),
    "macro_f1": _macro_f1_of_labels,
    "exact_match": lambda truth, predicted: float(np.mean((truth == predicted).all(axis=1))),
}
# Each takes true and predicted numbers [N].
NUMBER_SCORES: dict[str, Score] = {"pearson": _correlation("pearsonr"), "spearman": _correlation("spearmanr")}

SIGNED = {"matthews", *NUMBER_SCORES}  # from -1 to 1; all others from 0 to 1

KNOWN = {"class": CLASS_SCORES, "multilabel": LABEL_SCORES, "number": NUMBER_SCORES}


def known(target: str) -> dict[str, Score]:
    """The scores that fit a target: `class`, `multilabel` or `number`."""
    return KNOWN[target]


def score(name: str, truth: Truth, predicted: Truth) -> float:
    """One score of true against predicted values of one shape: [N] class indices or numbers, or [N, K] labels."""
    scores = LABEL_SCORES if truth.ndim == 2 else CLASS_SCORES | NUMBER_SCORES
    return scores[name](truth, predicted)


def interval(name: str, truth: Truth, predicted: Truth, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval over the rows.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    scores = resampled(lambda rows: score(name, truth[rows], predicted[rows]), len(truth), draws, seed)
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)


def resampled(score_of: Callable[[Truth], Any], rows: int, draws: int, seed: int = 0) -> Truth:
    """[draws, ...] what `score_of` gives for the indices of rows drawn with replacement."""
    rng = np.random.default_rng(seed)  # one draw at a time: all at once would take 8 bytes x draws x rows
    return np.array([score_of(rng.integers(0, rows, size=rows)) for _ in range(draws)])


def reliability(truth: Truth, probabilities: Truth, bins: int = 15) -> tuple[Truth, Truth, Truth]:
    """Mean confidence, accuracy and row count of each occupied bin of equal width; probabilities are [N, K]."""
    confidence, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    full = count > 0
    mean = np.bincount(place, weights=confidence, minlength=bins)[full] / count[full]
    accuracy = np.bincount(place, weights=hit, minlength=bins)[full] / count[full]
    return mean, accuracy, count[full]


def calibration_error(truth: Truth, probabilities: Truth, bins: int = 15) -> float:
    """Expected calibration error of the top class, in 0..1.

    Source: Guo et al., On Calibration of Modern Neural Networks (2017), equation 5.
    """
    confidence, accuracy, count = reliability(truth, probabilities, bins)
    return float(np.sum(count * np.abs(confidence - accuracy)) / count.sum())


def class_table(truth: Truth, predicted: Truth, labels: tuple[str, ...]) -> list[dict[str, float | str]]:
    """Precision, recall, F1 and row count of every class, in the order of the labels.

    Truth and prediction are class indices [N], or 0 and 1 for every label [N, K].
    """
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=range(len(labels)), average=None, zero_division=0.0
    )
    return [
        {"label": label, "precision": float(p), "recall": float(r), "f1": float(f), "rows": int(n)}
        for label, p, r, f, n in zip(labels, precision, recall, f1, support, strict=True)
    ]
