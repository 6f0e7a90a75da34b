"""Backbones: one value of a recipe decides what network it is; nobody downstream asks again."""

from typing import Annotated

from pydantic import Field

from tasks.backbones.cnn import ScratchCNN
from tasks.backbones.image import TimmBackbone
from tasks.backbones.text import ScratchTransformer, TransformersBackbone

Backbone = Annotated[
    TransformersBackbone | TimmBackbone | ScratchTransformer | ScratchCNN, Field(discriminator="library")
]
