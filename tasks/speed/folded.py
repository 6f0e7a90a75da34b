"""Frozen batch norms worked into the convolutions before them, while these stay what they are in every file.

With frozen statistics a batch norm multiplies each channel by a number and adds another: so can the convolution's
weight and bias. Source: Jacob et al., Quantization and Training of Neural Networks (2018), section 3.2.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from tasks.backbones.network import Network, Rows


def swaps(network: Network, rows: Rows) -> dict[nn.Module, type[nn.Module]]:
    """Convolutions and the norms that they take over, with the classes for both.

    Whether something else reads what lies between them is not seen here: compare the logits.

    Args:
        network: in eval mode.
        rows: any.
    """
    found: dict[nn.Module, type[nn.Module]] = {}
    if not any(isinstance(child, nn.BatchNorm2d) for child in network.module.modules()):
        return found
    for layer, norm in _pairs(network, rows):
        taken = _taken(layer, norm)
        if taken is not None:
            found |= {layer: taken, norm: _emptied(norm)}
    return found


def _pairs(network: Network, rows: Rows) -> list[tuple[nn.Module, nn.BatchNorm2d]]:
    """Layers and the batch norms that were given the very tensor that the layers gave."""
    last: dict[int, tuple[nn.Module, Tensor]] = {}
    pairs: list[tuple[nn.Module, nn.BatchNorm2d]] = []

    def ended(layer: nn.Module, _: Any, out: Tensor) -> None:
        last[id(out)] = layer, out  # kept, so that no other tensor takes its place

    def begun(norm: Any, given: tuple[Tensor, ...]) -> None:
        layer, _ = last.get(id(given[0]), (None, None))
        if layer is not None:
            pairs.append((layer, norm))

    hooks = []
    for child in network.module.modules():
        if isinstance(child, nn.BatchNorm2d):
            hooks.append(child.register_forward_pre_hook(begun))
        elif isinstance(child, nn.Conv2d) or hasattr(child, "taking"):
            hooks.append(child.register_forward_hook(ended))
    device = next(network.module.parameters()).device
    try:
        with torch.no_grad():
            network.logits({name: tensor.to(device) for name, tensor in network.encode(rows).items()})
    finally:
        for hook in hooks:
            hook.remove()
    return pairs


def _taken(layer: Any, norm: Any) -> type[nn.Module] | None:
    """The layer's class with the norm in it; None where either trains or is more than it seems."""
    if any(weight.requires_grad for weight in norm.parameters()) or not norm.track_running_stats:
        return None
    if hasattr(layer, "taking"):
        kind: type[nn.Module] = layer.taking(*_factors(norm))
        return kind
    if any(weight.requires_grad for weight in layer.parameters()):
        return None
    weight, bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    content = {"weight": weight.detach(), "bias": bias.detach()}  # of the class: what the layer holds is not touched
    return type(f"Folded{type(layer).__name__}", (type(layer),), content)


def _factors(norm: Any) -> tuple[Tensor, Tensor]:
    """[C] what each channel is multiplied by, and what is added then."""
    ones, nothing = torch.ones_like(norm.running_var), torch.zeros_like(norm.running_mean)
    times = (ones if norm.weight is None else norm.weight) * torch.rsqrt(norm.running_var + norm.eps)
    plus = (nothing if norm.bias is None else norm.bias) - norm.running_mean * times
    return times.detach(), plus.detach()


class _Emptied:
    """Mixed into a batch norm's class: what comes after the norm in it, which in timm's is an activation."""

    def forward(self: Any, x: Tensor) -> Tensor:
        for name in ("drop", "act"):
            if hasattr(self, name):
                x = getattr(self, name)(x)
        return x


def _emptied(norm: nn.Module) -> type[nn.Module]:
    return type(f"Empty{type(norm).__name__}", (_Emptied, type(norm)), {})
