"""A model that is tuned and may abstain, from training to every place where its answers are read."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import Graft, Made, make
from sklearn import metrics as sk

from tasks import registry, tracking
from tasks.prepare import rows_of
from tasks.saved import target_of

pytest_plugins = ["made"]

LEAST = 0.6
SIZE = ("dataset.limit=400", "schedule.epochs=4")


@pytest.fixture(scope="module")
def wary(shared_home: Path) -> Made:
    decided = ("decision.thresholds=auto", f"decision.abstain_below={LEAST}", "dataset.metrics=[macro_f1, accuracy]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(shared_home))
        return make(shared_home / "wary", "digits_scratch", *SIZE, "model=wary", *decided)


@pytest.fixture
def shares(wary: Made) -> np.ndarray:
    """[N, K] probabilities of the test rows."""
    logits = np.stack(wary.predictions["logits"].tolist())
    spread = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(spread / spread.sum(1, keepdims=True))


def test_the_recorded_answers_are_the_largest_share_by_threshold(wary: Made, shares: np.ndarray, at_home: Path) -> None:
    target = target_of(registry.folder_of(wary.result.registered))
    assert target == wary.result.trained.target
    assert target.thresholds is not None
    answered = [str(target.labels[place]) for place in (shares / np.array(target.thresholds)).argmax(1)]  # type: ignore[index]
    assert wary.predictions["prediction"].tolist() == answered
    assert answered != [str(target.labels[place]) for place in shares.argmax(1)], "thresholds change something here"  # type: ignore[index]


def test_the_scorecard_has_both_scores_both_errors_and_what_abstaining_gains(wary: Made, shares: np.ndarray) -> None:
    card, truth, told = wary.result.card, wary.predictions["label"], wary.predictions["prediction"]
    labels = np.array(wary.data.target.labels)
    assert card.score.value == pytest.approx(sk.f1_score(truth, told, average="macro"))
    assert card.untuned == pytest.approx(sk.f1_score(truth, labels[shares.argmax(1)], average="macro"))
    answered = shares[np.arange(len(truth)), np.searchsorted(labels, told)] >= LEAST
    assert 0 < answered.mean() < 1
    assert card.metrics["coverage"].value == pytest.approx(answered.mean())
    assert card.metrics["selective_accuracy"].value == pytest.approx((truth == told)[answered].mean())
    for measured in card.metrics.values():
        assert measured.low <= measured.value <= measured.high
    assert card.calibration_error != card.raw_calibration_error
    assert wary.result.trained.target.temperature != 1


def test_it_is_answered_with_no_label_where_the_recorded_answer_is_not_sure_enough(
    graft: Graft, at_home: Path, wary: Made, shares: np.ndarray, tmp_path: Path
) -> None:
    labels = list(wary.data.target.labels or ())
    own = [shares[row, labels.index(said)] for row, said in enumerate(wary.predictions["prediction"])]
    places = [int(np.argmin(own)), int(np.argmax(own))]
    for name, place in zip(("unsure", "sure"), places, strict=True):
        (tmp_path / f"{name}.png").write_bytes(rows_of(wary.data, "test")["image"][place])
    pictures = ("--image", tmp_path / "unsure.png", "--image", tmp_path / "sure.png")

    found = json.loads(graft("predict", "wary", *pictures, "--json").out)
    assert [one["label"] for one in found] == [None, wary.predictions["prediction"][places[1]]]
    assert [one["confidence"] for one in found] == pytest.approx([own[place] for place in places], abs=1e-4)
    assert "(not sure enough)" in graft("predict", "wary", *pictures).out
    (tmp_path / "in.csv").write_text("image\nunsure.png\nsure.png\n")
    assert graft("predict", "wary", "--file", tmp_path / "in.csv", "--out", tmp_path / "out.csv").code == 0
    assert pd.read_csv(tmp_path / "out.csv", dtype=str)["label"].isna().tolist() == [True, False]


def test_the_surest_errors_are_told_with_the_share_of_what_was_answered(
    graft: Graft, at_home: Path, wary: Made, shares: np.ndarray, tmp_path: Path
) -> None:
    found = json.loads(graft("explain", "wary", "--worst", 500, "--out", tmp_path, "--json").out)
    labels, told = list(wary.data.target.labels or ()), wary.predictions
    wrong = told[told["label"] != told["prediction"]]
    own = {told["row_id"][row]: shares[row, labels.index(told["prediction"][row])] for row in wrong.index}
    assert {one["row_id"]: one["confidence"] for one in found["worst"]} == pytest.approx(own, abs=1e-4)


def test_the_page_tells_what_was_fitted_and_the_picture_shows_validation_rows(wary: Made, at_home: Path) -> None:
    page = (wary.results / "model_card.md").read_text()
    target, card = wary.result.trained.target, wary.result.card
    assert f"Temperature {target.temperature:.3f}, fitted on the validation rows." in page
    assert f"{card.calibration_error:.4f} ({card.raw_calibration_error:.4f} without the temperature)" in page
    assert f"is {card.score.value:.4f} with them and {card.untuned:.4f} without." in page
    assert "| abstain_below, on the validation rows | answered | accuracy of those |" in page
    assert "\n| 0.6 | " in page
    assert (wary.results / "coverage.png").stat().st_size > 5000
    numbers = tracking.client().get_run(wary.result.registered.run_id).data.metrics
    assert numbers["test/raw_calibration_error"] == card.raw_calibration_error
    assert numbers["test/coverage"] == card.metrics["coverage"].value
