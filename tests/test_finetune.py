"""The whole road: without a server, killed and taken up again, with a real Prefect and with a real MLflow server."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made import IMAGE, TEXT, Graft, Made, aliases
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from servers import MLFLOW, PREFECT, serving

from flows.finetune import Result, run, workspace
from tasks import tracking
from tasks.compose import load
from tasks.prepare import prepare
from tasks.results import Checkpoint

pytest_plugins = ["made"]

ROOT = Path(__file__).parents[1]

Again = tuple[Result, dict[str, int], dict[str, int]]


def _process(home: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """`graft` with these words, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "flows", *words],
        env={**os.environ, "GRAFT_HOME": str(home), "HF_HUB_OFFLINE": "1", **environment},
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def test_a_finetune_leaves_receipts_a_champion_and_no_work_folder(at_home: Path, tickets: Made) -> None:
    result = tickets.result

    assert result.verdict.passed
    assert result.verdict.reasons[-1] == "There is no champion yet."
    assert (result.registered.name, result.registered.version) == ("tickets", 1)
    assert set(result.seconds) == {"prepare", "check", "train", "evaluate", "register", "total"}
    assert result.seconds["total"] >= sum(result.seconds.values()) - result.seconds["total"]
    assert (result.trained.epochs, result.trained.resumed_at) == (2, None)
    assert list((at_home / "runs").glob("tickets_scratch-*")) == []
    assert Result.model_validate_json(result.model_dump_json()) == result, "a receipt survives as JSON"


def test_an_adapter_trains_few_weights_and_a_scratch_network_all(tickets: Made, adapted: Made) -> None:
    few, every = adapted.result.trained, tickets.result.trained

    assert few.trained_weights < few.total_weights / 10
    assert few.head_weights == 384 * 8 + 8
    assert every.trained_weights == every.total_weights


@pytest.fixture(scope="module")
def again(digits: Made, shared_home: Path) -> Again:
    """The same recipe once more, with a floor that it cannot reach; and the aliases before and after it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(shared_home))
        before = aliases("digits")
        return run(load("digits_scratch", [*IMAGE, "gate.floor=0.99"])), before, aliases("digits")


def test_the_same_recipe_again_is_a_new_version_with_the_same_score(again: Again, digits: Made) -> None:
    result, before, _ = again

    assert result.registered.version == before["candidate"] + 1
    assert result.registered.run_id != digits.result.registered.run_id
    assert result.recipe.fingerprint == digits.result.recipe.fingerprint
    assert result.card.metrics == digits.result.card.metrics
    assert result.verdict.against == digits.result.registered.version
    assert (
        f"accuracy {result.card.score.value:.4f} is not shown to be better: the champion has "
        f"{digits.result.card.score.value:.4f} on the same {result.card.rows} test rows"
    ) in result.verdict.reasons[1]


def test_below_the_floor_it_is_rejected_and_stays_a_candidate_and_the_champion_stays(
    at_home: Path, again: Again
) -> None:
    result, _, named = again

    assert not result.verdict.passed
    assert result.verdict.reasons[0].endswith("is below the floor 0.9900.")
    assert named == {"candidate": result.registered.version, "champion": 1}
    tags = tracking.client().get_run(result.registered.run_id).data.tags
    assert tags["graft.verdict"] == "rejected"
    assert "below the floor" in tags["graft.reasons"]


def test_two_models_of_one_recipe_have_work_folders_and_runs_of_their_own(at_home: Path, digits: Made) -> None:
    one, two = (workspace(load("digits_scratch", [*IMAGE, f"model={name}"]), digits.data) for name in ("one", "two"))

    assert one[0] != two[0]
    assert one[1] != two[1]
    assert workspace(load("digits_scratch", [*IMAGE, "model=one"]), digits.data) == one


def _kill_when(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "it never came so far"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_killed_in_training_and_again_before_registering_it_ends_as_one_run(at_home: Path, digits: Made) -> None:
    command = ["digits_scratch", "dataset.limit=60", "schedule.epochs=60", "model=killed"]
    recipe = load(command[0], command[1:])
    work, run_id = workspace(recipe, prepare(recipe.model, recipe.dataset, recipe.seed))

    _kill_when(_process(at_home, "finetune", *command), lambda: any((work / "checkpoints").glob("step-*[1-9]?")))
    assert tracking.client().get_run(run_id).info.status == "RUNNING"
    assert not (work / "trained.json").exists()

    _kill_when(_process(at_home, "finetune", *command), (work / "trained.json").exists)
    trained = Checkpoint.model_validate_json((work / "trained.json").read_text())
    assert trained.resumed_at
    assert trained.resumed_at >= 8
    assert "killed" not in [model.name for model in tracking.client().search_registered_models()]

    result = run(recipe)
    assert result.trained == trained, "it was not trained again"
    assert (result.registered.run_id, result.registered.version) == (run_id, 1)
    assert not work.exists()
    finished = tracking.client().get_run(run_id)
    assert finished.info.status == "FINISHED"
    assert len(tracking.client().search_runs([finished.info.experiment_id])) == 1
    curve = tracking.client().get_metric_history(run_id, "train/loss")
    assert [point.step for point in curve] == list(range(1, trained.steps + 1))


@pytest.mark.parametrize("lost", [["run_id"], ["run_described"], ["run_id", "run_described"]])
def test_a_kill_while_its_mlflow_run_is_made_leaves_one_run_with_all_it_needs(
    at_home: Path, digits: Made, lost: list[str]
) -> None:
    recipe = load("digits_scratch", [*IMAGE, f"model=begun{len(lost)}{lost[0]}"])
    work, run_id = workspace(recipe, digits.data)
    before = tracking.client().get_run(run_id)
    for name in lost:
        (work / name).unlink()
    assert workspace(recipe, digits.data) == (work, run_id)
    (found,) = tracking.client().search_runs([before.info.experiment_id])
    assert (found.data.params, found.data.tags) == (before.data.params, before.data.tags)
    assert len(found.inputs.dataset_inputs) == len(before.inputs.dataset_inputs) == 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server of our own; its API's address."""
    home = tmp_path_factory.mktemp("prefect")
    with serving(PREFECT, home, environment={"PREFECT_HOME": str(home)}) as address:
        yield f"{address}/api"


def test_with_a_server_the_flow_and_its_tasks_are_seen_there_completed(
    at_home: Path, server: str, digits: Made
) -> None:
    with temporary_settings({PREFECT_API_URL: server}):
        result = run(load("digits_scratch", [*IMAGE, "seed=7", "model=seen"]))
        with get_client(sync_client=True) as client:
            (flow_run,) = [one for one in client.read_flow_runs() if one.name == "digits_scratch-scratch-7"]
            tasks = client.read_task_runs()

    assert result.verdict.passed
    assert flow_run.state_name == "Completed"
    assert flow_run.parameters["recipe"]["model"] == "seen"
    names = {task.name.rpartition("-")[0] for task in tasks if task.flow_run_id == flow_run.id}
    assert names == {"prepare", "check", "train", "evaluate", "register", "judge", "settle"}
    assert {task.state_name for task in tasks} == {"Completed"}


def test_with_a_server_a_bad_recipe_is_a_failed_flow_with_the_reason_and_no_traceback_for_the_user(
    at_home: Path, server: str
) -> None:
    bad = ["tickets_scratch", "dataset.path=nowhere.csv", "seed=8"]
    told = _process(at_home, "finetune", *bad, "--json", PREFECT_API_URL=server).communicate(timeout=120)
    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
        (flow_run,) = [one for one in client.read_flow_runs() if one.name == "tickets_scratch-scratch-8"]

    assert flow_run.state_name == "Failed"
    assert "nowhere.csv does not exist" in str(flow_run.state and flow_run.state.message)
    assert told[0] == ""
    assert "Traceback" not in told[1]
    assert "nowhere.csv does not exist" in told[1]


def test_with_an_mlflow_server_all_that_a_run_leaves_is_on_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graft: Graft
) -> None:
    home = tmp_path / "home"
    kept = ("--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", str(tmp_path / "kept"))
    with serving(MLFLOW, tmp_path, *kept) as address:
        monkeypatch.setenv("GRAFT_HOME", str(home))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        told = graft("finetune", "tickets_scratch", *TEXT, "--json")
        assert told.code == 0, told.err
        made = json.loads(told.out)
        assert made["verdict"]["passed"]
        assert tracking.client().get_run(made["run_id"]).info.status == "FINISHED"
        assert tracking.client().get_metric_history(made["run_id"], "train/loss")
        assert not (home / "mlflow.db").exists()
        shutil.rmtree(home)  # as on another machine
        asked = graft("predict", "tickets", "--text", "my parcel never came")
        assert asked.code == 0, asked.err
