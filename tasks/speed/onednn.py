"""Linear maps on a CPU by oneDNN's matrix product, which torch itself takes for fewer bits than 32 alone."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Product = Callable[..., Tensor]  # of rows [N, I], a weight [O, I] and perhaps a bias [O]: [N, O]


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows x [N, I] to x Wᵀ + b [N, O] of a weight [O, I], in whatever order it lies; without gradients."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return out


class _Mapped(torch.autograd.Function):
    """x [..., I] to x Wᵀ + b [..., O]; any of the three may train."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        ctx.save_for_backward(rows, weight)
        return product(rows, weight, bias).resize_(*x.shape[:-1], len(weight))  # a view could not be changed in place

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        shape, grad = grad.shape, grad.reshape(-1, grad.shape[-1])
        to_x, to_weight, to_bias = ctx.needs_input_grad
        return (
            product(grad, weight.t()).view(*shape[:-1], -1) if to_x else None,
            grad.t() @ rows if to_weight else None,
            grad.sum(0) if to_bias else None,
        )


class _Map:
    """Mixed into a linear map's own class."""

    def forward(self: Any, x: Tensor) -> Tensor:
        if x.dtype is not torch.float32 or torch.is_autocast_enabled("cpu"):
            out: Tensor = super().forward(x)  # type: ignore[misc]
            return out
        made: Tensor = _Mapped.apply(x, self.weight, self.bias)
        return made


class _Multiplying:
    """Mixed into the class of a layer that says by which product it multiplies."""

    product = staticmethod(product)


def available() -> bool:
    """Whether this torch has oneDNN's product."""
    built: Any = torch.backends.mkldnn
    return bool(built.is_available()) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def swaps(module: nn.Module) -> dict[nn.Module, type[nn.Module]]:
    """Linear maps, and layers with a `product`, on a CPU in 32 bits, with their classes; empty without oneDNN."""
    if not available():
        return {}
    return {child: kind for child in module.modules() if (kind := _kind(child)) is not None}


def _kind(layer: nn.Module) -> type[nn.Module] | None:
    own: Any = type(layer)
    if hasattr(own, "product"):
        mixed: Any = _Multiplying
    elif isinstance(layer, nn.Linear) and own.forward is nn.Linear.forward:
        mixed = _Map
    else:
        return None
    if any((weight.device.type, weight.dtype) != ("cpu", torch.float32) for weight in layer.parameters()):
        return None
    return type(f"OneDnn{own.__name__}", (mixed, own), {})
