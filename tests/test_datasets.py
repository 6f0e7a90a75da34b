"""The data sets themselves: real rows as published, and the hub where the official folder is absent."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hub import Hub
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer

from tasks.datasets.glue import Glue
from tasks.datasets.spec import DatasetSpec, Source, target_of
from tasks.datasets.table import Table
from tasks.datasets.tables import Columns, read_table
from tasks.frozen import GraftError
from tasks.runtime import package_folder

CARD = """---
configs:
- config_name: mrpc
  data_files:
  - {split: train, path: mrpc/train-*}
  - {split: validation, path: mrpc/validation-*}
---
"""


def spec(name: str) -> DatasetSpec:
    """A data set in `configs/datasets`."""
    from tasks.compose import load  # imports torch, which the child processes below do without

    return load(f"{name}_lora").dataset


def source(name: str) -> Source:
    """Its rows."""
    return spec(name).read()


# Real rows.


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("sst2", 67_349, 872), ("mrpc", 3_668, 408), ("stsb", 5_749, 1_500), ("imagenet10", 1_000, 400)],
)
def test_the_official_files_hold_the_published_number_of_rows(
    data_folder: Path, name: str, train: int, test: int
) -> None:
    found = source(name)
    assert (len(found.table("train")), len(found.table("test"))) == (train, test)
    tsv = {"sst2": "glue/SST-2", "mrpc": "glue/MRPC", "stsb": "glue/STS-B"}
    assert found.origin == (f"{tsv[name]} (official TSV)" if name in tsv else name)
    for rows in (found.table("train"), found.table("test")):
        assert rows["row_id"].is_unique
        assert (rows[[column for column in rows if column != "image"]].map(str.strip) != "").all(axis=None)


@pytest.mark.parametrize(("folder", "column"), [("SST-2", 0), ("MRPC", 3), ("STS-B", 7)])
def test_quotes_in_glue_are_plain_characters(data_folder: Path, folder: str, column: int) -> None:
    lines = (data_folder / "glue" / folder / "train.tsv").read_text("utf-8-sig").rstrip("\n").split("\n")
    found = source({"SST-2": "sst2", "MRPC": "mrpc", "STS-B": "stsb"}[folder]).table("train")["text"]
    expected = [line.rstrip("\r").split("\t")[column].strip() for line in lines[1:]]
    assert found.tolist() == expected
    assert folder == "SST-2" or any('"' in text for text in expected)


def test_the_labels_of_glue_are_those_that_the_configs_name(data_folder: Path) -> None:
    for name in ("sst2", "mrpc"):
        found = source(name)
        assert set(found.table("train")["label"]) == set(found.table("test")["label"]) == {"0", "1"}
    same = source("mrpc").table("train")["label"].eq("1")
    assert same.mean() == pytest.approx(0.6745, abs=1e-4)  # published: 67.45 %
    scores = source("stsb").table("train")["label"].astype(float)
    assert (scores.min(), scores.max()) == (0, 5)


def test_imagenet10_has_equal_classes_and_readable_names(data_folder: Path) -> None:
    found, dataset = source("imagenet10"), spec("imagenet10")
    assert set(found.table("train")["label"].value_counts()) == {100}
    assert set(found.table("test")["label"].value_counts()) == {40}
    assert set(found.table("train")["label"]) == set(dataset.labels or {})
    assert target_of(dataset, found, set()).labels[0] == "tench"  # type: ignore[index]


def test_digits_are_scikit_learns_1797_pictures() -> None:
    found = source("digits")
    rows = found.table("train")
    assert (len(rows), set(found.splits), rows["label"].nunique()) == (1797, {"train"}, 10)
    pixels = np.array(Image.open(io.BytesIO(rows["image"][0])))
    assert (pixels.shape, pixels.min(), pixels.max()) == ((8, 8), 0, 239)  # 15 of 16


def test_tickets_are_enough_different_rows_of_eight_classes() -> None:
    found = source("tickets")
    rows = pd.concat([found.table("train"), found.table("test")])
    assert len(rows) >= 1200
    assert set(found.table("train")["label"]) == set(found.table("test")["label"]) == set(spec("tickets").labels or {})
    assert rows["label"].nunique() == 8
    assert rows["label"].value_counts().min() >= 100
    plain = rows["text"].map(lambda text: re.sub(r"\W+", " ", text.lower()).strip())
    assert plain.is_unique
    assert found.origin == "configs/datasets/tickets.csv"


def test_no_ticket_in_the_test_rows_is_nearly_one_in_the_training_rows() -> None:
    found = source("tickets")
    terms = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    train, test = terms.fit_transform(found.table("train")["text"]), terms.transform(found.table("test")["text"])
    assert (test @ train.T).max() <= 0.9


# Tables that are not as they should be.


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("text,label\na,b,c\nd,e,f\n", "its rows have more cells than its header."),
        ("text,label\na,b\nc,d,e\n", "Expected 2 fields in line 3, saw 3."),
        ("", "No columns to parse from file."),
        (b"text,label\ncaf\xe9,a\n", "can't decode byte 0xe9"),
    ],
)
def test_a_table_that_would_be_misread_is_refused(tmp_path: Path, content: str | bytes, told: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(GraftError, match="cannot be read as a table: ") as caught:
        read_table(file)
    assert told in str(caught.value)


def test_a_folder_in_a_tables_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="cannot be read as a table: Is a directory"):
        read_table(tmp_path)


def test_a_cell_that_is_missing_is_empty_and_never_the_word_nan() -> None:
    table = pd.DataFrame({"text": ["a", None, float("nan"), " NA "], "label": [1, 0, 1, 0]})
    assert next(Columns(text="text").pick(iter([table]), "here", "row"))["text"].tolist() == ["a", "", "", "NA"]


def test_a_csv_keeps_quoted_commas_and_lines_and_words_such_as_null(tmp_path: Path) -> None:
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], ["one, two", "NA"], ["two\nlines", "null"], ['a "word"', "x"]])
    found = Table(kind="table", path=str(tmp_path / "rows.csv")).read().table("train")
    assert found["text"].tolist() == ["one, two", "two\nlines", 'a "word"']
    assert found["label"].tolist() == ["NA", "null", "x"]


@pytest.mark.parametrize("name", ["no_such_package", "no_such.package", "csv", ""])
def test_a_package_that_is_not_installed_is_refused(name: str) -> None:
    with pytest.raises(GraftError, match=f"Python package '{name}' is not installed"):
        package_folder(name)


# The hub where the official folder is absent.


def parquet(word: str) -> bytes:
    out = io.BytesIO()
    rows = {"sentence1": [f"{word} {n}" for n in range(6)], "sentence2": ['say "no'] * 6, "label": [0, 1] * 3}
    pd.DataFrame(rows).to_parquet(out)
    return out.getvalue()


def child(plan: list[dict[str, str]]) -> list[dict[str, Any]]:
    """What reading MRPC gives or says, for each choice of a revision, a configuration and a split."""
    mrpc = yaml.safe_load((package_folder("configs") / "datasets" / "mrpc.yaml").read_text())
    answers: list[dict[str, Any]] = []
    for overrides in plan:
        dataset = Glue.model_validate(mrpc | {"hub": mrpc["hub"] | overrides, "counts": {}})
        try:
            found = dataset.read()
        except GraftError as error:
            answers.append({"error": str(error)})
        else:
            tables = [table.to_dict("list") for table in (found.table("train"), found.table("test"))]
            answers.append({"origin": found.origin, "train": tables[0], "test": tables[1]})
    return answers


def read_apart(work: Path, plan: list[dict[str, str]], **env: str) -> list[dict[str, Any]]:
    """The same in a process of its own, whose hub clients have seen nothing of this one's environment."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    kept |= {"HF_HOME": str(work / "cache"), "GRAFT_DATA": str(work / "none"), "HF_HUB_DISABLE_XET": "1"}
    kept |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, __file__, json.dumps(plan)]
    done = subprocess.run(command, env=kept | env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_glue_comes_from_the_hub_at_its_commit_and_offline_at_no_other(tmp_path: Path) -> None:
    def files(word: str) -> dict[str, bytes]:
        names = {split: f"mrpc/{split}-00000-of-00001.parquet" for split in ("train", "validation")}
        return {"README.md": CARD.encode()} | {name: parquet(f"{word} {split}") for split, name in names.items()}

    nowhere = "a" * 40
    with Hub(tmp_path / "served") as hub:
        old, new, uncached = (hub.add("dataset", "nyu-mll/glue", files(word)) for word in ("old", "new", "never"))
        plan = [{"revision": old}, {"revision": new}, {"revision": nowhere}]
        plan += [{"revision": new, "config": "cola"}, {"revision": new, "test": "dev"}]
        online = read_apart(tmp_path, [*plan, {"revision": new, "id": "acme/none"}], HF_ENDPOINT=hub.url)
    asked = [{"revision": commit} for commit in (uncached, old, new, nowhere)]
    asked += [{"revision": new, "config": "cola"}]
    offline = read_apart(tmp_path, asked, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")

    assert online[:2] == offline[1:3]
    for answer, word, commit in ((online[0], "old", old), (online[1], "new", new)):
        assert answer["origin"] == f"hub nyu-mll/glue@{commit}"
        assert answer["train"]["text"] == [f"{word} train {n}" for n in range(6)]
        assert answer["train"]["text_pair"] == ['say "no'] * 6
        assert answer["test"]["text"] == [f"{word} validation {n}" for n in range(6)]
        assert answer["test"]["label"] == ["0", "1"] * 3
        assert answer["test"]["row_id"][0] == "validation:1"
    told = "Hub repository 'nyu-mll/glue' "
    assert online[2]["error"].startswith(f"{told}has no revision {nowhere}. Copy the full commit id")
    assert online[3]["error"].startswith(f"{told}cannot be loaded (ValueError: BuilderConfig 'cola' not found.")
    assert online[4]["error"] == "Hub data set 'nyu-mll/glue' has no split 'dev'. It has: train, validation."
    assert online[5]["error"] == (
        "Hub repository 'acme/none' does not exist or is private. Check the id, or set HF_TOKEN."
    )
    for answer in (offline[0], offline[3]):  # never another revision's rows
        assert answer["error"].startswith(f"{told}is not in the local cache and HF_HUB_OFFLINE is set.")
    assert offline[4]["error"] == online[3]["error"]


if __name__ == "__main__":
    print(json.dumps(child(json.loads(sys.argv[1]))))
