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

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from tasks import runtime
from tasks.checkpoint import disk_error, write_file
from tasks.frozen import GraftError
from tasks.recipe import Recipe
from tasks.results import Prepared

BATCH = 1000  # metrics in one request, the server's own limit
SUMMARY = "data_summary.json"  # an artifact
LONGEST = 500  # characters of a parameter; MLflow refuses much longer ones


@cache
def _client(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def client() -> MlflowClient:
    """A client of the tracking server in force."""
    return _client(runtime.tracking_uri())


@contextmanager
def explained() -> Iterator[None]:
    """MLflow's errors as one line with the next step."""
    try:
        yield
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise GraftError(
            f"MLflow at {runtime.tracking_uri()} did not take it ({reason}). "
            "Mend that and give the same command again: it goes on from where it was."
        ) from error


def begin(recipe: Recipe, data: Prepared, file: Path) -> str:
    """The id of the run of this work: the one noted in `file`, or a new one with its parameters and data."""
    if file.exists():
        return file.read_text().strip()
    with explained():
        run_id = _create(recipe, data)
    file.write_text(run_id)
    return run_id


def _create(recipe: Recipe, data: Prepared) -> str:
    name = f"{recipe.name}-{recipe.method.kind}-{recipe.seed}"
    run_id: str = client().create_run(experiment(recipe.model), run_name=name).info.run_id
    params = [Param(key, value[:LONGEST]) for key, value in flat(recipe.model_dump(mode="json"))]
    tags = {
        "graft.experiment": recipe.name,
        "graft.fingerprint": recipe.fingerprint,
        "graft.method": recipe.method.kind,
        "graft.data": data.origin,
        "graft.hashes": hashes_of(data),
    } | ({"graft.start_from": recipe.start_from} if recipe.start_from else {})
    for start in range(0, len(params), 100):
        client().log_batch(run_id, params=params[start : start + 100])
    client().log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    client().log_inputs(run_id, [_input(recipe.model, data, split) for split in data.rows])
    return run_id


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


class Metrics:
    """A run's curves: written to a file first, sent in batches when a checkpoint makes them final.

    A row keeps its time, and MLflow takes the same row twice as once: a crash while sending does no harm.
    """

    def __init__(self, run_id: str, file: Path) -> None:
        self._run_id, self._file = run_id, file
        self._waiting: list[tuple[int, str, float, int]] = []

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Values after so many steps: noted in the file at once, sent later."""
        now = time.time_ns() // 1_000_000
        rows = [(step, name, value, now) for name, value in values.items()]
        try:
            with self._file.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        except OSError as error:
            raise disk_error(self._file, error) from error
        self._waiting += rows

    def forget_after(self, step: int) -> None:
        """On resume: all rows up to the checkpoint wait again, since it is not known which were sent."""
        lines = self._file.read_text().splitlines(keepends=True) if self._file.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith("\n")]  # a kill may have torn the last
        self._waiting = [tuple(row) for row in rows if row[0] <= step]
        write_file(self._file, "".join(json.dumps(row) + "\n" for row in self._waiting).encode())

    def ship(self) -> None:
        """Send what waits."""
        with explained():
            for start in range(0, len(self._waiting), BATCH):
                rows = self._waiting[start : start + BATCH]
                client().log_batch(self._run_id, metrics=[Metric(name, v, t, step) for step, name, v, t in rows])
        self._waiting = []


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


def keep_summary(run_id: str, summary: Mapping[str, Any]) -> None:
    """Keep what `tasks.checks.drift` compares later data with."""
    with explained():
        client().log_dict(run_id, dict(summary), SUMMARY)


def summary_of(run_id: str) -> dict[str, Any] | None:
    """What `keep_summary` kept, or None if the run has none."""
    with explained():
        if not any(file.path == SUMMARY for file in client().list_artifacts(run_id)):
            return None
        with tempfile.TemporaryDirectory() as folder:
            found: dict[str, Any] = json.loads(Path(client().download_artifacts(run_id, SUMMARY, folder)).read_text())
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
