"""Precision as the training takes it: in fp32 nothing changes, and in bf16 attention on a CPU stays in 32 bits."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from small import Bench, differing
from torch import Tensor
from torch.nn import functional

from tasks.runtime import Precision
from tasks.saved import trained_state
from tasks.speed import mixed

pytest_plugins = ["small"]


CPU = torch.device("cpu")


def attended(precision: Precision, masked: bool = False) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Attention of numbers that came from products, and its gradients."""
    given = [torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(place)) for place in range(3)]
    rows: list[Any] = [(one.bfloat16() if precision == "bf16" else one).requires_grad_() for one in given]
    query, key, value = rows
    mask = torch.zeros(2, 1, 5, 5, dtype=rows[0].dtype) if masked else None
    with mixed.precision(precision, CPU):
        out = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        seen = torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype
    assert seen == (torch.bfloat16 if precision == "bf16" else torch.float32)
    return out, torch.autograd.grad(out.sum(), rows)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_worked_out_in_32_bits_and_its_gradients_come_back_in_16(masked: bool) -> None:
    out, gradients = attended("bf16", masked)
    rows: list[Any] = [
        torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(place)).bfloat16() for place in range(3)
    ]
    wanted = functional.scaled_dot_product_attention(*(one.float() for one in rows))
    assert out.dtype == torch.float32
    assert torch.equal(out, wanted)
    assert {gradient.dtype for gradient in gradients} == {torch.bfloat16}


def test_in_fp32_and_outside_nothing_is_changed() -> None:
    out, _ = attended("fp32")
    assert out.dtype == torch.float32
    rows: list[Any] = [torch.ones(1, 1, 2, 4, dtype=torch.bfloat16)] * 3
    with mixed.precision("bf16", CPU):
        pass
    with torch.autocast("cpu", torch.bfloat16):
        assert functional.scaled_dot_product_attention(*rows).dtype == torch.bfloat16


def test_a_training_in_16_bits_learns_nearly_the_weights_of_32(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = {}
    for precision in ("fp32", "bf16"):
        monkeypatch.setenv("GRAFT_PRECISION", precision)
        training = replace(bench, home=bench.home / precision).training(bench.recipe("encoder", {"kind": "lora"}))
        before = {name: weight.clone() for name, weight in trained_state(training.network).items()}
        training.run()
        ended[precision] = trained_state(training.network)
    moved = {name: weight - before[name] for name, weight in ended["fp32"].items()}
    apart = sum(float((ended["bf16"][name] - one).square().sum()) for name, one in ended["fp32"].items()) ** 0.5
    size = sum(float(one.square().sum()) for one in moved.values()) ** 0.5
    assert differing(ended["fp32"], ended["bf16"], ended["fp32"])
    assert 0 < apart < 0.1 * size
