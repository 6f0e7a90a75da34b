"""The queue and its one thread: what comes together is computed together, and nobody's answer changes by it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from stock import PROBE, TEXTS, Stock, alone, apart

from tasks.serving.batches import Batches, Full
from tasks.serving.models import Loaded, Shared

pytest_plugins = ["small", "stock"]


@pytest.fixture
def model(stock: Stock) -> Loaded:
    return Shared().load(stock.versions("mails", 1)[0])


@contextmanager
def queue(rows: int = 8, wait: float = 0.3, waiting: int = 2048) -> Iterator[tuple[Batches, list[int]]]:
    """A queue, and how many rows each of its batches had."""
    seen: list[int] = []
    made = Batches(rows, wait, waiting, seen.append)
    yield made, seen
    made.close()


def test_what_comes_together_is_computed_together_and_answered_as_alone(model: Loaded, stock: Stock) -> None:
    with queue() as (batches, seen):
        asked = [batches.ask(model, {"text": [text]}) for text in TEXTS[:8]]
        answers = [answer for future in asked for answer in future.result(60)]
    assert seen == [8]
    assert len({text.count(" ") for text in TEXTS[:8]}) > 1, "they are padded"
    assert apart(answers, alone(stock.folder(), {"text": TEXTS[:8]})) < 1e-5


def test_a_batch_has_no_more_rows_than_it_may_and_keeps_their_order(model: Loaded, stock: Stock) -> None:
    with queue(rows=4) as (batches, seen):
        sizes = (1, 2, 2, 11, 1)
        parts = [TEXTS[sum(sizes[:place]) :][:size] for place, size in enumerate(sizes)]
        asked = [batches.ask(model, {"text": part}) for part in parts]
        answers = [future.result(60) for future in asked]
    assert seen == [3, 2, 11, 1], "many rows of one request go alone, four at a time"
    assert [len(own) for own in answers] == [*sizes]
    assert apart([answer for own in answers for answer in own], alone(stock.folder(), {"text": TEXTS[:17]})) < 1e-5


def test_a_row_alone_waits_no_longer_than_it_is_told_to(model: Loaded) -> None:
    with queue(wait=0.0) as (batches, seen):
        for text in TEXTS[:3]:
            batches.ask(model, {"text": [text]}).result(60)
    assert seen == [1, 1, 1]


def test_models_are_not_mixed(model: Loaded, stock: Stock) -> None:
    other = stock.folder(PROBE, seed=5)
    second = Shared().load(stock.add(stock.name("other"), other))
    with queue() as (batches, seen):
        asked = [batches.ask((model, second)[place % 2], {"text": [text]}) for place, text in enumerate(TEXTS[:8])]
        answers = [answer for future in asked for answer in future.result(60)]
    assert seen == [4, 4]
    assert apart(answers[::2], alone(stock.folder(), {"text": TEXTS[:8:2]})) < 1e-5
    assert apart(answers[1::2], alone(other, {"text": TEXTS[1:8:2]})) < 1e-5


def test_more_rows_than_may_wait_are_refused_until_there_is_room(model: Loaded) -> None:
    with queue(wait=1.0, waiting=4) as (batches, _):
        first = batches.ask(model, {"text": TEXTS[:3]})
        with pytest.raises(Full, match=r"3 rows wait already, of 4 that may\. Ask again"):
            batches.ask(model, {"text": TEXTS[:2]})
        assert len(first.result(60)) == 3
        assert len(batches.ask(model, {"text": TEXTS[:9]}).result(60)) == 9, "one request may have more"


def test_a_request_that_fails_spoils_no_other(model: Loaded, stock: Stock) -> None:
    with queue() as (batches, seen):
        asked = [batches.ask(model, {"text": [text]}) for text in TEXTS[:3]]
        broken = batches.ask(model, {"text": [None]})
        answers = [answer for future in asked for answer in future.result(60)]
        assert isinstance(broken.exception(60), TypeError | ValueError)
    assert seen == [1, 1, 1]
    assert apart(answers, alone(stock.folder(), {"text": TEXTS[:3]})) < 1e-5


def test_who_has_gone_is_left_out_and_hurts_nobody(model: Loaded) -> None:
    with queue() as (batches, seen):
        gone, stays = (batches.ask(model, {"text": [text]}) for text in TEXTS[:2])
        assert gone.cancel()
        assert len(stays.result(60)) == 1
    assert seen == [1]


def test_at_the_end_what_was_taken_is_answered_and_no_more_is_taken(model: Loaded) -> None:
    with queue(wait=30.0) as (batches, _):
        asked = [batches.ask(model, {"text": [text]}) for text in TEXTS[:3]]
        batches.close()
        assert [len(future.result(0)) for future in asked] == [1, 1, 1]
        with pytest.raises(Full, match="stopping"):
            batches.ask(model, {"text": TEXTS[:1]})
