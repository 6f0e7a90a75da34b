"""A linear map with its LoRA adapter as one step of autograd: no sum, scaling or copy of its own in memory.

PEFT's own forward adds the adapter's output to the layer's in a new tensor, and autograd adds their gradients again.
"""

from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class _Adapted(torch.autograd.Function):
    """x [..., I] to x Wᵀ + b + s (x Aᵀ) Bᵀ [..., O]; W [O, I] and b [O] are frozen, A [R, I] and B [O, R] train."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scaling: float
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        low = rows @ down.t()
        out = rows @ weight.t() if bias is None else torch.addmm(bias, rows, weight.t())
        out.addmm_(low, up.t(), alpha=scaling)
        ctx.save_for_backward(rows, weight, down, up, low)
        ctx.scaling, ctx.shape = scaling, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, down, up, low = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])
        grad_low = (grad @ up).mul_(ctx.scaling)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ weight).addmm_(grad_low, down).view(ctx.shape)
        return grad_x, None, None, grad_low.t() @ rows, (grad.t() @ low).mul_(ctx.scaling), None


class LoraLinear(Linear):  # type: ignore[misc]
    """PEFT's layer; whatever it can do beside a plain step with one adapter, it does as before."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs or self.merged or self.disable_adapters or torch.is_autocast_enabled(x.device.type):
            out: Tensor = super().forward(x, *args, **kwargs)
            return out
        (name,) = self.active_adapters
        base, down, up = self.base_layer, self.lora_A[name].weight, self.lora_B[name].weight
        made: Tensor = _Adapted.apply(x, base.weight, base.bias, down, up, self.scaling[name])
        return made


def swaps(module: nn.Module) -> dict[nn.Module, type[nn.Module]]:
    """PEFT's linear maps that the one step fits: one plain adapter without dropout on a frozen linear map."""
    return {child: LoraLinear for child in module.modules() if type(child) is Linear and _fits(child)}


def _fits(layer: Any) -> bool:
    base = layer.base_layer
    return (
        type(base) is nn.Linear
        and not any(weight.requires_grad for weight in base.parameters())
        and len(layer.lora_A) == len(layer.active_adapters) == 1
        and not layer.lora_variant
        and not any(layer.lora_bias.values())
        and all(type(dropout) is nn.Identity for dropout in layer.lora_dropout.values())
    )
