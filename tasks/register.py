"""The registry: a version per verified model, and two aliases, candidate and champion."""

import re
import time
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

from tasks import runtime, tracking
from tasks.card import model_card
from tasks.frozen import GraftError
from tasks.recipe import Recipe
from tasks.results import Checkpoint, Prepared, Registered, Scorecard
from tasks.screen import console
from tasks.steps import step
from tasks.verify import load, verify

LONGEST = 4000  # characters of a version's description
CANDIDATE, CHAMPION = "candidate", "champion"
REQUIREMENTS = (
    "accelerate",
    "mlflow",
    "peft",
    "pydantic",
    "rich",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
    "transformers",
)


@step
def register(
    recipe: Recipe, data: Prepared, trained: Checkpoint, card: Scorecard, work: Path, run_id: str
) -> Registered:
    """Log the model, prove that it loads elsewhere, then make it a version with the alias candidate.

    Raises:
        GraftError: the check failed or MLflow did not take it; then no version exists.
    """
    began = time.perf_counter()
    told = model_card(recipe, data, trained, card)
    (card.folder / "model_card.md").write_text(told)
    numbers: dict[str, float] = {"test/rows": card.rows, "weights/adapter": trained.adapter_weights}
    numbers |= {f"test/{name}": measured.value for name, measured in card.metrics.items()}
    numbers |= {"weights/head": trained.head_weights, "seconds/train": trained.seconds}
    if card.calibration_error is not None:
        numbers["test/calibration_error"] = card.calibration_error
    tracking.add_results(run_id, numbers, card.folder, pretraining_overlap=card.pretraining_overlap)
    with tracking.explained(), console.status("saving the model"):
        version = _version_of(recipe.model, run_id)  # a crash after registering: that version is this run's
        uri = "" if version else _log_model(recipe, data, trained, run_id)
    if not version:
        with console.status("loading the saved model in a fresh process, to compare its answers"):
            verify(uri, work, data.target)
    with tracking.explained():
        version = version or _new_version(recipe.model, uri, run_id, told)
        tracking.client().set_registered_model_alias(recipe.model, CANDIDATE, version)
    return Registered(
        name=recipe.model, version=int(version), uri=f"models:/{recipe.model}/{version}", run_id=run_id,
        seconds=time.perf_counter() - began,
    )  # fmt: skip


def _log_model(recipe: Recipe, data: Prepared, trained: Checkpoint, run_id: str) -> str:
    mlflow.set_tracking_uri(runtime.tracking_uri())
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"model": str(trained.folder)},
            signature=_signature(recipe, data),
            pip_requirements=[f"{name}=={_version(name)}" for name in REQUIREMENTS],
            metadata={"graft.fingerprint": recipe.fingerprint},
        )
    return str(logged.model_uri)


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def _signature(recipe: Recipe, data: Prepared) -> ModelSignature:
    kinds = {"image": DataType.binary, "text": DataType.string, "text_pair": DataType.string}
    inputs = [ColSpec(kinds[name], name) for name in recipe.dataset.inputs]
    answers: dict[str, list[ColSpec]] = {
        "class": [ColSpec(DataType.string, "label"), ColSpec(DataType.double, "confidence")],
        "multilabel": [ColSpec(Array(DataType.string), "labels")],
        "number": [ColSpec(DataType.double, "score")],
    }
    shares = [ColSpec(Array(DataType.double), "probabilities")] if data.target.labels else []
    return ModelSignature(Schema(inputs), Schema(answers[data.target.kind] + shares))


def _version_of(name: str, run_id: str) -> str | None:
    found = tracking.client().search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    return str(found[0].version) if found else None


def _new_version(name: str, uri: str, run_id: str, told: str) -> str:
    client = tracking.client()
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        name,
        source=uri,
        run_id=run_id,
        description=told[:LONGEST],
        model_id=uri.rpartition("/")[2],  # a server asks for it
    )
    return str(made.version)


@step
def promote(candidate: Registered) -> None:
    """Make a version the champion."""
    with tracking.explained():
        tracking.client().set_registered_model_alias(candidate.name, CHAMPION, str(candidate.version))


def champion_folder(name: str) -> Path | None:
    """The saved model of the champion on this machine's disk, or None if there is no champion."""
    version = _champion(name)
    return _downloaded(version) if version else None


def champion_data(name: str) -> dict[str, Any] | None:
    """The summary of the rows that the champion was trained on; None if there is no champion, or none was kept."""
    version = _champion(name)
    return tracking.summary_of(version.run_id) if version else None


def champion_trained_on(name: str) -> tuple[str, int, str] | None:
    """The fingerprint, the seed and the hash of the rows of the champion's run; None if there is no champion."""
    version = _champion(name)
    if version is None:
        return None
    with tracking.explained():
        found = tracking.client().get_run(version.run_id).data
    return found.tags.get("graft.fingerprint", ""), int(found.params["seed"]), found.tags.get("graft.hashes", "")


def _champion(name: str) -> Any:
    try:
        return tracking.client().get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _downloaded(version: Any) -> Path:
    mlflow.set_tracking_uri(runtime.tracking_uri())
    with tracking.explained():
        place = mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.version}")
    return Path(place) / "artifacts" / "model"


def model_folder(ref: str) -> Path:
    """The saved model, on this machine's disk, that a person means by `name` (its champion), `name/3` or a run's id.

    Raises:
        GraftError: there is none; the error lists the registered models.
    """
    return _downloaded(registered(ref))


def registered(ref: str) -> Registered:
    """The version that a person means by `name` (its champion), `name/3` or a run's id.

    Raises:
        GraftError: there is none; the error lists the registered models.
    """
    name, _, number = ref.partition("/")
    client = tracking.client()
    with tracking.explained():
        known = sorted(model.name for model in client.search_registered_models())
        found = []
        if name in known:
            wanted = number or client.get_registered_model(name).aliases.get(CHAMPION)
            found = [v for v in client.search_model_versions(f"name = '{name}'") if str(v.version) == str(wanted)]
        elif re.fullmatch("[0-9a-f]{32}", ref):
            found = client.search_model_versions(f"run_id = '{ref}'")
    if not found:
        raise GraftError(
            f"{ref!r} is no registered model with a champion, no version of one (name/3), and no run with one in "
            f"{runtime.tracking_uri()}. Models there: {', '.join(known) or 'none yet'}."
        )
    version = int(found[0].version)
    uri = f"models:/{found[0].name}/{version}"
    return Registered(name=found[0].name, version=version, uri=uri, run_id=found[0].run_id)


def run_of(ref: str) -> str:
    """The id of the run that `name/version` came from; a run's id is given back.

    Raises:
        GraftError: there is none, or only a name was given: a champion moves. The error lists the model's versions.
    """
    if re.fullmatch("[0-9a-f]{32}", ref):
        return ref
    name, _, number = ref.partition("/")
    with tracking.explained():
        versions = {int(v.version): v.run_id for v in tracking.client().search_model_versions(f"name = '{name}'")}
    if not number or int(number) not in versions:
        there = ", ".join(f"{name}/{version}" for version in sorted(versions)) or "none"
        wrong = "is no version" if number else "names no version, and a champion moves"
        raise GraftError(
            f"{ref!r} {wrong}. Give name/version, or an MLflow run's id. Versions of {name!r} in "
            f"{runtime.tracking_uri()}: {there}."
        )
    return str(versions[int(number)])


def load_model(name: str, version: str | None = None) -> Any:
    """A registered model as `mlflow.pyfunc` loads it: the champion, or a version by number.

    Raises:
        GraftError: there is no such model or version; the error lists those that exist.
    """
    mlflow.set_tracking_uri(runtime.tracking_uri())
    try:
        return load(f"models:/{name}/{version}" if version else f"models:/{name}@{CHAMPION}")
    except MlflowException as error:
        known = ", ".join(sorted(model.name for model in tracking.client().search_registered_models())) or "none yet"
        wanted = f"version {version}" if version else "champion"
        raise GraftError(
            f"Model {name!r} has no {wanted} in {runtime.tracking_uri()}. Models there: {known}. "
            "Train one with `graft finetune`, or pass --version."
        ) from error
