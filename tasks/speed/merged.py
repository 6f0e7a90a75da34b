"""Layers with their LoRA adapters as one map, for answers alone: no file, and no weight that others hold, changes."""

from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from tasks.backbones.network import mixed


class OneMap:
    """Mixed into PEFT's own class: what the layer below answers, whose class holds the sum of both weights."""

    def forward(self: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
        out: Tensor = self.base_layer(x)
        return out


@torch.no_grad()
def swaps(module: nn.Module) -> dict[nn.Module, type[nn.Module]]:
    """Adapted layers and those below them with the classes for both.

    Source: Hu et al., LoRA (2021), section 4.1: W + s B A is a weight of W's own shape.
    """
    found: dict[nn.Module, type[nn.Module]] = {}
    for layer in module.modules():
        if isinstance(layer, LoraLayer) and _fits(layer):
            below: Any = layer.get_base_layer()
            (name,) = layer.active_adapters
            own: Any = layer
            kind: Any = type(own)
            content = {"weight": below.weight.detach() + own.get_delta_weight(name)}  # of the class, like `folded`
            found[below] = type(f"Merged{type(below).__name__}", (type(below),), content)
            found[own] = mixed(OneMap, kind)
    return found


def _fits(layer: Any) -> bool:
    one = len(layer.active_adapters) == 1 and not layer.merged and not layer.disable_adapters
    return one and not layer.lora_variant and not any(layer.lora_bias.values()) and hasattr(layer, "get_delta_weight")
