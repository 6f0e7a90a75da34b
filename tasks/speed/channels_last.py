"""Pictures in memory with a place's channels side by side, as convolutions on a CPU (and in 16 bits) read them best."""

from typing import Any

import torch
from torch import Tensor, nn

from tasks.backbones.network import mixed


class ChannelsLast:
    """Mixed into a convolution's own class: maps [B, C, H, W] come in and go out in that order of memory."""

    def forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        kind: Any = super()
        out: Tensor = kind.forward(x.contiguous(memory_format=torch.channels_last), *args, **kwargs)
        return out


def swaps(module: nn.Module) -> dict[nn.Module, type[nn.Module]]:
    """Every convolution with the class that it may take; what lies between keeps the order that it is given."""
    found: dict[nn.Module, Any] = {child: type(child) for child in module.modules() if isinstance(child, nn.Conv2d)}
    return {child: mixed(ChannelsLast, kind) for child, kind in found.items()}
