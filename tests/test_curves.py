"""Curves reach MLflow whole and once, whatever becomes of its server while a training goes on."""

from pathlib import Path

import pytest

from tasks import tracking
from tasks.curves import Curves
from tasks.frozen import GraftError

NOWHERE = "http://127.0.0.1:9"  # the port on which nobody answers


@pytest.fixture
def run_id(home: Path) -> str:
    """A run in a home of its own."""
    return str(tracking.client().create_run(tracking.experiment("curves")).info.run_id)


def sent(run_id: str) -> list[tuple[int, float]]:
    """What MLflow has of the loss."""
    return [(one.step, one.value) for one in tracking.client().get_metric_history(run_id, "loss")]


def test_what_is_added_is_sent_when_it_is_shipped(run_id: str, tmp_path: Path) -> None:
    curves = Curves(run_id, tmp_path / "curves.jsonl")
    curves.add(1, {"loss": 0.5})
    curves.settle()
    assert sent(run_id) == []
    curves.ship()
    curves.add(2, {"loss": 0.25})
    curves.settle()
    assert sent(run_id) == [(1, 0.5)]
    curves.ship()
    curves.settle()
    assert sent(run_id) == [(1, 0.5), (2, 0.25)]


def test_after_a_crash_rows_up_to_the_checkpoint_are_sent_again_and_are_there_once(run_id: str, tmp_path: Path) -> None:
    before = Curves(run_id, tmp_path / "curves.jsonl")
    for step in range(1, 6):
        before.add(step, {"loss": 1 / step})
        if step == 3:  # the last checkpoint
            before.ship()
    before.settle()
    after = Curves(run_id, tmp_path / "curves.jsonl")
    after.forget_after(3)
    after.add(4, {"loss": 0.1})
    after.ship()
    after.settle()
    assert sent(run_id) == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.1)]


def test_from_a_checkpoint_before_the_last_what_was_shipped_stays_and_is_there_once(
    run_id: str, tmp_path: Path
) -> None:
    before = Curves(run_id, tmp_path / "curves.jsonl")
    for step in range(1, 6):
        before.add(step, {"loss": 1 / step})
        if step in {2, 4}:  # the two last checkpoints
            before.ship()
    before.settle()
    for _ in range(2):  # the second start is killed before it ships anything
        after = Curves(run_id, tmp_path / "curves.jsonl")
        after.forget_after(2)  # the last one was damaged
        for step in range(3, 7):
            after.add(step, {"loss": 10.0 * step})
    after.ship()
    after.settle()
    assert sent(run_id) == [(1, 1.0), (2, 1 / 2), (3, 1 / 3), (4, 1 / 4), (5, 50.0), (6, 60.0)]


def test_without_a_server_training_goes_on_and_the_rows_arrive_when_it_is_back(
    run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    curves = Curves(run_id, tmp_path / "curves.jsonl")
    for step in range(1, 4):
        curves.add(step, {"loss": float(step)})
        curves.ship()
    with pytest.raises(GraftError, match="MLflow has not answered for 1 s. All is kept"):
        curves.settle(patience=1)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    curves.settle(patience=60)
    assert sent(run_id) == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_what_mlflow_refuses_stops_the_training(run_id: str, tmp_path: Path) -> None:
    curves = Curves("0" * 32, tmp_path / "curves.jsonl")
    curves.add(1, {"loss": 0.5})
    curves.ship()
    with pytest.raises(GraftError, match="did not take it"):
        curves.settle()
    with pytest.raises(GraftError, match="did not take it"):
        curves.ship()
