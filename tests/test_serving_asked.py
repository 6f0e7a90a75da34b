"""What a request may say: rows that a model can use, or one line that says which row cannot be used and why."""

import base64
import json
import sys
from typing import Any

import pytest
from stock import Stock

from tasks.frozen import GraftError
from tasks.serving.asked import columns

pytest_plugins = ["small", "stock"]

TEXT, PAIR, IMAGE = ("text",), ("text", "text_pair"), ("image",)
TINY = base64.b64encode(b"not a picture").decode()


def read(rows: Any, inputs: tuple[str, ...] = TEXT) -> Any:
    return columns(json.dumps({"rows": rows}).encode(), "mails", inputs)


def test_rows_become_columns_in_the_models_own_order() -> None:
    assert read([{"text": "one"}, {"text": "two"}]) == {"text": ["one", "two"]}
    rows = [{"text_pair": "b", "text": "a"}]
    assert list(read(rows, PAIR).items()) == [("text", ["a"]), ("text_pair", ["b"])]
    assert len(read([{"text": "x" * 100_000}] * 256)["text"]) == 256


def test_a_picture_comes_as_its_files_bytes(stock: Stock) -> None:
    file = next((stock.bench.zoo / "pictures").rglob("*.png")).read_bytes()
    assert read([{"image": base64.b64encode(file).decode()}], IMAGE) == {"image": [file]}


FAULTS: dict[str, tuple[Any, tuple[str, ...], str]] = {
    "an empty text": ([{"text": "a"}, {"text": " \n"}], TEXT, "Row 1: text is empty. Fill it or leave the row out."),
    "an empty second text": ([{"text": "a", "text_pair": ""}], PAIR, "Row 0: text_pair is empty."),
    "no text": ([{}], TEXT, "Row 0: model 'mails' needs text."),
    "null": ([{"text": None}], TEXT, "Row 0: model 'mails' needs text."),
    "no second text": ([{"text": "a"}], PAIR, "Row 0: model 'mails' needs text_pair."),
    "a second text too much": (
        [{"text": "a", "text_pair": "b"}], TEXT, "Row 0: model 'mails' takes text, but text_pair is given.",
    ),
    "a picture for a text": ([{"image": TINY}], TEXT, "Row 0: model 'mails' takes text, but image is given."),
    "an unknown field": (
        [{"text": "a"}, {"texte": "a"}], TEXT, "Row 1: unknown field 'texte'. Valid: text, text_pair, image.",
    ),
    "a number": ([{"text": 3}], TEXT, "Row 0: text: Input should be a valid string."),
    "a long text": (
        [{"text": "x" * 100_001}], TEXT, "Row 0: text has more than 100,000 characters. Shorten it",
    ),
    "many rows": ([{"text": "a"}] * 257, TEXT, "There are more than 256 rows. Send them in several requests."),
    "no row": ([], TEXT, "There is no row. Send e.g. {"),
    "a bare text": (["a"], TEXT, "Row 0: it should be an object with the fields text, text_pair, image."),
    "no list": ("a", TEXT, "rows: Input should be a valid array."),
    "no base64": ([{"image": "a?b"}], IMAGE, "Row 0: image is no base64 ("),
    "cut base64": ([{"image": TINY[:-1]}], IMAGE, "Row 0: image is no base64 ("),
    "letters beyond ASCII": ([{"image": "bä=="}], IMAGE, "Row 0: image is no base64 ("),
    "no picture": ([{"image": TINY}], IMAGE, "Row 0: the picture has no known format. Valid: JPEG"),
    "an empty picture": ([{"image": ""}], IMAGE, "Row 0: image is empty."),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_a_row_that_cannot_be_used_is_named_in_one_line(what: str) -> None:
    rows, inputs, told = FAULTS[what]
    with pytest.raises(GraftError) as caught:
        read(rows, inputs)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_cut_picture_is_named(stock: Stock) -> None:
    file = next((stock.bench.zoo / "pictures").rglob("*.png")).read_bytes()
    with pytest.raises(GraftError, match=r"Row 0: the picture cannot be read \("):
        read([{"image": base64.b64encode(file[:-200]).decode()}], IMAGE)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "The body is no JSON (EOF while parsing a value"),
        (b'{"rows": [', "The body is no JSON ("),
        (b'{"rows": [{"text": "\\ud800"}]}', "The body is no JSON ("),
        (b"\xff\xfe", "The body is no JSON ("),
        (b"[" * 100_000, "The body is no JSON (recursion limit exceeded"),
        (b"null", "The body has no rows."),
        (b"{}", "The body has no rows. Send e.g. {"),
        (b'{"rows": [{"text": "a"}], "version": 1}', "unknown field 'version'. Valid: rows."),
    ],
)
def test_a_body_of_another_form_is_told_the_right_one(body: bytes, told: str) -> None:
    with pytest.raises(GraftError) as caught:
        columns(body, "mails", TEXT)
    assert str(caught.value).startswith(told)


def test_millions_of_rows_are_refused_without_being_made() -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(GraftError, match="more than 256 rows"):
        columns(b'{"rows":[' + b"{}," * 4_000_000 + b"{}]}", "mails", TEXT)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    assert grown < 2**30
