"""`graft explain` on real models: true on real rows, the same as what was recorded, and no text leaves the machine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made import IMAGE, Graft, Made, make
from PIL import Image
from scipy import stats

from tasks import registry, saved, tracking
from tasks.backbones.network import logits_of
from tasks.explain.pictures import explain_picture
from tasks.explain.words import explain_text
from tasks.prepare import rows_of
from tasks.saved import Model

pytest_plugins = ["made"]

Values = Callable[[Model, Any, str], Any]


@pytest.fixture(scope="module")
def another(shared_home: Path, digits: Made) -> Made:
    """One more version of the digits, from another seed; version 1 stays the champion."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(shared_home))
        return make(shared_home / "digits-2", "digits_scratch", *IMAGE, "seed=1", "crown=false")


def opened(made: Made) -> Model:
    return saved.load(registry.folder_of(made.result.registered))


def shuffled(made: Made) -> Model:
    """The same network with every weight drawn anew, of the same mean and deviation."""
    model = opened(made)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.network.module.parameters():
            spread = weight.std() if weight.numel() > 1 else 0.0
            weight.copy_(weight.mean() + spread * torch.randn(weight.shape, generator=draw))
    return model


def _words(model: Model, text: str, label: str) -> Any:
    return [word.value for word in explain_text(model, {"text": text}, label).words]


def _pixels(model: Model, content: bytes, label: str) -> Any:
    return explain_picture(model, content, label).places.ravel()


@pytest.mark.parametrize("name", ["tickets", "adapted"])
def test_on_real_texts_the_words_add_up(at_home: Path, name: str, request: pytest.FixtureRequest) -> None:
    made: Made = request.getfixturevalue(name)
    model, rows = opened(made), rows_of(made.data, "test")
    for text in rows["text"][:8]:
        told = explain_text(model, {"text": text})
        logits = logits_of(model.network, {"text": [text]})[0]
        change = float(logits.max()) - told.sums.baseline
        total = sum(word.value or 0 for word in told.words)
        assert told.output.place == int(logits.argmax())
        assert abs(total - change) <= max(0.01, 0.01 * max(abs(total), abs(change))) + 1e-4
        assert "".join(word.before + word.text for word in told.words) == text.rstrip()


def test_on_real_pictures_the_pixels_add_up(at_home: Path, digits: Made) -> None:
    model = opened(digits)
    for content in rows_of(digits.data, "test")["image"][:8]:
        found = explain_picture(model, content)
        change = float(logits_of(model.network, {"image": [content]}).max()) - (
            found.sums.baseline if found.sums else 0
        )
        assert abs(found.places.sum() - change) <= max(0.01, 0.01 * abs(change)) + 1e-4


@pytest.mark.parametrize(
    ("name", "column", "values"),
    [("tickets", "text", _words), ("adapted", "text", _words), ("digits", "image", _pixels)],
)
def test_with_random_weights_the_explanation_is_another_one(
    at_home: Path, name: str, column: str, values: Values, request: pytest.FixtureRequest
) -> None:
    """Adebayo et al., Sanity Checks for Saliency Maps (2018): what does not change, does not explain the model."""
    made: Made = request.getfixturevalue(name)
    trained, random = opened(made), shuffled(made)
    label = (made.data.target.labels or ())[0]
    cells = [cell for cell in rows_of(made.data, "test")[column] if not isinstance(cell, str) or cell.count(" ") > 6]
    likeness = [
        stats.spearmanr(values(trained, cell, label), values(random, cell, label)).statistic for cell in cells[:6]
    ]
    assert len(likeness) == 6
    assert abs(float(np.mean(likeness))) < 0.5, likeness


def test_a_text_is_coloured_on_the_terminal_and_on_a_page(graft: Graft, at_home: Path, tickets: Made) -> None:
    text = "my parcel never came and I want my money back"
    shown = graft("explain", "tickets", "--text", text)
    told = graft("explain", "tickets", "--text", text, "--label", "refund", "--json")
    found = json.loads(told.out)
    page = at_home / "reports" / f"explain-tickets-{found['version']}" / "text.html"

    assert (shown.code, told.code) == (0, 0)
    assert text in shown.out
    assert "The values add up to the change of the logit" in shown.out
    assert found["label"] == "refund"
    assert found["completeness_error"] <= 0.01 * max(1, abs(found["logit"] - found["baseline"]))
    assert [word["word"] for word in found["words"]] == text.split()
    assert found["files"] == [str(page)]
    assert ">parcel</span>" in page.read_text()


def test_a_picture_is_drawn_beside_its_places(graft: Graft, at_home: Path, digits: Made, tmp_path: Path) -> None:
    (tmp_path / "digit.png").write_bytes(rows_of(digits.data, "test")["image"][0])
    told = graft(
        "explain", "digits", "--version", 1, "--image", tmp_path / "digit.png", "--out", tmp_path / "o", "--json"
    )
    found = json.loads(told.out)

    assert told.code == 0
    assert found["label"] == digits.predictions["prediction"][0]
    assert found["method"] == "integrated gradients", "its last maps are 2 x 2"
    with Image.open(tmp_path / "o" / "picture.png") as drawn:
        assert min(drawn.size) > 300


def test_the_worst_errors_are_those_of_the_recorded_predictions(
    graft: Graft, at_home: Path, tickets: Made, tmp_path: Path
) -> None:
    before = artifacts(tickets)
    told = graft("explain", "tickets", "--worst", 7, "--out", tmp_path, "--json")
    found, rows = json.loads(told.out), rows_of(tickets.data, "test")
    recorded = tickets.predictions
    wrong = recorded[recorded["label"] != recorded["prediction"]]
    sure = torch.tensor(np.stack(wrong["logits"].tolist())).softmax(1).max(1).values
    order = wrong.iloc[np.argsort(-sure.numpy(), kind="stable")[:7]]

    assert (found["rows"], found["errors"], found["against"]) == (len(recorded), len(wrong), None)
    assert [one["row_id"] for one in found["worst"]] == order["row_id"].tolist()
    assert [one["text"] for one in found["worst"]] == [rows["text"][place] for place in order.index]
    pairs = wrong.groupby(["label", "prediction"]).size()
    assert found["confused"][0]["rows"] == pairs.max()
    written = pd.read_csv(tmp_path / "worst.csv")
    assert written["text"].tolist() == [one["text"] for one in found["worst"]]
    assert "<table>" in (tmp_path / "errors.html").read_text()
    assert artifacts(tickets) == before, "texts stay out of MLflow"


def artifacts(made: Made) -> list[str]:
    return [file.path for file in tracking.client().list_artifacts(made.result.registered.run_id)]


def test_a_version_that_is_not_the_champion_is_held_against_it(
    graft: Graft, at_home: Path, digits: Made, another: Made, tmp_path: Path
) -> None:
    version = another.result.registered.version
    told = graft("explain", "digits", "--version", version, "--worst", 5, "--out", tmp_path, "--json")
    found = json.loads(told.out)
    this, other = another.predictions, digits.predictions
    apart = this["prediction"] != other["prediction"]

    assert found["against"] == 1
    assert sum(found["right"].values()) == apart.sum()
    assert found["right"]["this"] == (apart & (this["prediction"] == this["label"])).sum()
    assert found["right"]["other"] == (apart & (other["prediction"] == other["label"])).sum()
    assert len(found["parted"]) == 5
    assert (tmp_path / "errors.html").read_text().count("data:image/png;base64,") == 10
    shown = graft("explain", "digits", "--version", 1, "--against", version, "--worst", 5, "--out", tmp_path)
    assert f"It parts from version {version} on {apart.sum()} rows" in " ".join(shown.out.split())


def test_the_listed_rows_are_those_that_the_model_got_wrong(
    graft: Graft, at_home: Path, digits: Made, tmp_path: Path
) -> None:
    told = graft("explain", "digits", "--version", 1, "--worst", 3, "--out", tmp_path, "--json")
    rows, model = rows_of(digits.data, "test"), opened(digits)
    for one in json.loads(told.out)["worst"]:
        content = rows["image"][list(rows["row_id"]).index(one["row_id"])]
        answer = int(logits_of(model.network, {"image": [content]}).argmax())
        assert one["prediction"] == (digits.data.target.labels or ())[answer] != one["label"]


def test_test_rows_that_are_not_those_of_the_version_are_refused(graft: Graft, at_home: Path, another: Made) -> None:
    run_id, version = another.result.registered.run_id, another.result.registered.version
    card = tracking.kept(run_id, "scorecard.json")
    assert card is not None
    tracking.keep(run_id, "scorecard.json", card | {"test_hash": "of other rows"})
    told = graft("explain", "digits", "--version", version, "--worst", 5)
    tracking.keep(run_id, "scorecard.json", card)

    assert told.code == 2
    assert f"The test rows are not those that version {version} of 'digits' was scored on" in " ".join(told.err.split())
    assert told.out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tickets"], "Give exactly one of --text, --image and --worst"),
        (["tickets", "--text", "a", "--worst", "3"], "Give exactly one of"),
        (["tickets", "--worst", "3", "--label", "refund"], "--label goes with --text or --image alone"),
        (["tickets", "--worst", "3", "--pair", "b"], "--pair goes with --text alone"),
        (["tickets", "--text", "a", "--against", "1"], "--against goes with --worst alone"),
        (["tickets", "--text", " "], "--text is empty"),
        (["tickets", "--text", "a", "--pair", "b"], "'tickets' takes --text, but --text and --pair is given"),
        (["digits", "--text", "a"], "'digits' takes --image, but --text is given"),
        (["tickets", "--text", "a", "--label", "moon"], "'moon' is no label of this model. Valid: account,"),
        (["tickets", "--text", "a", "--version", "99"], "tickets/99 is no registered version"),
        (["tickets", "--image", "none.png"], "none.png cannot be read as a picture"),
        (["nobody", "--text", "a"], "'nobody' has no champion in"),
        (["digits", "--worst", "3", "--version", "1", "--against", "1"], "is the version itself"),
        (["tickets", "--text", "a", "--out", "pyproject.toml"], "pyproject.toml cannot be written"),
    ],
)
def test_what_cannot_be_explained_is_one_line_with_exit_code_2(
    graft: Graft, at_home: Path, tickets: Made, digits: Made, words: list[str], message: str
) -> None:
    told = graft("explain", *words)
    assert (told.code, told.out) == (2, "")
    assert message in " ".join(told.err.split())


def test_the_help_teaches_what_can_be_explained(graft: Graft) -> None:
    told = graft("explain", "--help")
    for word in ("--text", "--image", "--worst", "--against", "--label", "--out", "--json"):
        assert word in told.out
