"""Linear maps on a CPU by oneDNN's matrix product, which torch itself takes for fewer bits than 32 alone.

oneDNN keeps some 0.7 MB of code for each shape that it meets, up to 1,024 of them, between the pieces of memory that
tensors need. A network of pictures has few shapes. Texts come in as many as they have lengths: there it multiplies
short batches, where it gains most, and long ones of full length.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

SMALL, STEP, LARGE = 512, 32, 1024  # rows: of texts 16 counts up to the first, and above it what the last divides

Product = Callable[..., Tensor]  # of rows [N, I], a weight [O, I] and perhaps a bias [O]: [N, O]


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows x [N, I] to x Wᵀ + b [N, O] of a weight [O, I], in whatever order it lies; without gradients."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return out


def of_texts(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same, by torch's own product where the number of rows is one of many (a rule of that number alone)."""
    count = len(rows)
    if count % LARGE and (count > SMALL or count % STEP):
        return functional.linear(rows, weight, bias)
    return product(rows, weight, bias)


class _Mapped(torch.autograd.Function):
    """x [..., I] to x Wᵀ + b [..., O], multiplied by `product`; any of the three tensors may train."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, product: Product) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        ctx.save_for_backward(rows, weight)
        ctx.product = product
        return product(rows, weight, bias).resize_(*x.shape[:-1], len(weight))  # a view could not be changed in place

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        shape, grad = grad.shape, grad.reshape(-1, grad.shape[-1])
        to_x, to_weight, to_bias, _ = ctx.needs_input_grad
        return (
            ctx.product(grad, weight.t()).view(*shape[:-1], -1) if to_x else None,
            grad.t() @ rows if to_weight else None,
            grad.sum(0) if to_bias else None,
            None,
        )


class _Map:
    """Mixed into a linear map's own class, with a `product`."""

    product: Product

    def forward(self: Any, x: Tensor) -> Tensor:
        if x.dtype is not torch.float32 or torch.is_autocast_enabled("cpu"):
            out: Tensor = super().forward(x)  # type: ignore[misc]
            return out
        made: Tensor = _Mapped.apply(x, self.weight, self.bias, self.product)
        return made


def available(kind: torch.dtype = torch.float32) -> bool:
    """Whether this torch has oneDNN's product, and this processor can do it in fp32 or bf16, as asked."""
    built: Any = torch.backends.mkldnn
    there = bool(built.is_available()) and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return there and (kind is torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))


def pays() -> bool:
    """Whether this processor has the wide registers with which oneDNN outruns MKL; with AVX2 alone it is slower."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def swaps(module: nn.Module) -> dict[nn.Module, type[nn.Module]]:
    """Linear maps, and layers with a `product`, on a CPU in 32 bits, with their classes; none where it does not pay."""
    if not (available() and pays()):
        return {}
    pictures = any(isinstance(child, nn.Conv2d) for child in module.modules())
    by = product if pictures else of_texts
    return {child: kind for child in module.modules() if (kind := _kind(child, by)) is not None}


def _kind(layer: nn.Module, by: Product) -> type[nn.Module] | None:
    own: Any = type(layer)
    plain = isinstance(layer, nn.Linear) and own.forward is nn.Linear.forward
    if not plain and not hasattr(own, "product"):
        return None
    if any((weight.device.type, weight.dtype) != ("cpu", torch.float32) for weight in layer.parameters()):
        return None
    return type(f"OneDnn{own.__name__}", (_Map, own) if plain else (own,), {"product": staticmethod(by)})
