"""Every method on every library, found from the unions: what must move moves, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
import torch
from peft.tuners.lora import LoraLayer
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from small import BACKBONES, TARGET, Bench, differing
from torch import nn

from tasks import saved
from tasks.backbones import Backbone
from tasks.backbones.network import Network, adaptable, logits_of
from tasks.frozen import GraftError
from tasks.methods import Full, Lora, Method, count_trained
from tasks.prepare import inputs_of
from tasks.train import Training

pytest_plugins = ["small"]

METHODS = {get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in get_args(get_args(Method)[0])}
LIBRARIES = {get_args(kind.model_fields["library"].annotation)[0]: kind for kind in get_args(get_args(Backbone)[0])}
PAIRS = [(method, name) for method in METHODS for name in BACKBONES]
NO_BIAS = ("bitfit", "llama")
FITTING = [p for p in PAIRS if LIBRARIES[BACKBONES[p[1]]["library"]].pretrained or not METHODS[p[0]].pretrained]
VALID = [p for p in FITTING if p != NO_BIAS]


def network(bench: Bench, name: str, **changes: Any) -> Network:
    spec = bench.backbone(name, **changes)
    backbone = LIBRARIES[spec["library"]].model_validate(spec)
    loaded: Network = backbone.load(TARGET, {"text": ["the film was fine"] * 4})
    return loaded


def adapted(bench: Bench, name: str, **options: Any) -> Network:
    found = network(bench, name)
    Lora(kind="lora", **options).adapt(found)
    return found


def with_adapter(found: Network) -> list[str]:
    """The names, without peft's prefix, of the modules that have an adapter."""
    modules = found.module.named_modules()
    return [name.removeprefix("base_model.model.") for name, module in modules if isinstance(module, LoraLayer)]


def meant_to_move(training: Training) -> set[str]:
    """By the methods' definitions in words, not by `requires_grad`."""
    kind, found = training.recipe.method.kind, training.network
    names = {name for name, _ in found.module.named_parameters()}
    if kind in {"scratch", "full"}:
        return names
    inside = f"{found.head[0]}.modules_to_save.default." if kind == "lora" else f"{found.head[0]}."
    head = {name for name in names if name.removeprefix("base_model.model.").startswith(inside)}
    assert len(found.head) == 1
    assert head
    own: dict[str, set[str]] = {
        "linear_probe": set(),
        "bitfit": {name for name in names if name.endswith("bias")},
        "lora": {name for name in names if ".lora_A." in name or ".lora_B." in name},
    }
    return head | own[kind]


def test_the_table_of_backbones_covers_every_library() -> None:
    assert {spec["library"] for spec in BACKBONES.values()} == set(LIBRARIES)


@pytest.mark.parametrize(("method", "name"), VALID)
def test_exactly_the_intended_weights_move_and_the_saved_model_answers_alike(
    bench: Bench, method: str, name: str
) -> None:
    training = bench.training(bench.recipe(name, {"kind": method}))
    before = {key: tensor.clone() for key, tensor in training.network.module.state_dict().items()}
    intended = meant_to_move(training)
    receipt = training.run()
    after = training.network.module.state_dict()
    weights = {key for key, _ in training.network.module.named_parameters()}
    assert receipt.steps == 3
    assert differing(before, after, weights) == intended
    statistics = before.keys() - weights
    assert differing(before, after, statistics) == (statistics if training.recipe.method.whole else set())
    assert bool(statistics) is (name == "cnn")
    kept = load_file(receipt.folder / "trained.safetensors")
    assert kept.keys() == intended | statistics
    assert not differing(kept, after, kept)
    inputs = inputs_of(training.rows)
    wanted = logits_of(training.network, inputs)
    assert (logits_of(saved.load(receipt.folder).network, inputs) - wanted).abs().max() <= 1e-6
    saved.restore(training.network, training.progress.best_state, "trained")
    warm = logits_of(training.network, inputs)
    assert receipt.target.temperature != 1, "it is in the head of the saved model, and nowhere else"
    assert torch.allclose(warm, wanted * receipt.target.temperature, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("method", "name"), [pair for pair in PAIRS if pair not in FITTING])
def test_a_method_that_needs_pretrained_weights_refuses_a_backbone_without(
    bench: Bench, method: str, name: str
) -> None:
    with pytest.raises(ValidationError, match="Use method=scratch, or a pretrained backbone"):
        bench.recipe(name, {"kind": method})


def test_bitfit_refuses_a_decoder_without_biases(bench: Bench) -> None:
    method, name = NO_BIAS
    with pytest.raises(GraftError, match=r"no bias in the trunk\. Use method=lora"):
        bench.training(bench.recipe(name, {"kind": method}))


CHILD = """
import json, sys
from pathlib import Path
from safetensors.torch import load_file, save_file
from tasks import saved
from tasks.backbones.network import logits_of
from tasks.prepare import Prepared, inputs_of, rows_of
for work in map(Path, json.loads(sys.argv[1])):
    data = Prepared.model_validate_json((work / "data.json").read_text())
    found = logits_of(saved.load(work / "model").network, inputs_of(rows_of(data, "train")))
    save_file({"logits": found}, work / "child.safetensors")
"""


def test_a_fresh_process_gives_the_same_logits_for_text_and_for_images(bench: Bench) -> None:
    works: list[Path] = []
    for name, method in (("encoder", {"kind": "lora", "dora": True}), ("cnn", {"kind": "full"})):
        recipe = bench.recipe(name, method)
        data, work, run_id = bench.start(recipe)
        training = Training(recipe, data, work, run_id)
        training.run()
        (work / "data.json").write_text(data.model_dump_json())
        save_file({"logits": logits_of(training.network, inputs_of(training.rows))}, work / "own.safetensors")
        works.append(work)
    root, nowhere = str(Path(__file__).parents[1]), str(bench.home / "nowhere")
    environment = os.environ | {"PYTHONPATH": root, "HF_HUB_OFFLINE": "1", "HF_HOME": nowhere}
    command = [sys.executable, "-c", CHILD, json.dumps([str(work) for work in works])]
    subprocess.run(command, env=environment, check=True, timeout=200)
    for work in works:
        own, child = (load_file(work / f"{whose}.safetensors")["logits"] for whose in ("own", "child"))
        assert (own - child).abs().max() <= 1e-6


def test_lora_on_a_cnn_takes_every_ungrouped_convolution_and_nothing_else(bench: Bench) -> None:
    plain = network(bench, "cnn").module
    ungrouped = {n for n, m in plain.named_modules() if isinstance(m, nn.Conv2d) and m.groups == 1}
    grouped = {n for n, m in plain.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1}
    assert grouped
    assert set(with_adapter(adapted(bench, "cnn"))) == ungrouped


@pytest.mark.parametrize("name", ["encoder", "gpt2", "llama", "cnn", "vit"])
def test_lora_without_targets_takes_all_that_fits_in_the_trunk(bench: Bench, name: str) -> None:
    found = network(bench, name)
    fits = [n for n, module in found.module.named_modules() if adaptable(module)]
    head = found.head[0]
    assert sorted(with_adapter(adapted(bench, name))) == sorted(n for n in fits if n.split(".")[0] != head)


@pytest.mark.parametrize(
    ("name", "layers", "blocks"),
    [
        ("encoder", 1, {"bert.encoder.layer.2", "bert.pooler"}),
        ("gpt2", 2, {"transformer.h.1", "transformer.h.2"}),
        ("llama", 1, {"model.layers.2"}),
        ("vit", 2, {"blocks.4", "blocks.5"}),
        ("cnn", 2, {"blocks.3", "blocks.4", "conv_head"}),
    ],
)
def test_layers_adapts_only_the_blocks_next_to_the_head(bench: Bench, name: str, layers: int, blocks: set[str]) -> None:
    names = with_adapter(adapted(bench, name, layers=layers))
    found = {n: [block for block in blocks if f"{n}.".startswith(f"{block}.")] for n in names}
    assert all(found.values())
    assert {block for of in found.values() for block in of} == blocks


def test_targets_name_the_ends_of_the_modules_to_adapt(bench: Bench) -> None:
    names = with_adapter(adapted(bench, "encoder", targets=("query", "value"), layers=2))
    inside = "bert.encoder.layer.{}.attention.self.{}"
    assert sorted(names) == [inside.format(layer, part) for layer in (1, 2) for part in ("query", "value")]


@pytest.mark.parametrize(
    ("name", "target", "said"),
    [
        ("encoder", "q_proj", r"'q_proj' matches no module .* Valid here: dense, key, query, value\."),
        ("encoder", "classifier", r"'classifier' matches no module .* Valid here: dense"),
        ("encoder", "LayerNorm", r"does not fit target 'LayerNorm' \(a LayerNorm\)"),
        ("cnn", "conv_dw", r"does not fit target 'conv_dw' \(a grouped Conv2d\)\. Valid here: .*conv_pw"),
    ],
)
def test_a_target_that_matches_nothing_or_does_not_fit_is_an_error_with_the_valid_ones(
    bench: Bench, name: str, target: str, said: str
) -> None:
    with pytest.raises(GraftError, match=said):
        adapted(bench, name, targets=(target,))


@pytest.mark.parametrize("name", ["encoder", "gpt2", "llama", "cnn", "vit"])
@pytest.mark.parametrize("rank", [2, 5])
def test_the_adapters_weights_are_counted_as_the_formula_has_them(bench: Bench, name: str, rank: int) -> None:
    by_hand = 0
    plain = network(bench, name)
    for place in (n for group in plain.groups for n in group):
        weight = plain.module.get_submodule(place).get_parameter("weight")
        # [out, in] or [out, in, k, k]: A is [r, in, k, k], B [out, r]; GPT-2's [in, out] gives the same sum
        by_hand += rank * (weight[0].numel() + weight.shape[0])
    wide = plain.module.get_submodule(plain.head[0]).get_parameter("weight").shape[1]
    bias = 0 if name in {"gpt2", "llama"} else 2
    assert count_trained(adapted(bench, name, rank=rank)) == (by_hand, 2 * wide + bias)


@pytest.mark.parametrize("name", ["encoder", "gpt2", "cnn"])
def test_dora_and_rslora_do_what_their_names_say(bench: Bench, name: str) -> None:
    plain, dora = adapted(bench, name, rank=4), adapted(bench, name, rank=4, dora=True)
    assert any("lora_magnitude_vector" in key for key, _ in dora.module.named_parameters())
    assert count_trained(dora)[0] > count_trained(plain)[0]
    scales: dict[Literal["plain", "rs"], set[float]] = {
        "plain": {m.scaling["default"] for m in plain.module.modules() if isinstance(m, LoraLayer)},
        "rs": {
            m.scaling["default"]
            for m in adapted(bench, name, rank=4, rslora=True).module.modules()
            if isinstance(m, LoraLayer)
        },
    }
    assert scales == {"plain": {32 / 4}, "rs": {32 / 2}}


@pytest.mark.parametrize("name", ["encoder", "cnn"])
def test_all_weights_train_without_dropout_where_that_is_asked_for_and_statistics_move_all_the_same(
    bench: Bench, name: str
) -> None:
    found = network(bench, name)
    pictures = [file.read_bytes() for file in sorted((bench.zoo / "pictures").rglob("*.png"))[:4]]
    inputs = found.encode({"text": ["good film", "bad"]} if name == "encoder" else {"image": pictures})
    dropped, kept = Full(kind="full"), Full(kind="full", dropout=False)
    kept.adapt(found)
    for method in (dropped, kept):
        for module in found.module.modules():  # as large as to be seen
            if isinstance(module, nn.Dropout):
                module.p = 0.5
        method.train_mode(found)
        once, again = (found.logits(inputs) for _ in range(2))
        drops = any(isinstance(module, nn.Dropout) for module in found.module.modules())
        assert torch.equal(once, again) == (method is kept or not drops)
    norms = [module for module in found.module.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.training for norm in norms)
    assert bool(norms) == (name == "cnn")
    assert all(weight.requires_grad for weight in found.module.parameters())


def test_only_the_adapters_dropout_is_active_while_lora_trains(bench: Bench) -> None:
    found = adapted(bench, "encoder", dropout=0.5)
    Lora(kind="lora", dropout=0.5).train_mode(found)
    active = [n for n, m in found.module.named_modules() if isinstance(m, nn.Dropout) and m.training]
    assert active
    assert all(".lora_dropout." in n for n in active)
    ids = torch.tensor([[2, 5, 6, 3]])
    assert found.module(input_ids=ids).logits.isfinite().all()
