"""Errors: the surest first, confusions counted, two models told apart; and the page that shows them."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from tasks.explain import page
from tasks.explain.errors import Answers, Confused, Parting, confused, partings, worst
from tasks.explain.listing import listings
from tasks.explain.words import Word
from tasks.results import Target
from tasks.rows import Rows

CLASSES = Target(labels=("cat", "dog", "owl"))
LABELS = Target(kind="multilabel", labels=("red", "blue"))
NUMBER = Target(labels=None)


def classes(truth: list[int], predicted: list[int], sure: list[float]) -> Answers:
    """Answers whose confidence is as given, the rest shared by both other classes."""
    shares = [[p if k == answer else (1 - p) / 2 for k in range(3)] for answer, p in zip(predicted, sure, strict=True)]
    return Answers(CLASSES, np.array(truth), np.log(np.array(shares)), np.array(predicted))


GIVEN = classes([0, 1, 2, 2, 1, 0], [0, 2, 1, 1, 1, 1], [0.99, 0.6, 0.9, 0.7, 0.5, 0.95])


def test_the_surest_errors_come_first_and_right_answers_never() -> None:
    assert worst(GIVEN, 9) == [5, 2, 3, 1]
    assert worst(GIVEN, 2) == [5, 2]
    assert GIVEN.far[5] == pytest.approx(0.95)


def test_confused_classes_are_counted_by_direction() -> None:
    assert confused(GIVEN) == [Confused("owl", "dog", 2), Confused("cat", "dog", 1), Confused("dog", "owl", 1)]


def test_of_several_labels_each_miss_counts_and_the_surest_one_orders_the_rows() -> None:
    truth = np.array([[1, 0], [0, 0], [1, 1]])
    logits = np.array([[-3.0, 2.0], [1.0, -1.0], [4.0, 4.0]])
    given = Answers(LABELS, truth, logits, np.array([[0, 1], [1, 0], [1, 1]]))

    assert worst(given, 5) == [0, 1]
    assert given.far.tolist() == pytest.approx([1 / (1 + np.exp(-3)), 1 / (1 + np.exp(-1)), 0])
    assert confused(given) == [
        Confused("no blue", "blue", 1),
        Confused("no red", "red", 1),
        Confused("red", "no red", 1),
    ]
    assert [given.named(row) for row in truth] == ["red", "(none)", "red|blue"]


def test_numbers_are_ordered_by_how_far_off_they_are_and_confuse_nothing() -> None:
    given = Answers(NUMBER, np.array([1.0, 2.0, 3.0]), np.array([[1.5], [2.0], [0.0]]), np.array([1.5, 2.0, 0.0]))
    assert worst(given, 5) == [2, 0]
    assert confused(given) == []
    nearer = Answers(NUMBER, given.truth, np.array([[1.4], [2.0], [9.0]]), np.array([1.4, 2.0, 9.0]))
    assert partings(given, nearer) == [Parting(2, "this"), Parting(0, "other")]


def test_where_two_models_part_the_right_one_is_named() -> None:
    other = classes([0, 1, 2, 2, 1, 0], [2, 2, 2, 0, 1, 0], [0.4, 0.6, 0.5, 0.8, 0.5, 0.9])
    assert partings(GIVEN, other) == [
        Parting(5, "other"),
        Parting(2, "other"),
        Parting(3, "neither"),
        Parting(0, "this"),
    ]


def rows(folder: Path, columns: dict[str, list[Any]]) -> Rows:
    table = pa.table(columns)
    with pa.ipc.new_file(folder / "test.arrow", table.schema) as file:
        file.write_table(table)
    return Rows(folder / "test.arrow")


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (400, 300), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def test_the_tables_hold_the_rows_own_texts(tmp_path: Path) -> None:
    texts = [f"text {index}" for index in range(6)]
    ids = [f"row:{index}" for index in range(6)]
    there = rows(tmp_path, {"row_id": ids, "text": texts, "label": GIVEN.truth.tolist()})
    other = classes([0, 1, 2, 2, 1, 0], [0, 2, 1, 1, 1, 0], [0.9] * 6)
    first, second, third = (one.frame for one in listings(there, GIVEN, other, 2))

    columns = ["row_id", "label", "prediction", "confidence", "text"]
    wanted = [["row:5", "cat", "dog", 0.95, "text 5"], ["row:2", "owl", "dog", 0.9, "text 2"]]
    pd.testing.assert_frame_equal(first, pd.DataFrame(wanted, columns=columns))
    assert second.values.tolist() == [["owl", "dog", 2], ["cat", "dog", 1]]
    assert third.to_dict("records") == [
        {"row_id": "row:5", "label": "cat", "this": "dog", "other": "cat", "right": "other", "text": "text 5"}
    ]
    assert [one.name for one in listings(there, GIVEN, None, 2)] == ["worst", "confused"]


def test_pictures_are_within_the_page_and_not_in_the_table(tmp_path: Path) -> None:
    pictures = [png(shade) for shade in range(6)]
    there = rows(tmp_path, {"row_id": list("abcdef"), "image": pictures, "label": GIVEN.truth.tolist()})
    found = listings(there, GIVEN, None, 2)
    told = page.html("errors", [], tables=[one.table(there) for one in found]).decode()

    assert "image" not in found[0].frame
    assert told.count('src="data:image/png;base64,') == 2
    assert re.findall(r'(?:src|href)="(?!data:)', told) == [], "it fetches nothing"


def test_what_a_text_says_is_no_part_of_the_page() -> None:
    evil = "<script>alert(1)</script>"
    words = [Word("text", "", evil, 1.0), Word("text", " ", '"><b>', None)]
    told = page.html(evil, [evil], words, [page.Table(evil, [evil], [[evil]])]).decode()

    assert "<script" not in told
    assert "<b>" not in told
    assert told.count("&lt;script&gt;") == 7


def test_a_words_colour_says_for_or_against_and_how_much() -> None:
    words = [Word("text", "", "good", 2.0), Word("text", " ", "bad", -1.0), Word("text", " ", "so", 0.0)]
    shade = page.shades(words)

    assert shade(words[0]) == page.FOR
    assert shade(words[2]) == page.WHITE
    half = tuple((side + 255) / 2 for side in page.AGAINST)
    assert shade(words[1]) == pytest.approx(half, abs=1)
    assert page.shades([Word("text", "", "a", 0.0)])(words[2]) == page.WHITE, "nothing is divided by nothing"


def test_thumbnails_are_small() -> None:
    assert len(page.picture(png(200)).source) < 3000
