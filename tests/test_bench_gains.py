"""`graft bench --means`: ratios to none turn by turn, what is refused, what fails and what goes on."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import Graft
from sides import Stand, failed
from test_bench_table import taken

from tasks.bench import gains
from tasks.bench.gains import TRIED, Gain, Tried, asked, cells, settings
from tasks.bench.orders import Order, Taken
from tasks.bench.table import Spread
from tasks.bench.turns import Raw
from tasks.frozen import GraftError
from tasks.prepare import rows_of
from tasks.speed.means import MEANS

pytest_plugins = ["made"]

ONE = Tried(
    name="one", about="what it is", experiment="tickets_scratch",
    changes=("dataset.limit=64", "schedule.epochs=1"), quick=("seed=1",),
)  # fmt: skip
ABSENT = Tried(name="absent", about="no rows", experiment="imagenet10_scratch", changes=(), quick=())


class Sides(Stand):
    """4 s with no mean, else 2 s."""

    fail: str | None = None

    def ran(self, order: Order) -> tuple[Taken, Any]:
        if order.means == self.fail:
            raise failed("graft", "no luck")
        answers = np.eye(order.data.target.outputs, dtype=np.float32)[rows_of(order.data, "test").labels]
        return taken(4.0 if order.means == "none" else 2.0), answers


@pytest.fixture
def sides(home: Path, monkeypatch: pytest.MonkeyPatch) -> Sides:
    found = Sides()
    monkeypatch.setattr(gains, "TRIED", (ONE,))
    found.seated(monkeypatch)
    return found


def rows(folder: Path) -> list[tuple[str, str, str]]:
    return [(row["work"], row["turn"], row["side"]) for row in csv.DictReader((folder / "means.csv").open())]


def raws(means: str, *seconds: float, peak: int = 1000) -> list[Raw]:
    return [
        Raw(work=ONE.name, turn=turn, side=means, wall=own, taken=taken(own, peak), score=0.5)
        for turn, own in enumerate(seconds, 1)
    ]


def test_the_settings_are_none_each_mean_alone_and_all() -> None:
    assert settings() == ("none", *MEANS, "all")


@pytest.mark.parametrize("work", TRIED, ids=lambda work: work.name)
def test_every_training_loads_and_is_small_with_quick(work: Tried) -> None:
    whole, small = work.recipe(quick=False), work.recipe(quick=True)

    assert 0 < int(small.dataset.limit or 0) < int(whole.dataset.limit or 0) <= 1500
    assert (small.method, small.schedule.epochs) == (whole.method, 1)


def test_ratios_are_to_none_of_the_same_turn() -> None:
    plain, mean = raws("none", 2, 8, 4), raws(MEANS[0], 1, 8, 1, peak=500)
    first, second = gains.gains([ONE], [*plain, *mean])

    assert first.times == Spread(middle=1, low=1, high=1, turns=3)
    assert second.times == Spread(middle=2, low=1, high=4, turns=3)
    assert (second.work, second.means, second.peak.middle, second.score) == ("one", MEANS[0], 500, 0.5)
    assert second.rate == Spread(middle=200, low=25, high=200, turns=3)


def test_without_the_plain_path_there_is_no_ratio_but_all_else() -> None:
    (one,) = gains.gains([ONE], raws("all", 2))

    assert one.times is None
    assert cells(one) == {
        "work": "one", "means": "all", "rows/s": "100.0", "times as fast as none": "not known", "peak MB": "0",
        "whole process, s": "2.0", "score": "0.500",
    }  # fmt: skip
    assert cells(Gain.model_validate(one.model_dump() | {"score": None}))["score"] == ""


def test_every_setting_runs_in_turn_and_all_files_are_written(sides: Sides, tmp_path: Path, graft: Graft) -> None:
    told = graft("bench", "--means", "--repeats", 2, "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 0
    assert rows(tmp_path / "out") == [("one", turn, means) for turn in "12" for means in settings()]
    assert [order.means for order in sides.orders] == [*settings()] * 2
    assert [one["times"]["middle"] for one in answer["means"]] == [1, *[2] * (len(MEANS) + 1)]
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"means.csv", "means.md", "machine.json"}
    assert "| one | all | 100.0 (100.0 to 100.0) | 2.00 (2.00 to 2.00) |" in (tmp_path / "out" / "means.md").read_text()
    assert "2 turns. Graft's own training" in told.err


def test_a_mean_that_fails_is_left_out_from_there_on_and_the_others_go_on(
    sides: Sides, tmp_path: Path, graft: Graft
) -> None:
    sides.fail = MEANS[0]
    told = graft("bench", "--means", "--repeats", 2, "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 1
    assert answer["failed"] == {f"one, {MEANS[0]}": "graft ended with exit code 1: no luck"}
    assert [one["means"] for one in answer["means"]] == [means for means in settings() if means != MEANS[0]]
    assert [means for _, turn, means in rows(tmp_path / "out") if turn == "2"] == [
        means for means in settings() if means != MEANS[0]
    ]
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
    both = TRIED[2:]  # the pictures: all kinds of settings, in a third of the time
    monkeypatch.setattr(gains, "TRIED", both)
    told = graft("bench", "--means", "--quick", "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 0
    assert [(one["work"], one["means"]) for one in answer["means"]] == [
        (work.name, means) for work in both for means in settings()
    ]
    digests = {(row["work"], row["rows_digest"]) for row in csv.DictReader((tmp_path / "out" / "means.csv").open())}
    assert len(digests) == len({work for work, _ in digests})
