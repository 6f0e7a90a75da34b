"""Words: attributions that add up, that fall on the word that decides, and that come from what was learnt."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from small import WORDS, Bench, sentences
from torch import Tensor

from tasks.backbones.network import logits_of
from tasks.backbones.ways import Way, spans_of
from tasks.explain.integrated import Output, integrated, output_of
from tasks.explain.words import WORD, Told, explain_text, place_of
from tasks.frozen import GraftError
from tasks.results import Target
from tasks.saved import Model

pytest_plugins = ["small"]

CLASSES = Target(labels=("bad", "good"), raw=("bad", "good"))
NUMBER = Target(labels=None)
METHODS: dict[str, dict[str, Any]] = {
    "scratch transformer": {"kind": "scratch", "learning_rate": 0.003},
    "encoder": {"kind": "lora", "learning_rate": 0.003},
    "gpt2": {"kind": "full", "learning_rate": 0.001},
    "llama": {"kind": "lora", "learning_rate": 0.003},
}


def trained(bench: Bench, causal: bool) -> Model:
    """A tiny network that has learnt which words are good ones."""
    lines = [f"{text},{label}\n" for text, label in sentences(240, seed=2)]
    (bench.home / "many.csv").write_text("text,label\n" + "".join(lines))
    recipe = bench.recipe("scratch transformer", METHODS["scratch transformer"], epochs=20)
    dataset = recipe.dataset.model_copy(update={"path": str(bench.home / "many.csv")})
    backbone = recipe.backbone.model_copy(update={"causal": causal})
    training = bench.training(recipe.model_copy(update={"dataset": dataset, "backbone": backbone}))
    training.run()
    return Model(training.recipe, training.target, training.network)


def untrained(bench: Bench, name: str, target: Target = CLASSES, **changes: Any) -> Model:
    recipe = bench.recipe(name, METHODS[name])
    backbone = recipe.backbone.model_copy(update=changes)
    torch.manual_seed(3)
    network = backbone.load(target, {"text": [text for text, _ in sentences(40)]}, recipe.method.pretrained)
    network.module.eval()
    return Model(recipe, target, network)


def whole(told: Told, column: str = "text") -> str:
    return "".join(word.before + word.text for word in told.words if word.column == column)


@pytest.mark.parametrize("causal", [False, True])
def test_the_word_that_decides_gets_the_most(bench: Bench, causal: bool) -> None:
    model = trained(bench, causal)
    hits = []
    for text, label in sentences(12, seed=9):
        told = explain_text(model, {"text": text})
        first = told.strongest[0]
        hits.append(told.output.label == label and first.text in WORDS[label] and (first.value or 0) > 0)
    assert sum(hits) >= 10, hits


@pytest.mark.parametrize("name", METHODS)
def test_the_values_add_up_to_what_the_network_itself_answers(bench: Bench, name: str) -> None:
    model = untrained(bench, name)
    for text, _ in sentences(4, seed=5):
        told = explain_text(model, {"text": text}, "good")
        logit = float(logits_of(model.network, {"text": [text]})[0, 1])
        total = sum(word.value or 0 for word in told.words)
        assert told.sums.logit == pytest.approx(logit, abs=1e-5)
        change = told.sums.logit - told.sums.baseline
        assert total == pytest.approx(change, abs=max(0.01, 0.01 * max(abs(change), abs(total))) + 1e-5)
        assert told.sums.error == pytest.approx(abs(total - change), abs=1e-4)


def test_the_way_begins_where_only_the_special_tokens_are_left(bench: Bench) -> None:
    network: Any = untrained(bench, "encoder").network
    batch = network.encode({"text": ["the film was great"]})
    emptied = {**batch, "input_ids": torch.tensor([[2, 0, 0, 0, 0, 3]])}  # [CLS], four times [PAD], [SEP]
    way = network.way({"text": ["the film was great"]})

    torch.testing.assert_close(way.logits(way.start), network.logits(emptied))
    torch.testing.assert_close(way.logits(way.end), network.logits(batch))


def test_both_texts_of_a_pair_are_told_apart(bench: Bench) -> None:
    told = explain_text(untrained(bench, "encoder"), {"text": "the film was", "text_pair": "great, so the play"})

    assert (whole(told), whole(told, "text_pair")) == ("the film was", "great, so the play")
    assert all(word.value is not None for word in told.words)


@pytest.mark.parametrize("name", ["scratch transformer", "encoder"])
def test_words_beyond_the_models_length_have_no_value(bench: Bench, name: str) -> None:
    text = "the film was very great and the play was so sad and slow"
    told = explain_text(untrained(bench, name, max_length=6), {"text": text})

    assert whole(told) == text
    assert told.unread == len([word for word in told.words if word.value is None]) > 0
    read = [word.value is not None for word in told.words]
    assert read == sorted(read, reverse=True), "the first ones are read"


def test_pieces_of_a_word_are_added_to_it_and_signs_stand_alone(bench: Bench) -> None:
    model = untrained(bench, "scratch transformer")
    text = "  Greatness isn't\tslow-ish (it was)!"
    told = explain_text(model, {"text": text})

    assert [word.text for word in told.words] == ["Greatness", "isn't", "slow-ish", "(", "it", "was", ")", "!"]
    assert whole(told) == text
    assert len(model.network.way({"text": [text]}).end[0]) > len(told.words) + 2, "some words have several tokens"
    parts = float(told.sums.values.double().sum())
    assert sum(word.value or 0 for word in told.words) == pytest.approx(parts, abs=1e-6)


def test_a_token_that_brings_its_space_or_a_part_of_a_sign_belongs_to_its_word() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    letters = Tokenizer(models.BPE())
    letters.pre_tokenizer, letters.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    letters.train_from_iterator(
        ["so good so good so bad"], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False)
    )
    text = "so good  \U0001f600 so\n"
    columns = {"text": text}
    spans = spans_of(PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="so"), columns, 64)
    words = list(WORD.finditer(text))
    places = [place_of(text, words, span.start, span.end) for span in spans if span]

    assert [word[0] for word in words] == ["so", "good", "\U0001f600", "so"]
    assert places == sorted(places)
    assert set(places) == {0, 1, 2, 3}
    assert places.count(2) > 1, "the bytes of one sign"


def test_a_number_is_explained_and_has_no_labels(bench: Bench) -> None:
    model = untrained(bench, "encoder", NUMBER)
    told = explain_text(model, {"text": "the film was great"})

    assert told.output == Output(0, None, None)
    with pytest.raises(GraftError, match="answers a number, so there is no label 'good'"):
        explain_text(model, {"text": "the film was great"}, "good")


def test_an_unknown_label_is_refused_with_the_valid_ones() -> None:
    logits = torch.tensor([[0.0, 1.0]])
    assert output_of(CLASSES, logits, None)[:2] == (1, "good")
    assert output_of(CLASSES, logits, "bad").confidence == pytest.approx(0.2689, abs=1e-4)
    with pytest.raises(GraftError, match=r"'ugly' is no label of this model\. Valid: bad, good\."):
        output_of(CLASSES, logits, "ugly")


def test_a_picture_model_is_not_asked_for_words(bench: Bench) -> None:
    recipe = bench.recipe("scratch cnn", {"kind": "scratch"})
    with pytest.raises(GraftError, match="takes pictures"):
        explain_text(Model(recipe, CLASSES, recipe.backbone.load(CLASSES, {})), {"text": "a"})


def wave(pitch: float) -> Way:
    """sin(pitch x) on the way from 0 to 1: the higher, the more steps it takes."""

    def logits(points: Tensor) -> Tensor:
        return (pitch * points).sin().sum(1, keepdim=True)

    return Way(torch.zeros(1, 1), torch.ones(1, 1), logits)


def test_the_steps_are_doubled_until_the_sum_is_right() -> None:
    assert integrated(wave(1.0), 0).steps == 32
    rough = integrated(wave(200.0), 0)
    assert rough.steps > 32
    assert float(rough.values.sum()) == pytest.approx(math.sin(200.0), abs=0.01)


def test_a_sum_that_stays_wrong_is_an_error_and_no_explanation() -> None:
    with pytest.raises(GraftError, match=r"With 64 steps the attributions add up to .* but the logit changes by"):
        integrated(wave(2000.0), 0, most=64)


def test_the_way_leaves_the_network_as_it_was(bench: Bench) -> None:
    model = untrained(bench, "encoder")
    rows: Mapping[str, list[str]] = {"text": ["the film was great"]}
    before = logits_of(model.network, rows)
    explain_text(model, {"text": rows["text"][0]})
    assert torch.equal(logits_of(model.network, rows), before)
    assert all(weight.grad is None for weight in model.network.module.parameters())
