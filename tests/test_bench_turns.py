"""A side's process, the choice of the other side's settings, and the estimate of what is left."""

from pathlib import Path

import pytest

from tasks.bench.orders import Order
from tasks.bench.turns import SideFailed, chosen, fastest, left, rows_of_peer, run, trials, words
from tasks.bench.works import WORKS, Settings
from tasks.compose import load
from tasks.prepare import prepare

PADDED, TEXT = WORKS[0], WORKS[1]


def test_a_side_that_fails_gives_its_cause_in_one_line_and_its_last_lines(home: Path, tmp_path: Path) -> None:
    recipe = load("tickets_scratch", ["dataset.limit=64"])
    data = prepare(recipe.model, recipe.dataset, recipe.seed)
    order = Order(by="timm", kind="train", recipe=recipe, data=data, out=tmp_path / "new")

    with pytest.raises(SideFailed) as error:
        run(order)

    told = "timm ended with exit code 1: Backbone 'scratch_transformer' has no timm weights in a package to bench with."
    assert str(error.value) == told
    assert error.value.tail[-1] in told
    assert error.value.wall > 0


def test_of_the_trials_in_fp32_the_faster_setting_is_compared() -> None:
    plain = {"trainer": 100.0, "trainer-dropout": 90.0, "trainer-bf16": 50.0}

    assert chosen(plain, TEXT)[:2] == (("graft", Settings()), ("trainer", Settings()))
    assert chosen(plain | {"trainer-dropout": 101.0}, TEXT)[1] == ("trainer", Settings(dropout=True))


def test_beside_the_comparison_ours_runs_in_bf16_and_the_other_side_where_it_may_win() -> None:
    found = dict(chosen({"trainer": 100.0, "trainer-dropout": 90.0, "trainer-bf16": 150.0}, TEXT))

    assert list(found) == ["graft", "trainer", "graft-bf16", "trainer-bf16"]
    assert [own.bf16 for own in found.values()] == [False, False, True, True]
    assert "trainer-bf16" in dict(chosen({"trainer": 100.0, "trainer-bf16": 95.0}, TEXT))
    assert list(dict(chosen({"trainer": 100.0, "trainer-bf16": 85.0}, TEXT))) == ["graft", "trainer", "graft-bf16"]
    assert list(dict(chosen({"trainer": 100.0}, TEXT, bf16=False))) == ["graft", "trainer"]


@pytest.mark.parametrize(
    ("ours", "theirs", "wanted"),
    [(9, 9, ("graft", "trainer")), (11, 9, ("graft-bf16", "trainer")), (11, 12, ("graft-bf16", "trainer-bf16"))],
)
def test_each_side_has_the_precision_in_which_it_is_faster(ours: float, theirs: float, wanted: tuple[str, str]) -> None:
    rates = {"graft": 10.0, "trainer": 10.0, "graft-bf16": ours}

    assert fastest(TEXT, rates | {"trainer-bf16": theirs}) == wanted
    assert fastest(TEXT, rates) == (wanted[0], "trainer")


def test_without_trials_the_works_own_settings_are_taken() -> None:
    assert chosen({}, PADDED)[1] == ("trainer", PADDED.settings)
    assert [name for name, _ in chosen({}, PADDED)] == ["graft", "trainer", "graft-bf16"]
    assert [name for name, _ in chosen({}, PADDED, bf16=False)] == ["graft", "trainer"]
    assert trials(PADDED) == ()
    assert [name for name, _ in trials(TEXT)] == ["trainer", "trainer-dropout", "trainer-bf16"]
    assert [name for name, _ in trials(TEXT, bf16=False)] == ["trainer", "trainer-dropout"]


def test_a_peer_of_constant_cost_takes_few_rows_and_any_other_all() -> None:
    assert rows_of_peer(PADDED, 4000, quick=False) == 512
    assert rows_of_peer(PADDED, 4000, quick=True) == 64
    assert rows_of_peer(PADDED, 40, quick=False) == 40
    assert rows_of_peer(TEXT, 4000, quick=False) is None


def test_what_is_left_is_reckoned_by_the_side_itself_and_else_by_the_mean() -> None:
    walls = {("a", "graft"): [50.0, 10.0], ("a", "trainer"): [30.0]}

    assert left([("a", "graft")], {}) is None
    assert left([("a", "graft"), ("a", "trainer")], walls) == 40
    assert left([("b", "graft")], walls) == 30
    assert left([], walls) == 0


def test_settings_are_told_by_what_is_on() -> None:
    assert words(Settings()) == ""
    assert words(Settings(padded=True, bf16=True)) == "padded bf16"
