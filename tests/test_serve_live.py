"""`graft serve` as a process of its own: many callers while the champion moves, and an end that loses no answer."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from servers import free_port
from stock import TEXTS, Stock, alone, apart, texts

from tasks import champion, registry

pytest_plugins = ["small", "stock"]

ROOT = Path(__file__).parents[1]


class Live(NamedTuple):
    """A server and where it is."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path


@contextmanager
def serving(stock: Stock, *words: str) -> Iterator[Live]:
    """`graft serve` with these words, on a free port; it answers."""
    port, log = free_port(), stock.bench.home / "log"
    command = [sys.executable, "-m", "flows", "serve", *words, "--port", str(port)]
    settings = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "GRAFT_AUTH": ""}
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=settings, cwd=ROOT, stdout=file, stderr=file)
    live = Live(process, f"http://127.0.0.1:{port}", log)
    try:
        until = time.monotonic() + 120
        while "Ctrl-C stops it" not in log.read_text():
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield live
    finally:
        process.kill()
        process.wait()


@pytest.mark.real
def test_of_many_callers_while_the_champion_moves_none_is_lost_and_none_is_answered_wrong(stock: Stock) -> None:
    versions = stock.versions("mails")
    name = versions[0].name
    wanted = {version: alone(stock.folder(seed=version - 1), {"text": TEXTS}) for version in (1, 2)}
    assert apart(wanted[1], wanted[2]) > 0.01
    end, moves = threading.Event(), 0

    def move() -> None:
        nonlocal moves
        for to, before in itertools.cycle([(versions[1], 1), (versions[0], 2)]):
            champion.move(to, before, "promoted", "a test")
            moves += 1
            if end.wait(1.5):
                return

    def ask(place: int) -> tuple[int, int, float]:
        chosen = [(place * step) % len(TEXTS) for step in range(1, 2 + place % 5)]
        given = clients[place % 8].post(f"/predict/{name}", json=texts(*(TEXTS[row] for row in chosen)))
        found = given.json()
        time.sleep(0.05)
        return (
            given.status_code,
            found["version"],
            apart(found["answers"], [wanted[found["version"]][r] for r in chosen]),
        )

    with serving(stock, name, "--reload-seconds", "0.3") as live:
        clients = [httpx.Client(base_url=live.url, timeout=60) for _ in range(8)]
        mover = threading.Thread(target=move)
        mover.start()
        with ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(ask, range(2000)))
        end.set()
        mover.join()
        health = clients[0].get("/health").json()["models"][0]
        numbers = clients[0].get("/metrics").text
        for client in clients:
            client.close()
    assert {status for status, _, _ in answers} == {200}
    assert max(wrong for _, _, wrong in answers) < 1e-5
    changes = sum(one[1] != two[1] for one, two in itertools.pairwise(answers))
    assert {version for _, version, _ in answers} == {1, 2}
    assert moves >= 4 and changes >= 3
    assert (health["reloads"] >= 3, health["failed_reloads"], health["trouble"]) == (True, 0, None)
    assert f'graft_requests_total{{model="{name}",status="200"}} 2000.0' in numbers


@pytest.mark.real
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_answers_what_it_has_taken_and_ends_in_peace(how: signal.Signals, stock: Stock) -> None:
    (one,) = stock.versions("mails", 1)
    wanted = alone(stock.folder(), {"text": TEXTS[:4]})
    with serving(stock, one.name, "--wait-ms", "1000") as live, ThreadPoolExecutor(4) as callers:

        def ask(row: int) -> Any:
            return httpx.post(f"{live.url}/predict", json=texts(TEXTS[row]), timeout=60)

        asked = [callers.submit(ask, row) for row in range(4)]
        time.sleep(0.5)
        live.process.send_signal(how)
        answers = [future.result() for future in asked]
        assert live.process.wait(30) == 0
        log = live.log.read_text()
    assert [answer.status_code for answer in answers] == [200] * 4
    assert apart([row for answer in answers for row in answer.json()["answers"]], wanted) < 1e-5
    assert "Stopped: what was asked is answered." in log
    assert "Traceback" not in log
    assert f"curl {live.url}/predict/{one.name} -d" in log
    assert not any(text in log for text in TEXTS[:4])
    assert registry.champion(one.name) == one
