"""Faults planted in a set of texts are all found, and a set without faults has none."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from made import Graft

from flows.check import looked, recipe_of
from tasks.findings import CHECKS, Checked, Finding
from tasks.frozen import GraftError
from tasks.near import normal
from tasks.recipe import Recipe

pytest_plugins = ["made"]

TOPICS = {
    "money": [
        "invoice",
        "refund",
        "price",
        "charge",
        "card",
        "bank",
        "account",
        "paid",
        "euro",
        "receipt",
        "discount",
        "tax",
    ],
    "travel": [
        "train",
        "ticket",
        "flight",
        "hotel",
        "seat",
        "airport",
        "station",
        "luggage",
        "boat",
        "journey",
        "map",
        "border",
    ],
    "food": [
        "soup",
        "bread",
        "kitchen",
        "cheese",
        "salad",
        "oven",
        "menu",
        "dinner",
        "taste",
        "onion",
        "pepper",
        "plate",
    ],
}
FILLERS = [
    "the",
    "a",
    "my",
    "our",
    "was",
    "and",
    "with",
    "about",
    "very",
    "again",
    "please",
    "never",
    "today",
    "after",
    "while",
    "some",
]


class Row(NamedTuple):
    text: str
    label: str
    split: str


def sentences(topic: str, count: int, seed: int) -> list[str]:
    """Different sentences of 9 to 14 words, four of them the topic's."""
    rng = np.random.default_rng([seed, len(topic)])
    made: dict[str, str] = {}
    while len(made) < count:
        words = [*rng.choice(TOPICS[topic], 4, replace=False), *rng.choice(FILLERS, rng.integers(5, 11))]
        text = " ".join(map(str, rng.permutation(words)))
        made.setdefault(normal(text), text)
    return list(made.values())


def clean(train: int = 120, test: int = 40) -> list[Row]:
    """Three classes of the same size."""
    rows = []
    for topic in TOPICS:
        made = sentences(topic, train + test, 0)
        rows += [Row(text, topic, "train") for text in made[:train]] + [
            Row(text, topic, "test") for text in made[train:]
        ]
    return rows


@pytest.fixture(autouse=True)
def place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    return tmp_path


def recipe(place: Path, rows: Sequence[Row], **options: Any) -> Recipe:
    """The rows in a file, for a Transformer from scratch."""
    with (place / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["text", "label", "split"])
        table.writerows(rows)
    backbone = {"library": "scratch_transformer", "max_length": options.pop("max_length", 64), "vocabulary": 500}
    method = {"kind": "scratch"}
    dataset = {"kind": "table", "path": "rows.csv", "split_column": "split"} | options
    return Recipe.model_validate({"name": "faulty", "dataset": dataset, "backbone": backbone, "method": method})


def ids(rows: Sequence[Row], wanted: Sequence[Row]) -> set[str]:
    """The row ids, `row:` and the line below the header, of the places where these very rows stand."""
    return {f"row:{line}" for line, row in enumerate(rows, 1) if row in wanted}


def found(place: Path, rows: Sequence[Row], check: str, **options: Any) -> Finding:
    return looked(recipe(place, rows, **options)).finding(check)


# A set without faults.


def test_a_clean_set_has_neither_errors_nor_warnings(place: Path) -> None:
    checked = looked(recipe(place, clean()))
    assert [finding.check for finding in checked.findings] == list(CHECKS)
    told = {finding.check: finding.severity for finding in checked.findings}
    assert {check for check, severity in told.items() if severity in {"error", "warning"}} == set()
    assert told["drift"] == told["unreadable"] == "skipped"
    assert told["label_noise"] in {"ok", "note"}
    assert not any(finding.texts for finding in checked.findings)


# One fault at a time: what is planted is what is counted, and the examples are of its rows.


def plant(rows: list[Row], check: str) -> tuple[list[Row], str, int, set[str]]:
    """The rows with a fault; its severity, how many rows have it, and which."""
    train, test = [row for row in rows if row.split == "train"], [row for row in rows if row.split == "test"]
    label = train[0].label
    if check == "exact_duplicates":
        rows = [*rows, *train[:8]]
        return rows, "warning", 8, ids(rows, train[:8])
    if check == "near_duplicates":
        longest = sorted(test, key=lambda row: -len(row.text))[:6]
        added = [row._replace(text=f"well {row.text}", split="train") for row in longest]
        return [*rows, *added], "warning", 6, ids(rows, longest)
    if check == "leakage":
        added = [row._replace(split="train") for row in test[:3]]
        added += [row._replace(text=f"{row.text.upper()} !!", split="train") for row in test[10:14]]
        return [*rows, *added], "error", 7, ids(rows, test[10:14])
    if check == "label_conflicts":
        added = [row._replace(text=f"{row.text}.", label="food") for row in train[:4]]
        rows = [*rows, *added]
        return rows, "warning", 8, ids(rows, [*train[:4], *added])
    if check == "label_noise":
        wrong = train[::20]
        turned = {
            row: row._replace(label={"money": "travel", "travel": "food", "food": "money"}[row.label]) for row in wrong
        }
        rows = [turned.get(row, row) for row in rows]
        return rows, "warning", len(wrong), ids(rows, list(turned.values()))
    if check == "balance":
        rows = [*rows, *(Row(f"quite another thing number {n * 7919} of all", "rare", "train") for n in range(5))]
        return rows, "warning", 1, {"rare"}
    if check == "empty":
        added = [
            Row("", label, "train"),
            Row("   ", label, "test"),
            Row("a text that nobody has put in a class", "", "train"),
        ]
        rows = [*rows, *added]
        return rows, "error", 3, ids(rows, added)
    if check == "encoding":
        texts = [
            "the cafÃ© was closed and we never came again",
            "we paid 20 â‚¬ for it and that is too much for me",
            "some letters of this message are l\ufffdst for ever",
            "a bell \x07 rang while I was writing to you",
        ]
        added = [Row(text, label, "train") for text in texts]
        rows = [*rows, *added]
        return rows, "warning", 4, ids(rows, added)
    if check == "long":
        added = [Row(" ".join(sentences("food", 90, 5)), "food", "train")]
        rows = [*rows, *added]
        return rows, "warning", 1, ids(rows, added)
    if check == "unseen_class":
        added = [Row(f"where do they keep number {n * 7919} of it", "new", "test") for n in range(4)]
        rows = [*rows, *added]
        return rows, "error", 4, ids(rows, added)
    raise AssertionError(check)


ONE_BY_ONE = [
    "exact_duplicates", "near_duplicates", "leakage", "label_conflicts", "balance", "empty", "encoding", "long",
    "unseen_class",
]  # fmt: skip


@pytest.mark.parametrize("check", ONE_BY_ONE)
def test_a_planted_fault_is_found_with_its_rows(place: Path, check: str) -> None:
    rows, severity, count, wanted = plant(clean(), check)
    finding = found(place, rows, check)
    assert (finding.severity, finding.count) == (severity, count)
    assert finding.examples
    assert set(finding.examples) <= wanted
    assert len(finding.examples) == min(5, len(wanted))
    assert finding.next_step.endswith(".")
    assert found(place, clean(), check).severity in {"ok", "note"}


def test_wrong_labels_are_suspected_and_few_right_ones(place: Path) -> None:
    rows, severity, count, wrong = plant(clean(), "label_noise")
    finding = found(place, rows, "label_noise")
    assert finding.severity == severity
    assert 0.6 * count <= finding.count <= count + 2
    assert set(finding.examples) <= wrong


def test_rows_that_are_cut_are_counted_by_the_recipes_tokenizer(place: Path) -> None:
    finding = found(place, clean(), "truncation", max_length=14)
    assert finding.severity == "warning"
    assert "14 tokens" in finding.about
    assert finding.count > 100
    assert found(place, clean(), "truncation").severity == "ok"


def everything() -> tuple[list[Row], set[str]]:
    rows, checks = clean(), [*ONE_BY_ONE, "label_noise"]
    for check in sorted(checks, key=lambda name: name != "label_noise"):
        rows = plant(rows, check)[0]
    return rows, set(checks)


def test_all_faults_at_once_are_all_found(place: Path) -> None:
    rows, planted = everything()
    own = recipe(place, rows, max_length=14)
    checked = looked(own)
    told = {finding.check for finding in checked.findings if finding.severity in {"error", "warning"}}
    assert told == planted | {"truncation"}
    assert {finding.check for finding in checked.errors} == {"leakage", "empty", "unseen_class"}
    clean_summary = looked(recipe(place, clean(), max_length=14)).summary
    assert json.loads(json.dumps(clean_summary)) == clean_summary


# Leaks.


def test_rows_left_out_of_train_are_counted_and_named(place: Path) -> None:
    rows = clean()
    leaked = [row._replace(split="train") for row in rows if row.split == "test"][:3]
    finding = found(place, [*rows, *leaked], "leakage")
    assert (finding.severity, finding.count) == ("error", 3)
    assert set(finding.examples) == ids([*rows, *leaked], leaked)
    assert "left out" in finding.next_step


def test_a_text_of_two_words_on_both_sides_is_only_a_warning(place: Path) -> None:
    rows = [*clean(), Row("thank you", "money", "train"), Row("Thank you!", "money", "test")]
    finding = found(place, rows, "leakage")
    assert (finding.severity, finding.count) == ("warning", 1)
    assert finding.examples == (f"row:{len(rows)}",)


def test_what_is_allowed_does_not_stop_but_is_still_told(place: Path) -> None:
    rows = plant(clean(), "leakage")[0]
    strict, lenient = looked(recipe(place, rows)), looked(recipe(place, rows, allow=["leakage"]))
    with pytest.raises(GraftError) as caught:
        strict.require()
    told = str(caught.value)
    assert "leakage" in told and "allow: [leakage]" in told and "row:" in told and "\n" not in told
    lenient.require()
    assert lenient.finding("leakage").allowed
    assert lenient.finding("leakage").count == strict.finding("leakage").count == 7
    assert lenient.errors == ()


def test_what_is_allowed_already_stays_in_the_line_to_write(place: Path) -> None:
    rows = plant(plant(clean(), "leakage")[0], "empty")[0]
    with pytest.raises(GraftError) as caught:
        looked(recipe(place, rows, allow=["leakage"])).require()
    assert "`allow: [leakage, empty]`" in str(caught.value)


# The rows' own text.


def secret(rows: Sequence[Row]) -> list[Row]:
    return [row._replace(text=f"{row.text} swordfish") for row in rows]


@pytest.mark.parametrize("shown", [False, True])
def test_texts_are_shown_only_where_the_data_set_says_so(place: Path, shown: bool) -> None:
    rows = secret(everything()[0])
    checked = looked(recipe(place, rows, show_examples=shown))
    assert ("swordfish" in checked.model_dump_json()) is shown
    assert bool(checked.finding("exact_duplicates").texts) is shown
    with pytest.raises(GraftError) as caught:
        checked.require()
    assert "swordfish" not in str(caught.value)


# What is kept.


def test_a_second_look_reads_what_the_first_one_kept(place: Path, home: Path) -> None:
    first = looked(recipe(place, clean()))
    (kept,) = (home / "checks").iterdir()
    kept.write_text(kept.read_text().replace("No training row repeats another.", "As it was kept."))
    assert looked(recipe(place, clean())).finding("exact_duplicates").about == "As it was kept."
    kept.write_text("{")
    assert looked(recipe(place, clean())) == first


@pytest.mark.parametrize("change", ["rows", "max_length", "show_examples"])
def test_other_rows_or_settings_are_looked_at_again(place: Path, home: Path, change: str) -> None:
    looked(recipe(place, clean()))
    rows = clean()[:-1] if change == "rows" else clean()
    options: dict[str, Any] = {} if change == "rows" else {change: {"max_length": 32, "show_examples": True}[change]}
    looked(recipe(place, rows, **options))
    assert len(list((home / "checks").iterdir())) == 2


def test_to_allow_a_check_needs_no_second_look(place: Path, home: Path) -> None:
    rows = plant(clean(), "leakage")[0]
    looked(recipe(place, rows))
    looked(recipe(place, rows, allow=["leakage"]))
    assert len(list((home / "checks").iterdir())) == 1


# Other targets.


def numbers(rows: Sequence[Row]) -> list[Row]:
    return [row._replace(label=str(len(row.text) / 10)) for row in rows]


def test_numbers_are_checked_and_what_does_not_fit_is_skipped(place: Path) -> None:
    rows = numbers(clean())
    far = rows[0]._replace(text=f"{rows[0].text}!", label="99")
    checked = looked(
        recipe(place, [*rows, far, Row("no number at all in the label", "many", "train")], target="number")
    )
    assert checked.finding("label_conflicts").count == 2
    assert checked.finding("empty").severity == "error"
    skipped = {finding.check for finding in checked.findings if finding.severity == "skipped"}
    assert skipped == {"unreadable", "label_noise", "balance", "unseen_class", "drift"}


def test_numbers_that_hardly_differ_are_no_conflict(place: Path) -> None:
    rows = numbers(clean())
    near_by = rows[0]._replace(text=f"{rows[0].text}!", label=str(float(rows[0].label) + 0.1))
    assert found(place, [*rows, near_by], "label_conflicts", target="number").severity == "ok"


def test_several_labels_a_row_are_checked(place: Path) -> None:
    rows = [row._replace(label=f"{row.label}|long" if len(row.text) > 65 else row.label) for row in clean()]
    rows += [Row("words of no class at all are here and there", "", "train")]
    rows += [Row(f"quite another thing number {n * 7919} of all", "rare|money", "train") for n in range(5)]
    checked = looked(
        recipe(place, [*rows, rows[0]._replace(text=f"{rows[0].text}?", label="food|money")], target="multilabel")
    )
    assert checked.finding("label_conflicts").count == 2
    assert checked.finding("balance").examples == ("rare",)
    assert checked.finding("unseen_class").severity == "note"
    assert checked.finding("label_noise").severity == "skipped"
    assert checked.errors == ()


# The command.


def written(place: Path, rows: Sequence[Row]) -> Path:
    recipe(place, rows)
    file = place / "mine.yaml"
    file.write_text("kind: table\npath: rows.csv\nsplit_column: split\n")
    return file


def test_the_command_ends_with_1_where_errors_are_found_and_gives_one_json_object(place: Path, graft: Graft) -> None:
    file = written(place, everything()[0])
    own = ("backbone=transformer", "method=scratch")
    told = graft("check", file, *own, "--json")
    assert told.code == 1
    checked = Checked.model_validate_json(told.out)
    assert {finding.check for finding in checked.errors} == {"leakage", "empty", "unseen_class"}
    assert all(check in told.err for check in CHECKS)
    allowed = graft("check", file, *own, "dataset.allow=[leakage, empty, unseen_class]")
    assert allowed.code == 0
    assert "error, allowed" in allowed.out


def test_the_command_ends_with_0_on_a_clean_set(place: Path, graft: Graft) -> None:
    told = graft("check", written(place, clean()), "backbone=transformer", "method=scratch")
    assert (told.code, "error" in told.out) == (0, False)


@pytest.mark.parametrize(("name", "part"), [("tickts", "Valid: beans"), ("no.yaml", "There is no file")])
def test_an_unknown_name_is_an_error_that_lists_what_there_is(graft: Graft, name: str, part: str) -> None:
    told = graft("check", name)
    assert told.code == 2
    assert part in told.err


def test_a_data_set_that_cannot_be_read_is_an_error_with_exit_code_2(place: Path, graft: Graft) -> None:
    file = written(place, clean())
    (place / "rows.csv").unlink()
    told = graft("check", file)
    assert (told.code, "rows.csv does not exist" in told.err) == (2, True)


def test_a_name_may_be_a_data_set_an_experiment_or_a_file_of_either(place: Path) -> None:
    assert recipe_of("tickets", []).dataset == recipe_of("tickets_scratch", []).dataset
    assert recipe_of("tickets_scratch", []).method.kind == "scratch"
    file = written(place, clean())
    experiment = place / "try.yaml"
    experiment.write_text("dataset: mine.yaml\nbackbone: transformer\nmethod: scratch\n")
    assert recipe_of(str(file), []).dataset == recipe_of(str(experiment), []).dataset
    assert recipe_of(str(file), ["dataset.limit=50"]).dataset.limit == 50
