"""Tokens kept on disk: as the tokenizer gives them, found again by content alone, whole in any case."""

import pickle
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import Bench, sentences

from tasks import tokens
from tasks.backbones import Backbone
from tasks.backbones.text import TextNetwork
from tasks.compose import check
from tasks.frozen import GraftError
from tasks.results import Target
from tasks.tokens import tokenised

pytest_plugins = ["small"]

TEXTS = [text for text, _ in sentences(50, seed=4)]
PAIRS = {"text": TEXTS, "text_pair": TEXTS[::-1]}
TARGET = Target(labels=("bad", "good"))


def letters(rows: Mapping[str, list[str]]) -> dict[str, list[list[int]]]:
    """Two kinds of ids, of different length row by row."""
    return {
        "input_ids": [[ord(letter) for letter in text] for text in rows["text"]],
        "marks": [[1] * len(text) for text in rows["text"]],
    }


def network(bench: Bench, name: str, **changes: Any) -> TextNetwork:
    backbone = check(Backbone, bench.backbone(name, **changes), "test")
    found = backbone.load(TARGET, PAIRS)
    assert isinstance(found, TextNetwork)
    return found


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "BLOCK", 7)


@pytest.mark.parametrize("mark", [None, "kept"])
def test_rows_come_back_as_they_were_tokenised(home: Path, small_blocks: None, mark: str | None) -> None:
    found = tokenised({"text": TEXTS}, letters, mark)
    assert found.keys() == {"input_ids", "marks"}
    assert ["".join(map(chr, ids)) for ids in found["input_ids"]] == TEXTS
    assert found["input_ids"].lengths.tolist() == [len(text) for text in TEXTS]
    assert [ids.tolist() for ids in found["marks"][3:5]] == [[1] * len(text) for text in TEXTS[3:5]]
    copy = pickle.loads(pickle.dumps(found["input_ids"]))  # noqa: S301  what a worker process receives
    assert [ids.tolist() for ids in copy] == [ids.tolist() for ids in found["input_ids"]]
    assert len(pickle.dumps(found["input_ids"])) < 1000 or mark is None
    with pytest.raises(IndexError):
        found["marks"][len(TEXTS)]


def test_the_second_time_nothing_is_tokenised(home: Path) -> None:
    first = tokenised({"text": TEXTS}, letters, "same")

    def never(rows: Any) -> Any:
        raise AssertionError("tokenised again")

    second = tokenised({"text": TEXTS}, never, "same")
    assert all(np.array_equal(a, b) for a, b in zip(first["input_ids"], second["input_ids"], strict=True))
    with pytest.raises(AssertionError, match="tokenised again"):
        tokenised({"text": TEXTS}, never, "other")


def test_a_tokenisation_that_stops_leaves_nothing_behind(home: Path, small_blocks: None) -> None:
    calls = []

    def stopped(rows: Any) -> Any:
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return letters(rows)

    with pytest.raises(KeyboardInterrupt):
        tokenised({"text": TEXTS}, stopped, "stopped")
    assert list((home / "tokens").iterdir()) == []
    assert len(tokenised({"text": TEXTS}, letters, "stopped")["marks"]) == 50


def test_two_at_once_do_each_other_no_harm(home: Path, small_blocks: None) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: tokenised({"text": TEXTS}, letters, "both"), range(8)))
    assert all(["".join(map(chr, ids)) for ids in one["input_ids"]] == TEXTS for one in found)
    assert [place.name for place in (home / "tokens").iterdir()] == ["both"]


def test_a_home_that_is_a_file_is_refused_in_one_line(home: Path) -> None:
    home.mkdir()
    (home / "tokens").write_text("")
    with pytest.raises(GraftError, match="cannot be written"):
        tokenised({"text": TEXTS}, letters, "x")


@pytest.mark.parametrize("name", ["encoder", "gpt2", "llama", "scratch transformer"])
def test_a_batch_of_kept_tokens_is_what_the_tokenizer_itself_makes_of_the_texts(bench: Bench, name: str) -> None:
    found = network(bench, name)
    ready = found.ready(PAIRS, "content")
    chosen = [4, 17, 3, 40]
    batch = found.encode({column: [own[row] for row in chosen] for column, own in ready.items()})
    texts = [[own[row] for row in chosen] for own in PAIRS.values()]
    wanted = found.tokenizer(*texts, truncation=True, max_length=16, padding=True, return_tensors="pt")
    assert batch.keys() == {key for key in wanted if key in found.tokenizer.model_input_names}
    assert all(torch.equal(batch[key], wanted[key]) for key in batch)


def test_tokens_are_kept_by_content_tokenizer_and_length(bench: Bench) -> None:
    def folders() -> int:
        return len(list((bench.home / "tokens").iterdir()))

    found = network(bench, "encoder")
    found.ready(PAIRS, "content")
    network(bench, "encoder").ready(PAIRS, "content")
    assert folders() == 1, "the same again"
    found.encode({"text": ["a film"], "text_pair": ["very fine"]})
    found.ready(PAIRS, "content")
    assert folders() == 1, "what was asked in between changes nothing"
    found.ready(PAIRS, "other rows")
    assert folders() == 2
    network(bench, "encoder", max_length=12).ready(PAIRS, "content")
    assert folders() == 3
    network(bench, "gpt2").ready(PAIRS, "content")
    assert folders() == 4
    changed = network(bench, "encoder")
    changed.tokenizer.add_tokens(["film"])
    changed.ready(PAIRS, "content")
    assert folders() == 5
