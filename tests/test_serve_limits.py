"""What the server does not put up with, and what it tells nobody: sizes, crowds, strangers, errors."""

import http.client
import logging
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from stock import TEXTS, Stock, listening, texts

from flows.serving import service
from tasks.serving.batches import Batches
from tasks.serving.roster import Roster

pytest_plugins = ["small", "stock"]


def test_a_body_that_does_not_say_its_size_is_refused_before_its_end(client: httpx.Client, stock: Stock) -> None:
    wire = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=30)
    wire.putrequest("POST", f"/predict/{stock.name('mails')}")
    wire.putheader("Transfer-Encoding", "chunked")
    wire.endheaders()
    for _ in range(17):
        wire.send(b"10000\r\n" + b" " * 2**16 + b"\r\n")
    given = wire.getresponse()
    assert (given.status, b"more than 1 MiB" in given.read()) == (413, True)
    wire.close()


def test_a_body_that_does_not_come_keeps_no_place(
    client: httpx.Client, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SECONDS", 0.2)
    wire = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=30)
    wire.putrequest("POST", f"/predict/{stock.name('mails')}")
    wire.putheader("Content-Length", "100")
    wire.endheaders(b"{")
    given = wire.getresponse()
    assert (given.status, b"did not come within 0.2 seconds" in given.read()) == (408, True)
    wire.close()


def test_a_body_longer_than_it_says_is_not_read_beyond_that(client: httpx.Client, stock: Stock) -> None:
    wire = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=30)
    wire.putrequest("POST", f"/predict/{stock.name('mails')}")
    wire.putheader("Content-Length", "2")
    wire.endheaders(b"{}" + b" " * 2**21)
    given = wire.getresponse()
    assert (given.status, b"The body has no rows" in given.read()) == (422, True)
    wire.close()


def test_what_nobody_foresaw_is_an_error_with_a_number_that_stands_in_the_log(
    client: httpx.Client, roster: Roster, stock: Stock, caplog: pytest.LogCaptureFixture
) -> None:
    for weight in roster.places[stock.name("mails")].held.model.network.module.parameters():
        if weight.requires_grad:
            weight.data.fill_(float("nan"))  # JSON has no such number
    secret = "a very private text"
    with caplog.at_level(logging.DEBUG):
        given = client.post(f"/predict/{stock.name('mails')}", json=texts(secret))
        assert client.post(f"/predict/{stock.name('moods')}", json=texts(secret)).status_code == 200
        client.post(f"/predict/{stock.name('moods')}", json={"rows": [{"text": secret, "more": secret}]})
    assert given.status_code == 500
    number = given.json()["error"].removesuffix(".").rpartition(" ")[2]
    assert given.json() == {"error": f"The server failed. Its log tells more under error {number}."}
    told = [record.getMessage() for record in caplog.records if record.name == "graft.serve"]
    assert told[0].startswith(f"error {number}: ValueError\n")
    assert "answer" in told[0]
    assert secret not in caplog.text


def test_with_a_password_only_a_bare_health_is_open(roster: Roster, batches: Batches, stock: Stock) -> None:
    user, password = "ada", "a long password"
    with listening(roster, batches, auth=(user, password)) as client:
        path = f"/predict/{stock.name('mails')}"
        assert client.post(path, json=texts("a")).status_code == 401
        for wrong in ((user, "another password"), ("", password)):
            given = client.post(path, json=texts("a"), auth=wrong)
            assert (given.status_code, given.headers["WWW-Authenticate"]) == (401, 'Basic realm="graft"')
        assert {client.get(page).status_code for page in ("/", "/metrics", "/openapi.json")} == {401}
        assert client.get("/health").json() == {"status": "ready"}
        assert client.post(path, json=texts("a"), auth=(user, password)).status_code == 200
        assert len(client.get("/health", auth=(user, password)).json()["models"]) == 2


def test_who_hangs_up_leaves_no_error_behind(
    client: httpx.Client, stock: Stock, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"/predict/{stock.name('mails')}"
    with pytest.raises(httpx.ReadTimeout):
        client.post(path, json=texts("a"), timeout=0.1)
    wire = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=30)
    wire.putrequest("POST", path)
    wire.putheader("Content-Length", "100")
    wire.endheaders(b"{")
    wire.close()
    assert client.post(path, json=texts("a")).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING and "graft" in record.name]
    assert "Traceback" not in caplog.text


def test_where_too_much_waits_callers_are_told_to_come_again(roster: Roster, stock: Stock) -> None:
    slow = Batches(8, 2.0, waiting=4)
    path = f"/predict/{stock.name('mails')}"
    with listening(roster, slow) as client, ThreadPoolExecutor(3) as callers:
        given = list(callers.map(lambda place: client.post(path, json=texts(*TEXTS[:3])), range(3)))
    slow.close()
    assert sorted(one.status_code for one in given) == [200, 503, 503]
    refused = next(one for one in given if one.status_code == 503)
    assert refused.headers["Retry-After"] == "1"
    assert "rows wait already" in refused.json()["error"]
