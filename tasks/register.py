"""A trained model into the registry: logged, proven, then a version with the alias candidate."""

import time
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

from tasks import plots, runtime, saved, tracking
from tasks.card import model_card
from tasks.recipe import Recipe
from tasks.registry import CANDIDATE
from tasks.results import Checkpoint, Prepared, Registered, Scorecard
from tasks.screen import console
from tasks.steps import step
from tasks.verify import verify

LONGEST = 4000  # characters of a version's description
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
    if trained.covered:
        plots.coverage(trained.covered, trained.target.abstain_below, card.folder / "coverage.png")
    (card.folder / "model_card.md").write_text(told)
    tracking.add_results(run_id, _numbers(trained, card), card.folder, pretraining_overlap=card.pretraining_overlap)
    with tracking.explained(), console.status("saving the model"):
        version = _version_of(recipe.model, run_id)  # a crash after registering: that version is this run's
        uri = "" if version else _log_model(recipe, data, trained, run_id)
    if not version:
        with console.status("loading the saved model in a fresh process, to compare its answers"):
            verify(uri, work, trained.target)
    with tracking.explained():
        version = version or _new_version(recipe.model, uri, run_id, told)
        tracking.client().set_registered_model_alias(recipe.model, CANDIDATE, version)
    return Registered(
        name=recipe.model, version=int(version), uri=f"models:/{recipe.model}/{version}", run_id=run_id,
        seconds=time.perf_counter() - began,
    )  # fmt: skip


def _numbers(trained: Checkpoint, card: Scorecard) -> dict[str, float]:
    """What MLflow has of a run as metrics, beside its curves."""
    numbers: dict[str, float] = {f"test/{name}": measured.value for name, measured in card.metrics.items()}
    numbers |= {"test/rows": card.rows, "seconds/train": trained.seconds, "weights/total": trained.total_weights}
    numbers |= {"weights/adapter": trained.adapter_weights, "weights/head": trained.head_weights}
    numbers |= {f"size/{part}_bytes": size for part, size in saved.sizes(trained.folder).items()}
    numbers |= {"memory/peak_bytes": trained.peak_memory} if trained.peak_memory else {}
    for name in ("calibration_error", "raw_calibration_error"):
        found = getattr(card, name)
        numbers |= {} if found is None else {f"test/{name}": found}
    return numbers


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
