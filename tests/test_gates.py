"""The gate: a floor, no worse than the champion on the same rows, and every reason as a sentence."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.frozen import GraftError
from tasks.gates import Gate
from tasks.results import Measured, Scorecard


def card(value: float, headline: str = "accuracy", rows: str = "same") -> Scorecard:
    measured = Measured(value=value, low=value - 0.1, high=value + 0.1)
    return Scorecard(
        headline=headline,
        metrics={headline: measured, "macro_f1": Measured(value=0.0, low=0.0, high=0.0)},
        calibration_error=None,
        classes=(),
        rows=414,
        test_hash=rows,
        pretraining_overlap="unknown",
        folder=Path("nowhere"),
    )


@pytest.mark.parametrize(("value", "passed"), [(0.69, False), (0.7, True), (0.71, True)])
def test_the_first_model_passes_from_the_floor_on(value: float, passed: bool) -> None:
    verdict = Gate(floor=0.7).judge(card(value), None)
    assert verdict.passed is passed
    assert verdict.reasons[0] == f"accuracy {value:.4f} {'reaches' if passed else 'is below'} the floor 0.7000."
    assert verdict.reasons[1:] == ("There is no champion yet.",)


@pytest.mark.parametrize(("value", "passed"), [(0.8999, False), (0.9, True), (0.9001, True)])
def test_a_score_equal_to_the_champions_passes_and_a_lower_one_is_held(value: float, passed: bool) -> None:
    verdict = Gate().judge(card(value), card(0.9))
    assert verdict.passed is passed
    assert str(verdict) == ("promoted" if passed else "held")
    assert ("no worse" in verdict.reasons[0]) is passed


@pytest.mark.parametrize("margin", [0.01, 0.02, 0.05, 0.1, 0.2, 0.3])
def test_exactly_the_margin_below_the_champion_is_no_worse_and_more_is(margin: float) -> None:
    for held in (0.57, 0.58, 0.7, 0.8, 0.83, 0.91):
        lowest = round(held - margin, 4)
        assert Gate(margin=margin).judge(card(lowest), card(held)).passed, (lowest, held)
        assert not Gate(margin=margin).judge(card(lowest - 0.0001), card(held)).passed, (lowest, held)


def test_with_no_floor_any_first_score_passes_even_a_negative_one() -> None:
    assert Gate().judge(card(-0.2), None).passed
    assert not Gate(floor=0.0).judge(card(-0.2), None).passed


def test_better_than_the_champion_but_below_the_floor_is_held() -> None:
    verdict = Gate(floor=0.95).judge(card(0.9), card(0.8))
    assert not verdict.passed
    assert "is below the floor" in verdict.reasons[0]
    assert "is no worse than" in verdict.reasons[1]


def test_only_the_headline_is_compared() -> None:
    better_elsewhere = card(0.8).model_copy(update={"metrics": card(0.8).metrics | {"macro_f1": card(1.0).score}})
    assert not Gate().judge(better_elsewhere, card(0.9)).passed


def test_a_champion_scored_on_other_rows_is_refused() -> None:
    with pytest.raises(GraftError, match=r"other rows or by another metric: the two cannot be compared\.$"):
        Gate().judge(card(0.9), card(0.1, rows="other"))


def test_a_champion_scored_by_another_metric_is_refused() -> None:
    with pytest.raises(GraftError, match="cannot be compared"):
        Gate().judge(card(0.9), card(0.1, headline="macro_f1"))


def test_every_reason_is_a_sentence_with_its_numbers() -> None:
    for champion in (None, card(0.95), card(0.85)):
        for floor in (0.0, 0.99):
            reasons = Gate(floor=floor, margin=0.02).judge(card(0.9), champion).reasons
            assert len(reasons) == 2
            assert all(reason.endswith(".") and reason.count("\n") == 0 for reason in reasons)
    told = Gate(margin=0.02).judge(card(0.9), card(0.95)).reasons[0]
    assert told == "accuracy 0.9000 is worse than the champion's 0.9500 (margin 0.0200) on the same 414 test rows."


def test_a_negative_margin_and_a_floor_that_is_no_number_are_refused() -> None:
    with pytest.raises(ValidationError):
        Gate(margin=-0.01)
    with pytest.raises(ValidationError):
        Gate(floor=float("nan"))
