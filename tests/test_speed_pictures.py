"""The means of speed for convolutions: the same logits, gradients and trainings, and where they are left alone."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from peft.tuners.lora.layer import Conv2d
from small import TARGET, Bench, close, differing
from torch import Tensor, nn

from tasks.backbones import Backbone
from tasks.backbones.network import Network, Rows, logits_of
from tasks.compose import check
from tasks.methods import BitFit, Full, LinearProbe, Lora, MethodSpec, Scratch
from tasks.speed import channels_last, folded, heap, lora_linear
from tasks.speed.quick import answering, quicken, slow_down

pytest_plugins = ["small"]

LORA, PROBE, BITFIT = Lora(kind="lora", rank=4), LinearProbe(kind="linear_probe"), BitFit(kind="bitfit")
METHODS = (LORA, Lora(kind="lora", rank=4, layers=1), PROBE, BITFIT, Full(kind="full"))
ALONE = ("channels_last", "lora_linear", "folded")
MEANS = (*ALONE, "channels_last,lora_linear", "lora_linear,folded", "all")


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        yield


def adapted(bench: Bench, name: str, method: MethodSpec) -> tuple[Network, Rows]:
    """In eval mode, all that trains and all statistics at random; with two dozen pictures."""
    rows: Rows = {"image": [file.read_bytes() for file in sorted((bench.zoo / "pictures").rglob("*.png"))]}
    found: Network = check(Backbone, bench.backbone(name), "test").load(TARGET, rows)
    method.adapt(found)
    for weight in found.module.parameters():
        if weight.requires_grad:
            nn.init.normal_(weight, std=0.1)
    for norm in norms(found):
        nn.init.normal_(norm.running_mean, std=0.1)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
    found.module.eval()
    return found, rows


def norms(found: Network) -> list[Any]:
    return [child for child in found.module.modules() if isinstance(child, nn.BatchNorm2d)]


def answered(found: Network, rows: Rows) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits of all rows, and all gradients of a loss that weighs each logit otherwise."""
    found.module.zero_grad()
    logits = found.logits(found.encode(rows))
    loss: Any = (logits * torch.linspace(-1, 2, logits.numel()).view_as(logits)).mean()
    loss.backward()
    return logits.detach(), {name: w.grad for name, w in found.module.named_parameters() if w.grad is not None}


def same(one: tuple[Tensor, dict[str, Tensor]], two: tuple[Tensor, dict[str, Tensor]]) -> bool:
    """Whether two answers have the same logits and gradients; the latter not all near 0."""
    (logits, gradients), (others, own) = one, two
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    assert largest > 0.01
    alike = gradients.keys() == own.keys() and close(logits, others, float(logits.abs().max()))
    return alike and all(close(gradients[name], own[name], largest) for name in gradients)


@pytest.mark.parametrize("means", MEANS)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.kind} {getattr(method, 'layers', '')}")
def test_logits_and_gradients_are_those_of_the_plain_path(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, method: MethodSpec, means: str
) -> None:
    found, rows = adapted(bench, "cnn", method)
    plain = answered(found, rows)
    monkeypatch.setenv("GRAFT_MEANS", means)
    swapped = quicken(found, rows)
    fits = {"channels_last"} | ({"lora_linear", "folded"} if isinstance(method, Lora) else set())
    fits |= {"folded"} if isinstance(method, LinearProbe) else set()
    assert bool(swapped) == (means == "all" or bool(fits & {*means.split(",")}))
    assert same(plain, answered(found, rows))


def test_with_statistics_of_the_batch_too(bench: Bench) -> None:
    ended = {}
    for quick in (False, True):
        torch.manual_seed(5)
        found, rows = adapted(bench, "cnn", Full(kind="full"))
        if quick:
            assert quicken(found, rows)
        found.module.train()
        ended[quick] = answered(found, rows), [norm.running_var.clone() for norm in norms(found)]
    assert same(ended[True][0], ended[False][0])
    pairs = zip(ended[True][1], ended[False][1], strict=True)
    assert all(torch.allclose(one, other, rtol=1e-5, atol=1e-5) for one, other in pairs)


def test_a_cnn_from_scratch_answers_and_learns_the_same(bench: Bench) -> None:
    found, rows = adapted(bench, "scratch cnn", Scratch(kind="scratch"))
    plain = answered(found, rows)
    assert quicken(found, rows)
    assert same(plain, answered(found, rows))


@pytest.mark.parametrize("method", [LORA, PROBE], ids=lambda method: method.kind)
def test_no_norm_runs_any_more_but_behind_a_larger_convolution_with_an_adapter(
    bench: Bench, method: MethodSpec
) -> None:
    found, rows = adapted(bench, "cnn", method)
    layers: list[Any] = [module for module in found.module.modules() if isinstance(module, Conv2d)]
    left = sum(layer.base_layer.kernel_size != (1, 1) for layer in layers)
    quicken(found, rows)
    ran: list[Any] = []

    def counted(x: Tensor, *_: Any, **__: Any) -> Tensor:
        ran.append(x)
        return x

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "batch_norm", counted)
        found.logits(found.encode(rows))
    assert len(norms(found)) > left
    assert len(ran) == left


@pytest.mark.parametrize("method", [BITFIT, Full(kind="full")], ids=lambda method: method.kind)
def test_a_norm_that_trains_is_not_folded(bench: Bench, method: MethodSpec) -> None:
    found, rows = adapted(bench, "cnn", method)
    assert not folded.swaps(found, rows)


def test_a_norm_between_which_and_its_layer_something_else_reads_is_not_folded(bench: Bench) -> None:
    found, rows = adapted(bench, "cnn", PROBE)
    plain = logits_of(found, rows)
    kinds = [type(module) for module in found.module.modules()]
    stem: Any = found.module.get_submodule("conv_stem")
    given: list[Tensor] = []
    stem.register_forward_hook(lambda _, __, out: given.append(out))
    found.module.get_submodule("bn1").register_forward_hook(lambda _, __, out: out + given.pop())
    assert not torch.allclose(logits_of(found, rows), plain, rtol=1e-3, atol=1e-3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_MEANS", "folded")
        assert not quicken(found, rows)
    assert [type(module) for module in found.module.modules()] == kinds


def test_only_convolutions_of_one_pixel_become_linear_maps(bench: Bench) -> None:
    found, _ = adapted(bench, "cnn", LORA)
    layers: list[Any] = [module for module in found.module.modules() if isinstance(module, Conv2d)]
    sizes = {layer: layer.base_layer.kernel_size for layer in layers}
    swapped = lora_linear.swaps(found.module)
    assert {size for layer, size in sizes.items() if layer in swapped} == {(1, 1)}
    assert all(size != (1, 1) for layer, size in sizes.items() if layer not in swapped)
    assert len(sizes) > len(swapped)


def test_a_layer_whose_adapter_is_merged_or_switched_off_answers_as_peft_does(bench: Bench) -> None:
    found, rows = adapted(bench, "cnn", LORA)
    peft_model: Any = found.module
    with peft_model.disable_adapter():
        without = logits_of(found, rows)
    plain = logits_of(found, rows)
    quicken(found, rows)
    with peft_model.disable_adapter():
        assert close(logits_of(found, rows), without, float(without.abs().max()))
    assert close(logits_of(found, rows), plain, float(plain.abs().max()))
    assert not torch.allclose(plain, without, rtol=1e-2, atol=1e-2)


def test_slowed_down_a_network_is_of_its_own_classes_again_and_no_weight_has_changed(bench: Bench) -> None:
    found, rows = adapted(bench, "cnn", LORA)
    kinds = [type(module) for module in found.module.modules()]
    before = {name: tensor.clone() for name, tensor in found.module.state_dict().items()}
    plain = logits_of(found, rows)
    swapped = quicken(found, rows)
    logits_of(found, rows)
    state = found.module.state_dict()
    assert [*state] == [*before]
    assert not differing(state, before, before)
    assert all(tensor.is_contiguous() for tensor in state.values())
    slow_down(swapped)
    assert [type(module) for module in found.module.modules()] == kinds
    assert torch.equal(logits_of(found, rows), plain)


def test_maps_go_from_layer_to_layer_with_their_channels_side_by_side(bench: Bench) -> None:
    found, rows = adapted(bench, "cnn", LORA)
    quicken(found, rows)
    orders: dict[str, bool] = {}
    for name, module in found.module.named_modules():
        if isinstance(module, nn.Conv2d) and "lora" not in name:
            module.register_forward_hook(
                lambda _, __, out, name=name: orders.update(
                    {name: out.is_contiguous(memory_format=torch.channels_last)}
                )
            )
    logits_of(found, rows)
    assert orders
    assert all(orders.values())


@pytest.mark.parametrize("method", ["lora", "linear_probe", "bitfit"])
def test_trained_the_plain_way_the_weights_are_the_same_but_for_rounding(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    recipe = bench.recipe("cnn", {"kind": method, "learning_rate": 0.001}, epochs=2)
    ended = {}
    for means in ("all", "none"):
        monkeypatch.setenv("GRAFT_MEANS", means)
        training = bench.training(recipe.model_copy(update={"name": means, "seed": 1}))
        training.run()
        ended[means] = {name: tensor.detach().clone() for name, tensor in training.network.module.state_dict().items()}
        bench.home = bench.home / means
        monkeypatch.setenv("GRAFT_HOME", str(bench.home))
    assert differing(ended["all"], ended["none"], ended["all"])
    for name, weight in ended["all"].items():
        assert torch.allclose(weight.float(), ended["none"][name].float(), rtol=1e-3, atol=1e-4), name


def test_the_means_for_pictures_leave_a_text_network_alone(bench: Bench) -> None:
    rows: Rows = {"text": ["a fine film", "poor"]}
    found: Network = check(Backbone, bench.backbone("encoder"), "test").load(TARGET, rows)
    assert not channels_last.swaps(found.module)
    assert not folded.swaps(found, rows)


@pytest.mark.parametrize("method", METHODS[:4], ids=lambda method: f"{method.kind} {getattr(method, 'layers', '')}")
def test_answered_quickly_the_logits_are_those_of_the_plain_path_and_nothing_stays(
    bench: Bench, method: MethodSpec
) -> None:
    found, rows = adapted(bench, "cnn", method)
    kinds = [type(module) for module in found.module.modules()]
    before = {key: tensor.clone() for key, tensor in found.module.state_dict().items()}
    plain = logits_of(found, rows)
    with answering(found, rows, fewest=1):
        quick = logits_of(found, rows)
        if isinstance(method, Lora):
            assert sum("Empty" in type(norm).__name__ for norm in norms(found)) == len(norms(found))
    assert close(quick, plain, float(plain.abs().max()))
    assert [type(module) for module in found.module.modules()] == kinds
    assert not differing(found.module.state_dict(), before, before)
    assert torch.equal(logits_of(found, rows), plain)


def test_to_keep_the_heap_changes_no_result(bench: Bench) -> None:
    found, rows = adapted(bench, "cnn", LORA)
    plain = logits_of(found, rows)
    heap.keep(found.module)
    assert torch.equal(logits_of(found, rows), plain)
