"""`graft promote`, `rollback` and `ledger` on real models: a promotion, a refused worse candidate, and the way back."""

import json
from pathlib import Path
from typing import Any

import pytest
from made import IMAGE, Graft, Made, aliases, make

from flows.promote import promote
from tasks import ledger, tracking
from tasks.frozen import GraftError

pytest_plugins = ["made"]

MODEL = "standing"
BETTER = ("dataset.limit=500", "schedule.epochs=6")


@pytest.fixture(scope="module", autouse=True)
def models(shared_home: Path) -> tuple[Made, Made]:
    """Version 1, the champion, trained on few labels; and version 2, on many, which no gate has judged yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(shared_home))
        few = make(shared_home / "standing-1", "digits_scratch", *IMAGE, f"model={MODEL}")
        many = make(shared_home / "standing-2", "digits_scratch", *BETTER, f"model={MODEL}", "crown=false")
    assert few.result.card.score.value + 0.1 < many.result.card.score.value
    return few, many


def champion() -> int:
    return aliases(MODEL)["champion"]


def actions() -> list[tuple[str, int]]:
    return [(entry.action, entry.version) for entry in ledger.whole(MODEL)]


def test_a_promotion_a_refused_worse_candidate_and_a_rollback_each_in_the_ledger(at_home: Path, graft: Graft) -> None:
    assert (champion(), actions()) == (1, [("promoted", 1)])
    better = graft("promote", MODEL, 2, "--because", "ten times the labels")
    assert (better.code, champion()) == (0, 2), better.err
    assert "standing/2 promoted: accuracy" in better.err + better.out
    assert "is better: the champion has" in " ".join((better.err + better.out).split())

    worse = graft("promote", MODEL, 1, "--because", "I like it", "--json")
    found = json.loads(worse.out)
    assert (worse.code, champion()) == (1, 2)
    assert (found["decision"], found["passed"], found["against"]) == ("REJECT", False, 2)
    assert "is worse: the champion has" in found["reasons"][0]
    assert found["judged"][0]["high"] < 0

    back = graft("rollback", MODEL, "--because", "the new one was slow")
    assert (back.code, champion()) == (0, 1)
    assert "standing/1 is the champion again, instead of 2." in " ".join(back.err.split())
    assert actions() == [("promoted", 1), ("promoted", 2), ("rejected", 1), ("rolled back", 1)]

    told = graft("ledger", MODEL)
    assert told.code == 0
    for words in ("ten times the labels", "I like it", "the new one was slow", "rolled back"):
        assert words in " ".join(told.out.split())
    entries = json.loads(graft("ledger", MODEL, "--json").out)
    assert [entry["number"] for entry in entries] == [1, 2, 3, 4]
    assert tracking.client().get_model_version(MODEL, "1").tags["graft.verdict"] == "REJECT"


def test_an_override_is_no_verdict_and_the_ledger_says_so(at_home: Path, graft: Graft) -> None:
    before = champion()
    other = 3 - before
    assert graft("promote", MODEL, other, "--because", "the demo needs it", "--override").code == 0
    assert champion() == other
    assert ledger.whole(MODEL)[-1].why == "the demo needs it (a person's decision: the gate was not asked)"
    assert graft("rollback", MODEL).code == 0
    assert champion() == before


def test_another_gate_can_be_asked(at_home: Path, graft: Graft) -> None:
    if champion() == 2:
        graft("rollback", MODEL, "--to", 1)
    told = graft("promote", MODEL, 2, "--because", "a try", "--gate", "strict_images", "--json")
    about = {one["about"] for one in json.loads(told.out)["judged"]}
    assert about >= {"accuracy", "blur", "noise", "jpeg", "milliseconds a row", "class 3"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("promote", MODEL, 9, "--because", "x"), "standing/9 is no registered version"),
        (("promote", "nobody", 1, "--because", "x"), "No such model."),
        (("promote", MODEL, 1, "--because", " "), "Give one of 1 to 1000"),
        (("promote", MODEL, "CHAMPION", "--because", "x"), "is the champion of 'standing' already"),
        (("promote", MODEL, "OTHER", "--because", "x", "--gate", "nogate"), "There is no 'nogate' in configs/gates"),
        (("promote", MODEL, "OTHER", "--because", "x", "--gate", "strict_text"), "does not fit 'digits_scratch'"),
        (("rollback", "nobody"), "'nobody' has no champion"),
        (("rollback", MODEL, "--to", 9), "standing/9 is no registered version"),
        (("rollback", MODEL, "--to", "CHAMPION"), "is the champion of 'standing' already"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_exit_code_2_and_leaves_no_entry(
    at_home: Path, graft: Graft, words: Any, told: str
) -> None:
    named = {"CHAMPION": champion(), "OTHER": 3 - champion()}
    before = actions()
    answer = graft(*(named.get(word, word) for word in words))
    assert answer.code == 2
    assert told in " ".join(answer.err.split())
    assert actions() == before


def test_rows_that_changed_since_the_version_was_trained_are_refused(
    at_home: Path, models: tuple[Made, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 3 - champion()
    run_id = models[number - 1].result.registered.run_id
    recorded = tracking.tags(run_id)["graft.hashes"]
    tracking.tag(run_id, {"graft.hashes": "other rows"})
    with pytest.raises(GraftError, match="no longer those of version"):
        promote(MODEL, number, "a try")
    tracking.tag(run_id, {"graft.hashes": recorded})


def test_where_the_gate_freezes_other_test_rows_nothing_is_trained(at_home: Path, graft: Graft) -> None:
    told = graft("finetune", "digits_scratch", *IMAGE, "model=frozen", "gate.test_rows=other")
    assert told.code == 2
    assert "freezes the test rows other" in told.err
    assert tracking.client().get_experiment_by_name("frozen") is None


def test_an_alias_moved_by_hand_is_told_by_the_ledger(at_home: Path, graft: Graft) -> None:
    own = champion()
    tracking.client().set_registered_model_alias(MODEL, "champion", str(3 - own))
    told = graft("ledger", MODEL)
    assert told.code == 2
    assert f"is {3 - own}, but the ledger's last word is {own}" in " ".join(told.err.split())
    tracking.client().set_registered_model_alias(MODEL, "champion", str(own))
    assert graft("ledger", MODEL).code == 0
    assert graft("ledger", "nobody").code == 0
