"""Pictures: the places are those that decide, found in the last maps or, without such, pixel by pixel."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from small import Bench

from tasks.backbones.image import ImageNetwork
from tasks.backbones.network import logits_of
from tasks.explain.pictures import explain_picture, overlay
from tasks.frozen import GraftError
from tasks.recipe import Recipe
from tasks.results import Target
from tasks.saved import Model

pytest_plugins = ["small"]

TARGET = Target(labels=("blue", "red"), raw=("blue", "red"))
SIDE, SPOT = 32, 8  # pixels


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def spotted(seed: int, label: str) -> tuple[Any, tuple[int, int]]:
    """Grey noise [32, 32, 3] with a red or blue spot of 8 pixels a side somewhere, and where it begins."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 140, (SIDE, SIDE, 1), dtype=np.uint8).repeat(3, axis=2)
    row, column = (int(place) for place in rng.integers(0, SIDE - SPOT, 2))
    pixels[row : row + SPOT, column : column + SPOT] = (230, 20, 20) if label == "red" else (20, 20, 230)
    return pixels, (row, column)


def noise(side: int = 80) -> bytes:
    return png(np.random.default_rng(1).integers(0, 255, (side, side, 3), dtype=np.uint8))


@pytest.fixture
def seer(bench: Bench) -> Model:
    """The classic CNN, trained to tell red spots from blue ones."""
    for label in TARGET.labels or ():
        (bench.home / "spots" / "train" / label).mkdir(parents=True)
        for index in range(32):
            pixels, _ = spotted(index * 2 + (label == "red"), label)
            (bench.home / "spots" / "train" / label / f"{index}.png").write_bytes(png(pixels))
    recipe = Recipe.model_validate(
        {
            "name": "spots",
            "model": "spots",
            "dataset": {"kind": "image_folder", "path": str(bench.home / "spots"), "validation": 0.2},
            "backbone": {"library": "scratch_cnn", "image_size": SIDE, "channels": 3, "scale": [1.0, 1.0]},
            "method": {"kind": "scratch"},
            "schedule": {"epochs": 8, "batch_size": 8},
        }
    )
    training = bench.training(recipe)
    training.run()
    return Model(recipe, training.target, training.network)


def untrained(bench: Bench, name: str, method: str, **changes: Any) -> Model:
    """An adapted network on random weights."""
    given = bench.recipe(name, {"kind": method}).model_dump(mode="json")
    recipe = Recipe.model_validate(given | {"backbone": given["backbone"] | changes})
    torch.manual_seed(5)
    network = recipe.backbone.load(TARGET, {}, recipe.method.pretrained)
    recipe.method.adapt(network)
    network.module.eval()
    return Model(recipe, TARGET, network)


def test_the_spot_that_decides_is_where_the_map_is_warm(seer: Model) -> None:
    warm = []
    for seed in range(100, 112):
        label = ("blue", "red")[seed % 2]
        pixels, (row, column) = spotted(seed, label)
        found = explain_picture(seer, png(pixels))
        assert (found.output.label, found.method) == (label, "Grad-CAM")
        inside = found.places[row : row + SPOT, column : column + SPOT]
        warm.append(inside.mean() > 2 * found.places.mean())
    assert sum(warm) >= 10, warm


@pytest.mark.parametrize("method", ["linear_probe", "lora", "full"])
def test_grad_cam_is_what_its_equations_say_of_the_last_maps(bench: Bench, method: str) -> None:
    model = untrained(bench, "cnn", method, image_size=160)
    content = noise()
    found = explain_picture(model, content, "red")

    network: Any = model.network.module
    maps = network.forward_features(model.network.encode({"image": [content]})["x"]).detach().requires_grad_()
    logit = network.forward_head(maps)[0, 1]
    weights = torch.autograd.grad(logit, maps)[0].mean((2, 3), keepdim=True)
    wanted = (weights * maps).sum(1, keepdim=True).relu()
    wanted = torch.nn.functional.interpolate(wanted, (160, 160), mode="bilinear")[0, 0].detach()

    assert maps.shape[2:] == (5, 5)
    assert found.logit == pytest.approx(logit.item(), abs=1e-5)
    np.testing.assert_allclose(found.places, wanted.numpy(), atol=1e-5)
    assert found.sums is None


@pytest.mark.parametrize(("name", "changes"), [("vit", {}), ("cnn", {}), ("scratch cnn", {"image_size": 8})])
def test_without_maps_or_with_coarse_ones_the_pixels_are_asked_and_add_up(
    bench: Bench, name: str, changes: dict[str, Any]
) -> None:
    model = untrained(bench, name, "scratch" if name == "scratch cnn" else "lora", **changes)
    found = explain_picture(model, noise())

    assert found.method == "integrated gradients"
    assert found.sums is not None
    assert found.logit == pytest.approx(float(logits_of(model.network, {"image": [noise()]})[0, found.output.place]))
    change = found.sums.logit - found.sums.baseline
    assert float(found.places.sum(dtype=float)) == pytest.approx(change, abs=max(0.01, 0.01 * abs(change)) + 1e-4)
    assert found.places.shape == found.seen.shape[:2]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("test_efficientnet", "BatchNormAct2d"),
        ("test_resnet", "Sequential"),
        ("convnext_atto", "Identity"),
        ("test_vit", "NoneType"),
        ("swin_s3_tiny_224", "NoneType"),
    ],
)
def test_the_last_maps_are_those_of_the_whole_trunk_or_there_are_none(name: str, kind: str) -> None:
    module = timm.create_model(name).eval()
    data = timm.data.resolve_model_data_config(module)
    layer = ImageNetwork(module, (), (), data, {}).last_maps()

    assert type(layer).__name__ == kind
    if layer is not None:
        seen: list[Any] = []
        layer.register_forward_hook(lambda *end: seen.append(end[2]))
        pixels = torch.rand(1, *data["input_size"])
        with torch.no_grad():
            module(pixels)
            assert torch.equal(seen[0], module.forward_features(pixels))


def test_what_the_network_gets_is_shown_in_the_colours_of_the_picture(bench: Bench) -> None:
    model = untrained(bench, "vit", "lora")
    pixels = np.full((96, 96, 3), (200, 100, 50), np.uint8)
    found = explain_picture(model, png(pixels))
    np.testing.assert_allclose(found.seen, pixels / 255, atol=0.01)


def test_the_overlay_is_a_picture_of_both_sides(seer: Model, tmp_path: Path) -> None:
    pixels, _ = spotted(7, "red")
    drawn = Image.open(io.BytesIO(overlay(png(pixels), explain_picture(seer, png(pixels)))))

    assert drawn.format == "PNG"
    width, height = drawn.size
    assert width > 1.5 * height
    left, right = (np.asarray(drawn.convert("RGB").crop(box)) for box in halves(width, height))
    assert ((left[..., 0] > 200) & (left[..., 1] < 60)).sum() > 500, "the red spot as it is"
    assert right.std() > 10


def halves(width: int, height: int) -> list[tuple[int, int, int, int]]:
    return [(0, 0, width // 2, height), (width // 2, 0, width, height)]


def test_a_text_model_is_not_asked_for_places(bench: Bench) -> None:
    recipe = bench.recipe("encoder", {"kind": "full"})
    with pytest.raises(GraftError, match="takes texts"):
        explain_picture(Model(recipe, TARGET, recipe.backbone.load(TARGET, {})), noise())
