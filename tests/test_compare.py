"""A comparison with real children, tiny: what fails stops nothing else, what is done is found, nobody is crowned."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from made import Graft
from small import experiment_in

from flows.compare import Report, compare
from flows.suite import Unfinished
from tasks import tracking
from tasks.comparison import reading
from tasks.comparison.asked import asked
from tasks.frozen import GraftError
from tasks.registry import champion
from tasks.results import Target
from tasks.suites import PARENT

pytest_plugins = ["small", "made"]

MODEL = "mine-compare"


@dataclass
class Place:
    """A folder with an experiment on a pretrained trunk, and a method whose LoRA can be made to fit nothing."""

    folder: Path

    @property
    def words(self) -> list[str]:
        return [str(self.folder / "mine.yaml"), "--methods", f"scratch,{self.folder / 'narrow.yaml'}", "--seeds", "0"]

    def method(self, target: str) -> None:
        told = {"kind": "lora", "rank": 2, "targets": [target]}
        (self.folder / "narrow.yaml").write_text(yaml.safe_dump(told))

    def run(self) -> Report:
        return compare.fn(asked(self.words[0], self.words[2], self.words[4], None, 2.0, [], 1))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, zoo: Path) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("compare")
    experiment_in(folder, zoo)
    environment = {"GRAFT_DATA": folder, "GRAFT_HOME": folder / "home", "HF_HUB_OFFLINE": 1, "GRAFT_WORKERS": 0}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        for name, value in (environment | {"GRAFT_DEVICE": "cpu"}).items():
            patch.setenv(name, str(value))
        yield Place(folder)


def runs() -> list[Any]:
    """The runs of the comparison's experiment, its parents and their children."""
    found = tracking.client().get_experiment_by_name(MODEL)
    return list(tracking.client().search_runs([found.experiment_id]))


@dataclass
class Told:
    """The same comparison twice: one method fitted nothing the first time, which was mended."""

    first: Report
    second: Report


@pytest.fixture(scope="module")
def twice(place: Place) -> Told:
    place.method("nothing")
    with pytest.raises(Unfinished, match=r"^Failed: mine-narrow \(seed 0\)\. The same command goes on") as caught:
        place.run()
    place.method("query")
    return Told(caught.value.report, place.run())


def test_a_child_that_fails_is_told_in_one_line_and_the_others_are_in_the_table(twice: Told) -> None:
    (failed,) = twice.first.failed
    scored, missing = twice.first.comparison.lines

    assert "matches no module that can be adapted" in failed.reason
    assert (scored.method, scored.standing, scored.seeds) == ("scratch", "best", 1)
    assert (missing.method, missing.standing, missing.score) == ("narrow", "failed", None)
    assert "narrow has no finished run" in twice.first.page.read_text()
    assert tracking.client().get_run(twice.first.run_id).info.status == "FAILED"


def test_what_is_done_is_taken_as_it_is_and_timed_again(twice: Told) -> None:
    scratch, narrow = twice.second.children

    assert (scratch.before, narrow.before) == (True, False)
    assert scratch.done == twice.first.children[0].done
    assert all(line.latency and line.latency.p50 > 0 for line in twice.second.comparison.lines)


def test_a_child_keeps_all_that_the_table_says_of_it(twice: Told) -> None:
    for child in twice.second.children:
        assert child.done is not None
        own = tracking.client().get_run(child.done.run_id).data
        (line,) = (one for one in twice.second.comparison.lines if child.recipe.name == f"mine-{one.method}")
        assert line.score is not None and line.costs is not None
        assert line.score.value == pytest.approx(own.metrics["test/accuracy"])
        assert line.costs.total == own.metrics["weights/total"] >= line.costs.outside + line.costs.head
        assert own.metrics["memory/peak_bytes"] > 50_000_000, "a process with torch"
        assert own.metrics["size/model_bytes"] > own.metrics["size/trained_bytes"] > 0
        assert own.metrics["seconds/train"] == line.costs.seconds
        assert len(line.curve) == 2
        assert (own.params["crown"], own.params["method.kind"]) == ("false", child.recipe.method.kind)
    scratch, narrow = (next(o for o in twice.second.comparison.lines if o.method == m) for m in ("scratch", "narrow"))
    assert scratch.costs is not None and narrow.costs is not None
    assert (scratch.costs.share, narrow.costs.disk_trained < scratch.costs.disk_trained) == (1, True)


def test_nobody_is_crowned_and_productions_line_is_untouched(twice: Told) -> None:
    assert champion(MODEL) is None
    assert [one.name for one in tracking.client().search_registered_models()] == [MODEL]
    for child in twice.second.children:
        assert child.done is not None
        tags = tracking.client().get_run(child.done.run_id).data.tags
        assert (tags["graft.verdict"], tags["graft.reasons"]) == (
            "held", "The recipe says crown: false, so no gate was asked.",
        )  # fmt: skip


def test_the_parent_lies_with_its_children_and_keeps_table_page_and_pictures(twice: Told, tmp_path: Path) -> None:
    parent = tracking.client().get_run(twice.second.run_id)
    fetched = Path(tracking.client().download_artifacts(twice.second.run_id, "", str(tmp_path)))

    assert parent.info.run_id in {run.info.run_id for run in runs()}
    assert parent.info.status == "FINISHED"
    assert "cannot be told apart" in parent.data.tags["graft.answer"], "24 rows show little"
    assert {"scratch/accuracy/value", "scratch/accuracy/low", "narrow/latency_p95_ms"} <= parent.data.metrics.keys()
    for child in twice.second.children:
        assert child.done is not None
        assert tracking.client().get_run(child.done.run_id).data.tags[PARENT] == twice.second.run_id
    assert {file.name for file in fetched.iterdir()} == {
        "compare.html", "compare.csv", "compare.md", "scores.svg", "cost.svg", "learning.svg"
    }  # fmt: skip
    assert (fetched / "compare.html").read_text() == twice.second.page.read_text()


def test_the_command_over_children_that_are_all_done_trains_nothing_and_ends_in_json(
    twice: Told, place: Place, graft: Graft
) -> None:
    before = len(runs())
    told = graft("compare", *place.words, "--json")

    assert told.code == 0, told.err
    answer = json.loads(told.out)
    assert answer["run_id"] == twice.second.run_id
    assert answer["page"] == str(twice.second.page)
    assert answer["lines"][0]["standing"] == "best"
    assert (len(runs()), told.err.count("done before")) == (before, 2)
    assert answer["answer"] in " ".join(told.err.split())
    assert "One seed: the interval holds the chance of the test rows alone" in told.err


def test_words_that_cannot_be_compared_are_refused_before_any_run(graft: Graft, home: Path) -> None:
    told = graft("compare", "tickets_scratch", "--methods", "scratch,lora")

    assert told.code == 2
    assert "needs pretrained weights" in told.err
    assert not (home / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("target", "said", "numbers"),
    [
        (Target(labels=("bad", "good")), ["good", "bad"], [1, 0]),
        (Target(kind="multilabel", labels=("a", "b", "c")), [["c", "a"], []], [[1, 0, 1], [0, 0, 0]]),
        (Target(labels=None), [1.5, 2.0], [1.5, 2.0]),
    ],
)
def test_answers_come_back_as_numbers_and_only_for_these_rows(
    target: Target, said: list[Any], numbers: list[Any], tmp_path: Path
) -> None:
    pd.DataFrame({"label": said, "prediction": said[::-1]}).to_parquet(tmp_path / "predictions.parquet")
    found = reading.answers(tmp_path / "predictions.parquet", target, np.array(numbers))

    assert found.tolist() == numbers[::-1]
    with pytest.raises(GraftError, match="answered 2 test rows that are not the 2 of today"):
        reading.answers(tmp_path / "predictions.parquet", target, np.array(numbers[::-1]))
