"""A linear map with its LoRA adapter as one step of autograd: no sum, scaling or copy of its own in memory.

PEFT's own forward adds the adapter's output to the layer's in a new tensor, and autograd adds their gradients again.
A convolution of one pixel is a linear map of every pixel's channels.
"""

from typing import Any

import torch
from peft.tuners.lora.layer import Conv2d, Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

SMALL = 5  # times the adapter's weights: a layer of no more is small
PAYS = 4  # times the layer's weights: more numbers in and out are worth a pass over these


class _Adapted(torch.autograd.Function):
    """x [..., I] to x Wᵀ + b + s (x Aᵀ) Bᵀ [..., O]; W [O, I] and b [O] are frozen, A [R, I] and B [O, R] train.

    With `maps`, x is [B, I, H, W] and the result [B, O, H, W], a place's channels side by side in memory.

    What is narrow (R numbers a row) costs as much to read and write as what is wide, so two short cuts are taken. Of
    many rows x (W + s B A)ᵀ is one product, there and back. And where W is small, its own gradient G = gradᵀ x is made,
    from which those of the adapter follow as s Bᵀ G and s G Aᵀ. In fewer bits than 32 nothing is added to W: what the
    adapter has learnt would be lost in W's rounding.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scaling: float,
        maps: bool,
    ) -> Tensor:
        rows = _rows(x, maps)
        ctx.scaling, ctx.maps = scaling, maps
        ctx.merges = x.dtype is torch.float32 and len(rows) * sum(weight.shape) > PAYS * weight.numel()
        if ctx.merges:
            out, low = functional.linear(rows, torch.addmm(weight, up, down, alpha=scaling), bias), None
        else:
            low = rows @ down.t()
            out = functional.linear(rows, weight, bias).addmm_(low, up.t(), alpha=scaling)
        ctx.save_for_backward(rows, weight, down, up, low)
        return _shaped(out, x, maps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, down, up, low = ctx.saved_tensors
        given, grad = grad, _rows(grad, ctx.maps)
        across = up.t().contiguous()  # [R, O]: narrow products are many times as fast if what is narrow lies along it
        small = weight.numel() <= SMALL * (down.numel() + up.numel())
        grad_low: Any = None if small and ctx.merges else grad @ across.t()
        if small:
            whole = grad.t() @ rows
            grad_down, grad_up = across @ whole, whole @ down.t()
        else:
            low = rows @ down.t() if low is None else low
            grad_down, grad_up = grad_low.t() @ rows, (low.t() @ grad).t()
        grad_x = None
        if ctx.needs_input_grad[0]:
            if ctx.merges:
                grad_x = grad @ torch.addmm(weight, up, down, alpha=ctx.scaling)
            else:
                grad_x = (grad @ weight).addmm_(grad_low, down, alpha=ctx.scaling)
            grad_x = _shaped(grad_x, given, ctx.maps)
        return grad_x, None, None, grad_down.mul_(ctx.scaling), grad_up.mul_(ctx.scaling), None, None


def _rows(x: Tensor, maps: bool) -> Tensor:
    """[N, C] of [..., C] or, with `maps`, of [B, C, H, W]: the same memory if it lies in that order."""
    return (x.permute(0, 2, 3, 1) if maps else x).reshape(-1, x.shape[1 if maps else -1])


def _shaped(rows: Tensor, like: Tensor, maps: bool) -> Tensor:
    """The rows' own tensor as [..., C] or [B, C, H, W] again: a view of it, a step in place after it would refuse."""
    if not maps:
        return rows.resize_(*like.shape[:-1], rows.shape[1])
    return rows.resize_(len(like), rows.shape[1], *like.shape[2:], memory_format=torch.channels_last)


class LoraLinear(Linear):  # type: ignore[misc]
    """PEFT's layer; whatever it can do beside a plain step with one adapter, it does as before.

    `kept` is the frozen map in fewer bits, by type and device: autocast alone would round it anew in every step.
    """

    kept: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor | None]]

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs or self.merged or self.disable_adapters:
            out: Tensor = super().forward(x, *args, **kwargs)
            return out
        (name,) = self.active_adapters
        base, down, up = self.base_layer, self.lora_A[name].weight, self.lora_B[name].weight
        weight, bias = base.weight, base.bias
        if torch.is_autocast_enabled(x.device.type):
            kind = torch.get_autocast_dtype(x.device.type)
            x, down, up = x.to(kind), down.to(kind), up.to(kind)
            weight, bias = self.rounded(kind)
        made: Tensor = _Adapted.apply(x, weight, bias, down, up, self.scaling[name], False)
        return made

    def rounded(self, kind: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """The frozen map's weight [O, I] and bias in fewer bits, rounded at the first call."""
        weight, bias = self.base_layer.weight, self.base_layer.bias
        place = kind, weight.device
        if place not in self.kept:
            with torch.inference_mode(False):  # a training may need what answers have made
                self.kept[place] = weight.detach().to(kind), None if bias is None else bias.detach().to(kind)
        return self.kept[place]


class LoraPointwise(Conv2d):  # type: ignore[misc]
    """PEFT's layer on a convolution of one pixel; whatever it can do beside a plain step, it does as before.

    `times` [O] is what each channel of what it gives is multiplied by; None leaves it as it is.
    """

    times: Tensor | None = None

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs or self.merged or self.disable_adapters or torch.is_autocast_enabled(x.device.type):
            return self.unfolded(super().forward(x, *args, **kwargs))
        (name,) = self.active_adapters
        down, up = self.lora_A[name].weight.flatten(1), self.lora_B[name].weight.flatten(1)
        weight, bias = self.frozen()
        up = up if self.times is None else up * self.times[:, None]
        made: Tensor = _Adapted.apply(x, weight, bias, down, up, self.scaling[name], True)
        return made

    def frozen(self) -> tuple[Tensor, Tensor | None]:
        """The map's weight [O, I] and bias."""
        return self.base_layer.weight.flatten(1), self.base_layer.bias

    def unfolded(self, out: Tensor) -> Tensor:
        """What PEFT's own path gives, made what this class gives."""
        return out

    def taking(self, times: Tensor, plus: Tensor) -> type[nn.Module]:
        """The class for this layer that does a batch norm's work too: each channel times [O], plus [O]."""
        weight, bias = self.frozen()
        folded = weight.detach() * times[:, None], plus if bias is None else plus + bias.detach() * times
        content = {
            "times": times,
            "frozen": lambda _: folded,
            "unfolded": lambda _, out: out * times[:, None, None] + plus[:, None, None],
        }
        return type(f"Folded{type(self).__name__}", (type(self),), content)


def swaps(module: nn.Module) -> dict[nn.Module, type[nn.Module]]:
    """PEFT's linear maps that the one step fits: one plain adapter without dropout on a frozen linear map."""
    return {child: _kind(child) for child in module.modules() if type(child) in (Linear, Conv2d) and _fits(child)}


def _kind(layer: nn.Module) -> type[nn.Module]:
    """A linear map's class is its own, with what it keeps: both are gone when the layer has its plain class again."""
    return LoraPointwise if type(layer) is Conv2d else type(LoraLinear.__name__, (LoraLinear,), {"kept": {}})


def _fits(layer: Any) -> bool:
    base = layer.base_layer
    return (
        (type(base) is nn.Linear or _pointwise(base))
        and not any(weight.requires_grad for weight in base.parameters())
        and len(layer.lora_A) == len(layer.active_adapters) == 1
        and not layer.lora_variant
        and not any(layer.lora_bias.values())
        and all(type(dropout) is nn.Identity for dropout in layer.lora_dropout.values())
    )


def _pointwise(base: Any) -> bool:
    if not isinstance(base, nn.Conv2d):
        return False
    alone = base.groups == 1 and {*base.kernel_size, *base.stride, *base.dilation} == {1}
    return alone and base.padding in ((0, 0), 0)
