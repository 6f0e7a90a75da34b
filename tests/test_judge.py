"""Candidate and champion before the gate: asked now, on the same rows, sliced, corrupted and timed alike."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import IMAGE, TEXT, Made

from tasks.compose import load
from tasks.datasets.spec import LABEL
from tasks.evaluate import evaluate
from tasks.frozen import GraftError
from tasks.gates import Gate
from tasks.judge import evidence, judge
from tasks.prepare import prepare, rows_of
from tasks.registry import folder_of
from tasks.results import Scorecard
from tasks.slices import slices

pytest_plugins = ["made"]


def scored(made: Made) -> tuple[Scorecard, Path]:
    """The card with the folder that has its predictions, and the saved model."""
    return made.result.card.model_copy(update={"folder": made.results}), folder_of(made.result.registered)


def test_the_champion_is_scored_anew_on_the_candidates_rows(at_home: Path, digits: Made, tmp_path: Path) -> None:
    recipe = load("digits_scratch", [*IMAGE, "dataset.test=0.1"])
    data = prepare(recipe.model, recipe.dataset, recipe.seed)
    folder = folder_of(digits.result.registered)
    card = evaluate(folder, data, recipe.dataset, tmp_path / "card")
    verdict = judge(recipe, data, card, folder, tmp_path)

    assert card.rows != digits.result.card.rows
    assert (verdict.decision, verdict.against) == ("HOLD", 1), "the candidate is the champion itself"
    assert f"the champion has {card.score.value:.4f} on the same {card.rows} test rows" in verdict.reasons[0]
    assert "0 rows it alone has right, 0 the champion alone" in verdict.reasons[0]


def test_a_champion_with_other_classes_holds_the_candidate_with_the_reason(
    at_home: Path, digits: Made, tmp_path: Path
) -> None:
    names = [f"dataset.labels.{digit}={word}" for digit, word in enumerate("abcdefghij")]
    recipe = load("digits_scratch", [*IMAGE, "dataset.labels={}", *names])
    data = prepare(recipe.model, recipe.dataset, recipe.seed)
    verdict = judge(recipe, data, *scored(digits), tmp_path)

    assert verdict.decision == "HOLD"
    assert "The champion cannot be scored on these rows" in verdict.reasons[0]
    assert "'0'" in verdict.reasons[0]
    assert "'a'" in verdict.reasons[0]


def test_all_that_a_strict_gate_asks_for_is_shown_for_texts(at_home: Path, tickets: Made, tmp_path: Path) -> None:
    recipe = load("tickets_scratch", [*TEXT, "gate=strict_text", "gate.milliseconds=5000"])
    card, folder = scored(tickets)
    shown = evidence(recipe.gate, folder, tickets.data, recipe.dataset, card)

    assert np.mean(shown.truth == shown.predicted) == card.score.value
    assert list(shown.slices) == ["class", "length"]
    assert sum(mask.sum() for mask in shown.slices["class"].values()) == card.rows
    assert sum(mask.sum() for mask in shown.slices["length"].values()) == card.rows
    assert shown.asked is not None
    assert len(shown.corrupted["typos"]) == len(shown.asked) == card.rows
    assert (shown.corrupted["typos"] != shown.predicted[shown.asked]).any()
    assert 0 < shown.milliseconds < 5000
    assert shown.megabytes == pytest.approx(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6)
    verdict = judge(recipe, tickets.data, card, folder, tmp_path)
    assert {reason.about for reason in verdict.judged} >= {
        "accuracy", "typos", "calibration error", "milliseconds a row", "megabytes", "class refund",
    }  # fmt: skip


def test_pictures_are_judged_blurred_noisy_and_compressed(at_home: Path, digits: Made) -> None:
    recipe = load("digits_scratch", [*IMAGE, "gate=strict_images"])
    card, folder = scored(digits)
    shown = evidence(recipe.gate, folder, digits.data, recipe.dataset, card)
    assert list(shown.corrupted) == ["blur", "noise", "jpeg"]
    assert all(len(answers) == card.rows for answers in shown.corrupted.values())


def test_slices_by_length_are_thirds_that_name_their_bounds(at_home: Path, tickets: Made) -> None:
    rows = rows_of(tickets.data, "test")
    found = slices("length", rows, tickets.data.target)
    lengths = np.array([len(text) for text in rows["text"]])
    assert [name.split()[0] for name in found][::2] == ["up", "above"]
    assert all(0.2 < mask.mean() < 0.45 for mask in found.values())
    low = int(next(iter(found)).split()[-1])
    assert ((lengths <= low) == next(iter(found.values()))).all()


def test_a_column_of_the_table_slices_the_test_rows_and_changes_neither_rows_nor_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    table = pd.DataFrame({"text": [f"row {n} of {n % 2}" for n in range(80)], LABEL: [str(n % 2) for n in range(80)]})
    table["region"] = [("north", "south", "")[n % 3] for n in range(80)]
    table.to_csv(tmp_path / "rows.csv", index=False)
    given = "dataset: {kind: table, path: rows.csv%s}\nbackbone: transformer\nmethod: scratch\n"
    gate = "gate: {slices: [{by: region, rows: 2}]}\n"
    (tmp_path / "plain.yaml").write_text(given % "")
    (tmp_path / "sliced.yaml").write_text(given % ", slices: [region]" + gate)
    plain, sliced = (load(str(tmp_path / f"{name}.yaml"), ["model=same"]) for name in ("plain", "sliced"))
    before = prepare("same", plain.dataset, 0)
    data = prepare("same", sliced.dataset, 0)

    assert (data.hashes, sliced.fingerprint) == (before.hashes, plain.fingerprint)
    assert data.folder != before.folder, "what was prepared without the column is not taken for it"
    rows = rows_of(data, "test")
    found = slices("region", rows, data.target)
    assert list(found) == ["(empty)", "north", "south"]
    wanted = dict(zip(table["text"], table["region"], strict=True))
    for name, mask in found.items():
        texts = [text for text, inside in zip(rows["text"], mask, strict=True) if inside]
        assert texts
        assert {wanted[text] or "(empty)" for text in texts} == {name}
    (tmp_path / "none.yaml").write_text(given % "" + gate)
    with pytest.raises(GraftError, match=r"slices by 'region', which this data set lacks. Valid: class, length"):
        load(str(tmp_path / "none.yaml"))
    (tmp_path / "taken.yaml").write_text(given % ", slices: [text]")
    with pytest.raises(GraftError, match="'text', which columns names already"):
        load(str(tmp_path / "taken.yaml"))


def test_a_gate_without_wishes_costs_no_second_look_at_the_model(at_home: Path, tickets: Made, tmp_path: Path) -> None:
    recipe = load("tickets_scratch", TEXT)
    card, folder = scored(tickets)
    shutil.copy(folder / "target.json", tmp_path)  # no weights
    shown = evidence(Gate(), tmp_path, tickets.data, recipe.dataset, card)
    assert (shown.slices, shown.corrupted, shown.milliseconds) == ({}, {}, 0.0)
