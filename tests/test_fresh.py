"""New processes for proofs, from nothing or forked: they know nothing that hides a fault, and tell how they end."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks import fresh

Run = Callable[..., str | None]


@pytest.fixture(scope="module")
def server() -> Iterator[fresh.Server]:
    server = fresh.Server()
    yield server
    server.close()


@pytest.fixture(params=["from nothing", "forked"])
def run(request: pytest.FixtureRequest, server: fresh.Server, home: Path) -> Run:
    return server.run if request.param == "forked" else fresh.run


def told(run: Run, place: Path, **options: Any) -> dict[str, Any]:
    """What a new process says of itself."""
    assert run("tests.forked", "tell", str(place), **options) is None
    found: dict[str, Any] = json.loads(place.read_text())
    return found


def test_a_new_process_has_no_hub_no_data_and_no_gpu(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/a/full/cache")
    monkeypatch.setenv("MARK", "of this test")

    found = told(run, tmp_path / "told")

    assert found["HF_HUB_OFFLINE"] == "1" and found["CUDA_VISIBLE_DEVICES"] == ""
    for name in ("HF_HOME", "HF_HUB_CACHE", "GRAFT_DATA"):
        assert found[name] not in {"/a/full/cache", os.environ.get(name)}
    assert found["MARK"] == "of this test"
    assert found["home"] == str(home) and found["mlflow"] == f"sqlite:///{home}/mlflow.db"


def test_it_has_the_hub_where_that_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/a/full/cache")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    found = told(fresh.run, tmp_path / "told", hub=True)

    assert (found["HF_HUB_CACHE"], found["HF_HUB_OFFLINE"]) == ("/a/full/cache", None)


@pytest.mark.parametrize(
    ("what", "said"),
    [("end", "it is not alike."), ("raise", "second line"), ("kill", "its process ended without a word"),
     ("chatter", None)],
)  # fmt: skip
def test_how_it_ended_is_told_by_its_last_line(run: Run, what: str, said: str | None) -> None:
    found = run("tests.forked", what)

    assert (found is None) == (said is None)
    assert (said or "") in (found or "")


def test_a_module_that_is_not_there_is_told(run: Run) -> None:
    assert "No module named 'tests.nothing'" in (run("tests.nothing") or "")


def test_a_fork_knows_what_was_loaded_and_nothing_of_the_fork_before(server: fresh.Server, tmp_path: Path) -> None:
    before = told(server.run, tmp_path / "one")
    server.load(["wave", "huggingface_hub.constants"])
    after = told(server.run, tmp_path / "two")

    assert "wave" not in before["modules"] and "wave" in after["modules"]
    assert after["cache"] == after["HF_HOME"]
    assert before["seen"] == [str(tmp_path / "one")] and after["seen"] == [str(tmp_path / "two")]
    assert before["parent"] == after["parent"] != os.getpid()


def test_a_server_that_was_killed_is_told_and_another_begins(tmp_path: Path) -> None:
    first = fresh.server()
    assert first is not None and fresh.server() is first
    process = psutil.Process(told(first.run, tmp_path / "told")["parent"])

    process.kill()
    process.wait()
    assert "its process ended without a word" in (first.run("tests.forked", "tell", str(tmp_path / "no")) or "")

    second = fresh.server()
    assert second is not None and second is not first
    assert told(second.run, tmp_path / "again")["parent"] != process.pid


def test_a_closed_server_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    server = fresh.Server()
    found = told(server.run, tmp_path / "told")

    server.close()

    assert not psutil.pid_exists(found["parent"])
    assert not Path(found["HF_HOME"]).exists()
