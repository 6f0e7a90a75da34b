"""The user's own tables: one content in every kind of file gives the same rows; what would be misread is refused."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import Image as Picture
from PIL import Image
from pydantic import ValidationError

from tasks.datasets import tables
from tasks.datasets.table import Table
from tasks.datasets.tables import Columns, read_chunks, read_table
from tasks.frozen import GraftError

ROWS = pd.DataFrame(
    {
        "message": ["one, two", 'say "no"', "null", "  spaced  ", "ünï ¢ø∂é", "NA", "x\u2028y"],
        "other": ["a", "b", "c", "d", "e", "f", "g"],
        "team": ["1", "0", "1", "0", "1", "0", "1"],
    }
)
WRITERS = {
    "csv": lambda file: ROWS.to_csv(file, index=False),
    "tsv": lambda file: file.write_text("\n".join("\t".join(row) for row in [ROWS.columns, *ROWS.to_numpy()])),
    "jsonl": lambda file: file.write_text("\n".join(json.dumps(row) for row in ROWS.to_dict("records")) + "\n\n"),
    "parquet": lambda file: ROWS.to_parquet(file),
}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    monkeypatch.setattr(tables, "CHUNK", 3)  # so that every file is read in parts
    return tmp_path


def read(path: str, split: str = "train", **options: Any) -> pd.DataFrame:
    return Table.model_validate({"kind": "table", "path": path} | options).read().table(split)


@pytest.mark.parametrize("kind", [*WRITERS, "saved"])
def test_every_kind_of_file_gives_the_same_rows(data: Path, kind: str) -> None:
    if kind == "saved":
        Dataset.from_pandas(ROWS).save_to_disk(data / "rows.saved")
    else:
        WRITERS[kind](data / f"rows.{kind}")
    found = read(f"rows.{kind}", columns={"text": "message", "text_pair": "other", "label": "team"})
    assert found["text"].tolist() == [text.strip() for text in ROWS["message"]]
    assert found["text_pair"].tolist() == ROWS["other"].tolist()
    assert found["label"].tolist() == ROWS["team"].tolist()
    assert found["row_id"].tolist() == [f"row:{line}" for line in range(1, 8)]


def test_numbers_and_truth_values_in_typed_files_become_plain_labels(data: Path) -> None:
    rows = {"text": ["a", "b", "c"], "whole": [2, 0, 1], "part": [0.5, 2.0, 3.25], "truth": [True, False, True]}
    pd.DataFrame(rows).to_parquet(data / "rows.parquet")
    (data / "rows.jsonl").write_text(
        "\n".join(json.dumps(dict(zip(rows, row, strict=True))) for row in zip(*rows.values(), strict=True))
    )
    for file in ("rows.parquet", "rows.jsonl"):
        labels = [read(file, columns={"text": "text", "label": name})["label"].tolist() for name in list(rows)[1:]]
        assert labels == [["2", "0", "1"], ["0.5", "2.0", "3.25"], ["True", "False", "True"]]


def test_a_missing_cell_is_empty_whatever_the_kind(data: Path) -> None:
    (data / "rows.jsonl").write_text('{"text": "a", "label": null}\n{"text": "b"}\n')
    pd.DataFrame({"text": ["a", "b"], "label": pd.array([None, None], "Int64")}).to_parquet(data / "rows.parquet")
    for file in ("rows.jsonl", "rows.parquet"):
        assert read(file)["label"].tolist() == ["", ""]


def test_a_saved_folder_gives_its_splits_and_the_names_of_its_classes(data: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    whole = Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features)
    DatasetDict({"train": whole, "test": whole.select([1])}).save_to_disk(data / "both")
    assert read("both")["label"].tolist() == ["pos", "neg", ""]
    assert read("both", "test")[["row_id", "label"]].to_numpy().tolist() == [["test:1", "neg"]]


def test_pictures_in_a_saved_folder_are_their_files_bytes(data: Path) -> None:
    content = []
    for shade in (10, 200):
        file = io.BytesIO()
        Image.new("RGB", (40, 40), (shade, 0, 0)).save(file, "PNG")
        content.append(file.getvalue())
    features = Features({"image": Picture(), "label": Value("string")})
    rows = {"image": [{"bytes": file, "path": None} for file in content], "label": ["dark", "bright"]}
    Dataset.from_dict(rows, features).save_to_disk(data / "pictures")
    assert read("pictures", columns={"image": "image"})["image"].tolist() == content


def test_a_table_of_paths_gives_the_pictures(data: Path) -> None:
    (data / "photos" / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.png"):
        (data / "photos" / name).write_bytes(name.encode())
    (data / "photos" / "rows.csv").write_text("file,label\na.png,x\nmore/b.png,y\n")
    (data / "elsewhere.csv").write_text("file,label\na.png,x\nmore/b.png,y\n")
    for path, options in (("photos/rows.csv", {}), ("elsewhere.csv", {"image_root": "photos"})):
        found = read(path, columns={"image": "file"}, **options)
        assert found["image"].tolist() == [b"a.png", b"more/b.png"]
    with pytest.raises(GraftError, match=r"Row row:1: picture 'a.png' cannot be read \(No such file"):
        read("elsewhere.csv", columns={"image": "file"})


def test_several_labels_of_a_row_come_as_a_list_a_marked_string_or_columns_of_0_and_1(data: Path) -> None:
    wanted = [["red", "big"], [], ["big"]]
    texts = ["a", "b", "c"]
    pd.DataFrame({"text": texts, "label": wanted}).to_parquet(data / "lists.parquet")
    (data / "lists.jsonl").write_text(
        "\n".join(json.dumps({"text": t, "label": w}) for t, w in zip(texts, wanted, strict=True))
    )
    (data / "marked.csv").write_text("text,label\na,red | big\nb,\nc,big\n")
    (data / "columns.csv").write_text("text,red,big\na,1,1\nb,0,0\nc,0,1\n")
    for file, columns in (
        ("lists.parquet", {"text": "text"}),
        ("lists.jsonl", {"text": "text"}),
        ("marked.csv", {"text": "text"}),
        ("columns.csv", {"text": "text", "label": ["red", "big"]}),
    ):
        assert read(file, columns=columns, target="multilabel")["label"].tolist() == wanted, file
    (data / "columns.csv").write_text("text,red,big\na,1,1\nb,0,2\n")
    with pytest.raises(GraftError, match=r"Row row:2: column 'big' holds '2'\. Valid: 0, 1\."):
        read("columns.csv", columns={"text": "text", "label": ["red", "big"]}, target="multilabel")


def test_a_split_column_and_a_file_of_its_own_give_test_rows(data: Path) -> None:
    (data / "rows.csv").write_text("text,label,part\na,x,train\nb,y,test\nc,x,train\nd,y,train\ne,x,test\n")
    for split, lines in (("train", [1, 3, 4]), ("test", [2, 5])):
        found = read("rows.csv", split, split_column="part")
        assert found["row_id"].tolist() == [f"row:{line}" for line in lines]
        assert found.columns.tolist() == ["row_id", "text", "label"]
    (data / "held.csv").write_text("text,label\nz,x\n")
    assert read("rows.csv", "test", test_path="held.csv")["row_id"].tolist() == ["test:1"]


def test_a_group_comes_along(data: Path) -> None:
    (data / "rows.csv").write_text("text,label,patient\na,x,7\nb,y,8\n")
    assert read("rows.csv", columns={"text": "text", "group": "patient"})["group"].tolist() == ["7", "8"]


def test_columns_of_a_file_without_header_are_numbered(data: Path) -> None:
    (data / "rows.tsv").write_text('gj04\t1\t\tThe "book" is red.\r\ngj04\t0\t*\tBook the.\r\n')
    found = pd.concat(read_chunks(data / "rows.tsv", header=False))
    assert found.columns.tolist() == ["1", "2", "3", "4"]
    assert found["4"].str.strip().tolist() == ['The "book" is red.', "Book the."]


def test_a_lone_carriage_return_does_not_end_a_row_of_a_tsv(data: Path) -> None:
    (data / "rows.tsv").write_bytes(b"text\tlabel\r\nfirst\rhalf\t1\r\nsecond\t0\r\n")
    assert read("rows.tsv")[["text", "label"]].to_numpy().tolist() == [["first\rhalf", "1"], ["second", "0"]]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("rows.jsonl", b'{"text": "a"}\n{"text": \n', "line 2 is no JSON (Expecting value)."),
        ("rows.jsonl", b"[1, 2]\n", "line 1 holds no JSON object."),
        ("rows.jsonl", b"", "it is empty."),
        ("rows.parquet", b"text,label\n", "cannot be read as a table: "),
        ("rows.csv", b"text,label\ncaf\xe9,a\n", "Is it in another encoding? Set `encoding: latin-1`."),
        (
            "rows.xlsx",
            b"",
            "'rows.xlsx' is of no known kind. Valid endings: .csv, .tsv, .jsonl, .parquet, or a saved folder.",
        ),
    ],
)
def test_what_would_be_misread_is_refused_with_the_next_step(data: Path, name: str, content: bytes, told: str) -> None:
    (data / name).write_bytes(content)
    with pytest.raises(GraftError) as caught:
        read_table(data / name)
    assert told in str(caught.value)


def test_another_encoding_can_be_named(data: Path) -> None:
    (data / "rows.csv").write_bytes("text,label\ncafé,a\n".encode("latin-1"))
    assert read("rows.csv", encoding="latin-1")["text"].tolist() == ["café"]


@pytest.mark.parametrize("columns", [{}, {"text": "a", "image": "b"}, {"image": "b", "text_pair": "c"}])
def test_columns_that_name_no_input_or_two_kinds_are_refused(columns: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="columns must name either text"):
        Columns.model_validate(columns)


def test_reading_in_parts_loses_and_doubles_no_row(data: Path) -> None:
    rows = pd.DataFrame({"text": [f"row {n}" for n in range(100)], "label": np.arange(100) % 2})
    rows.to_csv(data / "rows.csv", index=False)
    parts = list(read_chunks(data / "rows.csv"))
    assert max(map(len, parts)) == 3
    assert read("rows.csv")["text"].tolist() == rows["text"].tolist()
