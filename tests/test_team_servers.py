"""The commands of `mlflow/compose.yaml`, run here: Prefect and MLflow on a real PostgreSQL, both behind a password."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from composed import FOLDER, service, without_address
from postgres import PASSWORD, Postgres, postgres, programs
from running import until
from servers import free_port, serving
from store import store

pytestmark = pytest.mark.real

ROOT = FOLDER.parent
SMALL = ("dataset.limit=120", "schedule.epochs=1")
AUTH = ("ann", "long enough for MLflow")
GIVEN = {
    "POSTGRES_PASSWORD": PASSWORD, "S3_USER": "store", "S3_PASSWORD": "of the store", "GRAFT_USER": AUTH[0],
    "GRAFT_PASSWORD": AUTH[1], "MLFLOW_KEY": "any", "PREFECT_PAGE": "https://prefect.example",
    "MLFLOW_PAGE": "https://mlflow.example",
}  # fmt: skip


class Team(NamedTuple):
    """Where all of it is, and the variables of the worker."""

    prefect: str
    mlflow: str
    environment: dict[str, str]
    database: Postgres
    bucket: Path

    def graft(self, *words: str) -> str:
        """A command with the worker's variables: what it prints on stdout."""
        command = [sys.executable, "-m", "flows", *words]
        told = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=200)
        assert told.returncode == 0, told.stdout + told.stderr
        return told.stdout

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The Prefect server's answer."""
        answer = httpx.request(method, f"{self.prefect}/api{path}", json=body, auth=AUTH, timeout=30)
        assert answer.is_success, answer.text
        return answer.json()

    def ask_mlflow(self, path: str, **words: str) -> Any:
        """The MLflow server's answer."""
        answer = httpx.get(f"{self.mlflow}/api/2.0/mlflow/{path}", params=words, auth=AUTH, timeout=30)
        assert answer.is_success, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    scripts = programs()
    if scripts is None:
        pytest.skip("PostgreSQL is not installed: no initdb on the PATH or below /usr/lib/postgresql")
    folder = tmp_path_factory.mktemp("team")
    for name in ("buckets", "prefect", "mlflow", "data"):
        (folder / name).mkdir()
    ports = {"prefect": free_port(), "mlflow": free_port()}
    with postgres(scripts) as database, store(folder / "buckets") as buckets:
        moved = _moved(folder, database, buckets, ports)
        _make_bucket(moved)
        prefect, mlflow = (service(name, GIVEN, moved) for name in ports)
        own = prefect.environment | {"PREFECT_HOME": str(folder / "prefect")}
        log = {name: folder / name for name in ports}
        with (
            serving(without_address(prefect.command), log["prefect"], environment=own, port=ports["prefect"]) as one,
            serving(
                without_address(mlflow.command), log["mlflow"], environment=mlflow.environment, port=ports["mlflow"]
            ) as other,
        ):
            yield Team(one, other, _worker(folder, moved), database, folder / "buckets" / "artifacts")


def _moved(folder: Path, database: Postgres, buckets: str, ports: dict[str, int]) -> dict[str, str]:
    users = folder / "auth.ini"
    users.write_text((FOLDER / "auth.ini").read_text().replace("database:5432", database.address))
    return {
        "database:5432": database.address,
        "http://store:9000": buckets,
        "http://prefect:4200": f"http://127.0.0.1:{ports['prefect']}",
        "http://mlflow:5000": f"http://127.0.0.1:{ports['mlflow']}",
        "127.0.0.1:5000": f"127.0.0.1:{ports['mlflow']}",
        "mlflow/server.env": str(FOLDER / "server.env"),
        "mlflow/auth.ini": str(users),
        "/home/graft/ui": str(folder / "page"),
        '"/data"': json.dumps(str(folder / "data")),
    }


def _make_bucket(moved: dict[str, str]) -> None:
    """The service `bucket`, twice: it also runs at every later start."""
    made = service("bucket", GIVEN, moved)
    for _ in range(2):
        subprocess.run([sys.executable, *made.command[1:]], env=os.environ | made.environment, check=True)


def _worker(folder: Path, moved: dict[str, str]) -> dict[str, str]:
    left = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MLFLOW", "GRAFT"))}
    here = {"GRAFT_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return left | here | service("worker", GIVEN, moved).environment


def test_both_servers_refuse_who_gives_no_password_and_tell_their_health(team: Team) -> None:
    asked = (f"{team.prefect}/api/admin/version", f"{team.mlflow}/api/2.0/mlflow/experiments/search?max_results=1")
    for url in asked:
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, auth=(AUTH[0], "wrong")).status_code == 401
        assert httpx.get(url, auth=AUTH).status_code == 200
    assert httpx.get(f"{team.mlflow}/").status_code == 401
    told = httpx.get(f"{team.prefect}/ui-settings").json()
    assert (told["auth"], told["api_url"]) == ("BASIC", "https://prefect.example/api")
    for url in (f"{team.prefect}/api/health", f"{team.mlflow}/health"):
        assert httpx.get(url).status_code == 200


def test_prefects_page_is_served_from_a_folder_that_the_user_of_the_image_may_write(team: Team) -> None:
    page = httpx.get(f"{team.prefect}/", headers={"Accept": "text/html"}, follow_redirects=True)

    assert page.status_code == 200
    assert "<html" in page.text
    assert len(list(team.bucket.parents[1].glob("page/*/index.html"))) > 0


def test_mlflow_answers_to_its_own_names_and_takes_changes_from_its_own_page_alone(team: Team) -> None:
    url = f"{team.mlflow}/api/2.0/mlflow/experiments/search"

    for name, code in (("mlflow:5000", 200), ("elsewhere.example", 403)):
        assert httpx.post(url, json={"max_results": 1}, headers={"Host": name}, auth=AUTH).status_code == code
    for origin, code in (("https://mlflow.example", 200), ("https://elsewhere.example", 403)):
        assert httpx.post(url, json={"max_results": 1}, headers={"Origin": origin}, auth=AUTH).status_code == code


@pytest.fixture(scope="module")
def finetuned(team: Team) -> str:
    """A fine-tune by the command line; its MLflow run."""
    told = json.loads(team.graft("finetune", "tickets_scratch", *SMALL, "--json").splitlines()[-1])
    return str(told["run_id"])


def test_a_finetune_on_postgresql_is_completed_in_prefect_and_finished_in_mlflow(team: Team, finetuned: str) -> None:
    runs = team.ask("POST", "/flow_runs/filter", {"sort": "START_TIME_DESC"})
    told = team.ask_mlflow("runs/get", run_id=finetuned)["run"]
    curve = team.ask_mlflow("metrics/get-history", run_id=finetuned, metric_key="train/loss")["metrics"]
    versions = team.ask_mlflow("model-versions/search", filter=f"run_id='{finetuned}'")["model_versions"]

    assert [run["state"]["type"] for run in runs] == ["COMPLETED"]
    assert told["info"]["status"] == "FINISHED"
    assert len({metric["step"] for metric in curve}) > 1
    assert [(version["name"], version["version"]) for version in versions] == [("tickets", "1")]


def test_its_model_lies_in_the_store_and_answers_from_there(team: Team, finetuned: str) -> None:
    assert [file.name for file in team.bucket.rglob("trained.safetensors")] == ["trained.safetensors"]
    (answer,) = json.loads(team.graft("predict", "tickets", "--text", "my parcel never came", "--json"))
    assert len(answer["probabilities"]) == 8


SECOND_MACHINE = """
import socket, sys
socket.gethostname = lambda: "another-machine"
from flows.platform.deploy import main
sys.exit(main())
"""


def test_the_worker_makes_the_deployments_and_takes_a_run(team: Team, finetuned: str) -> None:
    worker = subprocess.Popen([sys.executable, "-m", "flows", "up", "--worker"], env=team.environment, cwd=ROOT)
    try:
        until(lambda: worker.poll() is not None or _deployed(team), "the deployments are there")
        begun = team.ask("GET", "/deployments/name/retrain/local")
        overrides = {"dataset.limit": 120, "schedule.epochs": 1}
        given = {"experiment": "tickets_scratch", "overrides": overrides}
        run = team.ask("POST", f"/deployments/{begun['id']}/create_flow_run", {"parameters": given})["id"]
        ended = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        until(lambda: team.ask("GET", f"/flow_runs/{run}")["state"]["type"] in ended, "the run ends")
        assert team.ask("GET", f"/flow_runs/{run}")["state"]["type"] == "COMPLETED"
        second = [sys.executable, "-c", SECOND_MACHINE]
        told = subprocess.run(second, env=team.environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (told.returncode, "The pool local has a worker already, on" in told.stderr) == (1, True)
    finally:
        worker.send_signal(signal.SIGINT)
        worker.wait(60)


def _deployed(team: Team) -> bool:
    return len(team.ask("POST", "/deployments/filter", {"deployments": {"name": {"any_": ["local"]}}})) == 2


def test_dumps_by_the_readmes_commands_bring_all_of_it_into_a_new_postgresql(team: Team, finetuned: str) -> None:
    counted = {"mlflow": ["metrics", "registered_models"], "prefect": ["flow_run", "flow"], "auth": ["users"]}
    dumped = re.findall(r"database (pg_dump) -U graft (.*) > (\w+)\.dump", (FOLDER / "README.md").read_text())
    restored = re.findall(r"database (pg_restore) -U graft (.*) < (\w+)\.dump", (FOLDER / "README.md").read_text())
    assert {name for *_, name in dumped} == {name for *_, name in restored} == set(counted)

    dumps = {name: team.database.run(program, *words.split()) for program, words, name in dumped}
    with postgres(team.database.scripts) as fresh:
        for program, words, name in restored:
            fresh.run(program, *words.split(), stdin=dumps[name])
        for database, tables in counted.items():
            for table in tables:
                query = f"SELECT count(*) FROM {table}"
                assert fresh.ask(database, query) == team.database.ask(database, query) != ["0"]
