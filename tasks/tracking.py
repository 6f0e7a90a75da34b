"""One MLflow run per fine-tune: its parameters, data, curves and pictures. Explicit ids, no hidden active run."""

import hashlib
import json
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from tasks import runtime
from tasks.files import write_file
from tasks.frozen import GraftError
from tasks.provenance import gathered, installed
from tasks.recipe import Recipe
from tasks.results import Prepared

BATCH = 1000  # metrics in one request, the server's own limit
SUMMARY, PROVENANCE, ENVIRONMENT = "data_summary.json", "provenance.json", "environment.json"  # artifacts
LONGEST = 500  # characters of a parameter; MLflow refuses much longer ones


@cache
def _client(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def client() -> MlflowClient:
    """A client of the tracking server in force."""
    return _client(runtime.tracking_uri())


class Unreachable(GraftError):
    """MLflow gives no answer, or one that may be another later."""


@contextmanager
def explained() -> Iterator[None]:
    """MLflow's errors as one line with the next step.

    Raises:
        Unreachable: it does not answer, or fails inside.
        GraftError: it refuses.
    """
    try:
        yield
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0]
        refused = isinstance(error, MlflowException) and error.get_http_status_code() < 500
        raise (GraftError if refused else Unreachable)(
            f"MLflow at {runtime.tracking_uri()} did not take it ({reason}). "
            "Mend that and give the same command again: it goes on from where it was."
        ) from error


def begin(recipe: Recipe, data: Prepared, file: Path) -> str:
    """The id of the run of this work: the one noted in `file`, or a new one with its parameters and data.

    After a crash at any moment the same run is found again: its mark is noted before it is asked for.
    """
    mark, described = file.with_name("run_mark"), file.with_name("run_described")
    with explained():
        if not file.exists():
            known = mark.exists()
            if not known:
                write_file(mark, uuid4().hex.encode())
            write_file(file, _created(recipe, mark.read_text(), known).encode())
        run_id = file.read_text()
        if not described.exists():
            _describe(run_id, recipe, data)
            write_file(described, b"")
    return run_id


def _created(recipe: Recipe, mark: str, known: bool) -> str:
    """The id of the run with this mark; one can only be there if the mark was known before."""
    place, tag = experiment(recipe.model), "graft.work"
    found = client().search_runs([place], f"tags.`{tag}` = '{mark}'") if known else []
    name = f"{recipe.name}-{recipe.method.kind}-{recipe.seed}"
    return str((found[0] if found else client().create_run(place, tags={tag: mark}, run_name=name)).info.run_id)


def _describe(run_id: str, recipe: Recipe, data: Prepared) -> None:
    source = gathered(recipe, data)
    params = [Param(key, value[:LONGEST]) for key, value in flat(recipe.model_dump(mode="json"))]
    tags = {
        "graft.experiment": recipe.name,
        "graft.fingerprint": recipe.fingerprint,
        "graft.method": recipe.method.kind,
        "graft.data": data.origin,
        "graft.hashes": hashes_of(data),
    } | source.tags
    tags |= {"graft.start_from": recipe.start_from} if recipe.start_from else {}
    for start in range(0, len(params), 100):
        client().log_batch(run_id, params=params[start : start + 100])
    client().log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    client().log_inputs(run_id, [_input(recipe.model, data, split) for split in data.rows])
    client().log_text(run_id, source.model_dump_json(indent=1), PROVENANCE)
    client().log_dict(run_id, installed(), ENVIRONMENT)


def hashes_of(data: Prepared) -> str:
    """16 hex digits of the rows of all splits."""
    return hashlib.sha256(json.dumps(data.hashes, sort_keys=True).encode()).hexdigest()[:16]


def experiment(name: str) -> str:
    """The id of the experiment of this name, made if there is none."""
    found = client().get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage != "active":
        raise GraftError(f"MLflow's experiment {name!r} is deleted. Restore it, or choose another name with model=.")
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client().create_experiment(name, artifact_location=_artifacts(name)))
    except MlflowException as error:  # another run made it at the same moment
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return str(client().get_experiment_by_name(name).experiment_id)


def _artifacts(name: str) -> str | None:
    """Beside the database where there is no server; a server has its own place."""
    return str(runtime.home() / "artifacts" / name) if runtime.tracking_uri().startswith("sqlite") else None


def _input(name: str, data: Prepared, split: str) -> DatasetInput:
    dataset = Dataset(
        name=name,
        digest=data.hashes[split][:36],
        source_type="local",
        source=json.dumps({"origin": data.origin}),
        profile=json.dumps({"num_rows": data.rows[split]}),
    )
    return DatasetInput(dataset=dataset, tags=[InputTag("mlflow.data.context", split)])


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """A nested value as dotted names with strings; a mapping whose keys are no names (classes) stays one value."""
    if isinstance(value, Mapping) and value and all(re.fullmatch(r"\w{1,50}", str(key)) for key in value):
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)


def send(run_id: str, rows: Sequence[tuple[int, str, float, int]]) -> None:
    """Rows of a curve: step, name, value, milliseconds since 1970. The same row sent twice is there once.

    Raises:
        Unreachable: MLflow does not answer, or cannot now: the same rows may be taken later.
        GraftError: it refuses them.
    """
    with explained():
        for start in range(0, len(rows), BATCH):
            metrics = [Metric(name, value, time, step) for step, name, value, time in rows[start : start + BATCH]]
            client().log_batch(run_id, metrics=metrics)


def add_results(run_id: str, numbers: Mapping[str, float], files: Path, **tags: str) -> None:
    """A finished run's numbers, its tags, and its folder of tables and pictures."""
    now = time.time_ns() // 1_000_000
    with explained():
        metrics = [Metric(name, value, now, 0) for name, value in numbers.items()]
        client().log_batch(run_id, metrics=metrics, tags=_tags(tags))
        client().log_artifacts(run_id, str(files))


def add_table(run_id: str, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Flat rows of one form as the artifact `<name>.json`, which MLflow's page shows as a table.

    Given again it is replaced, where MLflow's own `log_table` would append.
    """
    table = {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}
    mark = json.dumps([{"path": f"{name}.json", "type": "table"}])
    with explained():
        client().log_dict(run_id, table, f"{name}.json")
        client().set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, mark)


def keep(run_id: str, name: str, value: Mapping[str, Any]) -> None:
    """Keep a value as a run's artifact of this name, which ends in .json; it replaces an earlier one."""
    with explained():
        client().log_dict(run_id, dict(value), name)


def kept(run_id: str, name: str) -> dict[str, Any] | None:
    """What `keep` kept, or None if the run has nothing of this name."""
    with explained():
        if not any(file.path == name for file in client().list_artifacts(run_id)):
            return None
        with tempfile.TemporaryDirectory() as folder:
            found: dict[str, Any] = json.loads(Path(client().download_artifacts(run_id, name, folder)).read_text())
    return found


def end(run_id: str, status: str, **tags: str) -> None:
    """Close a run: FINISHED, FAILED or KILLED."""
    with explained():
        client().log_batch(run_id, tags=_tags(tags))
        client().set_terminated(run_id, status)


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(f"graft.{name}", value) for name, value in tags.items()]


@contextmanager
def failing(run_id: str) -> Iterator[None]:
    """Mark the run FAILED (or KILLED) if the body does not end well; it goes on when the work does."""
    with explained():
        client().update_run(run_id, status="RUNNING")
    try:
        yield
    except BaseException as error:
        with suppress(MlflowException, OSError):
            client().update_run(run_id, status="FAILED" if isinstance(error, Exception) else "KILLED")
        raise


def tag(run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags under their own names."""
    with explained():
        client().log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def tags(run_id: str) -> dict[str, str]:
    """A run's tags."""
    with explained():
        return dict(client().get_run(run_id).data.tags)


def page(run_id: str) -> str | None:
    """The address of a run's page, where there is a server; MLflow shows what belongs to training there."""
    uri = runtime.mlflow_page()
    if uri is None:
        return None
    with explained():
        place = client().get_run(run_id).info.experiment_id
    return f"{uri}/#/experiments/{place}/runs/{run_id}?workflowType=machine_learning"
