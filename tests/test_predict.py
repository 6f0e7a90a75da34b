"""A registered model asked from the terminal: texts, pairs, pictures and files; and what cannot be asked."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from made import Graft, Made
from PIL import Image

from tasks.prepare import rows_of

pytest_plugins = ["made"]

ROOT = Path(__file__).parents[1]


def test_predict_answers_texts_with_a_label_and_its_confidence(graft: Graft, at_home: Path, tickets: Made) -> None:
    told = graft("predict", "tickets", "--text", "my parcel never came", "--text", "my parcel never came", "--json")
    one, two = json.loads(told.out)

    assert told.code == 0
    assert one == two
    assert one["label"] in (tickets.data.target.labels or ())
    assert one["confidence"] == max(one["probabilities"])
    shown = graft("predict", "tickets", "--version", "1", "--text", "my parcel never came")
    assert one["label"] in shown.out
    assert f"{one['confidence']:.3f}" in shown.out


def test_predict_answers_a_file_beside_its_own_columns(
    graft: Graft, at_home: Path, tickets: Made, tmp_path: Path
) -> None:
    rows = rows_of(tickets.data, "test").table(range(12))[["text", "label"]]
    rows.to_csv(tmp_path / "in.csv", index=False)
    told = graft("predict", "tickets", "--file", tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    answers = pd.read_csv(tmp_path / "out.csv")

    assert (told.code, told.out) == (0, "")
    assert answers["text"].tolist() == rows["text"].tolist()
    assert answers["label"].tolist() == tickets.predictions["prediction"].head(12).tolist()
    assert answers["label_given"].tolist() == rows["label"].tolist()


def test_predict_answers_pictures_and_keeps_their_names(
    graft: Graft, at_home: Path, digits: Made, tmp_path: Path
) -> None:
    files = [tmp_path / f"{index}.png" for index in range(5)]
    for file, content in zip(files, rows_of(digits.data, "test")["image"], strict=False):
        Image.open(io.BytesIO(content)).save(file)
    told = graft("predict", "digits", *(word for file in files for word in ("--image", file)), "--out", tmp_path / "o")
    answers = pd.read_csv(tmp_path / "o", dtype=str)

    assert told.code == 0
    assert answers["image"].tolist() == [str(file) for file in files]
    assert answers["label"].tolist() == digits.predictions["prediction"].head(5).tolist()


def test_predict_answers_a_pair_with_a_number(graft: Graft, at_home: Path, numbers: Made) -> None:
    row = rows_of(numbers.data, "test").table([0]).iloc[0]
    told = graft("predict", "pairs", "--text", row["text"], "--pair", row["text_pair"], "--json")

    assert json.loads(told.out)[0]["score"] == pytest.approx(numbers.predictions["prediction"][0], abs=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["unknown", "--text", "hello"], "Models there: "),
        (["tickets", "--version", "99", "--text", "hello"], "Model 'tickets' has no version 99"),
        (["tickets"], "Give exactly one of --text, --image and --file"),
        (["tickets", "--text", " "], "The column 'text' has an empty cell"),
        (["tickets", "--image", ROOT / "pyproject.toml"], "pyproject.toml cannot be read as a picture"),
        (["tickets", "--file", "none.csv"], "none.csv does not exist"),
        (["tickets", "--text", "hello", "--out", "/none/answers.csv"], "/none/answers.csv cannot be written"),
        (["pairs", "--text", "hello"], "Model 'pairs' needs text_pair: give --pair"),
        (["pairs", "--text", "one", "--pair", "two", "--pair", "three"], "2 --pair do not fit 1 --text"),
    ],
)
def test_predict_explains_what_it_cannot_answer(
    words: list[object], message: str, graft: Graft, at_home: Path, tickets: Made, numbers: Made
) -> None:
    told = graft("predict", *words)

    assert (told.code, told.out) == (2, "")
    assert message in told.err
    assert "Traceback" not in told.err
    assert words[0] != "unknown" or {"tickets", "pairs"} <= set(told.err.replace(".", ",").replace(",", "").split())
