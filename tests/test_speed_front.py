"""The frozen front run once a row: where it ends, the same logits, gradients and trainings, when it is left alone."""

import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import TARGET, Bench, sentences
from torch import Tensor

from tasks.backbones import Backbone
from tasks.backbones.network import Network, Rows, logits_of
from tasks.compose import check
from tasks.frozen import GraftError
from tasks.methods import BitFit, Full, LinearProbe, Lora, MethodSpec
from tasks.speed import features
from tasks.speed.behind import Behind
from tasks.speed.cut import Cut, find
from tasks.speed.features import Features, remember
from tasks.speed.quick import quicken
from tasks.train import Training

pytest_plugins = ["small"]

TEXTS = {"text": [text for text, _ in sentences(24, seed=3)]}
TOP = Lora(kind="lora", rank=4, layers=1)
PROBE = LinearProbe(kind="linear_probe")
NETWORKS = ("encoder", "gpt2", "llama", "cnn")


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        yield


def adapted(bench: Bench, name: str, method: MethodSpec) -> tuple[Network, Rows]:
    """In eval mode, all that trains at random; with two dozen rows."""
    found: Network = check(Backbone, bench.backbone(name), "test").load(TARGET, TEXTS)
    method.adapt(found)
    for weight in found.module.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1)
    found.module.eval()
    files = sorted((bench.zoo / "pictures").rglob("*.png"))
    rows: Rows = {"image": [file.read_bytes() for file in files]} if found.augmented else TEXTS
    return found, found.ready(rows)


def fronted(bench: Bench, name: str, method: MethodSpec, file: Path) -> tuple[Network, Rows, Cut, Features]:
    """The same with the place where its front ends, and what that gives for each row."""
    found, rows = adapted(bench, name, method)
    cut = find(found, rows)
    assert cut
    kept = remember(found, cut, rows, file)
    assert kept
    return found, rows, cut, kept


def named(found: Network, cut: Cut | None) -> str:
    """The cut's place without peft's prefix."""
    assert cut
    assert found.module.get_submodule(cut.place) is cut.last
    return cut.place.removeprefix("base_model.model.")


def answered(found: Network, rows: Rows) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits of all rows in one batch, and the gradients of a loss that weighs each of them otherwise."""
    found.module.zero_grad()
    batch = found.encode({name: [column[row] for row in range(len(column))] for name, column in rows.items()})
    logits = found.logits(batch)
    loss: Any = (logits * torch.linspace(-1, 2, logits.numel()).view_as(logits)).sum()
    loss.backward()
    return logits.detach(), {n: w.grad.clone() for n, w in found.module.named_parameters() if w.grad is not None}


@pytest.mark.parametrize(
    ("name", "method", "place"),
    [
        ("encoder", TOP, "bert.encoder.layer.1"),
        ("encoder", PROBE, "dropout"),
        ("gpt2", TOP, "transformer.h.1"),
        ("gpt2", PROBE, "transformer.ln_f"),
        ("llama", TOP, "model.layers.1"),
        ("llama", PROBE, "model.norm"),
        ("cnn", PROBE, "global_pool"),
    ],
    ids=str,
)
def test_the_front_ends_where_the_first_weight_that_trains_is_next(
    bench: Bench, name: str, method: MethodSpec, place: str
) -> None:
    found, rows = adapted(bench, name, method)
    assert named(found, find(found, rows)) == place


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("method", [TOP, PROBE], ids=lambda method: method.kind)
@pytest.mark.parametrize("name", NETWORKS)
def test_behind_the_front_logits_and_gradients_are_those_of_the_whole_network(
    bench: Bench, tmp_path: Path, name: str, method: MethodSpec, quick: bool
) -> None:
    found, rows = adapted(bench, name, method)
    plain, gradients = answered(found, rows)
    if quick:
        quicken(found, rows if found.augmented else TEXTS)
    cut = find(found, rows)
    assert cut
    kept = remember(found, cut, rows, tmp_path / "rows.f32")
    assert kept
    behind = Behind.of(found, cut)
    own = {"features": kept} if found.augmented else {**rows, "features": kept}
    logits, own_gradients = answered(behind, own)
    assert torch.allclose(logits, plain, rtol=1e-5, atol=1e-5)
    assert own_gradients.keys() == gradients.keys()
    assert all(torch.allclose(own_gradients[n], gradients[n], rtol=1e-5, atol=1e-5) for n in gradients)
    assert torch.allclose(logits_of(behind, own), logits_of(found, rows), rtol=1e-5, atol=1e-5)
    assert not any("forward" in vars(module) for module in found.module.modules())


def test_the_front_does_not_run_behind_the_cut(bench: Bench, tmp_path: Path) -> None:
    found, rows, cut, kept = fronted(bench, "encoder", TOP, tmp_path / "rows.f32")
    ran: list[str] = []
    for name, module in found.module.named_modules():
        module.register_forward_pre_hook(lambda _, __, name=name: ran.append(name))
    logits_of(Behind.of(found, cut), {**rows, "features": kept})
    assert any("layer.2" in name for name in ran)
    assert not [name for name in ran if "layer.0." in name or "embeddings." in name]


@pytest.mark.parametrize("method", [Full(kind="full"), BitFit(kind="bitfit"), Lora(kind="lora")], ids=lambda m: m.kind)
def test_where_the_first_block_trains_there_is_no_front(bench: Bench, method: MethodSpec) -> None:
    found, rows = adapted(bench, "encoder", method)
    assert find(found, rows) is None


@pytest.mark.parametrize("layers", [None, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_adapter_that_still_adds_nothing_does_not_hide_what_it_reads(
    bench: Bench, name: str, layers: int | None
) -> None:
    found: Network = check(Backbone, bench.backbone(name), "test").load(TARGET, TEXTS)
    Lora(kind="lora", rank=4, layers=layers).adapt(found)
    found.module.eval()
    _, rows = adapted(bench, name, TOP)
    before = {key: tensor.clone() for key, tensor in found.module.state_dict().items()}
    cut = find(found, rows)
    assert not cut or "base_layer" not in named(found, cut)
    assert cut or layers is None or name == "cnn"
    assert all(torch.equal(tensor, before[key]) for key, tensor in found.module.state_dict().items())


def test_a_layer_that_something_behind_the_cut_needs_again_is_not_cut_off(bench: Bench) -> None:
    found, rows = adapted(bench, "encoder", PROBE)
    bert = found.module.get_submodule("bert")
    given: list[Tensor] = []
    bert.get_submodule("encoder.layer.0").register_forward_hook(lambda _, __, out: given.append(out))
    bert.get_submodule("pooler").register_forward_pre_hook(lambda _, args: (args[0] + given[-1],))
    before = logits_of(found, rows)
    cut = find(found, rows)
    assert cut is None or named(found, cut) != "bert.encoder.layer.2"
    assert torch.equal(logits_of(found, rows), before)


# What is kept.


def test_features_are_read_as_they_were_written_also_by_another_process(bench: Bench, tmp_path: Path) -> None:
    found, rows, cut, kept = fronted(bench, "encoder", TOP, tmp_path / "rows.f32")
    with torch.inference_mode():
        one = found.encode({name: [column[5]] for name, column in rows.items()})
        alone = cut.features(found, one)[0]
    assert kept[5].shape == (found.lengths(rows)[5], 32)
    assert np.allclose(kept[5], alone, rtol=1e-5, atol=1e-5)
    again = pickle.loads(pickle.dumps(kept))  # noqa: S301  what worker processes get
    assert all(np.array_equal(again[row], kept[row]) for row in range(len(kept)))


def test_features_that_are_there_are_used_and_a_part_is_made_anew(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "rows.f32"
    (tmp_path / "rows.part").write_bytes(b"killed while it was written")
    found, rows, cut, kept = fronted(bench, "encoder", PROBE, file)
    assert not (tmp_path / "rows.part").exists()
    first = kept[3].copy()
    file.write_bytes(np.full(len(kept) * 32, 7, np.float32).tobytes())
    used = remember(found, cut, rows, file)
    assert used and (used[3] == 7).all()
    file.write_bytes(b"1234")
    anew = remember(found, cut, rows, file)
    assert anew and np.array_equal(anew[3], first)


def test_a_file_cut_short_is_an_error_that_says_what_to_do(bench: Bench, tmp_path: Path) -> None:
    _, _, _, kept = fronted(bench, "encoder", PROBE, tmp_path / "rows.f32")
    os.truncate(kept.file, 100)
    with pytest.raises(GraftError, match="cut short. Delete it"):
        kept[23]


def test_rows_of_one_length_are_kept_by_token_too_so_that_others_fit(bench: Bench) -> None:
    found, _ = adapted(bench, "encoder", TOP)
    cut = find(found, found.ready({"text": ["the film was fine"] * 4}))
    assert cut and cut.by_token


def test_a_row_of_another_shape_is_an_error_and_never_written_over_the_next(bench: Bench, tmp_path: Path) -> None:
    found, rows, cut, _ = fronted(bench, "encoder", TOP, tmp_path / "rows.f32")
    with pytest.raises(GraftError, match=r"row \d+ features .* report the backbone"):
        remember(found, replace(cut, by_token=False), rows, tmp_path / "other.f32")
    assert not (tmp_path / "other.f32").exists()


def test_where_the_disk_is_too_small_rows_stay_raw(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(features, "SHARE", 1e-15)
    training = bench.training(bench.recipe("encoder", PROBE.model_dump(), epochs=2))
    training.run()
    assert training.judged is training.scored
    assert not list(tmp_path.rglob("*.f32"))


# Trainings.


def run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, method: MethodSpec, means: str, **schedule: Any
) -> Training:
    """In a home of its own; three epochs."""
    home = bench.home / means
    home.mkdir()
    monkeypatch.setenv("GRAFT_HOME", str(home))
    monkeypatch.setenv("GRAFT_MEANS", means)
    own, told = Bench(bench.zoo, home), method.model_dump() | {"learning_rate": 0.01}
    training = own.training(own.recipe(name, told, **{"epochs": 3, "keep": "last", **schedule}))
    training.run()
    return training


def weights(training: Training) -> dict[str, Tensor]:
    return {n: w.detach() for n, w in training.network.module.named_parameters() if w.requires_grad}


@pytest.mark.parametrize("method", [TOP, PROBE], ids=lambda method: method.kind)
@pytest.mark.parametrize(("name", "draws"), [("encoder", None), ("llama", None), ("cnn", 0), ("cnn", 2), ("cnn", None)])
def test_a_training_behind_its_front_ends_as_the_plain_one_but_for_rounding(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, method: MethodSpec, draws: int | None
) -> None:
    behind = run(bench, monkeypatch, name, method, "frozen_front", draws=draws)
    plain = run(bench, monkeypatch, name, method, "none", draws=draws)
    assert isinstance(behind.run_on, Behind) and not isinstance(plain.run_on, Behind)
    ours, theirs = weights(behind), weights(plain)
    for weight, value in ours.items():
        assert torch.allclose(value, theirs[weight], rtol=1e-3, atol=1e-4), weight
    assert not list(bench.home.rglob("*.f32"))  # of a training that has ended


@pytest.mark.parametrize("name", ["encoder", "llama", "cnn"])
def test_in_16_bits_a_training_behind_its_front_is_as_near_to_that_of_32_as_the_plain_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ended = {}
    for means, precision in (("none", "fp32"), ("none", "bf16"), ("frozen_front", "bf16")):
        monkeypatch.setenv("GRAFT_PRECISION", precision)
        place = replace(bench, home=bench.home / precision)
        place.home.mkdir(exist_ok=True)
        training = run(place, monkeypatch, name, TOP, means, draws=0)
        assert isinstance(training.run_on, Behind) == (means == "frozen_front")
        ended[means, precision] = torch.cat([weight.flatten() for weight in weights(training).values()])
    exact = ended["none", "fp32"]
    plain, behind = (float((ended[means, "bf16"] - exact).norm()) for means in ("none", "frozen_front"))
    assert 0 < behind <= 1.5 * plain


def test_one_epoch_alone_keeps_no_features(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not isinstance(run(bench, monkeypatch, "encoder", PROBE, "all", epochs=1).run_on, Behind)


def test_pictures_drawn_anew_in_each_epoch_go_through_the_whole_network_and_those_to_validate_do_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = run(bench, monkeypatch, "cnn", PROBE, "all")
    assert set(training.judged) == {"features"}
    (batch, _), *_ = training.feed.epoch([np.array([0, 1])], 0, 0, 0)
    assert set(batch) == {"x"}
