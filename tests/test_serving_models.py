"""Models in memory: those of one trunk hold it once, and each answers as if it were alone."""

import gc
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from stock import CLASSES, LORA, PROBE, TEXTS, Stock

from tasks import saved
from tasks.backbones.network import Network, logits_of
from tasks.backbones.text import TextNetwork
from tasks.results import Target
from tasks.serving.models import Shared, in_words

pytest_plugins = ["small", "stock"]

MOODS = Target(labels=("awful", "fine", "great"))


def trunk(network: Network) -> set[int]:
    """Where the frozen weights lie, those apart that a fresh head brought."""
    named = network.module.named_parameters()
    return {w.data_ptr() for name, w in named if not w.requires_grad and "original_module" not in name}


@pytest.mark.parametrize("backbone", ["encoder", "gpt2", "cnn"])
def test_adapters_of_one_trunk_hold_it_once_and_answer_as_alone(backbone: str, stock: Stock) -> None:
    folders = [
        stock.folder(LORA, seed=0, backbone=backbone),
        stock.folder(LORA | {"rank": 4}, seed=1, target=MOODS, backbone=backbone),
        stock.folder(PROBE, seed=2, backbone=backbone),
    ]
    shared = Shared()
    one, two, three = (shared.open(folder).network for folder in folders)

    assert len(trunk(one)) > 10
    assert trunk(one) == trunk(two) == trunk(three)
    trained = [{w.data_ptr() for w in network.module.parameters() if w.requires_grad} for network in (one, two, three)]
    assert not trained[0] & trained[1] | trained[1] & trained[2] | trained[0] & trained[2]
    pictures = [file.read_bytes() for file in sorted((stock.bench.zoo / "pictures").rglob("*.png"))[:6]]
    rows = {"image": pictures} if backbone == "cnn" else {"text": TEXTS}
    for folder, network in zip(folders, (one, two, three), strict=True):
        torch.testing.assert_close(
            logits_of(network, rows), logits_of(saved.load(folder).network, rows), rtol=0, atol=1e-6
        )


def test_one_tokenizer_serves_all_of_a_trunk(stock: Stock) -> None:
    shared = Shared()
    networks = [shared.open(stock.folder(seed=seed)).network for seed in range(2)]
    other = shared.open(stock.folder(backbone="gpt2")).network
    first, second, third = [network.tokenizer for network in (*networks, other) if isinstance(network, TextNetwork)]
    assert first is second
    assert first is not third


def test_a_weight_that_differs_in_one_number_is_not_shared(stock: Stock) -> None:
    folder = stock.folder()
    changed = Path(shutil.copytree(folder, stock.bench.home / "changed"))
    weights = load_file(changed / "frozen.safetensors")
    name = next(name for name in weights if "layer.0.output.dense" in name and name.endswith("bias"))
    weights[name][0] += 0.5
    save_file(weights, changed / "frozen.safetensors")
    shared = Shared()
    one, two = shared.open(folder).network, shared.open(changed).network

    assert len(trunk(two) - trunk(one)) == 1
    rows = {"text": TEXTS}
    torch.testing.assert_close(logits_of(two, rows), logits_of(saved.load(changed).network, rows), rtol=0, atol=1e-6)
    assert not torch.allclose(logits_of(one, rows), logits_of(two, rows), atol=1e-4)


def test_what_was_trained_is_never_shared_even_where_it_is_equal(stock: Stock) -> None:
    shared, folder = Shared(), stock.folder()
    one, two = ([*shared.open(folder).network.module.parameters()] for _ in range(2))
    for first, second in zip(one, two, strict=True):
        assert (first is second) != first.requires_grad


def test_what_nobody_holds_any_more_leaves_the_memory(stock: Stock) -> None:
    shared, folder = Shared(), stock.folder()
    one = shared.open(folder)
    held = weakref.ref(next(w for w in one.network.module.parameters() if not w.requires_grad))
    two = shared.open(folder)
    del one
    gc.collect()
    assert held() is not None, "the second model holds it"
    del two
    gc.collect()
    assert held() is None


def test_a_fully_trained_network_shares_nothing(stock: Stock) -> None:
    shared = Shared()
    whole, adapted = (shared.open(stock.folder(method)).network for method in ({"kind": "full"}, LORA))
    assert not trunk(whole)
    assert trunk(adapted) - {w.data_ptr() for w in whole.module.parameters()} == trunk(adapted)


def test_logits_become_words() -> None:
    logits = torch.tensor([[0.0, 2.0], [1.0, -1.0]])
    first, second = in_words(CLASSES, logits)
    assert (first["label"], second["label"]) == ("good", "bad")
    assert first["confidence"] == first["probabilities"]["good"] == pytest.approx(0.8808, abs=1e-4)
    assert sum(first["probabilities"].values()) == pytest.approx(1)

    first, second = in_words(Target(kind="multilabel", labels=("red", "blue")), logits)
    assert (first["labels"], second["labels"]) == (["blue"], ["red"])
    assert second["probabilities"] == {"red": pytest.approx(0.7311, abs=1e-4), "blue": pytest.approx(0.2689, abs=1e-4)}
    assert in_words(Target(labels=None), logits[:, :1]) == [{"score": 0.0}, {"score": 1.0}]
