"""The command as a whole, with sides that answer at once: files, exit codes, what fails and what goes on."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import Graft
from sides import Shown, Stand, failed

from flows import bench, sitting
from tasks.bench import turns, works
from tasks.bench.orders import Order, Taken
from tasks.bench.turns import SideFailed
from tasks.bench.works import Settings, Work
from tasks.frozen import GraftError
from tasks.prepare import rows_of
from tasks.screen import watched

pytest_plugins = ["made"]

SMALL = ("dataset.limit=64", "schedule.epochs=1")
MADE = tuple(
    Work(
        name=name, about=f"what {name} is", against="another", peer="trainer", goal=2, experiment="tickets_scratch",
        quick=SMALL, ours=ours, tries=name == "one",
    )
    for name, ours in (("one", SMALL), ("two", (*SMALL, "seed=1")))
)  # fmt: skip


class Sides(Stand):
    """Ours takes 1 s, theirs 3 s."""

    fail: str | None = None

    def ran(self, order: Order) -> tuple[Taken, Any]:
        if order.by == self.fail and order.recipe.seed == 0:
            raise failed(order.by, "no luck")
        rows = rows_of(order.data, "train")
        taken = Taken(
            seconds=1.0 if order.by == "graft" else 3.0, ready=1.0, rows=order.rows or len(rows), epochs=1, steps=4,
            trained=1, peak=10**9, seen=f"seed {order.recipe.seed}", flops=1e9,
        )  # fmt: skip
        answers = np.eye(order.data.target.outputs, dtype=np.float32)[rows_of(order.data, "test").labels]
        return taken, None if order.rows else answers


@pytest.fixture
def sides(home: Path, monkeypatch: pytest.MonkeyPatch) -> Sides:
    found = Sides()
    monkeypatch.setattr(works, "WORKS", MADE)
    found.seated(monkeypatch)
    return found


def lines(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "bench.csv").open()))


def test_both_sides_run_in_turn_after_the_trials_and_all_files_are_written(
    sides: Sides, tmp_path: Path, graft: Graft
) -> None:
    shown = Shown("bench")
    with watched(shown):
        told = graft("bench", "--repeats", 2, "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 0
    order = [(line["work"], line["turn"], line["side"]) for line in lines(tmp_path / "out")]
    trials = [("one", "0", name) for name in ("trainer", "trainer-dropout", "trainer-bf16")]
    expected = {
        "one": ("graft", "trainer", "graft-bf16", "trainer-bf16"),
        "two": ("graft", "trainer"),
    }  # which has no trials
    assert order == trials + [(work, turn, side) for work, own in expected.items() for turn in "12" for side in own]
    assert [work["speed"]["middle"] for work in answer["works"]] == [3, 3]
    assert [work["reached"] for work in answer["works"]] == [True, True]
    assert answer["works"][0]["scores"]["ours"] == 1
    seeds = [order.recipe.seed for order in sides.orders]
    assert seeds == [0] * 3 + [0] * 4 + [1] * 4 + [1] * 2 + [2] * 2, "each turn's own, the same for all sides"
    assert len({order.data.hashes["train"] for order in sides.orders[:11]}) == 1, "but the same rows"
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "bench.csv", "bench.md", "bench.png", "machine.json",
    }  # fmt: skip
    assert "3.00 (3.00 to 3.00)" in told.err and "two, turn 2 of 2" in told.err
    assert shown.bars[0] == (0, 11, "one, trial of trainer; how long is not known yet")
    assert shown.bars[-3:-1] == [(10, 11, "two, turn 2: trainer; about 1 min left"), (11, 11, "done")]
    assert not list((tmp_path / "home" / "bench").glob("work-*")), "the sides' folder is gone"


def test_a_failing_side_is_reported_and_the_other_works_go_on(sides: Sides, tmp_path: Path, graft: Graft) -> None:
    sides.fail = "graft"
    told = graft("bench", "--quick", "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 1
    assert answer["failed"] == {"one": "graft ended with exit code 1: no luck"}
    assert [work["work"]["name"] for work in answer["works"]] == ["two"]
    assert "one failed: graft ended with exit code 1: no luck" in told.err
    assert "    first\n" in told.err
    assert lines(tmp_path / "out")[0]["failed"] == "graft ended with exit code 1: no luck"
    assert "failed: one: graft ended" in (tmp_path / "out" / "bench.md").read_text()


def test_a_trial_that_fails_leaves_its_setting_out_alone(sides: Sides, tmp_path: Path, graft: Graft) -> None:
    plain = sides.__class__.__call__

    def refusing(order: Order) -> tuple[Taken, Any, float]:
        if order.settings.bf16 and order.by == "trainer":
            raise SideFailed("trainer ended with exit code 1: no bf16", ["no bf16"], 1.0)
        return plain(sides, order)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "run", refusing)
        told = graft("bench", "--only", "one", "--repeats", 1, "--to", tmp_path / "out")

    assert told.code == 0
    assert "one: trainer-bf16 is left out" in told.err


def test_bf16_is_not_tried_where_a_product_is_slower_in_it(sides: Sides, tmp_path: Path, graft: Graft) -> None:
    sides.gflops = {"fp32": 100.0, "bf16": 1.0}
    told = graft("bench", "--only", "one", "--repeats", 1, "--to", tmp_path / "out")

    assert told.code == 0
    assert [line["side"] for line in lines(tmp_path / "out")] == ["trainer", "trainer-dropout", "graft", "trainer"]
    assert "bf16 is not tried, this machine multiplies more slowly in it" in " ".join(told.out.split())


def test_a_work_whose_data_are_not_there_fails_alone(
    sides: Sides, tmp_path: Path, graft: Graft, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = MADE[0].model_copy(update={"experiment": "imagenet10_scratch", "ours": ()})
    monkeypatch.setattr(works, "WORKS", (absent, MADE[1]))
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    told = graft("bench", "--quick", "--to", tmp_path / "out")

    assert told.code == 1
    assert "failed one: " in told.out and "imagenet10" in told.out
    assert [line["work"] for line in lines(tmp_path / "out")] == ["two", "two"]


def test_interrupted_it_leaves_what_was_measured(sides: Sides, tmp_path: Path, graft: Graft) -> None:
    sides.stop_after = 3
    told = graft("bench", "--quick", "--to", tmp_path / "out")

    assert told.code == 130
    assert len(lines(tmp_path / "out")) == 3
    assert "Stopped. What was measured until then lies in" in told.err


def test_the_readme_is_looked_at_before_an_hour_is_spent(sides: Sides, tmp_path: Path, graft: Graft) -> None:
    (tmp_path / "README.md").write_text("no place")
    told = graft("bench", "--readme", tmp_path / "README.md", "--to", tmp_path / "out")

    assert told.code == 2
    assert "must hold" in told.err
    assert sides.orders == []


def test_the_readme_gets_the_table(sides: Sides, tmp_path: Path, graft: Graft) -> None:
    (tmp_path / "README.md").write_text("a\n<!-- bench -->\n<!-- /bench -->\nb\n")
    graft("bench", "--quick", "--readme", tmp_path / "README.md", "--to", tmp_path / "out")
    text = (tmp_path / "README.md").read_text()

    assert (tmp_path / "out" / "bench.md").read_text().strip() in text
    assert text.startswith("a\n") and text.endswith("\nb\n")


def test_a_folder_that_holds_something_is_refused(sides: Sides, tmp_path: Path, graft: Graft) -> None:
    (tmp_path / "bench.csv").write_text("")
    told = graft("bench", "--to", tmp_path)

    assert told.code == 2
    assert "is not empty" in told.err


def test_sides_that_saw_other_rows_fail_the_work(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise GraftError("other rows")

    monkeypatch.setattr(bench, "check_same_rows", refused)
    with sitting.workplace() as folder:
        running = bench.Bench(works.asked("trainer", None, quick=True), folder / "bench.csv", folder, sides.gflops)
        running.run()

    assert running.failed == {"one": "other rows", "two": "other rows"}


def test_the_model_that_is_asked_later_is_that_of_the_first_turn(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    one = MADE[0]
    monkeypatch.setattr(works, "WORKS", (one, one.model_copy(update={"name": "ask", "kind": "predict"})))
    with sitting.workplace() as folder:
        running = bench.Bench(works.asked("trainer", None, quick=False), folder / "bench.csv", folder, sides.gflops)
        running.ready["one"] = running._prepared(one)
        first, second = (running._order(one, turn, ("graft", Settings()), None) for turn in (1, 2))

    assert first.keep == running._kept(first.recipe)
    assert second.keep is None


@pytest.mark.real
@pytest.mark.timeout(1800)
def test_every_kind_of_work_runs_on_a_few_rows_of_the_real_data(
    home: Path, data_folder: Path, tmp_path: Path, graft: Graft
) -> None:
    some = ["text", "images", "probe", "predict"]  # the other texts go the same ways
    told = graft("bench", "--quick", "--only", ",".join(some), "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 0
    assert [work["work"]["name"] for work in answer["works"]] == some
    assert all(0 < line["share"]["middle"] < 1 for line in answer["works"] if line["share"])
    assert [line["work"] for line in lines(tmp_path / "out")] == [name for name in some for _ in range(2)]
