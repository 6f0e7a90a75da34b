"""The time of one answer: of the model that lies in the folder, on the rows that are given."""

from pathlib import Path

import pytest
from made import Made

from tasks.frozen import GraftError
from tasks.latency import latency
from tasks.prepare import inputs_of, rows_of
from tasks.registry import model_folder

pytest_plugins = ["made"]


@pytest.fixture
def folder(at_home: Path, tickets: Made) -> Path:
    return model_folder(tickets.result.registered.run_id)


def test_one_row_takes_some_time_and_the_slow_ones_no_less(folder: Path, tickets: Made) -> None:
    rows = inputs_of(rows_of(tickets.data, "test").table(range(8)))
    took = latency(folder, rows, repeats=20)

    assert 0 < took.p50 <= took.p95 < 60_000


def test_a_long_text_takes_longer_than_a_short_one(folder: Path) -> None:
    short, long = (latency(folder, {"text": ["parcel " * words]}, repeats=30) for words in (1, 100))

    assert long.p50 > short.p50


def test_without_a_row_there_is_nothing_to_time(folder: Path) -> None:
    with pytest.raises(GraftError, match="No row was given"):
        latency(folder, {"text": []})
