"""Rows made ready: the same content gives the same splits, no input lies on two sides, no bad row passes."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tasks.datasets.images import Digits, ImageFolder
from tasks.datasets.spec import DatasetSpec
from tasks.datasets.table import Table
from tasks.frozen import GraftError
from tasks.prepare import inputs_of, prepare, rows_of
from tasks.results import Prepared

SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def data(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    return tmp_path


def table(rows: int = 200, classes: str = "abc", seed: int = 0) -> pd.DataFrame:
    """Different texts, their classes rare to frequent."""
    weights = np.arange(1, len(classes) + 1) / np.arange(1, len(classes) + 1).sum()
    labels = np.random.default_rng(seed).choice(list(classes), size=rows, p=weights)
    return pd.DataFrame({"text": [f"row {n} says {n * n}" for n in range(rows)], "label": labels})


def csv(data: Path, rows: pd.DataFrame, name: str = "rows.csv", **options: Any) -> DatasetSpec:
    rows.to_csv(data / name, index=False)
    return Table(kind="table", path=name, **options)


def content(prepared: Prepared, split: str) -> list[tuple[Any, ...]]:
    rows = rows_of(prepared, split).table().drop(columns="row_id")
    return [tuple(row) for row in rows.itertuples(index=False)]


def texts(prepared: Prepared, split: str) -> set[str]:
    return set(rows_of(prepared, split)["text"])


def refusal(dataset: DatasetSpec) -> str:
    with pytest.raises(GraftError) as caught:
        prepare("mine", dataset, 0)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert "0x" not in message
    return message


# The same rows, whatever their order.


@pytest.mark.parametrize("limit", [None, 60])
def test_the_sources_order_does_not_matter(data: Path, limit: int | None) -> None:
    rows = table()
    rows = pd.concat([rows, rows[:20], rows[:10].assign(label="a")])  # with duplicates
    orders = [rows, rows.sort_values("label"), rows[::-1], rows.sample(frac=1, random_state=3)]
    found = [prepare(f"n{n}", csv(data, order, limit=limit), 1) for n, order in enumerate(orders)]
    for other in found[1:]:
        assert (other.hashes, other.rows, other.target) == (found[0].hashes, found[0].rows, found[0].target)
        assert all(content(other, split) == content(found[0], split) for split in SPLITS)


def test_row_ids_lead_back_to_the_sources_lines(data: Path) -> None:
    rows = table()
    prepared = prepare("mine", csv(data, rows), 0)
    for split in SPLITS:
        for row in rows_of(prepared, split).table().itertuples():
            assert rows["text"][int(str(row.row_id).removeprefix("row:")) - 1] == row.text


def test_every_row_is_in_exactly_one_split_in_the_given_shares(data: Path) -> None:
    prepared = prepare("mine", csv(data, table(), test=0.25, validation=0.2), 0)
    assert prepared.rows == {"train": 120, "validation": 30, "test": 50}
    assert sum(len(texts(prepared, split)) for split in SPLITS) == 200
    assert prepare("mine", csv(data, table(), validation=17), 0).rows["validation"] == 17


def test_another_label_or_text_gives_other_hashes_and_another_folder(data: Path) -> None:
    rows = table()
    first = rows.index[rows["label"] == "b"][0]
    found = [prepare("mine", csv(data, rows), 0)]
    for column, value in (("label", "c"), ("text", "changed")):
        rows.loc[first, column] = value
        found.append(prepare("mine", csv(data, rows), 0))
    assert len({prepared.folder for prepared in found}) == 3
    assert all(prepared.file("train").is_file() for prepared in found)


# Which rows go where.


@pytest.mark.parametrize("option", ["limit", "validation"])
def test_a_share_holds_every_class_within_one_row(data: Path, option: str) -> None:
    rows = table(1000, "abcdef").assign(split="train")
    rows.loc[:99, "split"] = "test"
    options: dict[str, Any] = {"split_column": "split", option: 150}
    prepared = prepare("mine", csv(data, rows, **options), 0)
    kept = pd.concat([rows_of(prepared, split).table() for split in (SPLITS[:2] if option == "limit" else SPLITS[1:2])])
    shares = rows["label"][100:].value_counts(normalize=True)
    assert len(kept) == 150
    for index, label in enumerate("abcdef"):
        assert abs((kept["label"] == index).sum() - shares[label] * 150) < 1


def test_a_limit_is_drawn_by_the_seed(data: Path) -> None:
    def drawn(seed: int) -> set[str]:
        prepared = prepare("mine", csv(data, table(), limit=60), seed)
        return texts(prepared, "train") | texts(prepared, "validation")

    assert len(drawn(0)) == 60
    assert drawn(0) == drawn(0) != drawn(1)


def test_the_test_rows_depend_neither_on_the_seed_nor_on_the_limit(data: Path) -> None:
    found = [prepare("mine", csv(data, table(), limit=limit), seed) for seed in (0, 7) for limit in (None, 80)]
    assert len({prepared.hashes["test"] for prepared in found}) == 1
    assert len({prepared.hashes["validation"] for prepared in found}) == 4


def test_the_classes_keep_the_order_of_the_file_even_when_the_rows_arrive_sorted(data: Path) -> None:
    dataset = csv(data, table().sort_values("label"), labels={"c": "third", "a": "first", "b": "second"})
    prepared = prepare("mine", dataset, 0)
    assert (prepared.target.labels, prepared.target.raw) == (("third", "first", "second"), ("c", "a", "b"))
    truth = dict(table().itertuples(index=False))
    assert all("cab"[row.label] == truth[row.text] for row in rows_of(prepared, "train").table().itertuples())


def test_without_a_list_the_classes_are_sorted(data: Path) -> None:
    assert prepare("mine", csv(data, table()[::-1]), 0).target.labels == ("a", "b", "c")


@pytest.mark.parametrize("given", [False, True])
def test_no_input_lies_on_two_sides_even_where_the_source_repeats_it(data: Path, given: bool) -> None:
    rows = table()
    rows = pd.concat([rows, rows[:60], rows[:60], rows[40:90].assign(label="a")])
    rows["split"] = ["test" if n % 3 == 0 else "train" for n in range(len(rows))]
    dataset = csv(data, rows, split_column="split" if given else None)
    for seed in range(5):
        prepared = prepare("mine", dataset, seed)
        train, validation, test = (texts(prepared, split) for split in SPLITS)
        assert not train & validation | train & test | validation & test
        assert len(train | validation | test) == 200
        if given:
            assert prepared.rows["test"] == (rows["split"] == "test").sum()  # as the source has them


def test_pairs_are_told_apart_by_both_texts(data: Path) -> None:
    rows = table(100).assign(other=[f"second {n}" for n in range(100)], text="always the same")
    dataset = csv(data, rows, columns={"text": "text", "text_pair": "other"})
    prepared = prepare("mine", dataset, 0)
    assert prepared.rows["test"] == 25
    assert len({second for split in SPLITS for second in rows_of(prepared, split)["text_pair"]}) == 100
    assert list(inputs_of(rows_of(prepared, "test"))) == ["text", "text_pair"]


def test_numbers_are_spread_evenly_over_their_range(data: Path) -> None:
    rows = table(400).assign(label=np.random.default_rng(1).exponential(size=400))
    prepared = prepare("mine", csv(data, rows, target="number", validation=0.25), 0)
    assert (prepared.target.labels, prepared.target.outputs) == (None, 1)
    tenths = np.quantile(rows["label"], np.linspace(0, 1, 11)[1:-1])
    for split in ("validation", "test"):
        counts = np.bincount(np.digitize(rows_of(prepared, split).labels, tenths), minlength=10)
        assert abs(counts - prepared.rows[split] / 10).max() <= 2.5, split


def test_digits_are_prepared_as_pictures(home: Path) -> None:
    prepared = prepare("digits", Digits(kind="digits"), 0)
    assert (sum(prepared.rows.values()), prepared.accepts, prepared.target.outputs) == (1797, "image", 10)
    assert Image.open(io.BytesIO(inputs_of(rows_of(prepared, "test"))["image"][0])).size == (8, 8)
    assert prepared.folder.parent == home / "prepared"


# What is refused.


@pytest.mark.parametrize(
    ("column", "value", "options", "told"),
    [
        ("label", "", {}, "Row row:8 has no label. Label it or leave the row out."),
        ("label", "  ", {}, "Row row:8 has no label."),
        (
            "label",
            "z",
            {"labels": ["a", "b", "c"]},
            "Row row:8: label 'z' is outside the classes. Valid: a, b, c.",
        ),
        ("text", " \t", {}, "Row row:8: text is empty. Fill it or leave the row out."),
        (
            "label",
            "z",
            {},
            "Class 'z' has no training row left. Give more rows of it, or raise dataset.limit.",
        ),
        ("label", "nan", {"target": "number"}, "Row row:8: label 'nan' is no number, and target is number."),
        ("label", "inf", {"target": "number"}, "Row row:8: label 'inf' is no number, and target is number."),
        ("split", "dev", {"split_column": "split"}, "column 'split' holds 'dev'. Valid: train, test."),
    ],
)
def test_a_bad_row_is_refused_by_its_id(data: Path, column: str, value: str, options: Any, told: str) -> None:
    rows = table(classes="12" if "target" in options else "abc").assign(split="train")
    rows.loc[100:, "split"] = "test"
    rows.loc[7, column] = value
    if value == "z" and not options:
        options = {"split_column": "split", "limit": 20, "validation": 2}
    assert told in refusal(csv(data, rows, **options))


def test_too_few_rows_or_classes_are_refused_with_what_to_do(data: Path) -> None:
    assert "one class only (a). At least two are needed." in refusal(csv(data, table(classes="a")))
    assert refusal(csv(data, table(200), validation=500)).startswith("500 rows cannot be carved for validation: there")
    assert "dataset.limit counts the validation rows too" in refusal(csv(data, table(200), validation=50, limit=20))
    assert "No row is left for " in refusal(csv(data, table(3, "ab", 1).assign(label=["a", "b", "a"])))
    assert refusal(csv(data, table(0))) == "rows.csv holds no training row."
    assert "Metric 'f1' is for two classes; here are 3." in refusal(csv(data, table(), metrics=["f1"]))


def test_a_missing_file_or_column_is_refused_with_what_there_is(data: Path) -> None:
    dataset = csv(data, table().rename(columns={"label": "intent"}))
    assert "has no column 'label'. It has: text, intent. Set `columns:` in" in refusal(dataset)
    (data / "rows.csv").unlink()
    assert refusal(dataset) == f"{data}/rows.csv does not exist. Relative data paths start at GRAFT_DATA."


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_corrupt_image_is_refused_by_its_path(data: Path, damage: str) -> None:
    for name in ("a/1", "a/2", "b/1", "b/2"):
        file = data / "train" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((32, 32), 50).save(file)
    whole = (data / "train/b/1.png").read_bytes()
    (data / "train/b/1.png").write_bytes({"empty": b"", "text": b"no image", "cut": whole[:-400]}[damage])
    told = refusal(ImageFolder(kind="image_folder", path="."))
    reasons = {"empty": "is an empty file", "text": "has no known format", "cut": "cannot be read ("}
    assert told.startswith(f"Row train/b/1.png: the picture {reasons[damage]}")


def test_a_home_that_cannot_be_written_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "file").write_text("")
    for place in (data / "file", data / "file" / "home"):
        monkeypatch.setenv("GRAFT_HOME", str(place))
        told = refusal(csv(data, table()))
        assert told.startswith(f"GRAFT_HOME={place} cannot be written (")


# What belongs together.


def test_rows_of_one_group_never_lie_on_both_sides(data: Path) -> None:
    rows = table(300).assign(patient=[f"p{n % 60}" for n in range(300)])
    columns = {"text": "text", "group": "patient"}
    for seed in range(3):
        prepared = prepare("mine", csv(data, rows, columns=columns, validation=0.2), seed)
        whose = dict(zip(rows["text"], rows["patient"], strict=True))
        groups = [{whose[text] for text in texts(prepared, split)} for split in SPLITS]
        assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
        assert sum(prepared.rows.values()) == 300
        assert abs(prepared.rows["test"] - 75) <= 5


def test_nearly_the_same_texts_never_lie_on_both_sides(data: Path) -> None:
    rng = np.random.default_rng(0)
    words = [f"word{n}" for n in range(400)]
    first = [" ".join(rng.choice(words, 12)) for _ in range(150)]
    again = [text.upper().replace(" ", ", ", 3) + "!" for text in first[:60]]
    rows = pd.DataFrame({"text": first + again, "label": ["a", "b"] * 105})
    prepared = prepare("mine", csv(data, rows, validation=0.2), 0)
    for one, two in zip(first, again, strict=False):
        assert len({split for split in SPLITS if {one, two} & texts(prepared, split)}) == 1


def test_nearly_the_same_pictures_never_lie_on_both_sides(data: Path) -> None:
    rng = np.random.default_rng(0)
    for n in range(40):
        blocks = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        image = blocks.resize((90, 90), Image.Resampling.BICUBIC)
        folder = data / "train" / "ab"[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{n}.png")
        image.save(folder / f"{n}-again.jpg", quality=70)
    prepared = prepare("mine", ImageFolder(kind="image_folder", path=".", validation=0.2), 0)
    places = {row: split for split in SPLITS for row in rows_of(prepared, split)["row_id"]}
    assert len(places) == 80
    for row, place in places.items():
        if row.endswith(".png"):
            assert place == places[row.replace(".png", "-again.jpg")]
    assert set(places.values()) == set(SPLITS)


def test_what_source_train_shares_with_its_test_is_left_out_and_counted(data: Path) -> None:
    rows = table(100).assign(split="train")
    held = rows[:7].assign(split="test", label="c")
    prepared = prepare("mine", csv(data, pd.concat([rows, held]), split_column="split"), 0)
    assert (prepared.left_out, prepared.rows["test"]) == (7, 7)
    assert prepared.rows["train"] + prepared.rows["validation"] == 93


def test_a_source_read_in_many_parts_gives_the_same_as_at_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.concat([table(200), table(20)])
    whole = prepare("mine", csv(data, rows), 0)
    monkeypatch.setattr("tasks.datasets.tables.CHUNK", 13)
    parts = prepare("other", csv(data, rows), 0)
    assert parts.folder != whole.folder
    assert (parts.hashes, parts.rows) == (whole.hashes, whole.rows)
    assert all(content(parts, split) == content(whole, split) for split in SPLITS)


def test_several_labels_a_row_become_marks_in_the_order_of_the_classes(data: Path) -> None:
    names = [["red"], ["big", "red"], [], ["old"], ["big"]]
    rows = pd.DataFrame(
        {"text": [f"row {n} has {n * n}" for n in range(200)], "label": ["|".join(names[n % 5]) for n in range(200)]}
    )
    prepared = prepare("mine", csv(data, rows, target="multilabel", labels=["red", "old", "big"]), 0)
    assert (prepared.target.kind, prepared.target.labels) == ("multilabel", ("red", "old", "big"))
    truth = dict(zip(rows["text"], rows["label"], strict=True))
    for split in SPLITS:
        found = rows_of(prepared, split)
        assert found.labels.shape == (prepared.rows[split], 3)
        for text, marks in zip(found["text"], found.labels, strict=True):
            own = {label for label, mark in zip(("red", "old", "big"), marks, strict=True) if mark}
            assert own == set(truth[text].split("|")) - {""}
    told = refusal(csv(data, rows, target="multilabel", labels=["red", "old"]))
    assert told == "Row row:2: label 'big' is outside the classes. Valid: red, old."


def test_a_label_column_of_endless_values_is_refused_before_memory_is_gone(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.intake.MOST_CLASSES", 50)
    told = refusal(csv(data, table().assign(label=range(200))))
    assert told.startswith("The labels have more than 50 different values. Is it the right column?")
