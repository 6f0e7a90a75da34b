"""A finished run once more: the answer, what it leaves in MLflow, and that the run that it repeats stays as it is."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from made import Graft, Made, aliases
from safetensors.torch import load_file, save_file
from small import TARGET, sentences

from flows.finetune import run
from flows.reproduce import reproduce
from tasks import recorded, suites, tracking
from tasks.compose import load
from tasks.frozen import GraftError
from tasks.recorded import REPRODUCES
from tasks.registry import model_folder

pytest_plugins = ["small", "made"]

ROOT, LABELS = Path(__file__).parents[1], ("bad", "good")
EXPERIMENT = """
dataset: {kind: table, path: rows.csv, validation: 0.2}
backbone: {library: transformers, weights: {kind: folder, path: bert}, max_length: 16}
method: {kind: lora, rank: 2}
schedule: {epochs: 1, batch_size: 8}
"""


def left(run_id: str) -> dict[str, Any]:
    """All that MLflow holds of a run, its files with their content."""
    found = tracking.client().get_run(run_id)
    root = Path(found.info.artifact_uri.removeprefix("file://"))
    files = {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}
    return {"run": found.to_dictionary(), "files": files, "versions": versions(run_id)}


def versions(run_id: str) -> list[tuple[str, str]]:
    return [(one.name, one.version) for one in tracking.client().search_model_versions(f"run_id = '{run_id}'")]


def runs(name: str) -> set[str]:
    place = tracking.client().get_experiment_by_name(name)
    return {one.info.run_id for one in tracking.client().search_runs([place.experiment_id])}


def test_on_the_same_machine_a_run_is_equal_and_stays_as_it_is(at_home: Path, tickets: Made, graft: Graft) -> None:
    run_id = tickets.result.registered.run_id
    before, named, there = left(run_id), aliases("tickets"), len(tracking.client().search_model_versions())
    finished = suites.finished(tickets.result.recipe)

    told = graft("reproduce", f"tickets/{tickets.result.registered.version}", "--json")
    assert told.code == 0, told.err
    answer = json.loads(told.out)
    assert (answer["answer"], answer["run_id"]) == ("equal", run_id)
    assert (answer["apart"]["same_weights"], answer["apart"]["logits"]) == (True, 0.0)
    assert answer["apart"]["then"] == answer["apart"]["now"] == tickets.result.card.score.value
    assert all(row["same"] for row in answer["compared"])
    assert answer["adjusted"] == []
    assert "Nothing that is recorded has changed since then." in told.err
    assert "equal: The weights are the same bit for bit; " in told.err

    assert left(run_id) == before
    assert aliases("tickets") == named
    assert len(tracking.client().search_model_versions()) == there, "nothing was registered"
    assert suites.finished(tickets.result.recipe) == finished, "no suite takes it for a fine-tune"
    assert not list((at_home / "runs").glob("reproduce-*"))
    own = tracking.client().get_run(answer["own_run_id"])
    assert (own.data.tags[REPRODUCES], own.data.tags["graft.reproduction"]) == (run_id, "equal")
    assert own.info.status == "FINISHED"
    assert left(answer["own_run_id"])["files"].keys() >= {"reproduction.json", "predictions.parquet", "provenance.json"}

    again = graft("reproduce", answer["own_run_id"])
    assert again.code == 2
    assert f"is itself a reproduction. Give the one that it repeats: {run_id}." in again.err


def test_killed_after_its_training_it_goes_on_as_the_same_run(at_home: Path, tickets: Made) -> None:
    run_id = tickets.result.registered.run_id
    work = at_home / "runs" / f"reproduce-{run_id}"
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "reproduce", run_id],
        env={**os.environ, "GRAFT_HOME": str(at_home)}, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not (work / "trained.json").exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    begun = (work / "run_id").read_text()
    assert tracking.client().get_run(begun).info.status == "RUNNING"

    report = reproduce.fn(run_id)
    assert (report.own_run_id, report.judged.answer) == (begun, "equal")
    assert not work.exists()


# A small pretrained encoder, with two threads and two seeds.


class Place(NamedTuple):
    """GRAFT_DATA with its rows and weights, of one test alone, and the runs over them by seed."""

    data: Path
    runs: dict[int, str]


@pytest.fixture(scope="module")
def mine(zoo: Path, shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Two seeds, trained with two threads."""
    data = tmp_path_factory.mktemp("mine")
    shutil.copytree(zoo / "bert", data / "bert")
    rows = [f"{text},{label}\n" for text, label in sentences(200)]
    (data / "rows.csv").write_text("".join(["text,label\n", *rows]))
    (data / "mine.yaml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(shared_home))
        patch.setenv("GRAFT_DATA", str(data))
        usual = torch.get_num_threads()
        torch.set_num_threads(2)
        made = {seed: run(load(str(data / "mine.yaml"), [f"seed={seed}"])).registered.run_id for seed in range(2)}
        torch.set_num_threads(usual)
    return Place(data, made)


@pytest.fixture
def place(at_home: Path, mine: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A copy of the rows and weights that a test may change; torch has one thread."""
    data = shutil.copytree(mine.data, tmp_path / "data")
    monkeypatch.setenv("GRAFT_DATA", str(data))
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Place(data, mine.runs)
    torch.set_num_threads(usual)


def test_it_trains_with_the_threads_of_then_and_says_so(place: Place, graft: Graft) -> None:
    told = graft("reproduce", place.runs[0])
    assert told.code == 0, told.err
    assert "threads: 2, as it was then; here it would be 1." in told.err
    assert "equal: The weights are the same bit for bit" in told.out
    assert f"reproduces {place.runs[0]}; nothing was" in told.out.replace("\n", " ")
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("what", ["weights", "train rows"])
def test_other_weights_or_rows_are_different_at_once(place: Place, graft: Graft, what: str) -> None:
    file = place.data / ("bert/model.safetensors" if what == "weights" else "rows.csv")
    if what == "weights":
        state = load_file(file)
        save_file({name: tensor + 1e-3 for name, tensor in state.items()}, file, {"format": "pt"})
    else:
        file.write_text(file.read_text().replace("film", "play"))
    there = runs("mine")
    told = graft("reproduce", place.runs[0], "--json")
    assert told.code == 1
    answer = json.loads(told.out)
    assert (answer["answer"], answer["own_run_id"], answer["apart"]) == ("different", None, None)
    assert answer["reasons"][0].startswith(what)
    assert answer["reasons"][1] == "So nothing was trained."
    assert runs("mine") == there


def test_rows_that_cannot_be_reached_are_an_error_and_no_answer(place: Place, graft: Graft) -> None:
    (place.data / "rows.csv").unlink()
    told = graft("reproduce", place.runs[0], "--json")
    assert (told.code, told.out) == (2, "")
    assert "rows.csv does not exist. Relative data paths start at GRAFT_DATA." in told.err


def test_other_seeds_are_the_finished_fine_tunes_of_the_recipe_on_the_same_test_rows(place: Place) -> None:
    then = recorded.provenance(place.runs[1])
    found = recorded.other_seeds(then.recipe, then.hashes["test"], TARGET)
    assert list(found) == [0]
    assert np.array_equal(found[0].logits, recorded.answers_of(place.runs[0], TARGET).logits)
    assert recorded.other_seeds(then.recipe, "0" * 32, TARGET) == {}
    faster = then.recipe.method.model_copy(update={"learning_rate": 0.5})
    assert recorded.other_seeds(then.recipe.model_copy(update={"method": faster}), then.hashes["test"], TARGET) == {}


def test_a_run_with_weights_and_answers_that_its_recipe_does_not_give_is_different(place: Place) -> None:
    run_id = place.runs[1]
    trained = model_folder(run_id) / "trained.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(trained).items()}, trained)
    file = Path(left(run_id)["run"]["info"]["artifact_uri"].removeprefix("file://")) / "predictions.parquet"
    kept = pd.read_parquet(file)
    kept["logits"] = [np.eye(2, dtype=np.float32)[LABELS.index(label)] for label in kept["label"]]
    kept.assign(prediction=kept["label"]).to_parquet(file)
    report = reproduce.fn(run_id)
    assert report.own_run_id is not None
    assert report.judged.apart is not None
    assert (report.judged.answer, report.judged.apart.then) == ("different", 1.0)
    assert report.judged.reasons[-1].startswith("Nothing that is recorded has changed")
    assert tracking.client().get_run(report.own_run_id).data.tags["graft.reproduction"] == "different"


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("0" * 32, "There is no run '00000000000000000000000000000000' in sqlite"),
        ("tickets", "names no version, and a champion moves. Give name/version"),
        ("tickets/new", "'tickets/new' is no version. Give name/version"),
        ("tickets/99", "Versions of 'tickets' in"),
    ],
)
def test_what_names_no_run_is_an_error_that_lists_what_does(
    tickets: Made, at_home: Path, graft: Graft, ref: str, said: str
) -> None:
    told = graft("reproduce", ref)
    assert told.code == 2
    assert said in told.err
    assert "Traceback" not in told.err


def test_runs_that_cannot_be_reproduced_say_why(tickets: Made, at_home: Path) -> None:
    place = tracking.experiment("tickets")
    own = tracking.client().create_run(place).info.run_id
    with pytest.raises(GraftError, match="is no fine-tune"):
        recorded.provenance(own)
    tracking.tag(own, {"graft.fingerprint": "0"})
    with pytest.raises(GraftError, match="is RUNNING. Only a FINISHED run"):
        recorded.provenance(own)
    tracking.end(own, "FINISHED")
    with pytest.raises(GraftError, match="has no provenance.json: an earlier Graft made it"):
        recorded.provenance(own)
    tracking.client().log_text(own, '{"commit": "abc123", "recipe": {}}', tracking.PROVENANCE)
    with pytest.raises(GraftError, match="cannot be read here .*made by Graft abc123: reproduce it with that"):
        recorded.provenance(own)
    tracking.client().delete_run(own)
