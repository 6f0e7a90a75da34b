"""What is fitted on validation rows: the temperature, the thresholds, and what abstaining gains; on numbers alone."""

from typing import Literal

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import Tensor

from tasks.compose import load
from tasks.decision import Decision, coverage, decided, temperature
from tasks.frozen import GraftError
from tasks.metrics import calibration_error, score
from tasks.objective import answers, confidence, said
from tasks.results import Target

Kind = Literal["class", "multilabel", "number"]
THREE = Target(labels=("cat", "dog", "owl"))
TWO = Target(labels=("no", "yes"))
SEVERAL = Target(kind="multilabel", labels=("red", "green", "blue"))
NUMBER = Target(labels=None)
TUNED = Decision(thresholds="auto")


def drawn(rows: int, outputs: int, seed: int, several: bool = False) -> tuple[np.ndarray, Tensor]:
    """Labels drawn by the very probabilities that the logits tell."""
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(0, 2, (rows, outputs)), dtype=torch.float32)
    if several:
        return (rng.random((rows, outputs)) < logits.sigmoid().numpy()).astype(np.int8), logits
    sums = logits.softmax(1).double().cumsum(1).numpy()
    return np.minimum((rng.random((rows, 1)) > sums).sum(1), outputs - 1), logits


@pytest.mark.parametrize("heat", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("target", [THREE, SEVERAL], ids=["class", "multilabel"])
def test_logits_that_are_too_sure_or_not_sure_enough_get_their_temperature_back(target: Target, heat: float) -> None:
    truth, true = drawn(20_000, 3, 0, target.kind == "multilabel")
    assert temperature(target, truth, true * heat) == pytest.approx(heat, rel=0.03)


def test_it_makes_told_probabilities_true_and_changes_no_answer() -> None:
    (truth, true), (fresh, other) = drawn(2000, 3, 1), drawn(2000, 3, 2)
    found = decided(Decision(), THREE, "accuracy", truth, true * 3)

    before, after = (
        calibration_error(fresh, logits.softmax(1).numpy()) for logits in (other * 3, other * 3 / found.temperature)
    )
    assert after < 0.03
    assert before > 0.1
    assert torch.equal(answers(found, other * 3 / found.temperature), answers(THREE, other * 3))
    assert decided(Decision(temperature=None), THREE, "accuracy", truth, true * 3) == THREE


def test_a_few_rows_that_are_all_right_do_not_make_every_confidence_one() -> None:
    truth = np.arange(9) % 3
    logits = torch.eye(3)[torch.tensor(truth)] * 4
    found = temperature(THREE, truth, logits)
    sure = (logits / found).softmax(1).max(1).values
    assert sure.tolist() == pytest.approx([0.9 + 0.1 / 3] * 9, abs=1e-3), "one row of ten is thought to be any class"


def test_answers_that_are_all_alike_have_no_temperature() -> None:
    assert temperature(THREE, np.array([0, 1, 2]), torch.zeros(3, 3)) == 1.0


def test_the_threshold_of_two_classes_is_the_best_of_all_that_there_are() -> None:
    rng = np.random.default_rng(3)
    truth = (rng.random(400) < 0.08).astype(int)
    logits = torch.tensor(np.stack([np.zeros(400), rng.normal(-4 + 2 * truth, 1.0)], 1))
    found = decided(TUNED, TWO, "macro_f1", truth, logits)
    assert found.thresholds is not None
    assert sum(found.thresholds) == pytest.approx(1)

    shares = (logits / found.temperature).softmax(1)[:, 1].numpy()
    best = max(f1_score(truth, shares > cut, average="macro") for cut in np.append(shares, [0.0, 1.0]))
    reached = score("macro_f1", truth, answers(found, logits / found.temperature).numpy())
    assert reached == pytest.approx(best)
    assert reached > score("macro_f1", truth, logits.argmax(1).numpy()) + 0.1
    assert np.array_equal(
        answers(found, logits / found.temperature).numpy(), (shares > found.thresholds[1]).astype(int)
    )


def test_thresholds_of_many_classes_raise_the_headline_and_keep_it_where_nothing_does() -> None:
    rng = np.random.default_rng(4)
    truth = rng.choice(3, 600, p=[0.8, 0.15, 0.05])
    logits = torch.tensor(rng.normal(0, 1, (600, 3)) + 1.5 * np.eye(3)[truth] + np.log([0.8, 0.15, 0.05]))
    found = decided(TUNED, THREE, "macro_f1", truth, logits)
    plain = score("macro_f1", truth, logits.argmax(1).numpy())
    assert score("macro_f1", truth, answers(found, logits).numpy()) > plain + 0.02

    truth, sure = np.arange(30) % 3, torch.eye(3)[torch.arange(30) % 3] * 9
    assert decided(TUNED, THREE, "macro_f1", truth, sure).thresholds == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_every_label_has_the_threshold_of_its_best_f1_and_a_half_where_no_other_is_better() -> None:
    truth, logits = drawn(500, 3, 5, several=True)
    logits[:, 0] -= 2
    truth[:, 2] = 0
    found = decided(Decision(temperature=None, thresholds="auto"), SEVERAL, "micro_f1", truth, logits)
    assert found.thresholds is not None
    shares = logits.sigmoid().numpy()
    for place in (0, 1):
        best = max(f1_score(truth[:, place], shares[:, place] > cut) for cut in np.append(shares[:, place], 0.0))
        got = f1_score(truth[:, place], answers(found, logits).numpy()[:, place])
        assert got == pytest.approx(best)
    assert found.thresholds[0] < 0.4
    assert found.thresholds[2] == 0.5, "a label that no validation row has"


def test_rows_of_one_probability_stay_on_one_side_of_a_threshold() -> None:
    truth = np.array([[1], [0], [1], [0]], np.int8)
    one = Target(kind="multilabel", labels=("red",))
    logits = torch.tensor([[-1.0], [-1.0], [-1.0], [-3.0]])
    found = decided(Decision(temperature=None, thresholds="auto"), one, "micro_f1", truth, logits)
    assert answers(found, logits).tolist() == [[1], [1], [1], [0]]


def test_where_it_abstains_no_label_is_said_and_the_answer_is_still_known() -> None:
    target = THREE.model_copy(update={"abstain_below": 0.6})
    logits = torch.tensor([[3.0, 0.0, 0.0], [0.2, 0.0, 0.1]])
    assert said(target, logits) == ["cat", None]
    assert answers(target, logits).tolist() == [0, 0]
    assert said(THREE, logits) == ["cat", "cat"]


def test_the_confidence_is_that_of_the_class_that_is_answered() -> None:
    target = TWO.model_copy(update={"thresholds": (0.9, 0.1)})
    logits = torch.tensor([[0.0, -1.0]])
    assert answers(target, logits).tolist() == [1]
    assert confidence(target, logits).tolist() == pytest.approx([logits.softmax(1)[0, 1].item()])


def test_coverage_falls_and_of_true_probabilities_the_accuracy_rises() -> None:
    truth, logits = drawn(5000, 3, 6)
    curve = coverage(THREE.model_copy(update={"abstain_below": 0.73}), truth, logits)
    assert (curve[0].below, curve[0].coverage) == (0.0, 1.0)
    assert curve[0].accuracy == score("accuracy", truth, logits.argmax(1).numpy())
    assert 0.73 in [one.below for one in curve]
    shares = [one.coverage for one in curve]
    assert shares == sorted(shares, reverse=True)
    assert curve[-1].accuracy > curve[0].accuracy + 0.1
    assert all(one.accuracy >= one.below - 0.02 for one in curve), "at least as many are right as is said"
    assert coverage(SEVERAL, *drawn(50, 3, 7, several=True)) == ()


def test_a_number_has_nothing_to_decide() -> None:
    assert decided(Decision(), NUMBER, "pearson", np.array([1.0, 2.0]), torch.tensor([[1.0], [2.0]])) == NUMBER


@pytest.mark.parametrize(
    ("experiment", "override", "message"),
    [
        ("stsb_lora", "decision.thresholds=auto", "decision.thresholds are for classes"),
        ("stsb_lora", "decision.abstain_below=0.5", "decision.abstain_below is for one class a row"),
        ("tickets_lora", "decision.abstain_below=1.5", "decision.abstain_below"),
        ("tickets_lora", "decision.temperature=2", "decision.temperature"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_begins(experiment: str, override: str, message: str) -> None:
    with pytest.raises(GraftError, match=message):
        load(experiment, [override])
