"""Paired statistics: bounds that err no more often than they say, checked by adding up every case and by simulation."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, multinomial

from tasks.paired import Estimate, combined, difference, hits, holm, lower_bound, mcnemar, over_seeds, split_votes

Truth = NDArray[np.int64]


def flipped(truth: Truth, share: float, rng: np.random.Generator) -> Truth:
    """Answers to two classes of which this share is wrong."""
    wrong = rng.random(truth.shape) < share
    return np.where(wrong, 1 - truth, truth)


def test_the_exact_p_value_is_the_binomials() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 0) == pytest.approx(2 * 0.5**5)
    assert mcnemar(12, 30) == pytest.approx(2 * binom.cdf(12, 42, 0.5))
    assert mcnemar(30, 12) == mcnemar(12, 30)


def test_rows_that_one_alone_has_right_are_counted_also_where_rows_have_several_labels() -> None:
    truth = np.array([0, 1, 1, 0, 2])
    assert split_votes(truth, np.array([0, 1, 0, 0, 2]), np.array([0, 0, 1, 1, 1])) == (3, 1)
    several = np.array([[1, 0], [1, 1]])
    assert hits(several, np.array([[1, 0], [1, 0]])).tolist() == [True, False]


def test_holms_p_values_are_those_of_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_p_values_of_seeds_combine_to_one_that_errs_no_more_often_than_it_says() -> None:
    assert combined([0.02]) == 0.02
    assert combined([0.01, 0.04, 0.9]) == pytest.approx(0.06)
    rng = np.random.default_rng(0)
    for shared in (0.0, 0.9, 1.0):  # how much the seeds have in common
        draws = rng.random((20_000, 3))
        draws = np.where(rng.random((20_000, 1)) < shared, draws[:, :1], draws)
        assert np.mean([combined(row) <= 0.05 for row in draws.tolist()]) <= 0.053


@pytest.mark.parametrize("rows", [10, 40, 120])
@pytest.mark.parametrize("margin", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_models_worse_by_just_the_margin_pass_in_no_more_than_the_stated_share_of_all_cases(
    rows: int, margin: float, confidence: float
) -> None:
    cases = [(own, other) for own in range(rows + 1) for other in range(rows + 1 - own)]
    passing = [case for case in cases if lower_bound(*case, rows, confidence) > -margin]
    counts = np.array([(own, other, rows - own - other) for own, other in passing])
    for apart in (margin, margin + 0.02, margin + 0.1, margin + 0.3):
        shares = [(apart - margin) / 2, (apart + margin) / 2, 1 - apart]
        assert multinomial.pmf(counts, rows, shares).sum() <= 1 - confidence


def test_the_bounds_are_near_the_seen_difference_for_many_rows_and_far_for_few() -> None:
    many, few = lower_bound(1200, 800, 20_000, 0.95), lower_bound(6, 4, 100, 0.95)
    assert many == pytest.approx(0.02 - 1.645 * np.sqrt(0.1 - 0.02**2) / np.sqrt(20_000), abs=1e-4)
    assert few < -0.03
    assert lower_bound(0, 0, 100, 0.95) == pytest.approx(-0.0436, abs=1e-4)
    assert lower_bound(0, 40, 40, 0.95) == -1.0


def test_alike_answers_differ_by_nothing_but_the_bounds_say_how_few_the_rows_are() -> None:
    truth = np.arange(200) % 2
    answers = flipped(truth, 0.2, np.random.default_rng(0))
    found = difference("accuracy", truth, answers, answers)
    assert (found.value, found.low) == (0.0, -found.high)
    assert 0.01 < found.high < 0.03


def test_a_difference_turned_round_has_its_bounds_turned_round() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 500)
    ours, theirs = flipped(truth, 0.1, rng), flipped(truth, 0.15, rng)
    one, other = (difference("accuracy", truth, *pair) for pair in ((ours, theirs), (theirs, ours)))
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert one.low < one.value < one.high


def test_other_scores_have_the_paired_bootstraps_bounds() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 2, 600)
    ours, theirs = flipped(truth, 0.1, rng), flipped(truth, 0.3, rng)
    found = difference("f1", truth, ours, theirs)
    assert 0.1 < found.low < found.value < found.high < 0.3
    numbers = rng.normal(size=300)
    near, far = (numbers + rng.normal(size=300) * noise for noise in (0.3, 1.0))
    assert difference("pearson", numbers, near, far).low > 0.1


@pytest.mark.parametrize(("seeds", "noise"), [(1, 0.0), (3, 0.0), (3, 0.02), (5, 0.02)])
def test_intervals_over_seeds_and_rows_hold_the_true_mean_as_often_as_they_say(seeds: int, noise: float) -> None:
    """Each seed errs by its own share; rows are hard or easy for all seeds alike."""
    rng = np.random.default_rng(seeds)
    held, rounds, rows, share = 0, 300, 400, 0.2
    truth = np.zeros(rows, np.int64)
    for _ in range(rounds):
        hard = rng.random(rows)
        wrong = [(hard < share + rng.normal() * noise).astype(np.int64) for _ in range(seeds)]
        found = over_seeds("accuracy", truth, wrong, draws=100)
        held += found.low <= 1 - share <= found.high
    assert 0.92 <= held / rounds <= 0.99


def test_an_interval_ends_where_the_score_does_however_far_apart_the_seeds_are() -> None:
    truth = np.array([0, 1] * 50)
    right, half, wrong = truth.copy(), np.zeros(100, np.int64), 1 - truth
    seeds = [right, half, wrong]
    for name, lowest in (("accuracy", 0), ("matthews", -1)):
        middle = (lowest + 1) / 2
        assert over_seeds(name, truth, seeds, draws=100) == Estimate(value=middle, low=lowest, high=1)
        apart = over_seeds(name, truth, seeds, seeds[::-1], draws=100)
        assert apart == Estimate(value=0, low=lowest - 1, high=1 - lowest)


def test_a_difference_over_seeds_is_paired_by_rows_and_by_seeds() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 400)
    ours = [flipped(truth, 0.3, rng) for _ in range(3)]
    theirs = [np.where(rng.random(400) < 0.02, 1 - truth, answers) for answers in ours]
    alone, apart = over_seeds("accuracy", truth, ours), over_seeds("accuracy", truth, ours, theirs)
    gains = [np.mean(own == truth) - np.mean(other == truth) for own, other in zip(ours, theirs, strict=True)]
    assert apart.value == pytest.approx(np.mean(gains))
    assert apart.high - apart.low < (alone.high - alone.low) / 2


def test_what_is_shown_to_be_better_by_the_bound_is_so_by_the_exact_test() -> None:
    """One-sided at 95 %: the bound may be the stricter one, never the looser one by more than a rounding."""
    for only_ours in range(60):
        for only_theirs in range(60):
            if lower_bound(only_ours, only_theirs, 500, 0.95) > 0:
                assert mcnemar(only_ours, only_theirs) / 2 <= 0.0525, (only_ours, only_theirs)
