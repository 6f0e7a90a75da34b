"""A comparison whose children train at once: as each would alone, seen in Prefect, stopped, killed and gone on with."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import torch
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from running import until
from servers import PREFECT, serving
from small import experiment_in

from flows.compare import Report, compare
from flows.suite import Outcome, Unfinished, run_all
from tasks import tracking
from tasks.comparison import words
from tasks.comparison.asked import asked

pytest_plugins = ["small", "made"]

ROOT = Path(__file__).parents[1]
SEEDS = "0,1,2"


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory, zoo: Path) -> Iterator[Path]:
    """A folder with an experiment, and a method that fits nothing; one thread, whatever the machine has."""
    folder = tmp_path_factory.mktemp("jobs")
    experiment_in(folder, zoo)
    (folder / "misfit.yaml").write_text(yaml.safe_dump({"kind": "lora", "rank": 2, "targets": ["nothing"]}))
    environment = {"GRAFT_DATA": folder, "GRAFT_HOME": folder / "home", "HF_HUB_OFFLINE": 1, "GRAFT_WORKERS": 0}
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        for name, value in (
            environment | {"GRAFT_DEVICE": "cpu", "OMP_NUM_THREADS": 1, "PREFECT_LOGGING_LEVEL": "INFO"}
        ).items():
            patch.setenv(name, str(value))
        yield folder
    torch.set_num_threads(usual)


@dataclass
class Seen:
    """The comparison as a flow: its report, and what its Prefect server has of it."""

    report: Report
    flow_runs: dict[str, Any]  # by their names
    task_runs: list[Any]
    logs: dict[str, str]  # of the flow runs


@pytest.fixture(scope="module")
def seen(mine: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("prefect")
    methods = f"scratch,{mine / 'misfit.yaml'}"
    compared = asked(str(mine / "mine.yaml"), methods, SEEDS, None, 2.0, [], 2)
    with (
        serving(PREFECT, folder, environment={"PREFECT_HOME": str(folder)}) as address,
        temporary_settings({PREFECT_API_URL: f"{address}/api"}),
        pytest.raises(Unfinished, match=r"^Failed: mine-misfit \(seed 0\), mine-misfit \(seed 1\), ") as caught,
    ):
        try:
            compare(compared)
        finally:
            APILogWorker.drain_all(timeout=10)  # of this process, before the server ends
            with get_client(sync_client=True) as client:
                flow_runs = {one.name: one for one in client.read_flow_runs()}
                task_runs = client.read_task_runs()
                logs = {
                    name: "\n".join(
                        line.message
                        for line in client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[one.id])))
                    )
                    for name, one in flow_runs.items()
                }
    return Seen(caught.value.report, flow_runs, task_runs, logs)


def test_the_outcomes_are_in_the_childrens_order_and_what_fails_stops_nothing(seen: Seen) -> None:
    told = [(child.recipe.name, child.recipe.seed, child.done is None) for child in seen.report.children]

    assert told == [
        (f"mine-{method}", seed, method == "misfit") for method in ("scratch", "misfit") for seed in (0, 1, 2)
    ]
    assert all("matches no module that can be adapted" in child.reason for child in seen.report.failed)
    assert [line.method for line in seen.report.comparison.lines][-1] == "misfit"


def test_one_that_follows_another_in_its_process_is_to_the_bit_what_it_is_alone(
    seen: Seen, tmp_path: Path, mine: Path
) -> None:
    last = seen.report.children[2]  # the third training of two processes
    (alone,) = run_all([last.recipe.model_copy(update={"model": "alone"})], seen.report.run_id)

    assert last.done is not None and alone.done is not None
    assert (last.done.jobs, alone.done.jobs) == (2, 1)
    assert last.done.metrics == alone.done.metrics
    assert _predictions(last, tmp_path / "last").equals(_predictions(alone, tmp_path / "alone"))


def _predictions(child: Outcome, folder: Path) -> pd.DataFrame:
    assert child.done is not None
    folder.mkdir()
    return pd.read_parquet(tracking.client().download_artifacts(child.done.run_id, "predictions.parquet", str(folder)))


def test_in_prefect_they_are_subflows_of_the_comparison_with_tasks_and_log_lines_of_their_own(seen: Seen) -> None:
    parent = seen.flow_runs["compare-mine"]
    children = {name: one for name, one in seen.flow_runs.items() if one is not parent}
    states = {name: one.state_name for name, one in children.items()}
    links = {one.id: one for one in seen.task_runs}

    assert states == {
        f"mine-{method}-{seed}": state
        for method, state in (("scratch-scratch", "Completed"), ("misfit-lora", "Failed"))
        for seed in (0, 1, 2)
    }
    assert {links[one.parent_task_run_id].flow_run_id for one in children.values()} == {parent.id}
    for name, one in children.items():
        own = {task.name.rpartition("-")[0] for task in seen.task_runs if task.flow_run_id == one.id}
        assert {"prepare", "check", "train"} <= own
        assert "MLflow run" in seen.logs[name]
        assert states[name] == "Failed" or "accuracy" in seen.logs[name], "its last line"


def test_the_table_says_that_they_did_not_train_alone(seen: Seen) -> None:
    said = "The runs trained 2 at once, 1 thread each: their seconds are longer than alone."

    assert said in words.notes(seen.report.comparison)
    assert said in seen.report.page.read_text()


def test_what_is_done_is_found_before_any_process_is_begun_and_still_did_not_train_alone(
    seen: Seen, capfd: pytest.CaptureFixture[str]
) -> None:
    before = seen.report.children[:3]
    again = run_all([child.recipe for child in before], seen.report.run_id, jobs=2)

    assert [child.done for child in again] == [child.done for child in before]
    assert [child.before for child in again] == [True] * 3
    told = capfd.readouterr().err
    assert told.count("done before") == 3
    assert "at once" not in told


@dataclass
class Command:
    """`graft compare` of two long trainings at once, in a process group of its own."""

    folder: Path
    home: Path

    def start(self) -> subprocess.Popen[str]:
        words = ["--methods", "scratch,linear_probe", "--seeds", "0", "--jobs", "2", "schedule.epochs=60"]
        return subprocess.Popen(
            [sys.executable, "-m", "flows", "compare", str(self.folder / "mine.yaml"), *words],
            env={**os.environ, "GRAFT_HOME": str(self.home), "GRAFT_CHECKPOINT_SECONDS": "0.2", "COLUMNS": "300"},
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def begun(self) -> set[Path]:
        """The folders of work with a checkpoint."""
        return {file.parents[1] for file in self.home.glob("runs/*/checkpoints/step-" + "[0-9]" * 8)}


def _living(group: int) -> list[str]:
    """The processes of a group that are no zombies."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.real
def test_stopped_it_leaves_no_process_and_goes_on_and_a_killed_one_takes_nothing_with_it(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = Command(mine, tmp_path / "home")
    monkeypatch.setenv("GRAFT_HOME", str(command.home))
    first = command.start()
    until(lambda: len(command.begun()) == 2 or first.poll() is not None, "both have a checkpoint")
    assert first.poll() is None, first.communicate()
    os.killpg(first.pid, signal.SIGINT)
    told = first.communicate(timeout=30)[1]

    assert first.returncode == 130
    assert told.splitlines()[-1] == "Stopped. The same command goes on from the last checkpoint."
    assert "Traceback" not in told, told
    end = time.monotonic() + 5
    while left := _living(first.pid):
        assert time.monotonic() < end, left
        time.sleep(0.05)

    place = tracking.experiment("mine-compare")
    assert [run.info.status for run in tracking.client().search_runs([place])] == ["KILLED"] * 3, "with the parent"

    second = command.start()
    assert second.stderr is not None
    lines = []
    for line in second.stderr:
        lines.append(line)
        if "Going on from step" in line:
            break
    hands = [one for one in psutil.Process(second.pid).children() if "spawn_main" in " ".join(one.cmdline())]
    assert len(hands) == 2
    hands[0].kill()
    out, err = second.communicate(timeout=600)
    err = "".join(lines) + err

    assert second.returncode == 1, err
    assert err.count("done: accuracy") == 1
    assert "Its process was killed by SIGKILL, as the system does where memory is short" in err
    assert "If memory was short, --jobs 1 takes the least." in err
    assert "The same command goes on with what is missing." in out
