"""The benchmark's table on made numbers: medians, ranges, ratios turn by turn, scores in pairs, the CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.bench.orders import Taken, digest
from tasks.bench.picture import draw
from tasks.bench.table import (
    COLUMNS,
    Line,
    Spread,
    append,
    cells,
    check_same_answers,
    check_same_rows,
    columns,
    lines,
    scored,
)
from tasks.bench.turns import Raw
from tasks.bench.works import WORKS, Work
from tasks.frozen import GraftError

TEXT, IMAGES = (next(work for work in WORKS if work.name == name) for name in ("text", "images"))
PEAKS = {"fp32": 1e-7, "bf16": 4e-7}  # 10^9 operations a second
TRUTH = np.array([0, 1] * 50)


def taken(seconds: float, peak: int = 1000, **changes: object) -> Taken:
    """100 rows in 2 epochs."""
    told = {
        "seconds": seconds,
        "ready": 1.0,
        "rows": 100,
        "epochs": 2,
        "steps": 8,
        "trained": 5,
        "peak": peak,
        "seen": "a",
    }
    return Taken.model_validate(told | changes)


def turns(work: Work, ours: Sequence[float], theirs: Sequence[float], flops: float | None = None) -> list[Raw]:
    """Raw lines of turns that took so many seconds."""
    found = []
    for turn, (own, other) in enumerate(zip(ours, theirs, strict=True), 1):
        one, two = taken(own, 1000 + turn, flops=flops), taken(other, 2000)
        found.append(Raw(work=work.name, turn=turn, side="graft", wall=own + 5, taken=one))
        found.append(Raw(work=work.name, turn=turn, side=work.peer, wall=other + 5, taken=two))
    return found


def lined(
    work: Work = TEXT,
    ours: Sequence[float] = (10, 20, 5),
    theirs: Sequence[float] = (20, 20, 20),
    flops: float | None = None,
) -> Line:
    (made,) = lines(work, turns(work, ours, theirs, flops), PEAKS, None)
    return made


def answers(right: Any) -> NDArray[np.float32]:
    """[N, 2] logits that are right in these rows [N]."""
    logits: NDArray[np.float32] = np.eye(2, dtype=np.float32)[np.where(right, TRUTH, 1 - TRUTH)]
    return logits


def test_speeds_are_medians_with_the_lowest_and_the_highest_turn() -> None:
    made = lined()

    assert made.ours == Spread(middle=20, low=10, high=40, turns=3)
    assert made.theirs == Spread(middle=10, low=10, high=10, turns=3)


def test_ratios_are_of_one_turn_each_not_of_the_medians() -> None:
    made = lined(TEXT, [10, 20, 40], [30, 20, 80])

    assert made.speed == Spread(middle=2, low=1, high=3, turns=3)
    assert made.ours.middle / made.theirs.middle == pytest.approx(10 / (200 / 30))
    assert made.memory.middle == 1002 / 2000


def test_the_share_of_the_peak_is_the_counted_work_by_the_time_and_the_peak() -> None:
    made = lined(TEXT, [10, 20], [20, 20], flops=500.0)

    assert made.share == Spread(middle=(0.5 + 0.25) / 2, low=0.25, high=0.5, turns=2)
    assert lined().share is None


def test_a_turn_that_lacks_a_side_and_a_trial_do_not_count() -> None:
    raws = turns(TEXT, [10, 20], [20, 20])
    trial = [raw.model_copy(update={"turn": 0, "taken": taken(0.1)}) for raw in raws[:2]]
    (made,) = lines(TEXT, [*trial, *raws[:3]], PEAKS, None)

    assert made.speed == Spread(middle=2, low=2, high=2, turns=1)
    assert not lines(TEXT, raws[:1], PEAKS, None)
    assert not lines(IMAGES, raws, PEAKS, None), "they are another work's"


def test_beside_fp32_each_side_is_compared_in_the_precision_in_which_it_is_faster() -> None:
    raws = turns(TEXT, [10], [20], flops=500.0)
    ours, theirs = (
        raw.model_copy(update={"side": f"{raw.side}-bf16", "taken": taken(4.0, 500, flops=500.0)}) for raw in raws
    )
    right = scored("accuracy", TRUTH, [(answers(np.full(100, True)), answers(np.full(100, True)))])
    wrong = scored("accuracy", TRUTH, [(answers(np.full(100, False)), answers(np.full(100, True)))])
    plain, both = lines(TEXT, [*raws, ours, theirs], PEAKS, right, wrong)
    mine = lines(TEXT, [*raws, ours], PEAKS, right, wrong)[1]
    slow = ours.model_copy(update={"taken": taken(40.0)})

    assert (plain.name, plain.speed.middle, plain.scores) == ("text", 2, right)
    assert (both.name, both.speed.middle, both.scores) == ("text: graft-bf16 beside trainer-bf16", 1, wrong)
    assert (mine.name, mine.speed.middle, mine.memory.middle) == ("text: graft-bf16 beside trainer", 5, 500 / 2000)
    assert plain.share and mine.share and (plain.share.middle, mine.share.middle) == (0.5, 500 / 4 / 400)
    assert plain.reached and not both.reached and not mine.reached, "two times, once, and five times with a poor score"
    assert lines(TEXT, [*raws, slow], PEAKS, right) == lines(TEXT, raws, PEAKS, right)


@pytest.mark.parametrize(("ours", "theirs", "reached"), [(10, 16, True), (10, 15.9, False)])
def test_a_goal_is_reached_by_the_median_ratio(ours: float, theirs: float, reached: bool) -> None:
    assert lined(TEXT, [ours], [theirs]).reached is reached


@pytest.mark.parametrize(("wrong", "reached"), [(0, True), (1, True), (2, False)])
def test_where_the_score_is_judged_it_may_be_a_point_lower_and_no_more(wrong: int, reached: bool) -> None:
    scores = scored("accuracy", TRUTH, [(answers(np.arange(100) >= wrong), answers(np.full(100, True)))])
    made = lined(IMAGES, [1], [6]).model_copy(update={"scores": scores})

    assert made.reached is reached
    assert not lined(IMAGES, [1], [6]).reached, "no score, no proof"


@pytest.mark.parametrize(("wrong", "reached"), [(1, True), (30, False)])
def test_elsewhere_the_score_may_be_as_much_lower_as_its_interval_covers(wrong: int, reached: bool) -> None:
    scores = scored("accuracy", TRUTH, [(answers(np.arange(100) >= wrong), answers(np.full(100, True)))])

    assert (scores.difference.high >= 0) is reached
    assert lined(TEXT, [1], [6]).model_copy(update={"scores": scores}).reached is reached


def test_scores_are_compared_in_pairs_so_that_shared_errors_do_not_widen_the_interval() -> None:
    hard = np.arange(100) < 40
    same = scored("accuracy", TRUTH, [(answers(~hard), answers(~hard))])
    better = scored("accuracy", TRUTH, [(answers(~hard | (np.arange(100) < 20)), answers(~hard))])

    assert (same.ours, same.difference.low, same.difference.high) == (0.6, 0, 0)
    assert better.difference.value == pytest.approx(0.2)
    assert 0.1 < better.difference.low < 0.2 < better.difference.high < 0.3


def test_scores_are_means_over_the_turns_and_their_interval_holds_the_seeds() -> None:
    first, second, all_right = (answers(np.arange(100) >= wrong) for wrong in (4, 10, 0))
    one, both = (scored("accuracy", TRUTH, turns) for turns in ([(first, all_right)], [(first, all_right)] * 2))
    apart = scored("accuracy", TRUTH, [(first, all_right), (second, first)])

    assert (both.ours, both.theirs, both.difference) == (one.ours, one.theirs, one.difference)
    assert [apart.ours, apart.theirs] == pytest.approx([0.93, 0.98])
    assert apart.difference.value == pytest.approx(-0.05)
    assert apart.difference.high - apart.difference.low > one.difference.high - one.difference.low


def test_sides_that_saw_other_rows_are_refused_unless_the_other_takes_few_by_intent() -> None:
    padded = next(work for work in WORKS if work.peer_rows)
    check_same_rows(TEXT, taken(1), taken(2))
    check_same_rows(padded, taken(1), taken(2, rows=64, epochs=1, seen="b"))

    for changed in ({"seen": "b"}, {"rows": 99}, {"epochs": 1}):
        with pytest.raises(GraftError, match="saw other rows"):
            check_same_rows(TEXT, taken(1), taken(2, **changed))


def test_one_model_asked_by_two_sides_must_give_the_same_labels_and_probabilities() -> None:
    one = np.array([[0.6, 0.4], [0.50001, 0.49999]], np.float32)
    check_same_answers(TEXT, one, one + 5e-5)

    with pytest.raises(GraftError, match="0 labels differ and the probabilities by up to 0.0002"):
        check_same_answers(TEXT, one, one + np.array([[2e-4, 0], [0, 0]], np.float32))
    with pytest.raises(GraftError, match="1 labels differ"):
        check_same_answers(TEXT, one, one + np.array([[0, 0], [-4e-5, 4e-5]], np.float32))


def test_the_digest_tells_other_labels_other_texts_and_another_order() -> None:
    marks = {digest(*given) for given in ((["a", "b"], [0, 1]), (["a", "b"], [1, 0]), (["b", "a"], [0, 1]))}

    assert len(marks) == 3
    assert digest([b"a"], np.array([1])) == digest(["a"], [1])


def test_every_side_is_a_line_of_the_csv_as_soon_as_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "bench.csv"
    first, second = turns(TEXT, [10], [20])
    append(file, columns(first))
    append(file, columns(second.model_copy(update={"taken": None, "failed": "it, with a comma"})))
    rows = list(csv.DictReader(file.open()))

    assert tuple(rows[0]) == COLUMNS
    assert [row["side"] for row in rows] == ["graft", "trainer"]
    assert (rows[0]["rows_per_second"], rows[0]["peak_bytes"], rows[0]["wall_seconds"]) == ("20.0", "1001", "15.0")
    assert (rows[1]["rows_per_second"], rows[1]["failed"]) == ("", "it, with a comma")


def test_a_csv_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="cannot be written"):
        append(tmp_path / "absent" / "bench.csv", columns(turns(TEXT, [10], [20])[0]))


def test_the_cells_say_ranges_only_of_several_turns_and_judge_nothing_that_is_quick() -> None:
    several, one = cells(lined(flops=800.0), quick=False), cells(lined(TEXT, [10], [20]), quick=True)

    assert several["times as fast"] == "2.00 (1.00 to 4.00)"
    assert (several["reached"], several["goal"], several["score"]) == ("yes", "1.6", "not compared")
    assert several["share of peak"] == "80% (40% to 160%)"
    assert (one["times as fast"], one["reached"], one["share of peak"]) == ("2.00", "no proof", "")


def test_the_picture_is_drawn_of_one_work_and_of_many(tmp_path: Path) -> None:
    for count in (1, len(WORKS)):
        draw([lined(work) for work in WORKS[:count]], tmp_path / f"{count}.png", quick=True)

        assert (tmp_path / f"{count}.png").read_bytes().startswith(b"\x89PNG")
