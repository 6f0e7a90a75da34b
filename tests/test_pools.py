"""`prefect.yaml` and the pools' templates, taken by a real Prefect server with the commands of `mlflow/README.md`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from servers import PREFECT, serving

ROOT = Path(__file__).parents[1]
POOLS = {"local": "process", "docker": "docker", "kubernetes": "kubernetes"}
FLOWS = ("finetune", "retrain", "promote", "rollback")
OFFLINE = {"HTTPS_PROXY": "http://127.0.0.1:9"}  # nobody listens there: the server uses its own list of pools' types


class Server(NamedTuple):
    """A Prefect server, and where its clients keep their things."""

    url: str
    folder: Path

    def prefect(self, *words: str) -> str:
        """A command of Prefect's, in the repository's folder; it must succeed."""
        environment = os.environ | {"PREFECT_API_URL": f"{self.url}/api", "PREFECT_HOME": str(self.folder / "client")}
        told = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *words],
            env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert told.returncode == 0, told.stdout + told.stderr
        return told.stdout

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """What the server answers, whatever it is."""
        return httpx.request(method, f"{self.url}/api{path}", json=body, timeout=60)

    def deployment(self, flow: str, pool: str) -> dict[str, Any]:
        """What it keeps of a deployment."""
        return dict(self.ask("GET", f"/deployments/name/{flow}/{pool}").json())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the three pools, and all deployments, as the README has it."""
    folder = tmp_path_factory.mktemp("pools")
    with serving(PREFECT, folder, environment={"PREFECT_HOME": str(folder / "server"), **OFFLINE}) as url:
        made = Server(url, folder)
        made.prefect("work-pool", "create", "local", "--type", "process")
        commands = re.findall(r"^prefect (work-pool create .+|deploy --all)", _readme(), re.MULTILINE)
        assert len(commands) == 3
        for command in commands:
            made.prefect(*command.split())
        yield made


def _readme() -> str:
    return (ROOT / "mlflow" / "README.md").read_text()


def test_all_makes_every_flow_in_all_three_pools(server: Server) -> None:
    found = server.ask("POST", "/deployments/filter", {}).json()

    assert len(found) == len(FLOWS) * len(POOLS)
    for flow in FLOWS:
        for pool in POOLS:
            one = server.deployment(flow, pool)
            assert (one["work_pool_name"], one["entrypoint"]) == (pool, f"flows.jobs.{flow}")
            assert one["enforce_parameter_schema"]
    assert {pool: server.ask("GET", f"/work_pools/{pool}").json()["type"] for pool in POOLS} == POOLS


def test_the_pattern_of_graft_up_makes_those_of_this_machine_alone(server: Server) -> None:
    out = server.prefect("deploy", "--name", "*/local")

    assert set(re.findall(r"Deployment '(\S+)'", out)) == {f"{flow}/local" for flow in FLOWS}


@pytest.mark.parametrize("pool", POOLS)
def test_every_field_of_the_forms_is_described(server: Server, pool: str) -> None:
    for flow in FLOWS:
        fields = server.deployment(flow, pool)["parameter_openapi_schema"]["properties"]
        assert len(fields) >= 3
        assert [name for name, field in fields.items() if not field.get("description")] == []


def test_nothing_of_this_machine_and_no_secret_is_stored_with_a_deployment(server: Server) -> None:
    places = {str(ROOT), str(Path(sys.prefix)), str(Path.home()), str(server.folder), os.uname().nodename}
    for kind in ("deployments", "work_pools", "flows"):
        stored = json.dumps(server.ask("POST", f"/{kind}/filter", {}).json())
        assert len(stored) > 1000 or kind == "flows"
        assert [place for place in places if f'"{place}' in stored or f"{place}/" in stored] == []
    for flow in FLOWS:
        for pool in POOLS:
            one = server.deployment(flow, pool)
            assert (one["path"], one["pull_steps"]) == (None, [])
            assert not re.search("password|secret|auth", json.dumps(one["job_variables"]), re.IGNORECASE)


def test_docker_takes_its_password_from_a_block_that_the_worker_alone_resolves(server: Server) -> None:
    template = server.ask("GET", "/work_pools/docker").json()["base_job_template"]
    given = template["variables"]["properties"]["env"]["default"]

    assert set(given) == {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
    blocks = [re.fullmatch(r"\{\{ prefect\.blocks\.secret\.(mlflow-\w+) \}\}", value) for value in given.values()]
    assert all(block and block[1] in _readme() for block in blocks)


@pytest.mark.parametrize("pool", ["docker", "kubernetes"])
def test_every_variable_of_a_deployment_is_one_of_its_pool(server: Server, pool: str) -> None:
    known = server.ask("GET", f"/work_pools/{pool}").json()["base_job_template"]["variables"]["properties"]
    for flow in FLOWS:
        given = server.deployment(flow, pool)["job_variables"]
        assert given.keys() <= known.keys()
        assert given["env"]["GRAFT_HOME"] == "/graft"
    text = (ROOT / "mlflow" / f"{pool}.json").read_text()
    assert "/graft" in text + json.dumps(given.get("volumes"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"experiment": "no_such_experiment"},
        {"method": "no_such_method"},
        {"seed": -1},
        {"seed": 2**31},
        {"seed": "three"},
    ],
    ids=str,
)
def test_what_is_out_of_bounds_or_unknown_is_refused_when_a_run_is_created(
    server: Server, wrong: dict[str, object]
) -> None:
    for flow in ("finetune", "retrain"):
        path = f"/deployments/{server.deployment(flow, 'kubernetes')['id']}/create_flow_run"
        answer = server.ask("POST", path, {"parameters": wrong})
        assert answer.status_code == 409, answer.text
        assert next(iter(wrong)) in answer.text
        good = server.ask("POST", path, {"parameters": {"experiment": "tickets_scratch", "seed": 3}})
        assert good.status_code == 201
