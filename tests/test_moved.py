"""The watch over the first step raises on each of the ways in which training goes wrong in silence."""

import pytest
import torch
from torch import nn

from tasks.frozen import GraftError
from tasks.moved import check_moved, hashes


class Tiny(nn.Module):
    """A frozen convolution with batch norm, an adapter and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.adapter = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)
        self.requires_grad_(False)
        self.adapter.requires_grad_(True)
        self.head.requires_grad_(True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, 4] -> [B, 2]."""
        logits: torch.Tensor = self.head(self.adapter(self.norm(self.trunk(x))))
        return logits


@pytest.fixture
def tiny() -> Tiny:
    torch.manual_seed(0)
    return Tiny().eval()


def first_step(tiny: Tiny, rate: float = 0.1) -> dict[str, bytes]:
    """One step of plain gradient descent; returns the hashes before it and leaves the gradients."""
    before = hashes(tiny)
    torch.autograd.backward(nn.functional.cross_entropy(tiny(torch.randn(6, 4)), torch.tensor([0, 1] * 3)))
    torch.optim.SGD([w for w in tiny.parameters() if w.requires_grad], lr=rate).step()
    return before


def test_a_step_that_moves_what_it_should_passes(tiny: Tiny) -> None:
    check_moved(first_step(tiny), tiny, ("head",), whole=False)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_one_number_that_changes_in_a_weight_or_buffer_changes_its_hash_alone(tiny: Tiny, kind: torch.dtype) -> None:
    before = hashes(tiny.to(kind))
    assert before.keys() == tiny.state_dict().keys()
    assert hashes(tiny) == before
    for name in ("norm.running_mean", "norm.num_batches_tracked", "adapter.weight"):
        with torch.no_grad():
            tiny.state_dict()[name].view(-1)[-1:].add_(1)
        assert [one for one, found in hashes(tiny).items() if found != before[one]] == [name]
        before = hashes(tiny)


def test_a_frozen_weight_that_changed_is_an_error(tiny: Tiny) -> None:
    before = first_step(tiny)
    with torch.no_grad():
        tiny.trunk.weight[0, 0] += 1e-6
    with pytest.raises(GraftError, match=r"frozen weight trunk\.weight changed"):
        check_moved(before, tiny, ("head",), whole=False)


def test_batch_norm_statistics_that_changed_are_an_error_unless_the_whole_trunk_trains(tiny: Tiny) -> None:
    tiny.norm.train()
    before = first_step(tiny)
    with pytest.raises(GraftError, match=r"buffer norm\.running_mean changed"):
        check_moved(before, tiny, ("head",), whole=False)
    check_moved(before, tiny, ("head",), whole=True)


def test_a_trained_weight_that_did_not_move_is_an_error(tiny: Tiny) -> None:
    before = first_step(tiny, rate=0.0)
    with pytest.raises(GraftError, match=r"adapter\.weight has a gradient but did not change"):
        check_moved(before, tiny, ("head",), whole=False)


def test_no_gradient_in_the_head_is_an_error(tiny: Tiny) -> None:
    before = hashes(tiny)
    torch.autograd.backward(tiny.adapter(torch.randn(6, 4)).sum())  # the head's output is not in use
    torch.optim.SGD(tiny.parameters(), lr=0.1).step()
    with pytest.raises(GraftError, match="No gradient reached the head's weights"):
        check_moved(before, tiny, ("head",), whole=False)


def test_no_gradient_in_the_adapter_is_an_error(tiny: Tiny) -> None:
    before = hashes(tiny)
    torch.autograd.backward(nn.functional.cross_entropy(tiny.head(torch.randn(6, 4)), torch.tensor([0, 1] * 3)))
    torch.optim.SGD(tiny.parameters(), lr=0.1).step()
    with pytest.raises(GraftError, match="No gradient reached the trunk's weights"):
        check_moved(before, tiny, ("head",), whole=False)


def test_an_adapter_that_starts_at_zero_need_not_move_as_a_whole(tiny: Tiny) -> None:
    nn.init.zeros_(tiny.adapter.weight)  # as LoRA's B: its partner A has no gradient in the first step
    tiny.adapter.bias.requires_grad_(False)
    nn.init.zeros_(tiny.adapter.bias)
    check_moved(first_step(tiny), tiny, ("head",), whole=False)
