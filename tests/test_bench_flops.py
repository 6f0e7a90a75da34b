"""The counted arithmetic against torch's own counter, on a tiny encoder."""

from typing import Any

import pytest
import torch
from small import Bench
from torch.utils.flop_counter import FlopCounterMode

from tasks.backbones.network import Network
from tasks.bench.flops import cost, of_training
from tasks.prepare import inputs_of, rows_of

pytest_plugins = ["small"]

ROW = {"text": ["the film was so very great and it is a play"]}
PRODUCTS = ("mm", "addmm")  # what linear maps become; attention's products are of another name
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"kind": "lora", "rank": 4},
    "upper block": {"kind": "lora", "rank": 4, "layers": 1},
    "probe": {"kind": "linear_probe"},
    "full": {"kind": "full"},
}


def network(bench: Bench, method: dict[str, Any], name: str = "encoder") -> Network:
    recipe = bench.recipe(name, method)
    made = recipe.backbone.load(target := bench.start(recipe)[0].target, {"text": []})
    assert target.outputs == 2
    recipe.method.adapt(made)
    made.module.eval()
    return made


@pytest.mark.parametrize("name", METHODS)
def test_a_row_costs_what_torch_counts_in_its_linear_maps(bench: Bench, name: str) -> None:
    made = network(bench, METHODS[name])
    batch = made.encode(ROW)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward(made.logits(batch).sum())
    counted = {operator.__name__: count for operator, count in counter.get_flop_counts()["Global"].items()}
    one = cost(made, ROW)

    assert one.token * batch["input_ids"].shape[1] + one.row == sum(counted.get(name, 0) for name in PRODUCTS)


def test_a_frozen_map_between_adapters_costs_four_by_weight_and_token_and_an_adapter_six(bench: Bench) -> None:
    made = network(bench, METHODS["lora"])
    frozen = trained = first = 0
    for name, weight in made.module.named_parameters():
        if weight.ndim == 2 and ".encoder.layer." in name:
            trained += weight.numel() * weight.requires_grad
            frozen += weight.numel() * (not weight.requires_grad)
            lowest = "layer.0.attention.self" in name and "lora_B" not in name
            first += weight.numel() * lowest  # their input is that of the whole trunk, below which nothing trains

    assert cost(made, ROW).token == 4 * frozen + 6 * trained - 2 * first


def test_below_the_lowest_adapter_nothing_goes_backward(bench: Bench) -> None:
    lower = cost(network(bench, METHODS["probe"]), ROW).token
    upper = cost(network(bench, METHODS["upper block"]), ROW).token
    whole = cost(network(bench, METHODS["lora"]), ROW).token

    assert lower < upper < whole < 3 * lower


def test_a_training_costs_its_real_tokens_whatever_the_batches(bench: Bench) -> None:
    recipe = bench.recipe("encoder", METHODS["lora"])
    data = bench.start(recipe)[0]
    inputs = inputs_of(rows_of(data, "train"))
    made = network(bench, METHODS["lora"])
    lengths, one = made.lengths(inputs), cost(made, ROW)

    assert of_training(recipe, data.target, inputs) == one.token * lengths.sum() + one.row * len(lengths)


def test_pictures_are_not_counted(bench: Bench) -> None:
    recipe = bench.recipe("cnn", METHODS["lora"])
    data = bench.start(recipe)[0]

    assert of_training(recipe, data.target, inputs_of(rows_of(data, "train"))) == 0


def test_the_network_is_left_as_it_was(bench: Bench) -> None:
    made = network(bench, METHODS["lora"])
    cost(made, ROW)

    assert not any(module._forward_hooks for module in made.module.modules())
    assert all(weight.grad is None for weight in made.module.parameters())
    assert torch.is_grad_enabled()
