"""Scores against scikit-learn, numpy and scipy as independent oracles, known answers, and a simulation."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from tasks.metrics import (
    CLASS_SCORES,
    LABEL_SCORES,
    NUMBER_SCORES,
    Truth,
    calibration_error,
    class_table,
    interval,
    known,
    reliability,
    score,
)


def random_classes() -> Iterator[tuple[Truth, Truth]]:
    """Labels of 2 to 6 classes: all kinds of skew, classes that never occur, predictions of one class."""
    rng = np.random.default_rng(5)
    for case in range(300):
        classes = 2 + case % 5
        offered = rng.choice(classes, size=rng.integers(1, classes + 1), replace=False)
        truth = rng.choice(offered, size=rng.integers(1, 60))
        noise = rng.integers(0, classes, size=len(truth))
        predicted = np.where(rng.random(len(truth)) < rng.random(), truth, noise)
        yield truth, predicted if case % 7 else np.full_like(truth, rng.integers(classes))


def correlation_of_classes(truth: Truth, predicted: Truth) -> float:
    """Matthews' coefficient as the correlation of one-hot columns (Gorodkin, 2004)."""
    size = max(truth.max(), predicted.max()) + 1
    x, y = (np.eye(size)[v] - np.eye(size)[v].mean(axis=0) for v in (truth, predicted))
    spread = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / spread) if spread else 0.0


@pytest.mark.filterwarnings("ignore:A single label")
def test_class_scores_equal_their_oracles_on_random_labels() -> None:
    for truth, predicted in random_classes():
        assert score("accuracy", truth, predicted) == pytest.approx(sk.accuracy_score(truth, predicted))
        macro = sk.f1_score(truth, predicted, average="macro", zero_division=0)
        assert score("macro_f1", truth, predicted) == pytest.approx(macro)
        ones = sk.f1_score(truth == 1, predicted == 1, zero_division=0)
        assert score("f1", truth, predicted) == pytest.approx(ones)
        expected = correlation_of_classes(truth, predicted)
        assert score("matthews", truth, predicted) == pytest.approx(expected, abs=1e-9)


def test_number_scores_equal_numpys_correlation_of_values_and_of_ranks() -> None:
    rng = np.random.default_rng(6)
    for case in range(100):
        truth = rng.normal(size=rng.integers(3, 50))
        predicted = truth * rng.normal() + rng.normal(size=len(truth))
        if case % 3 == 0:  # many ties
            truth, predicted = np.round(truth), np.round(predicted)
        if np.ptp(truth) == 0 or np.ptp(predicted) == 0:
            continue
        assert score("pearson", truth, predicted) == pytest.approx(np.corrcoef(truth, predicted)[0, 1])
        ranks = stats.rankdata(truth), stats.rankdata(predicted)
        assert score("spearman", truth, predicted) == pytest.approx(np.corrcoef(*ranks)[0, 1])


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_a_constant_prediction_or_truth_correlates_with_nothing(name: str) -> None:
    rising, flat = np.arange(5.0), np.full(5, 2.5)
    assert score(name, rising, flat) == score(name, flat, rising) == score(name, flat, flat) == 0.0
    assert interval(name, rising, flat, draws=20) == (0.0, 0.0)


def test_known_answers_by_hand() -> None:
    truth, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    assert score("accuracy", truth, predicted) == pytest.approx(3 / 5)
    assert score("f1", truth, predicted) == pytest.approx(2 * 2 / (3 + 3))
    assert score("macro_f1", truth, predicted) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert score("matthews", truth, predicted) == pytest.approx((2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2))
    assert score("pearson", np.array([1.0, 2, 3]), np.array([2.0, 4, 6])) == pytest.approx(1)
    assert score("pearson", np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(0.5)
    assert score("spearman", np.array([1.0, 2, 3]), np.array([-1.0, -10, -1000])) == pytest.approx(-1)


def test_macro_f1_ignores_a_class_that_is_neither_true_nor_predicted() -> None:
    assert score("macro_f1", np.array([0, 5, 5]), np.array([0, 5, 5])) == 1.0
    assert score("macro_f1", np.array([0, 0, 2]), np.array([0, 0, 0])) == pytest.approx((4 / 5 + 0) / 2)


def test_f1_is_zero_where_class_one_never_occurs() -> None:
    assert score("f1", np.array([0, 0]), np.array([0, 0])) == 0.0
    assert score("f1", np.array([0, 2]), np.array([0, 2])) == 0.0


def test_each_target_has_its_own_scores() -> None:
    assert set(known("class")) == set(CLASS_SCORES) == {"accuracy", "f1", "macro_f1", "matthews"}
    assert set(known("number")) == set(NUMBER_SCORES) == {"pearson", "spearman"}
    assert set(known("multilabel")) == set(LABEL_SCORES) == {"micro_f1", "macro_f1", "exact_match"}


def test_the_interval_covers_the_true_accuracy_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(11)
    truth, right, samples, covered = np.zeros(250, dtype=int), 0.8, 400, 0
    for sample in range(samples):
        predicted = (rng.random(len(truth)) >= right).astype(int)
        low, high = interval("accuracy", truth, predicted, draws=400, seed=sample)
        covered += low <= right <= high
    assert 0.92 <= covered / samples <= 0.975


def test_the_interval_is_as_wide_as_the_normal_approximation_and_repeats_with_its_seed() -> None:
    truth = np.zeros(1000, dtype=int)
    predicted = (np.arange(1000) >= 900).astype(int)
    low, high = interval("accuracy", truth, predicted, draws=2000)
    half = 1.96 * np.sqrt(0.9 * 0.1 / 1000)
    assert [low, high] == pytest.approx([0.9 - half, 0.9 + half], abs=0.003)
    assert interval("accuracy", truth, predicted, seed=1) == interval("accuracy", truth, predicted, seed=1)
    assert interval("accuracy", truth, predicted, seed=1) != interval("accuracy", truth, predicted, seed=2)
    assert interval("accuracy", truth, truth) == (1.0, 1.0)


def test_the_interval_draws_truth_and_prediction_together() -> None:
    truth = np.arange(40) % 4
    assert interval("macro_f1", truth, truth, draws=50) == (1.0, 1.0)


def test_calibration_error_by_hand() -> None:
    sure_and_right = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert calibration_error(np.array([0, 1]), sure_and_right) == 0.0
    assert calibration_error(np.array([1, 0]), sure_and_right) == 1.0
    # Four rows say 0.75, three are right: no error. Two say 0.95, one is right: 0.45, on 2 of 6 rows.
    answers = np.array([[0.75, 0.25]] * 4 + [[0.05, 0.95]] * 2)
    truth = np.array([0, 0, 0, 1, 1, 0])
    assert calibration_error(truth, answers, bins=10) == pytest.approx(0.45 * 2 / 6)
    # In one bin all that counts is the mean confidence against the accuracy.
    assert calibration_error(truth, answers, bins=1) == pytest.approx(abs((4 * 0.75 + 2 * 0.95) / 6 - 4 / 6))


def test_calibration_error_of_honest_probabilities_is_small_and_of_boasts_large() -> None:
    rng = np.random.default_rng(3)
    high = rng.uniform(0.5, 1, size=20_000)
    honest, truth = np.column_stack([high, 1 - high]), (rng.random(20_000) > high).astype(int)
    assert calibration_error(truth, honest) < 0.015
    boast = np.column_stack([np.full(20_000, 0.99), np.full(20_000, 0.01)])
    assert calibration_error(truth, boast) == pytest.approx(0.99 - np.mean(truth == 0))


def test_reliability_leaves_empty_bins_out_and_counts_every_row() -> None:
    answers = np.array([[0.6, 0.4], [0.62, 0.38], [1.0, 0.0]])
    confidence, accuracy, count = reliability(np.array([0, 1, 0]), answers, bins=10)
    assert confidence == pytest.approx([0.61, 1.0])
    assert accuracy == pytest.approx([0.5, 1.0])
    assert count.tolist() == [2, 1]


def test_the_class_table_keeps_the_order_of_the_labels_and_counts_by_hand() -> None:
    truth, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    first, second, third = class_table(truth, predicted, ("no", "yes", "never"))
    assert first == {"label": "no", "precision": 0.5, "recall": 0.5, "f1": 0.5, "rows": 2}
    assert (second["label"], second["rows"]) == ("yes", 3)
    assert second["recall"] == pytest.approx(2 / 3)
    assert third == {"label": "never", "precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 0}


def random_marks() -> Iterator[tuple[Truth, Truth]]:
    """Rows of 2 to 5 labels, rare ones and ones that never occur, predictions of nothing and of everything."""
    rng = np.random.default_rng(8)
    for case in range(100):
        shape, rate = (rng.integers(1, 40), 2 + case % 4), rng.random(2 + case % 4) * (rng.random(2 + case % 4) > 0.2)
        truth = (rng.random(shape) < rate).astype(np.int8)
        predicted = (rng.random(shape) < [0.0, 1.0, 0.5, rate.mean()][case % 4]).astype(np.int8)
        yield truth, predicted


def test_scores_of_several_labels_a_row_equal_scikit_learns() -> None:
    for truth, predicted in random_marks():
        micro = sk.f1_score(truth, predicted, average="micro", zero_division=0)
        assert score("micro_f1", truth, predicted) == pytest.approx(micro)
        assert score("exact_match", truth, predicted) == pytest.approx(sk.accuracy_score(truth, predicted))
        seen = (truth.sum(0) + predicted.sum(0)) > 0  # a label that nobody meant or gave counts for nothing
        each = sk.f1_score(truth, predicted, average=None, zero_division=0)
        assert score("macro_f1", truth, predicted) == pytest.approx(each[seen].mean() if seen.any() else 0.0)


def test_scores_of_several_labels_by_hand() -> None:
    truth, predicted = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]]), np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]])
    assert score("exact_match", truth, predicted) == pytest.approx(1 / 3)
    assert score("micro_f1", truth, predicted) == pytest.approx(2 * 2 / (3 + 3))
    assert score("macro_f1", truth, predicted) == pytest.approx((2 / 3 + 2 / 3) / 2)
    low, high = interval("micro_f1", np.tile(truth, (50, 1)), np.tile(predicted, (50, 1)), draws=100)
    assert low < 2 / 3 < high
    table = class_table(truth, predicted, ("a", "b", "c"))
    assert [(row["label"], row["precision"], row["recall"], row["rows"]) for row in table] == [
        ("a", 1.0, 0.5, 2),
        ("b", 0.5, 1.0, 1),
        ("c", 0.0, 0.0, 0),
    ]
