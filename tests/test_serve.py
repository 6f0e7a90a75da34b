"""`graft serve` over HTTP: the right answers, and a clear word for everything else."""

import base64
import itertools
import json
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from made import Graft, Made
from stock import TEXTS, Stock, alone, apart, listening, texts

from flows.platform.ports import bound
from flows.serving.pages import curl
from tasks import registry
from tasks.prepare import rows_of
from tasks.serving.batches import Batches
from tasks.serving.models import in_words
from tasks.serving.roster import Roster

pytest_plugins = ["made", "small", "stock"]

ALL = ["tickets", "digits", "adapted", "numbers", "colours"]


@pytest.mark.parametrize("kind", ALL)
def test_what_is_served_is_what_was_scored(kind: str, request: pytest.FixtureRequest, at_home: Path) -> None:
    made: Made = request.getfixturevalue(kind)
    table = rows_of(made.data, "test").table()[list(made.result.recipe.dataset.inputs)]
    if "image" in table:
        table["image"] = [base64.b64encode(file).decode() for file in table["image"]]
    batches = Batches(32, 0.005)
    roster = Roster([made.result.recipe.model], batches)
    roster.load()
    with listening(roster, batches, most=2**24) as client:
        rows = table.to_dict("records")[:256]
        given = client.post("/predict", json={"rows": rows}).json()
    batches.close()

    predictions = made.predictions.head(256)
    wanted = in_words(made.data.target, torch.tensor(np.stack(predictions["logits"])))
    assert given["version"] == made.result.registered.version
    assert len(given["answers"]) == len(wanted) > 10
    assert apart(given["answers"], wanted) < 1e-5
    if made.data.target.kind == "class":
        assert [answer["label"] for answer in given["answers"]] == predictions["prediction"].tolist()


def test_an_answer_names_the_model_and_the_version_that_gave_it(client: httpx.Client, stock: Stock) -> None:
    given = client.post(f"/predict/{stock.name('mails')}", json=texts(*TEXTS[:3]))
    assert given.status_code == 200
    assert (given.json()["model"], given.json()["version"]) == (stock.name("mails"), 1)
    assert apart(given.json()["answers"], alone(stock.folder(), {"text": TEXTS[:3]})) < 1e-5


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("/predict/nobody", texts("a"), 404, "No model 'nobody' is served. Models here: mails-"),
        ("/predict", texts("a"), 404, "2 models are served: ask /predict/NAME of mails-"),
        ("/predict/MAILS", texts("a", " "), 422, "Row 1: text is empty. Fill it or leave the row out."),
        ("/predict/MAILS", {"rows": [{"image": "aaaa"}]}, 422, "Row 0: model 'mails-"),
        ("/predict/MAILS", texts(*["x" * 50_000] * 22), 413, "The body has more than 1 MiB. Send fewer rows at once."),
        ("/elsewhere", {}, 404, "Not Found. GET / says what there is."),
    ],
)
def test_a_request_that_cannot_be_used_is_explained(
    path: str, body: Any, status: int, told: str, client: httpx.Client, stock: Stock
) -> None:
    given = client.post(path.replace("MAILS", stock.name("mails")), json=body)
    assert given.status_code == status
    assert given.json()["error"].startswith(told)
    assert given.json().keys() == {"error"}


def test_health_and_metrics_follow_a_new_champion(client: httpx.Client, roster: Roster, stock: Stock) -> None:
    mails = stock.name("mails")
    assert client.get("/health").json()["models"][0] | {"since": ""} == {
        "model": mails, "version": 1, "takes": ["text"], "since": "", "follows_champion": True,
        "reloads": 0, "last_reload": None, "failed_reloads": 0, "trouble": None,
    }  # fmt: skip
    registry.crown(mails, 2)
    roster.look()
    assert client.post(f"/predict/{mails}", json=texts(*TEXTS[:5])).json()["version"] == 2
    client.post(f"/predict/{mails}", json={})
    client.post("/predict/nobody", json={})

    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "ready")
    mine = health.json()["models"][0]
    assert (mine["version"], mine["reloads"]) == (2, 1)
    assert mine["last_reload"].endswith("+00:00")
    numbers = client.get("/metrics").text.splitlines()
    for line in (
        f'graft_requests_total{{model="{mails}",status="200"}} 1.0',
        f'graft_requests_total{{model="{mails}",status="422"}} 1.0',
        'graft_requests_total{model="",status="404"} 1.0',
        f'graft_rows_total{{model="{mails}"}} 5.0',
        f'graft_model_info{{model="{mails}",version="2"}} 1.0',
        f'graft_reloads_total{{model="{mails}",outcome="loaded"}} 1.0',
        "graft_request_seconds_count 3.0",
        "graft_batch_rows_count 0.0",
    ):
        assert line in numbers
    assert not any(f'graft_model_info{{model="{mails}",version="1"}}' in line for line in numbers)


def test_before_all_is_loaded_health_says_so(batches: Batches, stock: Stock) -> None:
    with listening(Roster([stock.versions("mails")[0].name], batches), batches) as client:
        assert (client.get("/health").status_code, client.get("/health").json()["status"]) == (503, "loading")
        assert client.post(f"/predict/{stock.name('mails')}", json=texts("a")).status_code == 404


def test_pages_name_the_endpoints_and_load_nothing_from_elsewhere(client: httpx.Client, stock: Stock) -> None:
    front, described = client.get("/").text, client.get("/openapi.json").json()
    for path in ("/predict", "/health", "/metrics", "/openapi.json"):
        assert path in front
        assert path in described["paths"] or path == "/openapi.json"
    assert f"{stock.name('mails')}/1 takes text; a new champion takes over" in front
    body = described["paths"]["/predict/{name}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]["rows"]["items"]["properties"]) == {"text", "text_pair", "image"}
    assert [client.get(path).status_code for path in ("/docs", "/redoc")] == [404, 404]


def test_callers_at_once_get_what_their_version_gives_while_the_champion_changes(stock: Stock, roster: Roster) -> None:
    mails = stock.name("mails")
    wanted = {version: alone(stock.folder(seed=version - 1), {"text": TEXTS}) for version in (1, 2)}
    quick, end, seen = Batches(8, 0.002), threading.Event(), set()

    def ask(client: httpx.Client, place: int) -> float:
        chosen = [place % len(TEXTS), (place * 7) % len(TEXTS)]
        given = client.post(f"/predict/{mails}", json=texts(*(TEXTS[row] for row in chosen)))
        assert given.status_code == 200
        seen.add(given.json()["version"])
        return apart(given.json()["answers"], [wanted[given.json()["version"]][row] for row in chosen])

    def change() -> None:
        for version in itertools.cycle((2, 1)):
            registry.crown(mails, version)
            roster.look()
            if end.wait(0.05):
                return

    with listening(roster, quick) as client, ThreadPoolExecutor(4) as callers:
        changing = threading.Thread(target=change)
        changing.start()
        worst = max(callers.map(lambda place: ask(client, place), range(200)))
        end.set()
        changing.join()
    quick.close()
    assert worst < 1e-5
    assert seen == {1, 2}


def test_serve_explains_what_it_cannot_begin(graft: Graft, stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    mails = stock.versions("mails")[0].name
    taken = bound("127.0.0.1", 0)
    assert taken is not None
    port = taken.getsockname()[1]
    taken.listen()
    monkeypatch.delenv("GRAFT_AUTH", raising=False)
    for words, told in (
        ((mails, "--port", port), f"Port {port} is in use by another program. Give --port another one"),
        ((mails, "--host", "0.0.0.0", "--port", 0), "opens the models to the network: set GRAFT_AUTH=user:password"),
        (("nobody", "--port", 0), "'nobody' is no registered model with a champion"),
        ((mails, "other", "--version", 2), "Of several, give NAME/VERSION"),
        ((mails, "--version", 9, "--port", 0), f"'{mails}/9' is no registered model"),
    ):
        answer = graft("serve", *words)
        assert (answer.code, answer.out) == (2, "")
        assert told in answer.err
        assert "Traceback" not in answer.err
    taken.close()
    monkeypatch.setenv("GRAFT_AUTH", "ada:short")
    assert "12 characters or more" in graft("serve", mails, "--host", "0.0.0.0").err


def test_the_line_to_try_is_one_that_a_shell_takes(client: httpx.Client, stock: Stock, tmp_path: Path) -> None:
    address = str(client.base_url).rstrip("/")
    line = curl(address, stock.name("mails"), ("text",), locked=False)
    told = subprocess.run(["sh", "-c", f"{line} -s"], capture_output=True, text=True, check=True).stdout
    assert json.loads(told)["answers"][0]["label"] in ("bad", "good")
    (tmp_path / "FILE").write_bytes(b"picture" * 100_000)
    line = curl(address, stock.name("mails"), ("image",), locked=False)
    told = subprocess.run(["sh", "-c", f"{line} -s"], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert json.loads(told) == {"error": f"Row 0: model '{stock.name('mails')}' takes text, but image is given."}
    assert "-u USER:PASSWORD http" in curl(address, "mails", ("text",), locked=True)
