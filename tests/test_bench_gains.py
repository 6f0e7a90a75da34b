"""`graft bench --means`: ratios to none turn by turn, what is refused, what fails and what goes on."""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import Graft
from sides import Stand, failed
from test_bench_table import taken

from flows.means import IN_TURN
from tasks.bench import gains, turns
from tasks.bench.alternate import FEW
from tasks.bench.gains import TRIED, Tried, asked, cells, settings
from tasks.bench.orders import Alternated, Lap, Order, Part, Taken
from tasks.bench.table import Spread
from tasks.bench.turns import Raw
from tasks.frozen import GraftError
from tasks.prepare import rows_of
from tasks.speed.means import MEANS
from tasks.speed.quick import ANSWERING, TRAINING

pytest_plugins = ["made"]

ONE = Tried(
    name="one", about="what it is", experiment="tickets_scratch",
    changes=("dataset.limit=64", "schedule.epochs=1"), quick=("seed=1",), alone=("kept_heap", "frozen_front"),
)  # fmt: skip
WAYS = ("steps", "answers", "training")
PARTS: tuple[Part, ...] = ("steps", "answers")
ABSENT = Tried(name="absent", about="no rows", experiment="imagenet10_scratch", changes=(), quick=())


class Sides(Stand):
    """4 s with no mean, else 2 s; a lap of 4 rows takes 4 s with no mean, else 1 s."""

    fail: str | None = None

    def ran(self, order: Order) -> tuple[Taken, Any]:
        if order.means == self.fail:
            raise failed("graft", "no luck")
        answers = np.eye(order.data.target.outputs, dtype=np.float32)[rows_of(order.data, "test").labels]
        return taken(4.0 if order.means == "none" else 2.0), answers

    def alternate(self, order: Alternated) -> tuple[tuple[Lap, ...], float]:
        if self.fail == IN_TURN:
            raise failed("graft", "no luck")
        turns = range(1, order.repeats + 1)
        return tuple(lap for turn in turns for lap in (*laps("none", 4, turn), *laps("first_token", 1, turn))), 5.0


@pytest.fixture
def sides(home: Path, monkeypatch: pytest.MonkeyPatch) -> Sides:
    found = Sides()
    monkeypatch.setattr(gains, "TRIED", (ONE,))
    monkeypatch.setattr(turns, "alternate", found.alternate)
    found.seated(monkeypatch)
    return found


@dataclass
class Found:
    """What was measured of the training above."""

    raws: list[Raw] = field(default_factory=list)
    laps: dict[str, tuple[Lap, ...]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def rows(folder: Path) -> list[tuple[str, str, str]]:
    return [(row["work"], row["turn"], row["side"]) for row in csv.DictReader((folder / "means.csv").open())]


def raws(means: str, *seconds: float, peak: int = 1000) -> list[Raw]:
    return [
        Raw(work=ONE.name, turn=turn, side=means, wall=own, taken=taken(own, peak), score=0.5)
        for turn, own in enumerate(seconds, 1)
    ]


def laps(means: str, seconds: float, turn: int = 1) -> list[Lap]:
    return [Lap(part=part, means=means, turn=turn, rows=4, seconds=seconds) for part in PARTS]


def test_the_settings_are_none_each_mean_alone_and_all_and_each_mean_is_timed_in_one_of_two_ways() -> None:
    assert settings() == ("none", *MEANS, "all")
    alone = {means for work in TRIED for means in work.alone}
    assert alone == {"kept_heap", "frozen_front"}
    assert {"none", *alone, *TRAINING, *ANSWERING, FEW, "all"} == {*settings()}
    assert not alone & {*TRAINING, *ANSWERING, FEW}


@pytest.mark.parametrize("work", TRIED, ids=lambda work: work.name)
def test_every_training_loads_and_is_small_with_quick(work: Tried) -> None:
    whole, small = work.recipe(quick=False), work.recipe(quick=True)

    assert 0 < int(small.dataset.limit or 0) < int(whole.dataset.limit or 0) <= 1500
    assert (small.method, small.schedule.epochs) == (whole.method, 1)


def test_ratios_are_to_none_of_the_same_turn() -> None:
    plain, mean = raws("none", 2, 8, 4), raws(MEANS[0], 1, 8, 1, peak=500)
    first, second = gains.gains([ONE], Found([*plain, *mean]))

    assert first.training and first.training.times == Spread(middle=1, low=1, high=1, turns=3)
    assert second.training and second.training.times == Spread(middle=2, low=1, high=4, turns=3)
    assert second.training.rate == Spread(middle=200, low=25, high=200, turns=3)
    assert second.peak and (second.work, second.means, second.peak.middle, second.score) == ("one", MEANS[0], 500, 0.5)
    assert second.steps is None and second.answers is None


def test_laps_give_ratios_of_steps_and_of_answers() -> None:
    found = [*laps("none", 4), *laps("none", 8, 2), *laps("first_token", 1), *laps("first_token", 4, 2)]
    slow = [lap.model_copy(update={"seconds": 8.0}) for lap in found if lap.part == "answers"]
    first, second = gains.gains([ONE], Found(laps={"one": (*(lap for lap in found if lap.part == "steps"), *slow)}))

    assert first.steps and first.steps.rate == Spread(middle=0.75, low=0.5, high=1, turns=2)
    assert second.steps and second.steps.times == Spread(middle=3, low=2, high=4, turns=2)
    assert second.answers and second.answers.times == Spread(middle=1, low=1, high=1, turns=2)
    assert second.training is None and second.process is None
    assert cells(second) == {
        "work": "one", "means": "first_token", "steps": "3.00 (2.00 to 4.00)", "answers": "1.00 (1.00 to 1.00)",
        "whole training": "", "peak MB": "", "whole process, s": "", "score": "",
    }  # fmt: skip
    assert cells(first)["steps"] == "1: 0.8 rows/s"


def test_without_the_plain_path_there_is_no_ratio_but_all_else() -> None:
    (one,) = gains.gains([ONE], Found(raws("all", 2)))

    assert cells(one) == {
        "work": "one", "means": "all", "steps": "", "answers": "", "whole training": "not known", "peak MB": "0",
        "whole process, s": "2.0", "score": "0.500",
    }  # fmt: skip


def test_every_setting_runs_in_turn_and_all_files_are_written(sides: Sides, tmp_path: Path, graft: Graft) -> None:
    told = graft("bench", "--means", "--repeats", 2, "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 0
    assert rows(tmp_path / "out") == [("one", turn, means) for turn in "12" for means in ONE.processes]
    assert [order.means for order in sides.orders] == [*ONE.processes] * 2
    middles = {one["means"]: [one[part] and one[part]["times"]["middle"] for part in WAYS] for one in answer["means"]}
    assert middles == {
        "none": [1, 1, 1], "kept_heap": [None, None, 2], "first_token": [4, 4, None], "frozen_front": [None, None, 2],
        "all": [None, None, 2],
    }  # fmt: skip
    files = {"means.csv", "laps.csv", "means.md", "machine.json"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == files
    assert "| one | all |  |  | 2.00 (2.00 to 2.00) |" in (tmp_path / "out" / "means.md").read_text()
    assert (tmp_path / "out" / "laps.csv").read_text().splitlines()[:2] == [
        "work,part,means,turn,rows,seconds", "one,steps,none,1,4,4.0",
    ]  # fmt: skip
    assert "2 turns. How many times as fast as with none" in " ".join(told.err.split())


def test_what_fails_in_turn_fails_alone(sides: Sides, tmp_path: Path, graft: Graft) -> None:
    sides.fail = IN_TURN
    told = graft("bench", "--means", "--repeats", 1, "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 1
    assert answer["failed"] == {f"one, {IN_TURN}": "graft ended with exit code 1: no luck"}
    assert [one["means"] for one in answer["means"]] == [*ONE.processes]


def test_a_mean_that_fails_is_left_out_from_there_on_and_the_others_go_on(
    sides: Sides, tmp_path: Path, graft: Graft
) -> None:
    sides.fail = MEANS[0]
    told = graft("bench", "--means", "--repeats", 2, "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 1
    assert answer["failed"] == {f"one, {MEANS[0]}": "graft ended with exit code 1: no luck"}
    assert [one["means"] for one in answer["means"]] == ["none", "first_token", "frozen_front", "all"]
    assert [means for _, turn, means in rows(tmp_path / "out") if turn == "2"] == ["none", "frozen_front", "all"]
    assert f"failed: one, {MEANS[0]}: graft ended" in (tmp_path / "out" / "means.md").read_text()


def test_a_training_without_data_fails_alone(
    sides: Sides, tmp_path: Path, graft: Graft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gains, "TRIED", (ABSENT, ONE))
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    told = graft("bench", "--means", "--quick", "--to", tmp_path / "out")

    assert told.code == 1
    assert "failed absent: " in told.out
    assert {work for work, _, _ in rows(tmp_path / "out")} == {"one"}
    assert "proves nothing" in told.out


def test_interrupted_it_leaves_what_was_measured(sides: Sides, tmp_path: Path, graft: Graft) -> None:
    sides.stop_after = 2
    told = graft("bench", "--means", "--quick", "--to", tmp_path / "out")

    assert told.code == 130
    assert len(rows(tmp_path / "out")) == 2
    assert "Stopped. What was measured until then lies in" in told.err


def test_the_readme_gets_the_table_in_its_own_place(sides: Sides, tmp_path: Path, graft: Graft) -> None:
    file = tmp_path / "README.md"
    file.write_text("<!-- bench -->\nkept\n<!-- /bench -->\n<!-- means -->\n<!-- /means -->\nb\n")
    graft("bench", "--means", "--quick", "--readme", file, "--to", tmp_path / "out")

    table = (tmp_path / "out" / "means.md").read_text().strip()
    assert file.read_text() == (f"<!-- bench -->\nkept\n<!-- /bench -->\n<!-- means -->\n{table}\n<!-- /means -->\nb\n")


def test_a_readme_without_the_place_is_told_before_an_hour_is_spent(sides: Sides, tmp_path: Path, graft: Graft) -> None:
    (tmp_path / "README.md").write_text("<!-- bench -->\n<!-- /bench -->\n")
    told = graft("bench", "--means", "--readme", tmp_path / "README.md", "--to", tmp_path / "out")

    assert (told.code, sides.orders) == (2, [])
    assert "must hold <!-- means -->" in told.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--means", "--whole"), "--means and --whole are benchmarks of their own, with a table each."),
        (("--whole", "--growth", "all"), "--whole and --growth are benchmarks of their own, with a table each."),
        (("--means", "--against", "timm"), "--against chooses what stands beside Graft, and --means has only Graft"),
        (("--whole", "--only", "help"), "--only chooses what stands beside Graft, and --whole has only Graft"),
        (("--means", "--repeats", "0"), "--repeats 0 is no number of turns."),
        (("--whole", "--repeats", "0"), "--repeats 0 is no number of turns."),
    ],
)
def test_options_that_do_not_go_together_are_refused_with_the_reason(
    graft: Graft, words: tuple[str, ...], told: str
) -> None:
    answer = graft("bench", *words)

    assert answer.code == 2
    assert told in " ".join(answer.err.split())


def test_no_turn_is_refused() -> None:
    with pytest.raises(GraftError, match="no number of turns"):
        asked(0, quick=True)


@pytest.mark.real
@pytest.mark.timeout(1800)
def test_all_settings_run_on_a_few_rows_of_the_real_data(
    home: Path, data_folder: Path, tmp_path: Path, graft: Graft, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = TRIED[1:2]  # texts, whose test rows are answered in a fifth of the time that the pictures' take
    monkeypatch.setattr(gains, "TRIED", one)
    told = graft("bench", "--means", "--quick", "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 0
    busy = {*one[0].processes, "first_token", "lora_linear", "merged"}
    assert [(one["work"], one["means"]) for one in answer["means"]] == [
        (work.name, means) for work in one for means in settings() if means in busy
    ]
    digests = {(row["work"], row["rows_digest"]) for row in csv.DictReader((tmp_path / "out" / "means.csv").open())}
    assert len(digests) == len({work for work, _ in digests})
