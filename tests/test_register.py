"""The registry: what lies there loads elsewhere, offline and alike, or it is not there at all."""

import json
import os
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from made import Made
from plain import check_plain

from flows.finetune import workspace
from tasks import runtime, tracking
from tasks.compose import load
from tasks.evaluate import evaluate
from tasks.frozen import GraftError
from tasks.prepare import inputs_of, prepare, rows_of
from tasks.recipe import Recipe
from tasks.register import register
from tasks.registry import folder_of
from tasks.results import Checkpoint, Prepared, Scorecard
from tasks.train import train

pytest_plugins = ["made"]

ALL = ["tickets", "digits", "adapted", "numbers", "colours"]
ELSEWHERE = """
import json, sys
import mlflow, pandas as pd
for uri, rows, out in json.loads(sys.argv[1]):
    model = mlflow.pyfunc.load_model(uri)
    table = pd.read_parquet(rows)
    pd.to_pickle((model.predict(table), model.unwrap_python_model().logits(table).tolist()), out)
    print(len(table), [str(column.type) for column in model.metadata.get_input_schema().inputs])
"""


@dataclass(frozen=True)
class Loaded:
    """A registered model's answers to its test rows, from another process, and the files it is made of.

    The files are those from before: what loads the model here is not Graft, and Python leaves bytecode beside them.
    """

    made: Made
    answers: pd.DataFrame
    logits: list[list[float]]
    files: list[Path]


@pytest.fixture(scope="module")
def elsewhere(request: pytest.FixtureRequest, shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Every registered model, loaded from its URI in one fresh process without hub, cache, data or home."""
    place, found = tmp_path_factory.mktemp("elsewhere"), {name: request.getfixturevalue(name) for name in ALL}
    tasks = []
    for name, made in found.items():
        pd.DataFrame(inputs_of(rows_of(made.data, "test"))).to_parquet(place / f"{name}.parquet")
        tasks.append((made.result.registered.uri, str(place / f"{name}.parquet"), str(place / f"{name}.pickle")))
    alone = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "empty"), "GRAFT_DATA": "/none", "GRAFT_HOME": "/none"}
    alone |= {"MLFLOW_TRACKING_URI": f"sqlite:///{shared_home}/mlflow.db", "PYTHONPATH": str(Path(__file__).parents[1])}
    mlflow.set_tracking_uri(alone["MLFLOW_TRACKING_URI"])
    files = {name: _files(made.result.registered.uri) for name, made in found.items()}
    command = [sys.executable, "-c", ELSEWHERE, json.dumps(tasks)]
    done = subprocess.run(command, env=os.environ | alone, capture_output=True, text=True, check=False, cwd=place)
    assert done.returncode == 0, done.stderr
    return {name: Loaded(made, *_answers(place / f"{name}.pickle"), files[name]) for name, made in found.items()}


def _files(uri: str) -> list[Path]:
    return [file for file in Path(mlflow.artifacts.download_artifacts(uri)).rglob("*") if file.is_file()]


def _answers(file: Path) -> tuple[pd.DataFrame, list[list[float]]]:
    answers, logits = pd.read_pickle(file)  # noqa: S301 - this test wrote it
    return answers, logits


@pytest.fixture(params=ALL)
def loaded(request: pytest.FixtureRequest, at_home: Path, elsewhere: dict[str, Loaded]) -> Loaded:
    return elsewhere[request.param]


def test_a_version_loads_in_a_fresh_process_without_a_network_and_answers_alike(loaded: Loaded) -> None:
    wanted = loaded.made.predictions

    assert len(loaded.logits) == len(wanted)
    for got, scored in zip(loaded.logits, wanted["logits"], strict=True):
        assert got == pytest.approx(scored, abs=1e-5)
    if loaded.made.data.target.labels is None:
        assert loaded.answers["score"].tolist() == pytest.approx(wanted["prediction"].tolist(), abs=1e-5)
        return
    if loaded.made.data.target.kind == "multilabel":
        assert [list(own) for own in loaded.answers["labels"]] == [list(own) for own in wanted["prediction"]]
        assert loaded.answers["probabilities"].map(lambda shares: 0 < min(shares) <= max(shares) < 1).all()
        return
    assert loaded.answers["label"].tolist() == wanted["prediction"].tolist()
    for confidence, shares in zip(loaded.answers["confidence"], loaded.answers["probabilities"], strict=True):
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert confidence == max(shares)


def test_nothing_registered_is_a_pickle(loaded: Loaded) -> None:
    assert {"MLmodel", "served.py", "trained.safetensors", "frozen.safetensors"} <= {file.name for file in loaded.files}
    for file in loaded.files:
        check_plain(file)


def test_the_signature_names_every_input_with_its_type(loaded: Loaded) -> None:
    signature = mlflow.models.get_model_info(loaded.made.result.registered.uri).signature
    wanted = {"digits": [("image", "binary")], "numbers": [("text", "string"), ("text_pair", "string")]}
    model = loaded.made.result.registered.name.replace("pairs", "numbers")

    assert [(c.name, c.type.name) for c in signature.inputs.inputs] == wanted.get(model, [("text", "string")])
    assert signature.outputs.input_names() == list(loaded.answers.columns)


def test_the_first_version_is_candidate_and_champion(loaded: Loaded) -> None:
    name = loaded.made.result.registered.name

    assert loaded.made.aliases == {"candidate": 1, "champion": 1}
    assert tracking.client().get_model_version(name, "1").run_id == loaded.made.result.registered.run_id


def test_the_run_holds_parameters_data_scores_and_curves(loaded: Loaded) -> None:
    made, recipe = loaded.made, loaded.made.result.recipe
    run = tracking.client().get_run(made.result.registered.run_id)
    steps = made.result.trained.steps

    assert run.info.status == "FINISHED"
    assert run.data.params["schedule.epochs"] == str(recipe.schedule.epochs)
    assert run.data.params["method.kind"] == recipe.method.kind
    assert run.data.tags["graft.fingerprint"] == recipe.fingerprint
    assert run.data.tags["graft.verdict"] == "promoted"
    inputs = {item.tags[0].value: item.dataset.digest for item in run.inputs.dataset_inputs}
    assert inputs == {split: made.data.hashes[split] for split in ("train", "validation", "test")}
    for name, measured in made.result.card.metrics.items():
        assert run.data.metrics[f"test/{name}"] == measured.value
    assert run.data.metrics["test/rows"] == len(made.predictions)
    curve = tracking.client().get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in curve] == list(range(1, steps + 1))


def test_the_runs_artifacts_are_predictions_pictures_and_a_page_with_the_score(loaded: Loaded) -> None:
    made = loaded.made
    page = (made.results / "model_card.md").read_text()

    assert {"predictions.parquet", "scorecard.json", "model_card.md"} <= {file.name for file in made.results.iterdir()}
    assert list(made.results.glob("*.png"))
    assert f"| {made.result.card.headline} | {made.result.card.score.value:.4f} |" in page
    assert made.result.recipe.fingerprint in page
    assert f"{made.result.trained.adapter_weights:,} outside the head" in page


@dataclass(frozen=True)
class Trained:
    """All that `register` takes, for a model of its own."""

    recipe: Recipe
    data: Prepared
    trained: Checkpoint
    card: Scorecard
    work: Path
    run_id: str


def _ready(name: str) -> Trained:
    """Trained and scored, not yet registered."""
    recipe = load("digits_scratch", ["dataset.limit=60", "schedule.epochs=6", f"model={name}"])
    data = prepare(recipe.model, recipe.dataset, recipe.seed)
    work, run_id = workspace(recipe, data)
    trained = train(recipe, data, work, run_id)
    card = evaluate(trained.folder, data, recipe.dataset, work / "results")
    return Trained(recipe, data, trained, card, work, run_id)


def _refused(ready: Trained, reason: str) -> None:
    with pytest.raises(GraftError, match=f"failed its check and is not registered: .*{reason}"):
        register(ready.recipe, ready.data, ready.trained, ready.card, ready.work, ready.run_id)
    assert tracking.client().search_model_versions(f"name = '{ready.recipe.model}'") == []
    assert ready.recipe.model not in [model.name for model in tracking.client().search_registered_models()]


def test_weights_damaged_after_training_are_not_registered(at_home: Path) -> None:
    ready = _ready("damaged")
    file = ready.trained.folder / "trained.safetensors"
    content = bytearray(file.read_bytes())
    (header,) = struct.unpack("<Q", content[:8])
    where = json.loads(content[8 : 8 + header])["head.bias"]["data_offsets"][0] + 8 + header
    content[where : where + 4] = struct.pack("<f", struct.unpack("<f", content[where : where + 4])[0] + 0.5)
    file.write_bytes(content)

    _refused(ready, "its logits differ by 0.5")


@pytest.mark.parametrize("changed", ["labels", "thresholds"])
def test_labels_or_thresholds_changed_after_training_are_not_registered(at_home: Path, changed: str) -> None:
    ready = _ready(changed)
    file = ready.trained.folder / "target.json"
    told = json.loads(file.read_text())
    told["labels"][0], told["labels"][1] = told["labels"][1], told["labels"][0]
    file.write_text(json.dumps(json.loads(file.read_text()) | {changed: told.get(changed) or [0.1] * 10}))

    _refused(ready, "its label names, or how it answers with them, are not the trained model's")


def test_long_parameters_are_cut_and_odd_class_names_are_taken(at_home: Path, tmp_path: Path, digits: Made) -> None:
    odd = {"C++": "a", "a=b&c": "b", "ü?": "c", "x" * 300: "d"}
    long = digits.result.recipe.model_copy(
        update={
            "about": "word " * 5000,
            "dataset": digits.result.recipe.dataset.model_copy(update={"labels": odd, "about": "y" * 7000}),
        }
    )
    run = tracking.client().get_run(tracking.begin(long, digits.data, tmp_path / "run_id"))

    assert run.data.params["about"].startswith("word word")
    assert max(map(len, run.data.params.values())) == tracking.LONGEST
    assert run.data.params["dataset.labels"].startswith('{"C++": "a"')
    assert runtime.tracking_uri().endswith("mlflow.db")


def test_registering_twice_after_a_crash_gives_the_version_that_exists(at_home: Path, digits: Made) -> None:
    result = digits.result
    trained = result.trained.model_copy(update={"folder": folder_of(result.registered)})
    again = register(
        result.recipe, digits.data, trained,
        result.card.model_copy(update={"folder": digits.results}), digits.results, result.registered.run_id,
    )  # fmt: skip

    assert again.version == result.registered.version
    assert len(tracking.client().search_model_versions(f"run_id = '{again.run_id}'")) == 1
