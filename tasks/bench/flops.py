"""How much arithmetic a training needs at least: the matrix products of its linear maps, counted on the plain network.

A linear map of P weights (its bias apart) that sees a token costs, in floating-point operations, a multiplication and
an addition counting as two:

    2 P   to go forward
    2 P   more where the gradient must go on to its input: something below it trains
    2 P   more where its own weights train

So a frozen map of a trunk adapted by LoRA costs 4 P a token, an adapter's map 6 P. Below the lowest adapter nothing
goes backward: the first block's frozen maps of queries, keys and values cost 2 P, and so does all that lies below the
upper blocks where these alone are adapted. Embeddings are looked up and cost nothing. Products of queries, keys and
values with each other, norms and activations are left out: the share of the peak is a lower bound.

Only real tokens count: what is spent on padding was not needed. A map that sees one token a row (the pooler, the head)
counts once a row.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tasks.backbones.network import Network, Rows, transposed
from tasks.recipe import Recipe
from tasks.results import Target


class Cost(NamedTuple):
    """FLOPs, forward and backward: of every token, and of every row beyond its tokens."""

    token: float
    row: float


def cost(network: Network, row: Rows) -> Cost:
    """What one row of several tokens tells: each linear map is watched as it goes forward.

    Args:
        network: adapted, in the mode in which it trains.
        row: one row whose batch is [1, T] tokens, T > 1.
    """
    batch = network.encode(row)
    tokens = next(iter(batch.values())).shape[1]
    found = {True: 0.0, False: 0.0}  # by whether the map sees all tokens

    def watch(module: Any) -> Callable[..., None]:
        def seen(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            ways = 1 + given[0].requires_grad + module.weight.requires_grad
            places = out.numel() // out.shape[-1]
            found[places == tokens] += 2.0 * module.weight.numel() * ways * (1 if places == tokens else places)

        return seen

    maps = [module for module in network.module.modules() if isinstance(module, nn.Linear) or transposed(module)]
    hooks = [module.register_forward_hook(watch(module)) for module in maps]
    try:
        with torch.enable_grad():
            network.logits(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return Cost(found[True], found[False])


def of_training(recipe: Recipe, target: Target, inputs: Rows) -> float:
    """FLOPs of one epoch over these rows by the plain method; 0 where inputs are no tokens.

    The network is loaded anew: whatever the loop has made of its own, this is what the method needs.
    """
    network = recipe.backbone.load(target, inputs)
    lengths = network.lengths(inputs)
    if not lengths.any():
        return 0.0
    recipe.method.adapt(network)
    recipe.method.train_mode(network)
    longest = int(lengths.argmax())
    one = cost(network, {name: _only(column, longest) for name, column in inputs.items()})
    return one.token * float(lengths.sum()) + one.row * len(lengths)


def _only(column: Sequence[Any], row: int) -> list[Any]:
    return [column[row]]
