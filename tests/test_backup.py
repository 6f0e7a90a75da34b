"""The README's commands of one machine, at a real home whose platform runs: backed up, lost, restored, as it was."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from running import Home, until

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[1]
TEXTS = ("my parcel never came", "how do I cancel", "the app crashes")


class Known(NamedTuple):
    """What a home is asked for before and after."""

    answers: Any
    curve: list[tuple[int, float]]
    artifacts: list[str]
    flow_run: dict[str, Any]
    deployments: set[str]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    made.up()
    yield made
    made.graft("down", code=None)
    for process in made.processes():
        process.kill()


def _commands(name: str) -> str:
    """A code block of the README."""
    (found,) = re.findall(rf"```sh {name}\n(.*?)```", (ROOT / "mlflow" / "README.md").read_text(), re.DOTALL)
    return str(found)


def _perform(home: Home, name: str, backup: Path) -> None:
    """The block, as a shell does it that has Graft's programs first on its path."""
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "BACKUP": str(backup)}
    told = subprocess.run(
        ["bash", "-euc", _commands(name)], env=home.environment | path, cwd=ROOT, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout + told.stderr


def _known(home: Home, run: str, mlflow_run: str) -> Known:
    words = [word for text in TEXTS for word in ("--text", text)]
    out = subprocess.run(
        [sys.executable, "-m", "flows", "predict", "tickets", *words, "--json"],
        env=home.environment | {"MLFLOW_TRACKING_URI": home.mlflow}, cwd=ROOT, capture_output=True, check=True,
    ).stdout  # fmt: skip
    asked = {"run_id": mlflow_run, "metric_key": "train/loss", "max_results": "1000"}
    curve = home.ask_mlflow("metrics/get-history", **asked)["metrics"]
    flow_run = home.ask("GET", f"/flow_runs/{run}")
    files = home.ask_mlflow("artifacts/list", run_id=mlflow_run)["files"]
    return Known(
        json.loads(out),
        sorted((int(metric["step"]), float(metric["value"])) for metric in curve),
        sorted(file["path"] for file in files),
        {name: flow_run[name] for name in ("name", "parameters", "start_time", "end_time", "state_type", "tags")},
        {found["id"] for found in home.ask("POST", "/deployments/filter", {})},
    )


@contextmanager
def _written_to(home: Home, mlflow_run: str) -> Iterator[list[int]]:
    """Meanwhile one metric after another is written to a run; gives their steps."""
    steps: list[int] = []
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            told = {"run_id": mlflow_run, "key": "extra", "value": 1.0, "timestamp": 1, "step": len(steps)}
            httpx.post(f"{home.mlflow}/api/2.0/mlflow/runs/log-metric", json=told, timeout=30).raise_for_status()
            steps.append(len(steps))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        until(lambda: len(steps) > 5 or not thread.is_alive(), "a metric is written")
        yield steps
    finally:
        over.set()
        thread.join()


def test_a_home_backed_up_while_it_is_written_to_and_lost_is_restored_as_it_was(home: Home, tmp_path: Path) -> None:
    run = home.begin(experiment="tickets_scratch", limit=120, epochs=1)
    ended = {"COMPLETED", "FAILED", "CRASHED"}
    until(lambda: home.state(run) in ended, "the fine-tune ends")
    assert home.state(run) == "COMPLETED"
    (mlflow_run,) = home.mlflow_runs(run)
    before = _known(home, run, mlflow_run)
    assert before.curve and before.artifacts and len(before.deployments) == 4

    with _written_to(home, mlflow_run) as steps:
        written = len(steps)
        _perform(home, "backup", tmp_path / "backup")
    _whole(tmp_path / "backup", written, len(steps))
    home.graft("down")
    shutil.rmtree(home.folder)
    _perform(home, "restore", tmp_path / "backup")
    home.up()

    assert _known(home, run, mlflow_run) == before


def _whole(backup: Path, least: int, most: int) -> None:
    """Each database is sound, and MLflow's has what was written before the back-up began."""
    for name in ("mlflow.db", "prefect.db"):
        with sqlite3.connect(backup / name) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with sqlite3.connect(backup / "mlflow.db") as database:
        ((steps,),) = database.execute("SELECT count(*) FROM metrics WHERE key = 'extra'").fetchall()
    assert least <= steps <= most


def test_restoring_over_a_home_moves_it_aside_and_mixes_nothing(tmp_path: Path) -> None:
    home, backup = Home(tmp_path / "home"), tmp_path / "backup"
    for folder in (backup / "artifacts", home.folder / "prefect"):
        folder.mkdir(parents=True)
    for name in ("mlflow.db", "prefect.db", "artifacts/new"):
        (backup / name).write_text("new")
    for name in ("mlflow.db", "mlflow.db-wal", "prefect/prefect.db-wal", "old"):
        (home.folder / name).write_text("old")

    _perform(home, "restore", backup)

    files = {file.relative_to(home.folder).as_posix() for file in home.folder.rglob("*") if file.is_file()}
    assert files == {"mlflow.db", "prefect/prefect.db", "artifacts/new"}
    (aside,) = tmp_path.glob("home.before-*")
    assert (aside / "mlflow.db-wal").read_text() == "old"
