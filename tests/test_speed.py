"""Every mean of speed against the plain path: the same logits and gradients, in the networks that it fits alone."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from peft import LoraConfig
from peft.tuners.lora.layer import Linear
from small import TARGET, Bench, close, differing, sentences
from torch import Tensor, nn

from tasks.backbones import Backbone, first_token
from tasks.backbones.network import Network, logits_of
from tasks.compose import check
from tasks.frozen import GraftError
from tasks.methods import Lora
from tasks.speed import lora_linear
from tasks.speed.means import MEANS, wanted
from tasks.speed.quick import ANSWERING, answering, quicken, slow_down

pytest_plugins = ["small"]

TEXTS = {"text": [text for text, _ in sentences(32, seed=3)]}
TEXT_NETWORKS = ("encoder", "gpt2", "llama", "scratch transformer")


def network(bench: Bench, name: str, **lora: Any) -> Network:
    """With adapters of which both halves are random, as after some training; without dropout of its own."""
    found: Network = check(Backbone, bench.backbone(name), "test").load(TARGET, TEXTS)
    if lora.pop("adapted", True):
        Lora.model_validate({"kind": "lora", "rank": 4} | lora).adapt(found)
        for weight in found.module.parameters():
            if weight.requires_grad:
                nn.init.normal_(weight, std=0.1)
    found.module.eval()
    return found


def answered(found: Network, mean: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits of rows of several lengths in one batch, and all gradients of a loss that weighs each logit otherwise.

    Of `mean` it is the mean over the rows, as in a training, instead of their sum.
    """
    found.module.zero_grad()
    logits = found.logits(found.encode(TEXTS))
    loss: Any = (logits * torch.linspace(-1, 2, logits.numel()).view_as(logits)).sum()
    (loss / len(logits) if mean else loss).backward()
    return logits.detach(), {name: w.grad for name, w in found.module.named_parameters() if w.grad is not None}


def exactly(found: Network) -> tuple[Tensor, dict[str, Tensor]]:
    """The same of the plain path in 64 bits, rounded at the end: in 32 it is off itself, by the processor's order."""
    found.module.double()
    logits, gradients = answered(found)
    found.module.float()
    return logits.float(), {name: gradient.float() for name, gradient in gradients.items()}


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        yield


@pytest.mark.parametrize("mean", ["first_token", "lora_linear", "all"])
@pytest.mark.parametrize("options", [{}, {"layers": 1}, {"rslora": True, "alpha": 3.0}, {"adapted": False}], ids=str)
def test_logits_and_gradients_are_those_of_the_plain_path(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, mean: str, options: dict[str, Any]
) -> None:
    found = network(bench, "encoder", **options)
    plain, gradients = exactly(found)
    monkeypatch.setenv("GRAFT_MEANS", mean)
    swapped = quicken(found, TEXTS)
    assert bool(swapped) == (mean != "lora_linear" or options.get("adapted", True))
    quick, quick_gradients = answered(found)
    assert close(quick, plain)
    assert quick_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert close(quick_gradients[name], gradient), name
    assert any(gradient.abs().max() > 0.01 for gradient in gradients.values())


@pytest.mark.parametrize("name", TEXT_NETWORKS)
def test_whatever_the_network_all_means_together_leave_its_answers_as_they_are(bench: Bench, name: str) -> None:
    found = network(bench, name, adapted=name != "scratch transformer")
    plain, gradients = answered(found, mean=True)  # a sum's are as large as 70: the plain path's rounding is over 1e-5
    quicken(found, TEXTS)
    quick, quick_gradients = answered(found, mean=True)
    assert close(quick, plain)
    assert all(close(quick_gradients[name], gradients[name]) for name in gradients)


def test_the_last_block_answers_for_one_token_and_the_blocks_before_it_for_all(bench: Bench) -> None:
    found = network(bench, "encoder")
    sizes: list[int] = []
    for block in found.module.get_submodule("base_model.model.bert.encoder.layer").children():
        block.register_forward_hook(lambda _, __, out: sizes.append(out.shape[1]))
    quicken(found, TEXTS)
    sizes.clear()
    batch = found.encode(TEXTS)
    found.logits(batch)
    length = batch["input_ids"].shape[1]
    assert length > 1
    assert sizes == [length, length, 1]


def test_a_head_that_reads_more_than_the_first_token_keeps_its_network_as_it_was(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_MEANS", "first_token")
    found = network(bench, "encoder", adapted=False)
    pooler = found.module.get_submodule("bert.pooler")
    pooler.register_forward_pre_hook(lambda _, given: (given[0].mean(1, keepdim=True),))
    kinds = [type(module) for module in found.module.modules()]
    assert first_token.swaps(found.module)
    assert not quicken(found, TEXTS)
    assert [type(module) for module in found.module.modules()] == kinds


def test_slowed_down_a_network_is_of_its_own_classes_again_and_no_weight_has_another_name(bench: Bench) -> None:
    found = network(bench, "encoder")
    kinds, before = [type(module) for module in found.module.modules()], found.module.state_dict()
    plain = logits_of(found, TEXTS)
    swapped = quicken(found, TEXTS)
    state = found.module.state_dict()
    assert [*state] == [*before]
    assert not differing(state, before, before)
    assert {type(module) for module in found.module.modules()} - set(kinds)
    slow_down(swapped)
    assert [type(module) for module in found.module.modules()] == kinds
    assert torch.equal(logits_of(found, TEXTS), plain)


@pytest.mark.parametrize(("merges", "rows"), [(False, 30), (True, 300)])
@pytest.mark.parametrize(("small", "rank"), [(False, 2), (True, 16)])
def test_by_each_short_cut_an_adapter_gets_the_gradients_of_the_plain_path(
    merges: bool, rows: int, small: bool, rank: int
) -> None:
    base, given = nn.Linear(40, 96), torch.randn(2, rows // 2, 40)
    layer: Any = Linear(base, "default", config=LoraConfig(r=rank, lora_alpha=3), r=rank, lora_alpha=3)
    nn.init.normal_(layer.lora_B["default"].weight)
    base.requires_grad_(False)
    assert merges == (rows * 136 > lora_linear.PAYS * base.weight.numel())
    assert small == (base.weight.numel() <= lora_linear.SMALL * rank * 136)
    ended = {}
    for kind in (Linear, *lora_linear.swaps(layer).values()):
        layer.__class__ = kind
        layer.zero_grad()
        x = given.clone().requires_grad_()
        out = layer(x)
        (out * torch.linspace(-1, 2, out.numel()).view_as(out)).sum().div(rows).backward()
        ended[kind] = [out.detach(), x.grad, *(weight.grad for weight in layer.parameters() if weight.requires_grad)]
    plain, quick = ended.values()
    assert len(quick) == 4
    for one, two in zip(plain, quick, strict=True):
        assert float(two.abs().max()) > 0.01
        assert close(one, two)


def test_in_16_bits_logits_and_gradients_are_no_further_from_exact_ones_than_the_plain_paths(bench: Bench) -> None:
    found = network(bench, "encoder")
    logits, gradients = exactly(found)

    def errors() -> tuple[float, float]:
        """Of the logits and of all gradients, as shares of their size."""
        with torch.autocast("cpu", torch.bfloat16):
            own, told = answered(found)
        far = sum(float((told[name].double() - one).square().sum()) for name, one in gradients.items())
        size = sum(float(one.double().square().sum()) for one in gradients.values())
        return float((own.double() - logits).norm() / logits.norm()), (far / size) ** 0.5

    plain = errors()
    quicken(found, TEXTS)
    quick = errors()
    assert quick != plain, "it is another path"
    assert all(1e-4 < one <= 1.1 * other < 0.1 for one, other in zip(quick, plain, strict=True))


def test_in_16_bits_a_frozen_map_is_rounded_once_and_forgotten_with_the_quick_class(bench: Bench) -> None:
    found = network(bench, "encoder")
    swapped = quicken(found, TEXTS)
    layers: list[Any] = [layer for layer in swapped if isinstance(layer, lora_linear.LoraLinear)]
    with torch.autocast("cpu", torch.bfloat16):
        with torch.inference_mode():
            found.logits(found.encode(TEXTS))
        first = [layer.kept.copy() for layer in layers]
        answered(found)
    assert len(layers) == 3 * 6 + 1  # and what stands before the head
    for layer, own in zip(layers, first, strict=True):
        ((kind, (weight, bias)),) = layer.kept.items()
        assert kind == (torch.bfloat16, torch.device("cpu"))
        assert torch.equal(weight, layer.base_layer.weight.bfloat16()) and bias is not None
        assert weight is own[kind][0]
    slow_down(swapped)
    assert not any(hasattr(layer, "kept") for layer in layers)


def test_in_16_bits_an_adapters_small_part_is_not_lost_in_the_rounding_of_its_layer() -> None:
    base = nn.Linear(64, 64, bias=False)
    layer: Any = Linear(base, "default", config=LoraConfig(r=2, lora_alpha=2), r=2, lora_alpha=2)
    nn.init.normal_(base.weight)
    nn.init.normal_(layer.lora_B["default"].weight, std=0.002)
    base.requires_grad_(False)
    rows = torch.randn(512, 64)  # as many as are one product with the layer in 32 bits
    part = rows @ (layer.lora_B["default"].weight @ layer.lora_A["default"].weight).t()
    (layer.__class__,) = lora_linear.swaps(layer).values()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        low = rows.bfloat16() @ layer.lora_A["default"].weight.bfloat16().t()
        rounded = layer(rows) - base(rows)
    assert float(base.weight.abs().mean()) * 2**-9 > float(part.abs().mean()) / 64**0.5, (
        "each weight's is below rounding"
    )
    assert low.abs().mean() > 0
    assert torch.corrcoef(torch.stack([rounded.float().flatten(), part.flatten()]))[0, 1] > 0.2


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"dora": True}], ids=str)
def test_an_adapter_of_another_kind_keeps_its_own_forward(bench: Bench, options: dict[str, Any]) -> None:
    assert not lora_linear.swaps(network(bench, "encoder", **options).module)


def test_a_gpt2_map_whose_weight_is_transposed_keeps_its_own_forward(bench: Bench) -> None:
    found = network(bench, "gpt2")
    assert any(isinstance(module, Linear) for module in found.module.modules())
    assert not lora_linear.swaps(found.module)


def test_a_layer_whose_adapter_is_merged_or_switched_off_answers_as_peft_does(bench: Bench) -> None:
    found = network(bench, "encoder")
    peft_model: Any = found.module
    with peft_model.disable_adapter():
        without = logits_of(found, TEXTS)
    plain = logits_of(found, TEXTS)
    quicken(found, TEXTS)
    with peft_model.disable_adapter():
        assert close(logits_of(found, TEXTS), without)
    peft_model.merge_adapter()
    assert torch.allclose(logits_of(found, TEXTS), plain, rtol=1e-4, atol=1e-4)
    peft_model.unmerge_adapter()
    assert not torch.allclose(plain, without, rtol=1e-2, atol=1e-2)


def test_a_training_is_quick_until_it_ends_and_its_saved_model_is_plain(bench: Bench) -> None:
    training = bench.training(bench.recipe("encoder", {"kind": "lora"}))
    assert training.quickened
    training.run()
    assert {type(module) for module in training.quickened} == set(training.quickened.values())


def test_trained_the_plain_way_the_weights_are_the_same_but_for_rounding(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = bench.recipe("encoder", {"kind": "lora", "learning_rate": 0.01}, epochs=3)
    ended = {}
    for means in ("all", "none"):
        monkeypatch.setenv("GRAFT_MEANS", means)
        training = bench.training(recipe.model_copy(update={"name": means, "seed": 1}))
        training.run()
        ended[means] = {n: w.detach().clone() for n, w in training.network.module.named_parameters() if w.requires_grad}
        bench.home = bench.home / means
        monkeypatch.setenv("GRAFT_HOME", str(bench.home))
    assert differing(ended["all"], ended["none"], ended["all"])
    for name, weight in ended["all"].items():
        assert torch.allclose(weight, ended["none"][name], rtol=1e-3, atol=1e-4), name


def test_an_unknown_mean_is_named_and_the_valid_ones_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_MEANS", "first_token,warp")
    with pytest.raises(GraftError, match="'warp'.*all, none.*kept_heap, first_token"):
        wanted()
    monkeypatch.setenv("GRAFT_MEANS", "none")
    assert wanted() == ()
    monkeypatch.delenv("GRAFT_MEANS")
    assert wanted() == MEANS


# While many rows are answered.


@pytest.mark.parametrize("options", [{}, {"layers": 1}, {"rslora": True, "alpha": 3.0}, {"dropout": 0.5}], ids=str)
@pytest.mark.parametrize("name", ["encoder", "gpt2", "llama"])
def test_answered_quickly_the_logits_are_those_of_the_plain_path_and_nothing_stays(
    bench: Bench, name: str, options: dict[str, Any]
) -> None:
    found = network(bench, name, **options)
    kinds = [type(module) for module in found.module.modules()]
    before = {key: tensor.clone() for key, tensor in found.module.state_dict().items()}
    plain = logits_of(found, TEXTS)
    with answering(found, TEXTS, fewest=1):
        assert [type(module) for module in found.module.modules()] != kinds
        quick = logits_of(found, TEXTS)
    assert close(quick, plain)
    assert [type(module) for module in found.module.modules()] == kinds
    assert not differing(found.module.state_dict(), before, before)
    assert torch.equal(logits_of(found, TEXTS), plain)


def test_while_rows_are_answered_no_adapter_runs(bench: Bench) -> None:
    found = network(bench, "encoder")
    ran: list[str] = []
    for name, module in found.module.named_modules():
        if name.endswith(("lora_A.default", "lora_B.default")):
            module.register_forward_hook(lambda _, __, ___, name=name: ran.append(name))
    with answering(found, TEXTS, fewest=1):
        ran.clear()
        logits_of(found, TEXTS)
        assert not ran
    logits_of(found, TEXTS)
    assert ran


@pytest.mark.parametrize("options", [{"dora": True}, {"adapted": False}], ids=str)
def test_an_adapter_that_is_more_than_a_sum_answers_for_itself(bench: Bench, options: dict[str, Any]) -> None:
    found = network(bench, "encoder", **options)
    swapped = quicken(found, TEXTS, {"merged": ANSWERING["merged"]})
    assert not swapped


def test_a_failure_while_rows_are_answered_leaves_the_network_plain(bench: Bench) -> None:
    found = network(bench, "encoder")
    kinds = [type(module) for module in found.module.modules()]
    with pytest.raises(KeyError), answering(found, TEXTS, fewest=1):
        raise KeyError
    assert [type(module) for module in found.module.modules()] == kinds
