"""Batches: every row once an epoch, in an order of seed and epoch, with little padding; class weights."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from small import Bench
from torch import Tensor

from tasks.batches import POOL, Feed, draw_of, epoch_batches, seeds_of
from tasks.objective import Objective, answers, probabilities
from tasks.prepare import inputs_of
from tasks.results import Target

pytest_plugins = ["small"]

LENGTHS = np.random.default_rng(0).geometric(0.08, 5003)  # like sentences: many short, few long
NUMBER = Target(labels=None)


def padded(batches: list[Any]) -> int:
    """Tokens computed, padding included."""
    return sum(len(batch) * int(LENGTHS[batch].max()) for batch in batches)


@pytest.mark.parametrize(("rows", "size"), [(5003, 32), (5000, 50), (7, 8), (8, 8), (1, 1), (3, 1)])
def test_every_row_is_in_one_batch_and_all_batches_but_one_are_full(rows: int, size: int) -> None:
    batches = epoch_batches(LENGTHS[:rows], size, seed=3, epoch=1)
    assert sorted(row for batch in batches for row in batch) == list(range(rows))
    assert len(batches) == -(-rows // size)
    assert sum(len(batch) < size for batch in batches) == (1 if rows % size else 0)


def drawn(seed: int, epoch: int) -> list[list[int]]:
    return [batch.tolist() for batch in epoch_batches(LENGTHS, 32, seed, epoch)]


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    orders = [drawn(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    np.random.seed(5)
    assert orders == [drawn(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({str(order) for order in orders}) == 4


def test_an_epoch_brings_other_companions_not_only_another_order_of_the_same_batches() -> None:
    first, second = (drawn(0, epoch) for epoch in (0, 1))
    assert not {frozenset(batch) for batch in first} & {frozenset(batch) for batch in second}


def test_there_is_little_padding() -> None:
    random_order = [np.arange(start, min(start + 32, 5003)) for start in range(0, 5003, 32)]
    wasted = padded(epoch_batches(LENGTHS, 32, 0, 0)) - int(LENGTHS.sum())
    assert wasted < 0.1 * (padded(random_order) - int(LENGTHS.sum()))


def test_batches_do_not_come_in_the_order_of_their_length() -> None:
    means = [np.mean(LENGTHS[batch]) for batch in epoch_batches(LENGTHS, 32, 0, 0)[:POOL]]
    steps = np.sign(np.diff(means))
    assert 0.25 < np.mean(steps > 0) < 0.75


def test_batches_from_the_middle_are_those_of_the_whole_epoch(bench: Bench) -> None:
    training = bench.training(bench.recipe("encoder", {"kind": "full"}))
    batches = epoch_batches(training.lengths, 8, 0, 0)
    whole = list(training.feed.epoch(batches, 0, 0, first=0))
    rest = list(training.feed.epoch(batches, 0, 0, first=2))
    assert len(whole) == 3
    assert len(rest) == 1
    assert torch.equal(whole[2][0]["input_ids"], rest[0][0]["input_ids"])
    assert whole[2][1].tolist() == training.rows.labels[batches[2]].tolist()


def test_reading_batches_leaves_the_loops_random_state_alone(bench: Bench) -> None:
    recipe = bench.recipe("cnn", {"kind": "full"})
    training = bench.training(recipe)
    rows = training.rows
    state = torch.get_rng_state()
    list(training.feed.epoch([np.array([0, 1]), np.array([2])], 0, 0, first=0))
    assert torch.equal(state, torch.get_rng_state())
    assert len(inputs_of(rows)["image"]) == len(rows)


# The loss


def objective(labels: list[int], classes: int, balanced: bool) -> Objective:
    return Objective(Target(labels=tuple("abcdef"[:classes])), torch.tensor(labels), balanced)


@pytest.mark.parametrize("labels", [[0, 1, 1, 1], [0] * 7 + [1] * 2 + [2], [2, 2, 0, 1] * 5])
def test_class_weights_are_those_of_scikit_learns_balanced(labels: list[int]) -> None:
    classes = len(set(labels))
    found = objective(labels, classes, balanced=True).get_buffer("weights")
    wanted = compute_class_weight("balanced", classes=np.arange(classes), y=np.array(labels))
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-6)


def test_a_balanced_loss_is_the_weighted_mean_and_an_unbalanced_one_the_plain() -> None:
    logits, labels = torch.tensor([[2.0, 0.0], [0.5, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    each: Tensor = -logits.log_softmax(1)[range(3), labels]
    plain, weighted = (objective([0, 0, 0, 1], 2, b)(logits, labels).item() for b in (False, True))
    share = torch.tensor([4 / 6, 4 / 6, 2.0])
    assert plain == pytest.approx(each.mean().item())
    assert weighted == pytest.approx(((share * each).sum() / share.sum()).item())


def test_a_number_has_squared_error_and_is_its_own_answer() -> None:
    logits = torch.tensor([[1.0], [3.0]])
    loss = Objective(NUMBER, torch.tensor([0.0, 1.0]), balanced=False)
    assert loss(logits, torch.tensor([0.0, 1.0])).item() == pytest.approx(2.5)
    assert answers(NUMBER, logits).tolist() == [1.0, 3.0]
    assert answers(Target(labels=("a", "b")), torch.tensor([[0.0, 1.0], [2.0, 1.0]])).tolist() == [1, 0]


MARKS = Target(kind="multilabel", labels=("a", "b", "c"))


def test_several_labels_have_a_loss_each_and_an_answer_each() -> None:
    logits, labels = torch.tensor([[2.0, -1.0, 0.1], [-3.0, 0.5, -0.1]]), torch.tensor([[1, 0, 1], [0, 0, 1]])
    sure = logits.double().sigmoid()
    wanted = -torch.where(labels == 1, sure.log(), (1 - sure).log()).mean()
    loss = Objective(MARKS, labels, balanced=False)(logits, labels)
    assert loss.item() == pytest.approx(wanted.item())
    assert (
        answers(MARKS, logits).tolist() == [[1, 0, 1], [0, 1, 0]] == (probabilities(MARKS, logits) > 0.5).int().tolist()
    )


def test_a_balanced_loss_of_several_labels_weighs_presence_and_absence_of_each_alike() -> None:
    labels = torch.tensor([[1, 1], [0, 1], [0, 1], [0, 0]])
    weights = Objective(MARKS, labels, balanced=True).get_buffer("weights")
    present, absent = labels.sum(0), (1 - labels).sum(0)
    assert (weights * present).tolist() == pytest.approx(absent.tolist())
    assert weights.tolist() == pytest.approx([3.0, 1 / 3])


# How often a picture is drawn.


@pytest.mark.parametrize(
    ("draws", "seen"), [(None, [0, 1, 2, 3]), (0, [None] * 4), (1, [0] * 4), (3, [0, 1, 2, 0])], ids=str
)
def test_epochs_take_turns_at_the_draws(draws: int | None, seen: list[int | None]) -> None:
    assert [draw_of(epoch, draws) for epoch in range(4)] == seen


def test_a_draw_is_what_its_epoch_would_see_without_a_limit(bench: Bench) -> None:
    training = bench.training(bench.recipe("cnn", {"kind": "full"}))
    batches = epoch_batches(training.lengths, 5, 0, 0)

    def pixels(draws: int | None, epoch: int) -> Tensor:
        feed = Feed(training.network, training.inputs, training.rows.labels, draws)
        return torch.cat([batch["x"] for batch, _ in feed.epoch(batches, 0, epoch, 0)])

    assert torch.equal(pixels(2, 1), pixels(None, 1))
    assert torch.equal(pixels(2, 2), pixels(None, 0))
    assert not torch.equal(pixels(2, 0), pixels(2, 1))
    still = training.network.encode(
        {"image": [inputs_of(training.rows)["image"][row] for batch in batches for row in batch.tolist()]}
    )
    assert torch.equal(pixels(0, 0), still["x"])
    assert seeds_of(3, 0, None) is None
