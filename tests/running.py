"""A platform of its own for a test file: real servers and a real worker on free ports of loopback, in a folder.

A plugin of fixtures, PYTEST_DONT_REWRITE: it asserts nothing.
"""

import configparser
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from xmlrpc.client import ServerProxy

import httpx
import psutil
import pytest
from servers import free_port

ROOT = Path(__file__).parents[1]
OTHERS = ("PREFECT", "MLFLOW", "GRAFT_ALLOW", "GRAFT_AUTH")  # what this process has set is not for the platform
HUNG = 1500.0  # seconds; longer than anything takes on the slowest machine
EXPERIMENT: dict[str, Any] = {"experiment": "tickets_scratch", "limit": 320, "epochs": 20}


@dataclass
class Home:
    """A home with a platform in it, and its addresses."""

    folder: Path
    prefect: str = ""
    mlflow: str = ""
    extra: dict[str, str] = field(default_factory=dict)  # what the user has set
    auth: tuple[str, str] | None = None

    @property
    def environment(self) -> dict[str, str]:
        left = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
        return left | {
            "GRAFT_HOME": str(self.folder), "GRAFT_CHECKPOINT_SECONDS": "1", "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **self.extra,
        }  # fmt: skip

    def graft(self, *words: str, code: int | None = 0) -> str:
        """A command in this home: what it prints."""
        told = subprocess.run(
            [sys.executable, "-m", "flows", *words], env=self.environment, cwd=ROOT,
            capture_output=True, text=True, check=False, timeout=HUNG,
        )  # fmt: skip
        if code is not None and told.returncode != code:
            raise AssertionError(f"graft {' '.join(words)}: exit code {told.returncode}\n{told.stdout}{told.stderr}")
        return told.stdout + told.stderr

    def up(self, *words: str) -> None:
        """Start it, at first on ports that no other test has, and learn its addresses."""
        ports = () if self.prefect else ("--prefect-port", str(free_port()), "--mlflow-port", str(free_port()))
        self.graft("up", "--detach", *ports, *words)
        found = json.loads((self.folder / "platform" / "platform.json").read_text())
        self.prefect, self.mlflow = found["prefect_url"], found["mlflow_url"]

    def begin(self, flow: str = "finetune", **parameters: Any) -> str:
        """Start a run of a flow's deployment as the page does; its id."""
        deployment = self.ask("GET", f"/deployments/name/{flow}/local")
        run = self.ask("POST", f"/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
        return str(run["id"])

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The Prefect server's answer; asked again where it has no time now (503), as Prefect's own client does."""
        for _ in range(10):
            answer = httpx.request(method, f"{self.prefect}/api{path}", json=body, auth=self.auth, timeout=30)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def ask_mlflow(self, path: str, **words: str) -> Any:
        """The MLflow server's answer to a question."""
        answer = httpx.get(f"{self.mlflow}/api/2.0/mlflow/{path}", params=words, auth=self.auth, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def steps(self, mlflow_run: str) -> list[int]:
        """The steps whose loss MLflow has, in their order."""
        found = self.ask_mlflow("metrics/get-history", run_id=mlflow_run, metric_key="train/loss", max_results="25000")
        return sorted(int(metric["step"]) for metric in found.get("metrics", []))

    def weights(self, mlflow_run: str) -> str:
        """The hash of the trained weights that were registered from a run."""
        found = self.ask_mlflow("model-versions/search", filter=f"run_id='{mlflow_run}'")["model_versions"]
        (version,) = found
        model = version["source"].rpartition("/")[2]
        (file,) = (self.folder / "artifacts").rglob(f"{model}/**/trained.safetensors")
        return hashlib.sha256(file.read_bytes()).hexdigest()

    def supervisor(self) -> Any:
        """The supervisor's own interface."""
        from supervisor.xmlrpc import SupervisorTransport

        file = configparser.RawConfigParser()
        file.read(self.folder / "platform" / "supervisor.conf")
        place = f"unix://{file['unix_http_server']['file']}"
        return ServerProxy("http://127.0.0.1", transport=SupervisorTransport(None, None, place)).supervisor

    def resume(self, run: str) -> str:
        """`graft resume`: the id of the run as which it goes on."""
        return self.graft("resume", run).rstrip(".\n").rpartition(" ")[2]

    def state(self, run: str) -> str:
        """What Prefect says of a run."""
        return str(self._state(run)["type"])

    def became(self, run: str) -> str:
        """What became of a run that has ended: its tag, or its state's name where it has none."""
        found = self.ask("GET", f"/flow_runs/{run}")
        return str(next((tag for tag in found["tags"] if not tag.startswith("mlflow:")), found["state"]["name"]))

    def state_since(self, run: str) -> float:
        """Since when it says so, in seconds since 1970."""
        return datetime.fromisoformat(self._state(run)["timestamp"]).timestamp()

    def _state(self, run: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"/flow_runs/{run}")["state"])

    def mlflow_runs(self, run: str) -> list[str]:
        """The MLflow runs of a flow run."""
        told = {"experiment_ids": self._experiments(), "filter": f"tags.`prefect.flow_run` = '{run}'"}
        answer = httpx.post(f"{self.mlflow}/api/2.0/mlflow/runs/search", json=told, auth=self.auth, timeout=30)
        answer.raise_for_status()
        return [found["info"]["run_id"] for found in answer.json().get("runs", [])]

    def _experiments(self) -> list[str]:
        found = self.ask_mlflow("experiments/search", max_results="100")["experiments"]
        return [one["experiment_id"] for one in found]

    def mlflow_status(self, mlflow_run: str) -> str:
        """What MLflow says of a run."""
        return str(self.ask_mlflow("runs/get", run_id=mlflow_run)["run"]["info"]["status"])

    def note(self, run: str) -> dict[str, Any]:
        """What a run has noted of itself."""
        file = self.folder / "platform" / "runs" / f"{run}.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    def step(self, run: str) -> int:
        """The last checkpoint of a run."""
        work = self.note(run).get("work")
        steps = [int(place.name[5:]) for place in Path(work).glob("checkpoints/step-" + "[0-9]" * 8)] if work else []
        return max(steps, default=0)

    def processes(self, run: str | None = None) -> list[psutil.Process]:
        """All living processes of the platform, or of one of its runs."""
        found = []
        for process in psutil.process_iter():
            try:
                own = process.environ()
                living = process.status() != psutil.STATUS_ZOMBIE
            except (psutil.Error, OSError):
                continue
            here = own.get("GRAFT_PLATFORM") == str(self.folder / "platform")
            if here and living and (run is None or own.get("PREFECT__FLOW_RUN_ID") == run):
                found.append(process)
        return found

    def bodies(self, run: str) -> list[psutil.Process]:
        """The living processes that run a flow run's body, those that they started left out."""
        own = [process for process in self.processes(run) if "prefect.engine" in _words(process)]
        known = {process.pid for process in own}
        return [process for process in own if _parent(process) not in known]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


def until(ready: Callable[[], bool], what: str, seconds: float = HUNG) -> float:
    """Wait for something, for as long as is promised or until it surely hangs; returns how long it took, in seconds."""
    began = time.monotonic()
    while not ready():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not after {seconds:.0f} s: {what}")
        time.sleep(0.2)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A platform that is up."""
    home = Home(tmp_path_factory.mktemp("platform") / "home")
    home.up()
    yield home
    home.graft("down", code=None)
    for process in home.processes():
        process.kill()
