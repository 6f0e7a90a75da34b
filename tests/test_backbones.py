"""Backbones: what goes in, what comes out, and that the weights are the published ones."""

import hashlib
import io
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter
from small import TARGET, Bench, sentences, tokenizer
from torch import Tensor

from tasks.backbones import Backbone
from tasks.backbones.image import ImageNetwork
from tasks.backbones.keymaps import KEY_MAPS
from tasks.backbones.network import Network, logits_of
from tasks.backbones.text import TextNetwork
from tasks.backbones.weights import PackageWeights
from tasks.batches import Feed
from tasks.compose import find, read
from tasks.frozen import GraftError
from tasks.prepare import inputs_of, rows_of
from tasks.runtime import package_folder

pytest_plugins = ["small"]

ADAPTER: TypeAdapter[Any] = TypeAdapter(Backbone)
TEXTS = [text for text, _ in sentences(6, seed=3)]
MINILM = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # the hub's model.safetensors
# WordNet ids of imagenet10 and their places among the 1000 classes.
PLACES = {
    "n01440764": 0, "n02102040": 217, "n02979186": 482, "n03000684": 491, "n03028079": 497,
    "n03394916": 566, "n03417042": 569, "n03425413": 571, "n03445777": 574, "n03888257": 701,
}  # fmt: skip


def opened(spec: dict[str, Any]) -> Any:
    """A backbone with a new head."""
    torch.manual_seed(0)
    return ADAPTER.validate_python(spec).load(TARGET, {"text": TEXTS})


def published(name: str) -> dict[str, Any]:
    """What a file of configs/backbones says."""
    return read(find("backbones", name))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def noise(seed: int, size: int = 70) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def alone(found: Network, texts: list[str]) -> Tensor:
    """Logits of each row as a batch of its own, without padding."""
    with torch.no_grad():
        return torch.cat([found.logits(found.encode({"text": [text]})) for text in texts])


# Text


@pytest.mark.parametrize("name", ["gpt2", "llama", "padded llama", "encoder", "scratch transformer"])
def test_a_rows_logits_do_not_depend_on_the_padding_beside_it(bench: Bench, name: str) -> None:
    spec = bench.backbone(name.removeprefix("padded "))
    if name == "padded llama":
        spec["weights"]["path"] = str(shutil.copytree(bench.zoo / "llama", bench.home / "padded"))
        own = tokenizer("llama")
        own.pad_token = "[PAD]"
        own.save_pretrained(bench.home / "padded")
    found: TextNetwork = opened(spec)
    found.module.eval()
    assert found.tokenizer.pad_token == ("<eos>" if name in {"gpt2", "llama"} else "[PAD]")
    texts = [*TEXTS, "film", "the film <eos>"]
    batch = found.encode({"text": texts})
    assert (batch["attention_mask"] == 0).any()
    with torch.no_grad():
        together = found.logits(batch)
    assert (together - alone(found, texts)).abs().max() <= 1e-5
    assert (logits_of(found, {"text": texts}, batch_size=3) - together).abs().max() <= 1e-5
    assert together.std(0).min() > 1e-2  # the rows do differ


def test_a_pair_is_encoded_as_two_segments_where_the_model_has_them(bench: Bench) -> None:
    found: TextNetwork = opened(bench.backbone("encoder"))
    batch = found.encode({"text": ["the film"], "text_pair": ["was very fine"]})
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    words = found.tokenizer.convert_ids_to_tokens(batch["input_ids"][0])
    assert " ".join(words) == "[CLS] the film [SEP] was very fine [SEP]"
    assert found.lengths({"text": ["the film"], "text_pair": ["was very fine"]}).tolist() == [8]


@pytest.mark.parametrize("name", ["gpt2", "scratch transformer"])
def test_a_model_without_segments_still_reads_both_texts(bench: Bench, name: str) -> None:
    found = opened(bench.backbone(name))
    batch = found.encode({"text": ["the film was fine"], "text_pair": ["the film"]})
    assert batch.keys() == {"input_ids", "attention_mask"}
    assert batch["input_ids"].shape[1] >= 6


@pytest.mark.parametrize("name", ["encoder", "gpt2", "scratch transformer"])
def test_long_rows_are_cut_at_max_length(bench: Bench, name: str) -> None:
    found = opened(bench.backbone(name))
    long = {"text": ["the film " * 40], "text_pair": ["was fine " * 40]}
    assert found.encode(long)["input_ids"].shape == (1, 16)
    assert found.lengths(long).tolist() == [16]
    assert found.logits(found.encode(long)).isfinite().all()


def test_a_max_length_beyond_the_networks_positions_is_refused(bench: Bench) -> None:
    with pytest.raises(GraftError, match="max_length is 64, but the network takes 32 tokens at most"):
        opened(bench.backbone("encoder", max_length=64))


@pytest.mark.parametrize("pretrained", [True, False])
def test_weights_kept_in_16_bits_are_trained_and_rebuilt_in_32(bench: Bench, pretrained: bool) -> None:
    folder = shutil.copytree(bench.zoo / "llama", bench.home / "half")
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    assert "bfloat16" in (folder / "config.json").read_text()
    spec = bench.backbone("llama") | {"weights": {"kind": "folder", "path": str(folder)}}
    backbone = ADAPTER.validate_python(spec)
    found = backbone.load(TARGET, {}, pretrained=pretrained)
    (bench.home / "kept").mkdir()
    found.describe(bench.home / "kept")
    for network in (found, backbone.rebuild(bench.home / "kept", TARGET)):
        assert {weight.dtype for weight in network.module.parameters()} == {torch.float32}


def test_the_same_texts_give_the_same_tokenizer_every_time(bench: Bench) -> None:
    texts = [text for text, _ in sentences(60)]
    spec = bench.backbone("scratch transformer", vocabulary=100)
    found = [ADAPTER.validate_python(spec).load(TARGET, {"text": order}) for order in (texts, texts[::-1]) * 3]
    first = found[0].tokenizer
    assert all(network.tokenizer.get_vocab() == first.get_vocab() for network in found)
    assert first.tokenize("The FILM, zebra") == ["the", "film", "[UNK]", "[UNK]"]


def test_minilm_is_the_hubs_file_and_its_trunk_computes_what_plain_transformers_computes() -> None:
    from transformers import AutoModel

    spec = published("minilm")
    folder = package_folder(spec["weights"]["package"]) / spec["weights"]["path"]
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == MINILM
    found: TextNetwork = opened(spec)
    batch = found.encode({"text": TEXTS})
    found.module.eval()
    with torch.no_grad():
        wanted = AutoModel.from_pretrained(folder, dtype="float32").eval()(**batch).last_hidden_state
        assert torch.equal(found.module.get_submodule("bert")(**batch).last_hidden_state, wanted)


# Images


@pytest.fixture(scope="module")
def lite0() -> tuple[Any, ImageNetwork]:
    """EfficientNet-Lite0 with its 1000 classes, by the key map alone; and as the backbone opens it."""
    import timm

    spec = published("efficientnet_lite0")
    weights = PackageWeights.model_validate(spec["weights"])
    weights.check()
    module = timm.create_model(spec["name"]).eval()
    mapped = KEY_MAPS[spec["key_map"]](torch.load(weights.folder() / weights.file, weights_only=True), module)
    assert len(mapped) == 296
    assert not any(module.load_state_dict(mapped, strict=True))
    return module, opened(spec)


def test_the_mapped_weights_know_real_pictures(data_folder: Path, lite0: tuple[Any, ImageNetwork]) -> None:
    module, found = lite0
    hits = 0
    for name, place in PLACES.items():
        files = sorted((data_folder / "imagenet10" / "val" / name).iterdir())[:4]
        with torch.inference_mode():
            answers = module(found.encode({"image": [file.read_bytes() for file in files]})["x"]).argmax(1)
        hits += int((answers == place).sum())
    assert hits > 20, f"{hits} of 40 right"


def test_pixels_are_scaled_as_the_weights_own_data_config_says(lite0: tuple[Any, ImageNetwork]) -> None:
    found = lite0[1]
    assert (found.data_config["mean"], found.data_config["std"]) == ((0.5,) * 3, (0.5,) * 3)
    white, black = (png(Image.new("RGB", (300, 250), colour)) for colour in ("white", "black"))
    pixels = found.encode({"image": [white, black]})["x"]
    assert pixels.shape == (2, 3, 224, 224)
    assert (pixels[0] == 1).all()
    assert (pixels[1] == -1).all()


def test_a_folders_own_data_config_goes_before_the_architectures(bench: Bench) -> None:
    folder = shutil.copytree(bench.zoo / "cnn", bench.home / "grey")
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"] |= {"mean": [0.1, 0.2, 0.3], "std": [0.25] * 3}
    (folder / "config.json").write_text(json.dumps(config))
    found = opened(bench.backbone("cnn", weights={"kind": "folder", "path": str(folder)}))
    pixels = found.encode({"image": [png(Image.new("RGB", (64, 64), "black"))]})["x"][0, :, 5, 5]
    assert pixels.tolist() == pytest.approx([-0.4, -0.8, -1.2], abs=1e-6)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "RGBA", "CMYK"])
def test_pictures_of_any_mode_become_three_channels(bench: Bench, mode: str) -> None:
    grey = Image.new("L", (70, 70), 255)
    file = io.BytesIO()
    grey.convert("RGB").convert(mode).save(file, "JPEG" if mode == "CMYK" else "PNG")
    found = opened(bench.backbone("cnn"))
    pixels = found.encode({"image": [file.getvalue()]})["x"]
    assert pixels.shape == (1, 3, 64, 64)
    assert torch.equal(pixels, found.encode({"image": [png(grey)]})["x"])


def test_augmentation_follows_from_the_seed_alone_and_leaves_the_generators_alone(
    bench: Bench,
) -> None:
    found = opened(bench.backbone("cnn"))
    files, seeds = [png(noise(i)) for i in range(3)], [11, 12, 13]
    first = found.encode({"image": files}, seeds)["x"]
    states = torch.get_rng_state(), random.getstate()
    turned = found.encode({"image": files[::-1]}, seeds[::-1])["x"].flip(0)
    assert torch.equal(first, turned)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert not torch.equal(first, found.encode({"image": files}, [14, 15, 16])["x"])
    assert not torch.equal(first, found.encode({"image": files})["x"])


def test_augmentation_is_the_same_in_worker_processes_that_are_not_forked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork() -> int:
        raise AssertionError("forked: a process with threads must not be")

    recipe = bench.recipe("cnn", {"kind": "full"})
    rows, found = rows_of(bench.start(recipe)[0], "train"), opened(bench.backbone("cnn"))
    epochs = [(np.array([[3, 1], [0, 2]]), 1, 0), (np.array([[2, 0], [1, 3]]), 2, 1)]  # batches, epoch, first

    def read() -> list[Tensor]:
        feed = Feed(found, inputs_of(rows), rows.labels)
        return [
            inputs["x"] for batches, epoch, first in epochs for inputs, _ in feed.epoch(list(batches), 0, epoch, first)
        ]

    own = read()
    monkeypatch.setattr(os, "fork", fork)
    monkeypatch.setenv("GRAFT_WORKERS", "1")
    workers = read()
    assert len(own) == 3
    assert all(torch.equal(a, b) for a, b in zip(own, workers, strict=True))
