"""Layers that do the same work in fewer steps, in a network while it trains: their class changes, no weight does."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from tasks.backbones import first_token
from tasks.backbones.network import Network, Rows, logits_of
from tasks.speed import channels_last, folded
from tasks.speed.means import wanted

ROWS = 8  # on which the means' answers are held against the plain ones
TOLERANCE = 1e-4  # of logits, by their size: another order of the same sums

Swaps = Mapping[nn.Module, type[nn.Module]]


def _lora_linear(module: nn.Module) -> Swaps:
    if not any(hasattr(child, "lora_A") for child in module.modules()):  # then peft need not be imported
        return {}
    from tasks.speed import lora_linear

    return lora_linear.swaps(module)


SWAPS: dict[str, Callable[[Network, Rows], Swaps]] = {
    "first_token": lambda network, _: first_token.swaps(network.module),
    "channels_last": lambda network, _: channels_last.swaps(network.module),
    "lora_linear": lambda network, _: _lora_linear(network.module),
    "folded": folded.swaps,
}


def quicken(network: Network, rows: Rows) -> Swaps:
    """Give layers their quicker classes by each of the means that `GRAFT_MEANS` names.

    A mean with which the network does not answer the first of `rows` (raw inputs) as before is left out: it does not
    fit this head.

    Returns:
        what `slow_down` takes to undo it.

    Raises:
        GraftError: `GRAFT_MEANS` names a mean that is not known.
    """
    few = {name: column[:ROWS] for name, column in rows.items()}
    done: dict[nn.Module, type[nn.Module]] = {}
    before = None
    for mean in wanted():
        swaps = SWAPS[mean](network, few) if mean in SWAPS else {}
        if swaps and before is None:
            before = logits_of(network, few)
        plain = _swap(swaps)
        if before is None or torch.allclose(logits_of(network, few), before, rtol=TOLERANCE, atol=TOLERANCE):
            done = plain | done
        else:
            _swap(plain)
    return done


def slow_down(swapped: Swaps) -> None:
    """Give the layers that `quicken` changed their own classes again."""
    _swap(swapped)


def _swap(swaps: Swaps) -> dict[nn.Module, type[nn.Module]]:
    """Change classes; gives those that were there before."""
    before = {module: type(module) for module in swaps}
    for module, kind in swaps.items():
        module.__class__ = kind
    return before
