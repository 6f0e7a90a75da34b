"""Children ranked, and the words about it: no claim without an interval that shows it."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.comparison import words
from tasks.comparison.ranking import Ran, failed, lines_of, paired
from tasks.comparison.reading import beside
from tasks.comparison.table import Comparison, Line
from tasks.results import Latency
from tasks.suites import Done

ROWS = 1000
TRUTH: NDArray[np.int64] = np.arange(ROWS) % 2
COSTS = {
    "weights/adapter": 900.0, "weights/head": 100.0, "weights/total": 100_000.0, "seconds/train": 10.0,
    "memory/peak_bytes": 5e8, "size/model_bytes": 2e6, "size/trained_bytes": 1e5,
}  # fmt: skip


def answers(wrong: Sequence[int] | NDArray[np.int64], rows: int = ROWS) -> NDArray[np.int64]:
    """The truth, but not in these rows."""
    made = TRUTH[:rows].copy()
    made[list(wrong)] ^= 1
    return made


def ran(
    method: str, seed: int, wrong: Sequence[int], limit: int | None = None, rows: int = ROWS, **costs: float
) -> Ran:
    told = COSTS | {name.replace("_", "/", 1): value for name, value in costs.items()}
    return Ran(method, limit, seed, 160, answers(wrong, rows), told, (0.5, 0.6 + seed / 10))


def ranked(*runs: Ran, metric: str = "accuracy", rows: int = ROWS, margin: float = 2.0) -> tuple[Line, ...]:
    return lines_of(metric, TRUTH[:rows], runs, 2, margin, {"good": Latency(p50=1, p95=2)})


def made(*lines: Line, rows: int = ROWS, **given: object) -> Comparison:
    told = {"title": "t", "metric": "accuracy", "margin": 2.0, "test_rows": rows, "overlap": "no", "lines": lines}
    return Comparison.model_validate(told | given)


def two(good: Sequence[int], other: Sequence[int], rows: int = ROWS) -> tuple[Line, ...]:
    return ranked(
        *(ran("good", seed, good, rows=rows) for seed in (0, 1)),
        *(ran("other", seed, other, rows=rows) for seed in (0, 1)), rows=rows,
    )  # fmt: skip


def test_the_best_comes_first_with_its_costs_and_its_curve() -> None:
    good, other = ranked(
        ran("other", 0, range(300)), ran("good", 0, range(100), seconds_train=20), ran("good", 1, range(100, 200)),
    )  # fmt: skip

    assert (good.method, good.standing, good.seeds, other.seeds, other.paired) == ("good", "best", 2, 1, 1)
    assert good.score is not None and good.score.value == pytest.approx(0.9)
    assert good.costs is not None and (good.costs.seconds, good.costs.share, good.costs.memory) == (15, 0.01, 500)
    assert (good.costs.disk, good.costs.disk_trained) == (2, 0.1)
    assert [round(point.mean, 2) for point in good.curve] == [0.5, 0.65]
    assert (good.curve[1].low, good.curve[1].high) == (0.6, 0.7)
    assert (good.latency, other.latency) == (Latency(p50=1, p95=2), None)


def test_a_difference_that_rows_and_seeds_show_is_worse_in_words() -> None:
    lines = two(range(50), range(200))

    assert lines[1].standing == "worse"
    assert lines[1].apart is not None and lines[1].apart.value == pytest.approx(-0.15)
    assert lines[1].p is not None and lines[1].p < 1e-9
    assert words.answer(made(*lines)).startswith("good has the highest accuracy, 95.0 (")
    assert words.answer(made(*lines)).endswith(": better than other.")
    assert "other is worse than good here (-15.0, from -1" in words.lines(made(*lines))[1]


def test_as_good_needs_an_interval_within_the_margin_and_says_the_margin() -> None:
    lines = two(range(50), range(3, 54))

    assert lines[1].standing == "as good"
    told = words.answer(made(*lines))
    assert told.startswith("other is as good as good here, within 2 points (-0.1, from -")
    assert told.endswith("trains 1 % of the weights and takes as long.")


def test_few_rows_are_never_enough_to_be_called_as_good_even_where_all_answers_are_the_same() -> None:
    lines = two([1], [1], rows=40)

    assert lines[1].standing == "open"
    assert "other cannot be told apart from it with 40 test rows and 2 seeds" in words.answer(made(*lines, rows=40))


def test_a_difference_between_rows_that_the_seeds_do_not_repeat_is_not_called_worse() -> None:
    lines = ranked(
        ran("good", 0, range(20)), ran("good", 1, range(250)), ran("other", 0, range(260)), ran("other", 1, range(255))
    )

    assert lines[1].p is not None and lines[1].apart is not None
    assert lines[1].apart.high > 0
    assert lines[1].standing == "open"


def test_p_values_are_raised_by_the_number_of_methods() -> None:
    good = [ran("good", seed, range(50)) for seed in (0, 1)]
    wrong = {"a": 64, "b": 65, "c": 66}
    (_, alone) = ranked(*good, *(ran("c", seed, range(66)) for seed in (0, 1)))
    among = ranked(*good, *(ran(name, seed, range(count)) for name, count in wrong.items() for seed in (0, 1)))

    assert alone.p == pytest.approx(2 * 2**-15), "16 rows apart, all for one; twice the lower of two seeds"
    assert [line.method for line in among] == ["good", "a", "b", "c"]
    assert among[3].p == pytest.approx(3 * 2 * 2**-15)


def test_a_score_that_is_no_share_of_right_rows_has_no_p_value_and_the_interval_speaks() -> None:
    lines = ranked(
        *(ran("good", seed, range(50)) for seed in (0, 1)), *(ran("other", seed, range(200)) for seed in (0, 1)),
        metric="macro_f1",
    )  # fmt: skip

    assert lines[1].p is None
    assert lines[1].standing == "worse"


def test_the_difference_is_no_narrower_than_the_score_bounds_of_its_rows() -> None:
    same = [answers(range(10)), answers(range(5, 12))]
    apart = paired("accuracy", TRUTH, same, same)

    assert apart.value == 0
    assert apart.low < -0.003 and apart.high > 0.003


def test_what_must_be_said_with_the_table_is_said() -> None:
    lines = ranked(ran("good", 0, range(50)), ran("other", 0, range(200)))
    told = " ".join(words.notes(made(*lines, failed("none", None, 160, 2), overlap="yes")))

    assert "One seed: the interval holds the chance of the test rows alone" in told
    assert "Not all seeds are done: good, other and none." in told
    assert "saw this data" in told
    assert words.notes(made(*two(range(50), range(200)))) == []


def test_without_a_common_seed_nothing_is_claimed() -> None:
    lines = ranked(ran("good", 0, range(50)), ran("other", 1, range(200)))

    assert (lines[1].standing, lines[1].apart, lines[1].p) == ("open", None, None)
    assert "cannot be compared" in words.lines(made(*lines))[1]


def test_without_any_result_there_is_no_claim() -> None:
    nothing = made(failed("good", None, 160, 1), failed("other", None, 160, 1))

    assert words.answer(nothing) == "No run is finished, so there is nothing to compare."
    assert words.lines(nothing) == ["good has no finished run.", "other has no finished run."]
    assert nothing.numbers == {}


def test_where_all_with_the_most_rows_failed_the_answer_is_of_the_next_and_says_so() -> None:
    few = [line.model_copy(update={"limit": 50, "rows": 50}) for line in two(range(50), range(200))]
    comparison = made(failed("good", None, 160, 2), failed("other", None, 160, 2), *few)

    assert words.answer(comparison).startswith("With 50 training rows, good has the highest accuracy, 95.0 (")
    assert "Not all seeds are done: good and other." in words.notes(comparison)


def test_the_answer_is_of_the_most_rows_and_says_how_many() -> None:
    few = [line.model_copy(update={"limit": 50, "rows": 50}) for line in two(range(300), range(400))]
    comparison = made(*two(range(50), range(200)), *few)

    assert words.answer(comparison).startswith("With 160 training rows, good has the highest accuracy, 95.0 (")
    assert [line.split()[0] for line in words.lines(comparison)] == ["good", "other"], "the table has the others"
    assert comparison.numbers["other/50/accuracy/value"] == pytest.approx(0.6)
    assert comparison.numbers["good/all/latency_p95_ms"] == 2


def test_it_is_said_which_runs_did_not_train_alone() -> None:
    lines = two(range(50), range(200))
    alone = Done(run_id="0" * 32, metrics={}, threads=2)
    two_at_once, three = (alone.model_copy(update={"jobs": 5 - threads, "threads": threads}) for threads in (3, 2))

    def said(*done: Done) -> str:
        return " ".join(words.notes(made(*lines, beside=beside(done))))

    assert "at once" not in said(*[alone] * 4)
    assert "The runs trained 2 at once, 3 threads each: their seconds are longer than al" in said(*[two_at_once] * 4)
    assert "3 of 4 runs trained up to 3 at once, 2 threads each: their" in said(alone, two_at_once, three, three)
    assert "cannot be compared with those of the others" in said(alone, two_at_once, three, three)
    assert "2 at once: their" in said(*[two_at_once.model_copy(update={"threads": 0})] * 4), "an old run"
