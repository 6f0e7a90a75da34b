"""The gate: what must be shown before a champion is replaced, how often it errs, and every reason as a sentence."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from gate_table import SETTINGS, Setting, added_up, simulated
from numpy.typing import NDArray
from pydantic import ValidationError

from tasks.evidence import Evidence
from tasks.frozen import GraftError
from tasks.gates import Gate, Slice
from tasks.metrics import score
from tasks.results import Measured, Reason, Scorecard, Verdict

Truth = NDArray[Any]
OUTCOMES: tuple[Literal["passed", "open", "failed", "not judged"], ...] = ("passed", "open", "failed", "not judged")


def shown(
    truth: Truth,
    predicted: Truth,
    headline: str = "accuracy",
    test_hash: str = "same",
    error: float = 0.05,
    **more: Any,
) -> Evidence:
    value = score(headline, truth, predicted)
    card = Scorecard(
        headline=headline,
        metrics={headline: Measured(value=value, low=value - 0.1, high=value + 0.1)},
        calibration_error=error,
        classes=({"label": "a"}, {"label": "b"}) if truth.ndim == 1 and truth.dtype != float else (),
        rows=len(truth),
        test_hash=test_hash,
        pretraining_overlap="unknown",
        folder=Path("nowhere"),
    )
    return Evidence(card, truth, predicted, **more)


def right(rows: int, count: int, **more: Any) -> Evidence:
    """A model of two classes that has the first `count` rows right."""
    truth = np.arange(rows) % 2
    return shown(truth, np.where(np.arange(rows) < count, truth, 1 - truth), **more)


def outcome(verdict: Verdict, about: str) -> str:
    return next(reason.outcome for reason in verdict.judged if reason.about == about)


@pytest.mark.parametrize(("count", "decision"), [(69, "REJECT"), (70, "PROMOTE"), (71, "PROMOTE")])
def test_the_first_model_passes_from_the_floor_on(count: int, decision: str) -> None:
    verdict = Gate(floor=0.7).judge(right(100, count), None)
    reached = decision == "PROMOTE"
    assert verdict.decision == decision
    assert f"accuracy 0.{count}00 {'reaches' if reached else 'is below'} the floor 0.7000." in verdict.reasons
    assert "There is no champion yet." in verdict.reasons


def test_a_difference_that_the_rows_do_not_show_is_held_and_the_same_on_more_rows_promoted() -> None:
    few = Gate().judge(right(400, 324), right(400, 320), 7)
    many = Gate().judge(right(4000, 3240), right(4000, 3200), 7)
    assert (few.decision, many.decision) == ("HOLD", "PROMOTE")
    assert (str(few), few.passed, few.against) == ("held", False, 7)
    assert "is not shown to be better: the champion has 0.8000 on the same 400 test rows" in few.reasons[0]
    assert "4 rows it alone has right, 0 the champion alone (exact McNemar p = 0.12)" in few.reasons[0]


def test_a_worse_candidate_is_rejected_and_one_as_good_held() -> None:
    assert Gate().judge(right(2000, 1700), right(2000, 1800)).decision == "REJECT"
    assert Gate().judge(right(2000, 1800), right(2000, 1800)).decision == "HOLD"


def test_within_the_margin_it_is_promoted_only_if_the_rows_show_that_it_is_no_worse() -> None:
    gate = Gate(margin=0.01)
    assert gate.judge(right(2000, 1800), right(2000, 1800)).passed
    assert not gate.judge(right(100, 90), right(100, 90)).passed
    assert gate.judge(right(20_000, 17_900), right(20_000, 18_000)).passed, "half a point worse, on many rows"
    assert gate.judge(right(20_000, 17_700), right(20_000, 18_000)).decision == "REJECT"


def test_superiority_asks_for_more_than_better() -> None:
    candidate, champion = right(10_000, 9100), right(10_000, 9000)
    assert Gate().judge(candidate, champion).passed
    assert Gate(superiority=0.005).judge(candidate, champion).passed
    assert Gate(superiority=0.02, margin=0.01).judge(candidate, champion).decision == "HOLD"


def test_a_higher_confidence_asks_for_more_rows() -> None:
    candidate, champion = right(1000, 909), right(1000, 900)
    decisions = [Gate(confidence=sure).judge(candidate, champion).decision for sure in (0.9, 0.95, 0.999)]
    assert decisions == ["PROMOTE", "PROMOTE", "HOLD"]


def test_better_than_the_champion_but_below_the_floor_is_rejected() -> None:
    verdict = Gate(floor=0.95).judge(right(1000, 900), right(1000, 800))
    assert verdict.decision == "REJECT"
    assert "is below the floor" in verdict.reasons[0], "what decided comes first"
    assert outcome(verdict, "accuracy") == "passed"


def test_a_champion_scored_on_other_rows_or_by_another_metric_is_refused() -> None:
    for other in (right(100, 10, test_hash="other"), right(100, 10, headline="macro_f1")):
        with pytest.raises(GraftError, match=r"other rows or by another metric: the two cannot be compared\.$"):
            Gate().judge(right(100, 90), other)


def test_a_better_whole_does_not_hide_a_worse_slice_and_small_slices_are_not_judged() -> None:
    rows = np.arange(2000)
    place = np.where(rows < 300, "north", np.where(rows < 320, "islands", "south"))
    truth = rows % 2
    own, other = truth.copy(), truth.copy()
    own[rows < 60] = 1 - truth[rows < 60]  # the candidate errs in the north alone, the champion all over the south
    own[(rows >= 300) & (rows < 320)] = 1 - truth[(rows >= 300) & (rows < 320)]
    other[rows % 5 == 4] = 1 - truth[rows % 5 == 4]
    other[rows < 320] = truth[rows < 320]
    slices = {"region": {name: place == name for name in ("islands", "north", "south")}}
    gate = Gate(slices=(Slice(by="region"),))
    verdict = gate.judge(shown(truth, own, slices=slices), shown(truth, other, slices=slices))

    assert Gate().judge(shown(truth, own), shown(truth, other)).passed
    assert verdict.decision == "REJECT"
    found = {about: outcome(verdict, about) for about in ("region north", "region islands", "region south")}
    assert found == {"region north": "failed", "region islands": "not judged", "region south": "passed"}
    assert "region islands has 20 test rows: below 50 it is not judged." in verdict.reasons


def test_a_slice_only_a_little_worse_is_not_taken_for_evidence() -> None:
    truth = np.arange(800) % 2
    masks = {"class": {"a": truth == 0, "b": truth == 1}}
    own, other = truth.copy(), truth.copy()
    own[np.flatnonzero(truth == 0)[:3]] = 1
    other[np.flatnonzero(truth == 1)[:40]] = 0
    gate = Gate(slices=(Slice(by="class"),))
    assert gate.judge(shown(truth, own, slices=masks), shown(truth, other, slices=masks)).passed


def test_so_many_equal_slices_do_not_make_errors_likelier() -> None:
    """Twenty slices, two models that are the same everywhere: a slice is taken for worse in 5 % of cases at most."""
    rng = np.random.default_rng(0)
    rows, rounds, failed = 2000, 200, 0
    truth = np.zeros(rows, np.int64)
    slices = {"part": {str(part): np.arange(rows) % 20 == part for part in range(20)}}
    gate = Gate(margin=0.2, slices=(Slice(by="part"),))
    for _ in range(rounds):
        own, other = ((rng.random(rows) < 0.2).astype(np.int64) for _ in range(2))
        verdict = gate.judge(shown(truth, own, slices=slices), shown(truth, other, slices=slices))
        failed += any(reason.outcome == "failed" for reason in verdict.judged)
    assert failed / rounds <= 0.05


def test_limits_of_calibration_time_and_size_reject_what_is_over_them() -> None:
    gate = Gate(calibration=0.1, milliseconds=20, megabytes=50)
    good = right(100, 90, error=0.1, milliseconds=20.0, megabytes=50.0)
    assert gate.judge(good, None).passed
    for over in ({"error": 0.11}, {"milliseconds": 20.1}, {"megabytes": 50.1}):
        verdict = gate.judge(right(100, 90, **({"error": 0.1, "milliseconds": 1.0, "megabytes": 1.0} | over)), None)
        assert verdict.decision == "REJECT", over
        assert " is over " in verdict.reasons[0]


def test_robustness_rejects_a_fall_that_the_rows_show() -> None:
    truth = np.arange(600) % 2
    asked = np.arange(0, 600, 2)

    def under_typos(wrong: int) -> Evidence:
        answers = truth[asked].copy()
        answers[:wrong] = 1 - answers[:wrong]
        return shown(truth, truth, asked=asked, corrupted={"typos": answers})

    gate = Gate(robustness={"typos": 0.1})
    assert gate.judge(under_typos(29), None).passed
    assert gate.judge(under_typos(33), None).passed, "over the limit by one point, which 300 rows do not show"
    verdict = gate.judge(under_typos(60), None)
    assert verdict.decision == "REJECT"
    assert verdict.reasons[0].startswith("With typos, accuracy on 300 rows is 0.8000 instead of 1.0000: that is a fall")


def test_numbers_are_judged_by_the_bootstrap_of_their_correlation() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    near, far = (shown(truth, truth + rng.normal(size=400) * noise, "pearson") for noise in (0.3, 1.0))
    assert Gate().judge(near, far).passed
    assert Gate().judge(far, near).decision == "REJECT"
    assert Gate().judge(near, near).decision == "HOLD"


def test_by_the_bootstrap_few_rows_show_nothing_however_large_the_difference() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=99)
    near, far = shown(truth, truth, "pearson"), shown(truth, -truth, "pearson")
    for verdict in (Gate().judge(near, far), Gate().judge(far, near), Gate(margin=0.1).judge(near, near)):
        assert verdict.decision == "HOLD"
        assert "fewer than 100 rows show nothing by the bootstrap" in verdict.reasons[0]
    assert Gate().judge(right(99, 90), right(99, 50)).passed, "the share of right answers has bounds for few rows too"


def test_every_reason_is_a_sentence_with_its_numbers() -> None:
    gate = Gate(floor=0.5, margin=0.02, calibration=0.2, milliseconds=5, megabytes=5)
    for champion in (None, right(500, 300), right(500, 480)):
        judged = gate.judge(right(500, 400, milliseconds=3.0), champion).judged
        assert len(judged) == 5
        assert all(reason.told.endswith(".") and reason.told.count("\n") == 0 for reason in judged)
    told = Gate(margin=0.02).judge(right(500, 400), right(500, 480)).reasons[0]
    assert told.startswith(
        "accuracy 0.8000 is worse (margin 0.0200): the champion has 0.9600 on the same 500 test rows"
    )


def test_a_verdict_survives_as_json_and_failed_outweighs_open() -> None:
    reasons = [Reason(about=o, outcome=o, told=f"{o}.") for o in OUTCOMES]
    assert Verdict(judged=tuple(reasons)).decision == "REJECT"
    assert Verdict(judged=tuple(reasons[:2])).decision == "HOLD"
    kept = Verdict(judged=(reasons[0], reasons[3]), against=3, test_hash="x", rows=5)
    assert kept.decision == "PROMOTE"
    assert Verdict.model_validate_json(kept.model_dump_json()) == kept


@pytest.mark.parametrize(
    "bad",
    [{"margin": -0.01}, {"floor": float("nan")}, {"confidence": 0.5}, {"confidence": 1.0}, {"superiority": -0.1},
     {"robustness": {"typos": -0.1}}, {"robustness": {"rain": 0.1}}, {"slices": [{"by": "class", "rows": 0}]}],
)  # fmt: skip
def test_a_gate_that_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Gate.model_validate(bad)


@pytest.mark.parametrize(
    ("gate", "data", "told"),
    [
        (Gate(slices=(Slice(by="region"),)), ("class", "text", ("channel",)), "Valid: class, length, channel"),
        (Gate(slices=(Slice(by="length"),)), ("class", "image", ()), "Valid: class"),
        (Gate(slices=(Slice(by="class"),)), ("number", "text", ()), "Valid: length"),
        (Gate(robustness={"typos": 0.1}), ("class", "image", ()), "Valid: blur, noise, jpeg"),
        (Gate(calibration=0.1), ("number", "text", ()), "target is 'number'"),
    ],
)
def test_a_gate_that_asks_for_what_the_data_lack_is_refused(gate: Gate, data: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        gate.check_fit(*data)


def test_frozen_test_rows_are_those_of_the_hash_alone() -> None:
    Gate().check_rows("any")
    Gate(test_rows="a1").check_rows("a1")
    with pytest.raises(GraftError, match="freezes the test rows a1, but the data give b2 now"):
        Gate(test_rows="a1").check_rows("b2")


def test_of_2000_equal_candidates_no_more_than_the_stated_share_is_promoted() -> None:
    for apart in (0.04, 0.1):
        found = simulated(Setting(rows=2000, apart=apart, gain=0.0))
        assert found["PROMOTE"] <= 0.05
        assert found["REJECT"] <= 0.05


def test_of_all_cases_that_chance_can_bring_no_more_than_the_stated_share_is_promoted() -> None:
    equal = [one for one in SETTINGS if (one.metric, one.gain, one.margin) == ("accuracy", 0.0, 0.0)]
    assert len(equal) >= 9
    assert max(map(added_up, equal)) <= 0.05
    assert added_up(Setting(400, 0.08, 0.0)) == pytest.approx(simulated(Setting(400, 0.08, 0.0))["PROMOTE"], abs=0.01)


def test_of_2000_candidates_better_by_two_points_at_least_nine_in_ten_are_found() -> None:
    assert simulated(Setting(rows=2000, apart=0.08, gain=0.02))["PROMOTE"] >= 0.9
