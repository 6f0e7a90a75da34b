"""`graft bench --whole`: what each turn runs, what it comes to, what fails and what goes on."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from made import Graft

from flows import sitting
from tasks.bench import turns, whole
from tasks.bench.goals import GOALS, Line, cells, lines
from tasks.bench.machine import described
from tasks.bench.table import Spread
from tasks.bench.whole import COMPARE, FINETUNE, HELP, LOOP, WORKS, Timed, Work
from tasks.comparison.asked import asked, composed
from tasks.compose import load

pytest_plugins = ["made"]

NAMED = {work.name: work for work in WORKS}
SMALL = ("dataset.limit=60", "schedule.epochs=1")
TUNE = Work(name="finetune", about="one", kind="finetune", experiment="tickets_scratch", changes=SMALL)
TWO = Work(
    name="two", about="two methods", kind="compare", experiment="digits_lora", changes=SMALL,
    methods="scratch,linear_probe", seeds="0",
)  # fmt: skip
ODD = Work(name="odd", about="no such field", kind="finetune", experiment="tickets_scratch", changes=("warp=1",))
LATE = Work(name="late", about="no rows", kind="finetune", experiment="tickets_scratch", changes=("dataset.limit=2",))


def timed(work: Work, turn: int, *seconds: float, **changes: Any) -> list[Timed]:
    """One turn's processes, which took so many seconds."""
    return [
        Timed(work=work.name, turn=turn, side=step.side, wall=own, **changes)
        for step, own in zip(work.steps(), seconds, strict=True)
    ]


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "whole.csv").open()))


@pytest.fixture
def quiet(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is not timed for long, and MLflow's database is made by nobody."""
    monkeypatch.setattr(turns, "ready", lambda: None)
    monkeypatch.setattr(sitting, "described", lambda: described(0.001))
    monkeypatch.setattr(sitting, "again", lambda machine: machine)


@pytest.mark.parametrize("work", [work for work in WORKS if work.kind == "compare"], ids=lambda work: work.name)
def test_the_runs_one_by_one_are_the_very_recipes_of_the_comparison(work: Work) -> None:
    first, *others = work.steps()
    told = composed(asked(work.experiment, work.methods, work.seeds, None, 2.0, work.changes))

    assert (first.side, {step.side for step in others}, len(others)) == (COMPARE, {FINETUNE}, 15)
    assert first.words[:2] == ("compare", work.experiment)
    recipes = [load(step.words[1], step.words[2:]) for step in others]
    assert [one.fingerprint for one in recipes] == [child.recipe.fingerprint for child in told]
    assert [one.name for one in recipes] == [child.recipe.name for child in told]


def test_with_quick_the_same_works_are_small() -> None:
    few = whole.asked(None, quick=True)

    assert [work.name for work in few.works] == [work.name for work in WORKS]
    assert [len(work.steps()) for work in few.works] == [1, 2, 3, 3]
    assert (few.repeats, whole.asked(None, quick=False).repeats) == (1, 3)


def test_only_what_has_no_empty_home_runs_once_before_the_first_turn() -> None:
    assert {name: [step.side for step in work.before()] for name, work in NAMED.items()} == {
        "help": [HELP], "finetune": [FINETUNE], "compare-images": [], "compare-text": [],
    }  # fmt: skip


def test_a_comparison_is_held_against_the_sum_of_its_runs_turn_by_turn() -> None:
    (one,) = lines([TWO], [*timed(TWO, 1, 10, 15, 5), *timed(TWO, 2, 30, 10, 30)])

    assert one.value == Spread(middle=0.625, low=0.5, high=0.75, turns=2)
    assert one.sides[FINETUNE] == Spread(middle=30, low=20, high=40, turns=2)
    assert not one.reached


def test_a_fine_tune_is_held_against_its_bare_loops_process_and_steps_and_two_percent_of_each() -> None:
    tune, loop = timed(TUNE, 1, 72.5, 60, first=9.0)
    first, process, steps = lines([TUNE], [tune, loop.model_copy(update={"training": 50.0, "first": None})])

    assert (first.value.middle, first.most, first.reached) == (9, 10, True)
    assert process.value.middle == pytest.approx(72.5 - 61.2)
    assert steps.value.middle == pytest.approx(72.5 - 51)
    assert [(one.most, one.reached) for one in (process, steps)] == [(12, True), (12, False)]
    assert process.sides[LOOP].middle == 60


def test_what_ran_before_a_turn_that_lacks_a_process_and_one_that_failed_do_not_count() -> None:
    before = timed(NAMED["help"], 0, 9)
    whole_turn, torn = timed(TWO, 1, 10, 15, 5), timed(TWO, 2, 10, 15, 5)

    assert lines([NAMED["help"]], before) == []
    assert lines([TWO], [*whole_turn, *torn[:2]])[0].value.turns == 1
    assert lines([TWO], [*whole_turn, torn[0], torn[1].model_copy(update={"failed": "why"})])[0].value.turns == 1


@pytest.mark.parametrize(("seconds", "reached"), [(0.8, "yes"), (0.81, "no")])
def test_a_goal_is_reached_by_the_median_turn_and_not_judged_with_quick(seconds: float, reached: str) -> None:
    (one,) = lines([NAMED["help"]], timed(NAMED["help"], 1, seconds))

    assert cells(one, quick=False) == {
        "work": "help", "measured": "help", "came to": f"{seconds:.2f} s", "goal": "0.8 s", "reached": reached,
        "seconds of each": f"graft --help {seconds:.1f}",
    }  # fmt: skip
    assert cells(one, quick=True)["reached"] == "no proof"


def test_the_goals_stand_as_they_were_set() -> None:
    assert [(goal.kind, goal.most) for goal in GOALS] == [
        ("help", 0.8), ("finetune", 10), ("finetune", 12), ("finetune", 12), ("compare", 0.5),
    ]  # fmt: skip


def test_the_help_is_timed_and_works_that_fail_do_so_alone(
    quiet: None, tmp_path: Path, graft: Graft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "WORKS", (ODD, LATE, NAMED["help"]))
    file = tmp_path / "README.md"
    file.write_text("a\n<!-- whole -->\nold\n<!-- /whole -->\nb\n")
    told = graft("bench", "--whole", "--repeats", 2, "--readme", file, "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 1
    assert "warp" in answer["failed"]["odd"]
    assert answer["failed"]["late"].startswith("graft finetune ended with exit code 2: ")
    assert [one["work"] for one in answer["whole"]] == ["help"]
    assert answer["whole"][0]["value"]["turns"] == 2
    assert [(row["work"], row["turn"], bool(row["failed"])) for row in rows(tmp_path / "out")] == [
        ("late", "0", True), ("help", "0", False), ("help", "1", False), ("help", "2", False),
    ]  # fmt: skip
    assert rows(tmp_path / "out")[1]["command"] == "graft --help"
    assert {one.name for one in (tmp_path / "out").iterdir()} == {"whole.csv", "whole.md", "machine.json"}
    table = (tmp_path / "out" / "whole.md").read_text().strip()
    assert file.read_text() == f"a\n<!-- whole -->\n{table}\n<!-- /whole -->\nb\n"
    assert "failed: odd: " in table and "| help | help |" in table


def test_interrupted_it_leaves_what_was_measured(
    quiet: None, tmp_path: Path, graft: Graft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "WORKS", (NAMED["help"],))
    plain = turns.process
    ran: list[Sequence[str]] = []

    def stopping(name: str, words: Sequence[str], out: Path, settings: Mapping[str, str]) -> float:
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(words)
        return plain(name, words, out, settings)

    monkeypatch.setattr(turns, "process", stopping)
    told = graft("bench", "--whole", "--to", tmp_path / "out")

    assert told.code == 130
    assert len(rows(tmp_path / "out")) == 2
    assert "Stopped. What was measured until then lies in" in told.err


def test_a_readme_without_the_place_is_told_before_an_hour_is_spent(quiet: None, tmp_path: Path, graft: Graft) -> None:
    (tmp_path / "README.md").write_text("<!-- bench -->\n<!-- /bench -->\n")
    told = graft("bench", "--whole", "--readme", tmp_path / "README.md", "--to", tmp_path / "out")

    assert told.code == 2
    assert "must hold <!-- whole -->" in told.err
    assert not (tmp_path / "out").exists()


@pytest.mark.real
@pytest.mark.timeout(1800)
def test_all_kinds_of_commands_run_on_a_few_rows_of_the_real_data(
    home: Path, data_folder: Path, tmp_path: Path, graft: Graft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "WORKS", whole.WORKS[:3])  # the second comparison goes the first one's ways
    told = graft("bench", "--whole", "--quick", "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])
    found = [Line.model_validate({name: one[name] for name in Line.model_fields}) for one in answer["whole"]]

    assert told.code == 0, answer["failed"]
    assert [line.work for line in found] == ["help", "finetune", "finetune", "finetune", "compare-images"]
    assert [line.measured for line in found][1:4] == [goal.name for goal in GOALS][1:4]
    took = {row["side"]: row for row in rows(tmp_path / "out") if row["work"] == "finetune"}
    assert 0 < float(took[FINETUNE]["first_step_seconds"]) < float(took[FINETUNE]["wall_seconds"])
    assert 0 < float(took[LOOP]["training_seconds"]) < float(took[LOOP]["wall_seconds"])
    assert not list((home / "bench").glob("work-*")), "homes and models are gone"
