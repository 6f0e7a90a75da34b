"""A table of words whose used rows alone are worked on: after every look at it, the same bits as in the plain way."""

import copy
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small import FILLERS, WORDS, Bench, differing

from tasks.checkpoint import last_step
from tasks.planning.rehearsal import rehearse
from tasks.recipe import Recipe
from tasks.train import Training

pytest_plugins = ["small"]

FULL: dict[str, Any] = {"kind": "full", "learning_rate": 0.01}
TABLE = "bert.embeddings.word_embeddings.weight"
NEVER = 1e9  # a norm that no gradient reaches


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A checkpoint after each step; sets `GRAFT_MEANS`, too."""
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", "0")
    monkeypatch.setenv("GRAFT_MEANS", "few_words")
    return monkeypatch


def wordy(bench: Bench, **schedule: Any) -> Recipe:
    """Three epochs of all weights, which decay visibly, on rows of which some have words that no other has."""
    (bench.home / "rare.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rare()))
    visible = {"epochs": 3, "weight_decay": 0.3, "warmup": 0.2, "clip": NEVER}
    told = bench.recipe("wordy encoder", FULL, **visible | schedule).model_dump()
    told["dataset"]["path"] = str(bench.home / "rare.csv")
    return Recipe.model_validate(told)


def rare() -> list[tuple[str, str]]:
    """Thirty texts, no two of them alike."""
    own = [(f"{word} {word}", ("bad", "good")[place % 2]) for place, word in enumerate(FILLERS)]
    return [
        *own,
        *((f"{WORDS[label][0]} and so {number * 'very '}fine", label) for number in range(10) for label in WORDS),
    ]


def both(bench: Bench, means: pytest.MonkeyPatch, recipe: Recipe, steps: int) -> list[Training]:
    """So many steps the plain way, and by the rows in use, each begun anew."""
    made = []
    for name in ("none", "few_words"):
        means.setenv("GRAFT_MEANS", name)
        training = bench.training(recipe)
        assert (training.words.table is None) is (name == "none")
        taken(training, steps)
        made.append(training)
    return made


def taken(training: Training, steps: int) -> None:
    """Steps on the first epochs' batches."""
    training.recipe.method.train_mode(training.network)
    count = len(training.rows)
    batches = [np.arange(first, min(first + 8, count)) for first in range(0, count, 8)]
    while training.progress.step < steps:
        for inputs, labels in training.feed.epoch(batches, 0, training.progress.step, 0):
            torch.manual_seed(training.progress.step)  # of dropout
            training.update(inputs, labels, training.rate())
            training.progress.step += 1


def state_of(training: Training) -> dict[str, torch.Tensor]:
    """All weights, and both moments of each."""
    own = dict(training.network.module.state_dict())
    for index, of in training.optimizer.state_dict()["state"].items():
        own |= {f"{index}.{name}": tensor for name, tensor in of.items()}
    return copy.deepcopy(own)


def test_while_steps_are_taken_the_rows_in_use_are_a_weight_of_their_own(
    bench: Bench, means: pytest.MonkeyPatch
) -> None:
    training = bench.training(wordy(bench))
    table = training.words.table
    assert table is not None
    before = table.weight.detach().clone()
    taken(training, 3)

    few = training.words.few
    assert few is not None and len(few) == len(training.words.used) < len(table.weight) / 2
    changed = (table.weight != before).any(1)
    assert int(changed.sum()) > 0, "the first step is watched on the table itself"
    assert not torch.equal(few, table.weight[training.words.used])
    assert [few is weight for group in training.optimizer.param_groups for weight in group["params"]].count(True) == 1


def test_whole_again_weights_and_moments_are_the_plain_ones_to_the_bit(bench: Bench, means: pytest.MonkeyPatch) -> None:
    plain, short = both(bench, means, wordy(bench), 9)
    assert short.words.few is not None
    short.words.whole()
    one, two = state_of(plain), state_of(short)

    assert one.keys() == two.keys()
    assert differing(one, two, one) == set()
    assert type(short.words.table) is torch.nn.Embedding


def test_looked_at_in_between_it_ends_with_the_same_bits(bench: Bench, means: pytest.MonkeyPatch) -> None:
    straight, looked = (bench.training(wordy(bench)) for _ in range(2))
    taken(straight, 9)
    for steps in (3, 6, 9):
        taken(looked, steps)
        looked.words.whole()
        looked.words.whole()
    straight.words.whole()
    one, two = state_of(straight), state_of(looked)

    assert differing(one, two, one) == set()


def test_clipped_it_differs_by_the_rounding_of_the_norm_alone(bench: Bench, means: pytest.MonkeyPatch) -> None:
    plain, short = both(bench, means, wordy(bench, clip=0.01), 9)
    short.words.whole()
    one, two = state_of(plain), state_of(short)

    assert all(torch.allclose(one[name], two[name], rtol=1e-5, atol=1e-6) for name in one)


def test_a_checkpoint_within_an_epoch_is_the_plain_one(bench: Bench, means: pytest.MonkeyPatch) -> None:
    kept = []
    for training in both(bench, means, wordy(bench), 5):
        shutil.rmtree(training.work / "checkpoints", ignore_errors=True)
        training.keep()
        kept.append(tensors_of(training))

    assert kept[0].keys() == kept[1].keys()
    assert differing(kept[0], kept[1], kept[0]) == set()


def tensors_of(training: Training) -> dict[str, torch.Tensor]:
    """All of the last checkpoint."""
    found = last_step(training.work / "checkpoints")
    assert found is not None
    return {f"{part}.{name}": tensor for part, of in found[0].items() for name, tensor in of.items()}


def test_the_model_and_its_best_epoch_are_the_plain_ones(bench: Bench, means: pytest.MonkeyPatch) -> None:
    ended = {}
    for name in ("none", "few_words"):
        means.setenv("GRAFT_MEANS", name)
        training = bench.training(wordy(bench))
        ended[name] = load_file(training.run().folder / "trained.safetensors") | tensors_of(training)
        shutil.rmtree(training.work)
        training.work.mkdir()
    plain, short = ended.values()

    assert plain.keys() == short.keys()
    assert differing(plain, short, plain) == set()


def test_a_word_that_no_training_row_has_is_an_error_and_never_another_words_row(
    bench: Bench, means: pytest.MonkeyPatch
) -> None:
    training = bench.training(wordy(bench))
    taken(training, 3)
    assert training.words.table is not None
    spare = next(word for word in range(90) if word not in training.words.used.tolist())

    with pytest.raises(IndexError):
        training.words.table(torch.tensor([[spare]]))
    training.words.whole()
    assert training.words.table(torch.tensor([[spare]])).shape == (1, 1, 32)


def test_a_plan_answers_validation_rows_that_have_other_words(bench: Bench, means: pytest.MonkeyPatch) -> None:
    recipe = wordy(bench)
    data, work, run_id = bench.start(recipe)
    training = Training(recipe, data, work, run_id)
    words = training.network.encode(training.scored)["input_ids"]
    assert set(words.ravel().tolist()) - set(training.words.used.tolist()), "words that no training row has"
    found = rehearse(training, run_id)

    assert found.forward.timed > 0
    assert training.words.table is not None and training.words.few is None


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("encoder", {"kind": "full"}),  # most of its words are used
        ("wordy encoder", {"kind": "lora"}),  # its table is frozen
        ("cnn", {"kind": "full"}),
        ("gpt2", {"kind": "full"}),
    ],
)
def test_where_it_would_not_pay_nothing_changes(
    bench: Bench, means: pytest.MonkeyPatch, name: str, method: dict[str, Any]
) -> None:
    training = bench.training(bench.recipe(name, method))
    assert training.words.table is None
    training.words.shorten()
    training.words.whole()
    assert training.words.few is None
