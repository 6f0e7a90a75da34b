"""Real faults at real processes: what is killed goes on by itself and ends with the very same weights."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from faults import ABSENCES, DEATHS, Ended, Fault, at_some_step, kill, to_its_end
from running import EXPERIMENT, Home, until
from soak import soak

pytest_plugins = ["running"]
pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def straight(platform: Home) -> Ended:
    """The run that nothing happens to."""
    ended = to_its_end(platform, platform.begin(**EXPERIMENT))
    assert ended.steps == list(range(1, len(ended.steps) + 1))
    return ended


@pytest.mark.parametrize("fault", DEATHS, ids=lambda fault: fault.__name__)
def test_killed_at_any_moment_it_goes_on_by_itself_and_ends_as_if_nothing_had_been(
    platform: Home, straight: Ended, fault: Fault
) -> None:
    (outcome,) = soak(platform, straight, [fault])
    assert outcome.held is True, outcome


@pytest.mark.parametrize("fault", ABSENCES, ids=lambda fault: fault.__name__)
def test_without_a_server_for_a_minute_training_goes_on_and_nothing_is_lost(
    platform: Home, straight: Ended, fault: Fault
) -> None:
    run = platform.begin(**EXPERIMENT)
    at_some_step(platform, run, len(straight.steps))
    note = platform.note(run)
    fault(platform, run)
    ended = to_its_end(platform, run)
    assert ended == straight._replace(mlflow_run=note["run_id"])
    assert platform.note(run)["pid"] == note["pid"]  # it was never started anew


def test_cancelled_it_is_gone_within_seconds_and_resumed_it_ends_as_if_nothing_had_been(
    platform: Home, straight: Ended
) -> None:
    def cancelled(run: str, cancel: Callable[[], object], beyond: int) -> int:
        until(lambda: platform.step(run) > beyond, "a checkpoint of its own")
        cancel()
        until(lambda: not platform.processes(run), "all of its processes are gone", 15)
        until(lambda: platform.state(run) == "CANCELLED", "Prefect says so", 15)
        return platform.step(run)

    button = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": False}  # what the page's button sends
    run = platform.begin(**EXPERIMENT)
    first = cancelled(run, lambda: platform.ask("POST", f"/flow_runs/{run}/set_state", button), 0)
    mlflow_run = platform.note(run)["run_id"]
    again = platform.resume(run)
    second = cancelled(again, lambda: platform.graft("cancel", again), first)
    until(lambda: platform.mlflow_status(mlflow_run) == "KILLED", "MLflow says so, too", 15)
    last = platform.resume(again)
    assert to_its_end(platform, last) == straight._replace(mlflow_run=mlflow_run)
    for resumed, step in ((again, first), (last, second)):
        assert f"Going on from step {step} of {len(straight.steps)}" in platform.graft("logs", resumed)


def test_of_a_damaged_checkpoint_the_one_before_is_used_and_it_is_said(platform: Home, straight: Ended) -> None:
    run = platform.begin(**EXPERIMENT)
    until(lambda: len(list(_checkpoints(platform, run))) == 2, "two checkpoints")
    (body,) = platform.bodies(run)
    body.suspend()
    newest = max(_checkpoints(platform, run))
    file = newest / "trained.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    kill(platform.processes(run))
    ended = to_its_end(platform, run)
    assert ended._replace(mlflow_run="") == straight._replace(mlflow_run="")
    assert f"Checkpoint {newest.name} is damaged: going on from the one before it" in platform.graft("logs", run)


def _checkpoints(home: Home, run: str) -> Iterator[Path]:
    return Path(home.note(run).get("work") or home.folder).glob("checkpoints/step-" + "[0-9]" * 8)


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: float) -> Iterator[None]:
    """A file system of its own, this small, at a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={int(megabytes * 1e6)}"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"this machine lets the test mount no small disk: {made.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def full_at(platform: Home, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk that has room for some checkpoints, or for none of the registered model; where it is mounted."""
    name = request.param
    made = httpx.post(f"{platform.mlflow}/api/2.0/mlflow/experiments/create", json={"name": name}).raise_for_status()
    places = {"checkpoint": platform.folder / "runs", "registration": platform.folder / "artifacts"}
    folder = places[name] / made.json()["experiment_id"] if name == "registration" else places[name]
    with small_disk(folder, 30 if name == "checkpoint" else 1):
        yield folder


@pytest.mark.parametrize("full_at", ["checkpoint", "registration"], indirect=True)
def test_on_a_full_disk_it_fails_clearly_and_resumed_it_ends_as_if_nothing_had_been(
    platform: Home, straight: Ended, full_at: Path
) -> None:
    model = "checkpoint" if full_at.name == "runs" else "registration"
    run = platform.begin(**EXPERIMENT, overrides={"model": model})
    until(lambda: platform.step(run) > 0, "a checkpoint")
    if model == "checkpoint":
        _fill(full_at)
    until(lambda: platform.state(run) in {"FAILED", "COMPLETED"}, "it fails")
    told = platform.ask("GET", f"/flow_runs/{run}")["state"]
    assert told["type"] == "FAILED"
    assert "No space left" in told["message"] if model == "checkpoint" else "MLflow" in told["message"]
    mlflow_run = platform.note(run)["run_id"]
    assert platform.mlflow_status(mlflow_run) == "FAILED"
    subprocess.run(["mount", "-o", "remount,size=1000000000", str(full_at)], check=True)
    (full_at / "ballast").unlink(missing_ok=True)
    ended = to_its_end(platform, platform.resume(run))
    assert ended == straight._replace(mlflow_run=mlflow_run)


def _fill(folder: Path) -> None:
    with (folder / "ballast").open("wb") as file, contextlib.suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(65536))


def test_of_two_runs_of_one_recipe_the_second_waits_and_a_command_beside_them_is_refused(
    platform: Home, straight: Ended
) -> None:
    own = {"model": "turns"}  # so that what is left of the second is in nobody's way
    first, second = (platform.begin(**EXPERIMENT, overrides=own) for _ in range(2))
    until(lambda: platform.step(first) > 0 or platform.step(second) > 0, "one of them trains")
    busy, waiting = (first, second) if platform.step(first) else (second, first)
    assert platform.state(waiting) == "SCHEDULED"
    same = (f"dataset.limit={EXPERIMENT['limit']}", f"schedule.epochs={EXPERIMENT['epochs']}", "model=turns")
    told = platform.graft("finetune", EXPERIMENT["experiment"], *same, code=2)
    assert "Another process trains this recipe now" in told
    assert platform.mlflow_status(platform.note(busy)["run_id"]) == "RUNNING"
    assert to_its_end(platform, busy)[1:] == straight[1:]
    until(lambda: platform.step(waiting) > 0, "the other one has its turn")
    platform.graft("cancel", waiting)
    until(lambda: platform.state(waiting) == "CANCELLED", "it is cancelled", 30)


def test_what_a_schedule_fires_while_the_last_run_is_still_going_does_not_pile_up(platform: Home) -> None:
    run = platform.begin("retrain", experiment="tickets_scratch", overrides={"schedule.epochs": 200})
    until(lambda: platform.state(run) == "RUNNING", "it trains")
    deployment = platform.ask("GET", "/deployments/name/retrain/local")
    every = {"schedule": {"interval": 15.0}, "active": True, "parameters": {"experiment": "tickets_scratch"}}
    platform.ask("POST", f"/deployments/{deployment['id']}/schedules", [every])
    wanted = {"flow_runs": {"deployment_id": {"any_": [deployment["id"]]}, "state": {"name": {"any_": ["Skipped"]}}}}
    until(lambda: len(platform.ask("POST", "/flow_runs/filter", wanted)) >= 3, "three of them are skipped")
    assert platform.state(run) == "RUNNING"
    for schedule in platform.ask("GET", f"/deployments/{deployment['id']}/schedules"):
        platform.ask("DELETE", f"/deployments/{deployment['id']}/schedules/{schedule['id']}")
    platform.graft("cancel", run)
    until(lambda: platform.state(run) == "CANCELLED", "it is cancelled", 30)
    late = {
        "flow_runs": {
            "deployment_id": {"any_": [deployment["id"]]},
            "state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}},
        }
    }
    until(lambda: not platform.ask("POST", "/flow_runs/filter", late), "nothing is left over")
