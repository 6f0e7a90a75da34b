"""Image networks: any model of timm, pretrained or not."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from tasks.backbones.keymaps import KEY_MAPS
from tasks.backbones.network import Batch, Network, Rows, by_block
from tasks.backbones.ways import Way
from tasks.backbones.weights import FolderWeights, HubWeights, PackageWeights, PretrainedOn, Weights, explained
from tasks.frozen import Frozen, GraftError
from tasks.pictures import open_picture
from tasks.results import Target
from tasks.scratch import ImageCNN

Transform = Callable[[Any], Tensor]


@dataclass
class ImageNetwork(Network):
    """A module that takes pixels [B, C, H, W], with the transforms of its weights' own data config."""

    data_config: dict[str, Any]
    augment: dict[str, Any]  # options of timm's training transform
    arguments: dict[str, Any] = field(default_factory=dict)  # of timm's constructor, as the weights' config has them

    augmented: ClassVar[bool] = True

    def __post_init__(self) -> None:
        from timm.data import create_transform

        self._still: Transform = create_transform(**self.data_config)
        self._moving: Transform = create_transform(**{**self.data_config, **self.augment}, is_training=True)

    def encode(self, rows: Rows, seeds: Sequence[int] | None = None) -> Batch:
        images = map(self._open, rows["image"])  # one after the other: decoded, large ones fill the memory
        if seeds is None:
            return {"x": torch.stack([self._still(image) for image in images])}
        return {"x": torch.stack([self._drawn(image, seed) for image, seed in zip(images, seeds, strict=True)])}

    def logits(self, batch: Batch) -> Tensor:
        out: Tensor = self.module(batch["x"])  # networks differ in the name of their one argument
        return out

    def beside(self, rows: Rows, features: Tensor) -> Batch:
        return {"x": features}  # no picture is opened: its first layer will not look at it

    def way(self, row: Rows) -> Way:
        """From the mean colour of the weights' data, in pixels [1, C, H, W]."""
        pixels = self.encode(row)["x"]
        return Way(torch.zeros_like(pixels), pixels, lambda points: self.logits({"x": points}))

    def seen(self, pixels: Tensor) -> Tensor:
        """[H, W, 3] in 0..1: pixels [1, C, H, W] as a person sees them."""
        mean, std = (torch.tensor(self.data_config[name])[:, None, None] for name in ("mean", "std"))
        return (pixels[0] * std + mean).clamp(0, 1).expand(3, -1, -1).permute(1, 2, 0)

    def last_maps(self) -> nn.Module | None:
        """The module whose output [B, C, H, W] is the last of a convolutional trunk; None for other trunks.

        Where timm's `forward_features` gives maps of the trunk's width, it is the last module to give just them.
        """
        if isinstance(self.module, ImageCNN):
            return self.module.features
        network: Any = self.module
        ended: list[tuple[nn.Module, Any]] = []
        hooks = [child.register_forward_hook(lambda *end: ended.append(end[::2])) for child in network.modules()]
        try:
            with torch.no_grad():
                maps = network.forward_features(torch.zeros(1, *self.data_config["input_size"]))
        finally:
            for hook in hooks:
                hook.remove()
        if maps.ndim != 4 or maps.shape[1] != network.num_features:
            return None
        return next((child for child, output in reversed(ended) if output is maps), None)

    def _drawn(self, image: Any, seed: int) -> Tensor:
        """Augmented from the seed alone: the same in any process, in any order, after any restart."""
        kept = random.getstate()
        with torch.random.fork_rng(devices=[]):
            random.seed(seed)
            torch.manual_seed(seed)
            pixels = self._moving(image)
        random.setstate(kept)
        return pixels

    def _open(self, file: bytes) -> Any:
        return open_picture(file, self.data_config["input_size"][0])

    def describe(self, folder: Path) -> None:
        (folder / "data.json").write_text(json.dumps({"data": self.data_config, "arguments": self.arguments}))


class TimmBackbone(Frozen):
    """A CNN or vision transformer of timm by name, with a new head."""

    library: Literal["timm"]
    about: str = ""
    name: str = Field(description="timm's name of the architecture, e.g. tf_efficientnet_lite0")
    weights: Weights
    key_map: Literal["efficientnet_pytorch"] | None = Field(None, description="how foreign key names become timm's")
    image_size: int | None = Field(None, ge=32, description="pixels a side; the weights' own if not given")
    scale: tuple[float, float] = Field((0.35, 1.0), description="share of the picture that a training crop keeps")
    flip: float = Field(0.5, ge=0, le=1, description="how often a training picture is mirrored")
    pretrained_on: PretrainedOn = None

    accepts: ClassVar[Literal["text", "image"]] = "image"
    pretrained: ClassVar[bool] = True

    def check(self) -> None:
        """Raise a GraftError if timm has no such model or the weights cannot be had; quick."""
        import difflib

        import timm

        if not timm.is_model(self.name):
            near = difflib.get_close_matches(self.name, timm.list_models(), 3)
            raise GraftError(f"timm has no model {self.name!r}. Nearest: {', '.join(near) or 'none'}.")
        self.weights.check()

    def content(self) -> str:
        """What names the content of its weights (see `tasks.backbones.weights`)."""
        return self.weights.content()

    def load(self, target: Target, rows: Rows, pretrained: bool = True) -> Network:
        """The network with a new head, on pretrained weights or (for training from scratch) on random ones."""
        import timm

        if not pretrained:
            return self._network(timm.create_model(self.name, num_classes=target.outputs))
        if isinstance(self.weights, HubWeights) or (isinstance(self.weights, FolderWeights) and not self.key_map):
            return self._described(self.weights, target)
        module = timm.create_model(self.name)
        file = _file(self.weights)
        with explained(self.weights, str(file)):
            state = _read(file)
            module.load_state_dict(KEY_MAPS[self.key_map](state, module) if self.key_map else state)
        module.reset_classifier(target.outputs)
        return self._network(module)

    def _described(self, weights: HubWeights | FolderWeights, target: Target) -> Network:
        """From weights with timm's own config.json beside them, which says what pictures they were trained on."""
        import timm
        from huggingface_hub import hf_hub_download

        if isinstance(weights, HubWeights):
            place = f"hf-hub:{weights.id}@{weights.revision}"
            with explained(weights, place):
                config = Path(hf_hub_download(weights.id, "config.json", revision=weights.revision))
        else:
            place, config = f"local-dir:{weights.folder()}", weights.folder() / "config.json"
        with explained(weights, place):
            said = json.loads(config.read_text())
            if said["architecture"] != self.name.split(".")[0]:
                raise GraftError(f"{place} holds a {said['architecture']}, but the backbone's name is {self.name!r}.")
            module = timm.create_model(place, pretrained=True, num_classes=target.outputs)
        return self._network(module, arguments=said.get("model_args"))

    def rebuild(self, folder: Path, target: Target) -> Network:
        """The same network from what `describe` wrote, its weights still to be loaded."""
        import timm

        kept = json.loads((folder / "data.json").read_text())
        module = timm.create_model(self.name, **(kept["arguments"] | {"num_classes": target.outputs}))
        return self._network(module, kept["data"], kept["arguments"])

    def _network(
        self, module: Any, data: dict[str, Any] | None = None, arguments: dict[str, Any] | None = None
    ) -> Network:
        from timm.data import resolve_model_data_config

        if data is None:
            size = {"input_size": (3, self.image_size, self.image_size)} if self.image_size else {}
            data = resolve_model_data_config(module, args=size)
            self._check_size(module, data["input_size"][-1])
        head = module.default_cfg["classifier"]
        heads = (head,) if isinstance(head, str) else tuple(head)
        groups = by_block(module, _blocks(module), heads)
        return ImageNetwork(module, heads, groups, data, {"scale": self.scale, "hflip": self.flip}, arguments or {})

    def _check_size(self, module: Any, size: int) -> None:
        """A vision transformer's position codes are made for one size; to resize them is not Graft's work."""
        patches: Any = getattr(module, "patch_embed", None)
        own = getattr(patches, "strict_img_size", False) and patches.img_size
        if own and own[-1] != size:
            raise GraftError(f"{self.name} takes pictures of {own[-1]} pixels only. Set image_size: {own[-1]}.")


def _blocks(module: Any) -> list[list[str]]:
    """The names of the modules in each of timm's own layer groups, from the input to the output."""
    from timm.models import group_modules

    return list(group_modules(module, module.group_matcher(coarse=True)).values())


def _file(weights: FolderWeights | PackageWeights) -> Path:
    return weights.place() if isinstance(weights, PackageWeights) else weights.folder() / "model.safetensors"


def _read(file: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    if file.suffix == ".safetensors":
        tensors: dict[str, Tensor] = load_file(file)
        return tensors
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state
