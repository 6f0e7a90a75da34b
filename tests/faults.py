"""What is done to a platform, and how its runs must end all the same. Used by test_survival.py and soak.py."""

import random
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import httpx
import psutil
from running import Home, until

SEEN = 90.0  # seconds in which a death must be seen

Fault = Callable[[Home, str], None]


class Ended(NamedTuple):
    """What a run left: its MLflow run, the steps that MLflow has, the hash of the registered weights."""

    mlflow_run: str
    steps: list[int]
    weights: str


def to_its_end(home: Home, run: str) -> Ended:
    """Watch a run until it is complete; never do two processes train it."""

    def over() -> bool:
        assert len(home.bodies(run)) <= 1, home.bodies(run)
        return home.state(run) in {"COMPLETED", "FAILED", "CANCELLED"}

    until(over, "the run's end")
    told = home.ask("GET", f"/flow_runs/{run}")["state"]
    assert told["type"] == "COMPLETED", told["message"]
    (mlflow_run,) = home.mlflow_runs(run)
    assert home.mlflow_status(mlflow_run) == "FINISHED"
    until(lambda: not home.processes(run), "its processes are gone", SEEN)
    return Ended(mlflow_run, home.steps(mlflow_run), home.weights(mlflow_run))


def seen(home: Home, run: str, since: float) -> float:
    """Seconds from a death (seconds since 1970) until Prefect no longer says what it said before."""

    def told() -> bool:
        return home.state_since(run) > since

    until(told, "the death is seen", SEEN)
    return home.state_since(run) - since


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL; what is gone meanwhile is gone."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def training(home: Home, run: str) -> None:
    """`kill -9` of the training and all below it."""
    kill(home.processes(run))


def worker(home: Home, run: str) -> None:
    """`kill -9` of the worker: its training is an orphan."""
    kill(one for one in home.processes() if {"prefect", "worker"} <= set(one.cmdline()))


def keeper_and_training(home: Home, run: str) -> None:
    """`kill -9` of the keeper, too."""
    kill(one for one in home.processes() if "flows.platform.keeper" in one.cmdline())
    kill(home.processes(run))


def up_itself(home: Home, run: str) -> None:
    """`kill -9` of what `graft up` started, then `graft up`: servers, worker and training are orphans."""
    kill([psutil.Process(home.supervisor().getPID())])
    home.up()


def everything(home: Home, run: str) -> None:
    """As when the machine loses its power; then `graft up`."""
    kill(home.processes())
    home.up()


def mlflow_away(home: Home, run: str) -> None:
    """No MLflow server for a minute."""
    _away(home, "mlflow", f"{home.mlflow}/health")


def prefect_away(home: Home, run: str) -> None:
    """No Prefect server for a minute."""
    _away(home, "prefect", f"{home.prefect}/api/health")


DEATHS: tuple[Fault, ...] = (training, worker, keeper_and_training, up_itself, everything)
ABSENCES: tuple[Fault, ...] = (mlflow_away, prefect_away)


def _away(home: Home, name: str, page: str, seconds: float = 60) -> None:
    home.supervisor().stopProcess(name)
    time.sleep(seconds)
    home.supervisor().startProcess(name, False)
    until(lambda: answers(page), f"{name} is back")


def answers(url: str) -> bool:
    """Whether a server answers there."""
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


def at_some_step(home: Home, run: str, steps: int) -> None:
    """Wait for a checkpoint drawn from the first two thirds of a training."""
    step = random.randint(1, steps * 2 // 3)
    until(lambda: home.step(run) >= step, f"the checkpoint of step {step}")
