"""A platform with passwords and tokens in its environment: who has none is not let in, and none is written anywhere."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import httpx
import pytest
from running import Home, until

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]

PASSWORD = "planted-password-7c1f"
HOOK_TOKEN = "planted-hook-token-93ab"
SECRETS = {
    "HF_TOKEN": "hf_plantedtoken5518",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-key-2d40",
    "MY_DATABASE_PASSWORD": "planted-database-6e07",
}


class Hook(BaseHTTPRequestHandler):
    """Takes what is posted, as a chat's webhook does."""

    taken: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append((self.path, json.loads(body)["text"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def hook() -> Iterator[str]:
    """A webhook's address."""
    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{HOOK_TOKEN}"
    server.shutdown()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, hook: str) -> Iterator[Home]:
    """A platform on an address that is not this machine's usual one, with a password."""
    home = Home(tmp_path_factory.mktemp("locked") / "home")
    home.extra = SECRETS | {"GRAFT_AUTH": f"somebody:{PASSWORD}", "GRAFT_WEBHOOK": hook}
    home.auth = ("somebody", PASSWORD)
    home.up("--host", "127.0.0.2")
    yield home
    home.graft("down", code=None)


@pytest.mark.parametrize("auth", [None, ("somebody", "wrong"), ("admin", PASSWORD)])
def test_nobody_is_let_in_without_the_password(locked: Home, auth: tuple[str, str] | None) -> None:
    experiments = f"{locked.mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    for url in (experiments, f"{locked.mlflow}/", f"{locked.prefect}/api/admin/version"):
        assert httpx.get(url, auth=auth).status_code == 401
        assert httpx.get(url, auth=locked.auth).status_code == 200


def test_a_command_without_the_password_says_what_to_set(locked: Home) -> None:
    stranger = Home(locked.folder)
    for words in (("status",), ("logs", "x")):
        assert "GRAFT_AUTH must be user:password" in stranger.graft(*words, code=2)


def test_runs_are_told_to_the_webhook_and_no_secret_is_written_anywhere(locked: Home) -> None:
    Hook.taken.clear()
    small: dict[str, Any] = {"dataset.limit": 120, "schedule.epochs": 1}
    broken = small | {"method.learning_rate": 1e30}
    assert [_retrained(locked, overrides) for overrides in (small, small, broken)] == [
        "promoted",
        "unchanged",
        "Failed",
    ]
    told = [text.split(" (")[0] for path, text in Hook.taken if path == f"/{HOOK_TOKEN}"]
    assert told == ["tickets: promoted", "tickets: unchanged", "tickets: failed"]
    events = {"filter": {"event": {"prefix": ["graft."]}}}
    until(lambda: len(locked.ask("POST", "/events/filter", events)["events"]) == 3, "the events are there")
    locked.graft("status")
    locked.graft("down")
    small_too = ("dataset.limit=120", "schedule.epochs=1", "seed=1")
    said = locked.graft("finetune", "tickets_scratch", *small_too)  # without the servers it finds what they kept
    assert "the champion has" in " ".join(said.replace("│", " ").split())
    files = [file for file in locked.folder.rglob("*") if file.is_file()]
    assert {"mlflow.db", "prefect.db", "worker.log", "prefect.log"} <= {file.name for file in files}
    planted = [PASSWORD, HOOK_TOKEN, *SECRETS.values()]
    found = [(file, secret) for file in files for secret in planted if secret.encode() in file.read_bytes()]
    assert found == []


def _retrained(home: Home, overrides: dict[str, Any]) -> str:
    """What became of a retrain run: its tag, or its state where it failed."""
    run = home.begin("retrain", experiment="tickets_scratch", overrides=overrides)
    until(lambda: home.state(run) in {"COMPLETED", "FAILED"}, "it ends")
    return home.became(run)
