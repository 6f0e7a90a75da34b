"""Layers that do the same work in fewer steps while a network trains or answers: classes change, no weight does."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from tasks.backbones import first_token
from tasks.backbones.network import Network, Rows, logits_of
from tasks.speed import channels_last, folded
from tasks.speed.means import wanted

MANY = 256  # rows from which on it pays to make a network quicker before it answers
ROWS = 8  # on which the means' answers are held against the plain ones
TOLERANCE = 1e-4  # of logits, by their size: another order of the same sums

Swaps = Mapping[nn.Module, type[nn.Module]]
Finder = Callable[[Network, Rows], Swaps]


def _lora_linear(module: nn.Module) -> Swaps:
    if not _has_adapters(module):
        return {}
    from tasks.speed import lora_linear

    return lora_linear.swaps(module)


def _merged(module: nn.Module) -> Swaps:
    if not _has_adapters(module):
        return {}
    from tasks.speed import merged

    return merged.swaps(module)


def _has_adapters(module: nn.Module) -> bool:
    """Without one, peft need not be imported."""
    return any(hasattr(child, "lora_A") for child in module.modules())


def _alone(find: Callable[[nn.Module], Swaps]) -> Finder:
    """A finder that needs no rows."""
    return lambda network, _: find(network.module)


TRAINING: Mapping[str, Finder] = {
    "first_token": _alone(first_token.swaps),
    "channels_last": _alone(channels_last.swaps),
    "lora_linear": _alone(_lora_linear),
    "folded": folded.swaps,
}
ANSWERING: Mapping[str, Finder] = {
    "first_token": _alone(first_token.swaps),
    "channels_last": _alone(channels_last.swaps),
    "merged": _alone(_merged),
    "folded": folded.swaps,
}


@contextmanager
def answering(network: Network, rows: Rows, fewest: int = MANY) -> Iterator[None]:
    """While the body runs, the network answers rows (raw inputs) by the means that `GRAFT_MEANS` names.

    Of less than `fewest` rows nothing changes. Nothing else may ask it meanwhile: its layers change one after the
    other.
    """
    network.module.eval()
    if len(next(iter(rows.values()))) < fewest:
        yield
        return
    swapped = quicken(network, rows, ANSWERING)
    try:
        yield
    finally:
        slow_down(swapped)


def quicken(network: Network, rows: Rows, by: Mapping[str, Finder] = TRAINING) -> Swaps:
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
    allowed = wanted()
    for mean, find in by.items():
        swaps = find(network, few) if mean in allowed else {}
        if not swaps:
            continue
        before = logits_of(network, few) if before is None else before
        plain = change(swaps)
        if torch.allclose(logits_of(network, few), before, rtol=TOLERANCE, atol=TOLERANCE):
            done = plain | done
        else:
            change(plain)
    return done


def slow_down(swapped: Swaps) -> None:
    """Give the layers that `quicken` changed their own classes again."""
    change(swapped)


def change(swaps: Swaps) -> dict[nn.Module, type[nn.Module]]:
    """Give layers other classes; returns those that they had."""
    before = {module: type(module) for module in swaps}
    for module, kind in swaps.items():
        module.__class__ = kind
    return before
