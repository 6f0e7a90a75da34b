"""What finished runs recorded of themselves, read back from MLflow; nothing there is changed."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from tasks import runtime, tracking
from tasks.frozen import GraftError
from tasks.metrics import Truth
from tasks.provenance import Provenance
from tasks.recipe import Recipe
from tasks.reproduction import Answers
from tasks.results import Target

REPRODUCES = "graft.reproduces"  # the tag of a reproduction's run: the id of the run that it repeats
PREDICTIONS = "predictions.parquet"


def provenance(run_id: str) -> Provenance:
    """Where a finished fine-tune came from.

    Raises:
        GraftError: there is no such run, it is no finished fine-tune, or what it recorded cannot be read here.
    """
    run = _run(run_id)
    if REPRODUCES in run.data.tags:
        repeated = run.data.tags[REPRODUCES]
        raise GraftError(f"Run {run_id} is itself a reproduction. Give the one that it repeats: {repeated}.")
    if "graft.fingerprint" not in run.data.tags:
        raise GraftError(f"Run {run_id} is no fine-tune. Give the id of one, or name/version of what it registered.")
    if run.info.status != "FINISHED":
        raise GraftError(f"Run {run_id} is {run.info.status}. Only a FINISHED run can be reproduced: let it end first.")
    with tempfile.TemporaryDirectory() as folder:
        content = fetched(run_id, tracking.PROVENANCE, folder).read_text("utf-8")
    try:
        return Provenance.model_validate_json(content)
    except ValidationError as error:
        commit = json.loads(content).get("commit", "another one")
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise GraftError(
            f"What run {run_id} recorded cannot be read here ({where}: {error.errors()[0]['msg']}). "
            f"It was made by Graft {commit}: reproduce it with that."
        ) from error


def answers_of(run_id: str, target: Target) -> Answers:
    """What a finished fine-tune answered to its test rows, in their order.

    Raises:
        GraftError: it did not keep them, or MLflow does not give them.
    """
    with tempfile.TemporaryDirectory() as folder:
        return answers_in(fetched(run_id, PREDICTIONS, folder), target)


def answers_in(file: Path, target: Target) -> Answers:
    """What a file of predictions holds (see `tasks.evaluate`)."""
    table = pd.read_parquet(file, columns=["prediction", "logits"])
    return Answers(np.stack(table["logits"].tolist()), numbered(table["prediction"], target))


def numbered(values: Sequence[Any], target: Target) -> Truth:
    """Labels or answers in words as `tasks.metrics` takes them: [N], or [N, K] where a row has several labels.

    Raises:
        GraftError: one is no label of the target.
    """
    if target.labels is None:
        return np.asarray(values, np.float32)
    if target.kind == "multilabel":
        return np.array([[label in row for label in target.labels] for row in values], np.int8)
    place = {label: index for index, label in enumerate(target.labels)}
    if odd := [value for value in values if value not in place]:
        raise GraftError(f"{odd[0]!r} is no label of these rows. Valid: {', '.join(target.labels)}.")
    return np.array([place[value] for value in values])


def other_seeds(recipe: Recipe, test_hash: str, target: Target) -> dict[int, Answers]:
    """The answers of the recipe's finished runs with other seeds to the very same test rows, the newest of each."""
    with tracking.explained():
        place = tracking.client().get_experiment_by_name(recipe.model)
        wanted = "attributes.status = 'FINISHED'"
        order = ["attributes.start_time ASC"]
        runs = tracking.client().search_runs([place.experiment_id], wanted, order_by=order) if place else []
    found = {int(run.data.params["seed"]): str(run.info.run_id) for run in runs if _is_seed(run, recipe, test_hash)}
    return {seed: answers_of(run_id, target) for seed, run_id in sorted(found.items()) if seed != recipe.seed}


def _is_seed(run: Any, recipe: Recipe, test_hash: str) -> bool:
    tags, seed = run.data.tags, int(run.data.params.get("seed", -1))
    same = tags.get("graft.fingerprint") == recipe.model_copy(update={"seed": seed}).fingerprint
    tested = [one.dataset.digest for one in run.inputs.dataset_inputs if "test" in [tag.value for tag in one.tags]]
    return "graft.verdict" in tags and same and tested == [test_hash[:36]]


def _run(run_id: str) -> Any:
    with tracking.explained():
        places = [one.experiment_id for one in tracking.client().search_experiments()]
        found = tracking.client().search_runs(places, f"attributes.run_id = '{run_id}'")
    if not found:
        raise GraftError(f"There is no run {run_id!r} in {runtime.tracking_uri()}. Give a run's id, or name/version.")
    return found[0]


def fetched(run_id: str, name: str, folder: str) -> Path:
    """An artifact of a run as a file in this folder.

    Raises:
        GraftError: the run has none of this name.
    """
    with tracking.explained():
        if any(file.path == name for file in tracking.client().list_artifacts(run_id)):
            return Path(tracking.client().download_artifacts(run_id, name, folder))
    raise GraftError(f"Run {run_id} has no {name}: an earlier Graft made it, or it was deleted. Fine-tune it again.")
