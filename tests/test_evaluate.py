"""A saved model judged: every figure again from the single predictions, with scikit-learn."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import Made
from PIL import Image
from scipy import stats
from sklearn import metrics as sk

from tasks import saved
from tasks.checkpoint import pack
from tasks.datasets.spec import ROW
from tasks.evaluate import evaluate
from tasks.frozen import GraftError
from tasks.prepare import rows_of
from tasks.results import Prepared, Target

pytest_plugins = ["made"]

CLASSES = ["tickets", "digits", "adapted"]


@pytest.fixture(params=CLASSES)
def made(request: pytest.FixtureRequest, at_home: Path) -> Made:
    found: Made = request.getfixturevalue(request.param)
    return found


def test_scores_are_those_that_scikit_learn_gives_for_the_predictions(made: Made) -> None:
    told, truth = made.predictions["prediction"], made.predictions["label"]
    scores = made.result.card.metrics

    assert made.result.card.headline == "accuracy"
    assert scores["accuracy"].value == pytest.approx(sk.accuracy_score(truth, told))
    assert scores["macro_f1"].value == pytest.approx(sk.f1_score(truth, told, average="macro", zero_division=0.0))


def test_an_interval_holds_its_score_and_has_the_width_of_chance(made: Made) -> None:
    for measured in made.result.card.metrics.values():
        assert 0 <= measured.low <= measured.value <= measured.high <= 1
    accuracy, rows = made.result.card.metrics["accuracy"], made.result.card.rows
    expected = 1.96 * np.sqrt(accuracy.value * (1 - accuracy.value) / rows)  # of a binomial share
    assert (accuracy.high - accuracy.low) / 2 == pytest.approx(expected, rel=0.25)


def test_every_test_row_has_one_prediction_under_its_row_id(made: Made) -> None:
    rows = rows_of(made.data, "test")

    assert made.predictions[ROW].tolist() == list(rows[ROW])
    assert made.predictions[ROW].is_unique
    assert len(rows) == made.result.card.rows == made.data.rows["test"]
    assert made.result.card.test_hash == made.data.hashes["test"]


def test_labels_are_named_and_the_answer_is_the_largest_logit(made: Made) -> None:
    labels = made.data.target.labels or ()
    truth = [labels[index] for index in rows_of(made.data, "test").labels]
    largest = [labels[logits.argmax()] for logits in made.predictions["logits"]]

    assert made.predictions["label"].tolist() == truth
    assert made.predictions["prediction"].tolist() == largest
    assert {len(logits) for logits in made.predictions["logits"]} == {len(labels)}


def test_the_class_table_is_that_of_scikit_learn_in_the_order_of_the_labels(made: Made) -> None:
    told = sk.classification_report(
        made.predictions["label"], made.predictions["prediction"], output_dict=True, zero_division=0.0
    )
    table = made.result.card.classes

    assert tuple(row["label"] for row in table) == made.data.target.labels
    for row in table:
        wanted = told[row["label"]]
        assert row["precision"] == pytest.approx(wanted["precision"])
        assert row["recall"] == pytest.approx(wanted["recall"])
        assert row["f1"] == pytest.approx(wanted["f1-score"])
        assert row["rows"] == wanted["support"]


def test_the_calibration_error_is_the_mean_gap_of_fifteen_bins(made: Made) -> None:
    logits = np.stack(made.predictions["logits"].tolist())
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    confidence, hit = shares.max(1), made.predictions["prediction"] == made.predictions["label"]
    bins = pd.cut(pd.Series(confidence), np.linspace(0, 1, 16), right=False)
    gaps = pd.DataFrame({"confidence": confidence, "hit": hit}).groupby(bins, observed=True).mean()
    wanted = (gaps["confidence"] - gaps["hit"]).abs() @ bins.value_counts(sort=False)[gaps.index] / len(confidence)

    assert made.result.card.calibration_error == pytest.approx(wanted, abs=1e-4)


def test_pictures_and_tables_are_there(made: Made) -> None:
    for name in ("confusion.png", "reliability.png"):
        with Image.open(made.results / name) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert min(picture.size) > 200
            assert np.asarray(picture.convert("L")).std() > 5, "nothing is drawn"
    told = json.loads((made.results / "scorecard.json").read_text())
    assert told["metrics"]["accuracy"]["value"] == made.result.card.score.value


def test_a_number_is_scored_by_correlation_and_drawn_against_the_truth(at_home: Path, numbers: Made) -> None:
    card, told = numbers.result.card, numbers.predictions

    assert card.headline == "pearson"
    assert card.metrics["pearson"].value == pytest.approx(stats.pearsonr(told["label"], told["prediction"])[0])
    assert card.metrics["spearman"].value == pytest.approx(stats.spearmanr(told["label"], told["prediction"])[0])
    assert told["prediction"].tolist() == [pytest.approx(logits[0]) for logits in told["logits"]]
    assert told["label"].tolist() == rows_of(numbers.data, "test").labels.tolist()
    assert card.calibration_error is None
    assert card.classes == ()
    assert (numbers.results / "predicted_against_true.png").stat().st_size > 5000
    assert not (numbers.results / "confusion.png").exists()


def test_several_labels_are_scored_label_by_label_and_named_in_the_predictions(at_home: Path, colours: Made) -> None:
    card, told = colours.result.card, colours.predictions
    names = ("red", "green", "blue")
    truth, predicted = ([[int(name in own) for name in names] for own in told[c]] for c in ("label", "prediction"))

    assert card.headline == "micro_f1"
    assert card.metrics["micro_f1"].value == pytest.approx(sk.f1_score(truth, predicted, average="micro"))
    assert card.metrics["exact_match"].value == pytest.approx(sk.accuracy_score(truth, predicted))
    assert card.metrics["micro_f1"].value > 0.8, "the colours stand in the text"
    assert predicted == [[int(logit > 0) for logit in logits] for logits in told["logits"]]
    assert truth == rows_of(colours.data, "test").labels.tolist()
    assert [(row["label"], row["rows"]) for row in card.classes] == list(zip(names, np.sum(truth, 0), strict=True))
    assert (colours.results / "labels.png").stat().st_size > 5000


@pytest.fixture
def untrained(tmp_path: Path, digits: Made) -> Path:
    """A saved model of the digits' recipe, with random weights."""
    model = saved.begin(tmp_path / "model", digits.result.recipe, digits.data.target, {})
    (tmp_path / "model" / "trained.safetensors").write_bytes(pack(saved.trained_state(model.network)))
    return tmp_path / "model"


@pytest.mark.parametrize("labels", [("odd", "even"), ("1", "0", "2", "3", "4", "5", "6", "7", "8", "9"), None])
def test_a_model_with_other_classes_is_refused(
    untrained: Path, digits: Made, labels: tuple[str, ...] | None, tmp_path: Path
) -> None:
    data: Prepared = digits.data.model_copy(update={"target": Target(labels=labels)})

    with pytest.raises(GraftError, match=r"answers .* but the test rows hold"):
        evaluate(untrained, data, digits.result.recipe.dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_untrained_model_guesses_and_a_damaged_one_is_refused(untrained: Path, digits: Made, tmp_path: Path) -> None:
    card = evaluate(untrained, digits.data, digits.result.recipe.dataset, tmp_path / "out")
    assert card.score.value < 0.35
    assert card.seconds > 0

    file = untrained / "trained.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(GraftError, match=r"trained\.safetensors cannot be read"):
        evaluate(untrained, digits.data, digits.result.recipe.dataset, tmp_path / "again")
