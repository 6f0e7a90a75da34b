"""Graft's own CNN."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from tasks.backbones.image import ImageNetwork
from tasks.backbones.network import Network, Rows, by_block
from tasks.backbones.weights import NoWeights
from tasks.results import Target
from tasks.scratch import ImageCNN


class ScratchCNN(NoWeights):
    """The classic CNN (3x3 convolutions, max-pools, one hidden layer), trained from nothing."""

    library: Literal["scratch_cnn"]
    about: str = ""
    image_size: int = Field(8, ge=4, description="pixels a side")
    channels: Literal[1, 3] = 1
    dropout: float = Field(0.0, ge=0, lt=1)
    scale: tuple[float, float] = Field((0.7, 1.0), description="share of the picture that a training crop keeps")
    flip: float = Field(0.0, ge=0, le=1, description="how often a training picture is mirrored")

    accepts: ClassVar[Literal["text", "image"]] = "image"

    def load(self, target: Target, rows: Rows, pretrained: bool = False) -> Network:
        """A new network."""
        module = ImageCNN(self.channels, self.image_size, target.outputs, self.dropout)
        data = {
            "input_size": (self.channels, self.image_size, self.image_size),
            "mean": (0.5,) * self.channels,
            "std": (0.5,) * self.channels,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
        }
        head, augment = ("head",), {"scale": self.scale, "hflip": self.flip}
        return ImageNetwork(module, head, by_block(module, [["features"], ["hidden"]], head), data, augment)

    def rebuild(self, folder: Path, target: Target) -> Network:
        """The same network; its weights are still to be loaded."""
        return self.load(target, {})
