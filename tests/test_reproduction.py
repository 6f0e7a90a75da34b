"""Equal, within seed noise or different: judged on made numbers."""

from typing import Any

import numpy as np
import pytest

from tasks.reproduction import Answers, Judged, judged, why

ROWS = 200
TRUTH = np.arange(ROWS) % 4


def classes(wrong: Any = (), answer: int = 1) -> Answers:
    """Right answers but for the rows in `wrong`, which get the class that is `answer` places on."""
    predicted = TRUTH.copy()
    predicted[list(wrong)] = (TRUTH[list(wrong)] + answer) % 4
    return Answers(np.eye(4, dtype=np.float32)[predicted], predicted)


def judge(then: Answers, now: Answers, others: dict[int, Answers] | None = None, bits: bool = False) -> Judged:
    return judged("accuracy", TRUTH, then, now, bits, others or {}, ["torch 2.14.0 then, 2.15.0 now"])


def test_the_same_bits_are_equal_whatever_else() -> None:
    found = judge(classes(), classes(range(3)), bits=True)
    assert found.answer == "equal"
    assert found.reasons == (
        "The weights are the same bit for bit; 197 of 200 test rows have the same answer, with logits at most 1 apart.",
    )


@pytest.mark.parametrize(("apart", "answer"), [(9e-6, "equal"), (2e-5, "within seed noise")])
def test_the_same_answers_are_equal_if_the_logits_are_within_the_tolerance(apart: float, answer: str) -> None:
    then = classes(range(5))
    logits = then.logits.astype(np.float64)
    logits[7, 2] += apart
    found = judge(then._replace(logits=then.logits.astype(np.float64)), Answers(logits, then.predicted))
    assert found.answer == answer
    assert found.apart is not None
    assert found.apart.logits == pytest.approx(apart)


def test_one_other_answer_is_not_equal_though_the_logits_are_near() -> None:
    then, now = classes(), classes([3])
    found = judge(then, now._replace(logits=then.logits))
    assert found.answer == "within seed noise"
    assert found.apart is not None
    assert (found.apart.other_answers, found.apart.rows) == (1, 200)


def test_without_other_seeds_the_paired_interval_alone_decides_and_that_is_said() -> None:
    near, far = judge(classes(range(10)), classes(range(5, 18))), judge(classes(range(10)), classes(range(5, 40)))
    assert (near.answer, far.answer) == ("within seed noise", "different")
    assert near.apart is not None
    assert (near.apart.then, near.apart.now) == (0.95, 0.935)
    assert near.apart.difference.low < -0.015 < 0 < near.apart.difference.high
    assert "includes 0; 13 of 200 test rows have another answer" in near.reasons[0]
    assert "does not include 0" in far.reasons[0]
    assert near.seeds == far.seeds == ()
    assert near.reasons[1] == "No two other seeds of this recipe are finished: the interval alone tells what noise is."
    assert far.reasons[-1] == "Most likely causes: torch 2.14.0 then, 2.15.0 now."


def test_a_run_that_scores_better_than_the_interval_allows_is_different_too() -> None:
    assert judge(classes(range(40)), classes(range(5))).answer == "different"


def test_one_other_seed_tells_no_noise() -> None:
    assert judge(classes(range(10)), classes(range(5, 18)), {1: classes(range(10))}).seeds == ()


def test_with_two_other_seeds_their_range_and_disagreement_bound_the_noise() -> None:
    others = {3: classes(range(6, 20)), 5: classes(range(2, 15))}
    found = judge(classes(range(10)), classes(range(5, 18)), others)
    assert (found.answer, found.seeds) == ("within seed noise", (3, 5))
    assert found.reasons[1] == (
        "With the seeds 3, 5 beside it, accuracy ranges over 0.0200 and the answers of two seeds are up to 0.0800 "
        "apart; here it is 0.0150 and 0.0650."
    )


def test_a_score_further_away_than_seeds_are_is_different_though_the_interval_includes_0() -> None:
    others = {3: classes(range(6, 17)), 5: classes(range(40, 50))}  # 0.005 over the scores
    found = judge(classes(range(10)), classes(range(5, 18)), others)
    assert found.answer == "different"
    assert "includes 0" in found.reasons[0]
    assert "ranges over 0.0050" in found.reasons[1]


def test_as_good_a_score_from_other_answers_than_seeds_give_is_different() -> None:
    others = {3: classes(range(1, 12)), 5: classes(range(9))}
    found = judge(classes(range(10)), classes(range(20, 30)), others)
    assert found.apart is not None
    assert found.apart.then == found.apart.now
    assert (found.answer, found.seeds) == ("different", (3, 5))


def test_two_wrong_answers_that_differ_are_other_answers() -> None:
    found = judge(classes([1, 2]), classes([1, 2], answer=2))
    assert found.apart is not None
    assert (found.apart.other_answers, found.apart.difference.value) == (2, 0.0)


def test_numbers_are_the_same_answer_within_the_tolerance_and_noise_is_their_mean_distance() -> None:
    truth = np.linspace(0, 5, 60, dtype=np.float32)
    rng = np.random.default_rng(0)

    def numbers(noise: float) -> Answers:
        values = truth + rng.normal(0, noise, len(truth)).astype(np.float32)
        return Answers(values[:, None], values)

    then = numbers(0.5)
    near = Answers(then.logits + np.float32(4e-6), then.predicted + np.float32(4e-6))
    assert judged("pearson", truth, then, near, False, {}, []).answer == "equal"
    others = {1: numbers(0.5), 2: numbers(0.6)}
    assert judged("pearson", truth, then, numbers(3.0), False, others, []).answer == "different"
    found = judged("pearson", truth, then, Answers(then.logits + 0.1, then.predicted + 0.1), False, others, [])
    assert found.answer == "within seed noise"
    assert found.reasons[-1].startswith("Nothing that is recorded has changed")


def test_of_several_labels_a_row_is_another_answer_if_one_label_is() -> None:
    truth = np.stack([np.arange(40) % 2, np.arange(40) // 2 % 2], axis=1)
    then = Answers(truth * 2.0 - 1, truth)
    flipped = truth.copy()
    flipped[3] = 1 - flipped[3]
    found = judged("micro_f1", truth, then, Answers(flipped * 2.0 - 1, flipped), False, {}, [])
    assert found.apart is not None
    assert found.apart.other_answers == 1


def test_many_causes_are_counted_and_the_first_four_are_named() -> None:
    assert why([*"abcdef"]) == "Most likely causes: a; b; c; d, and 2 more."
