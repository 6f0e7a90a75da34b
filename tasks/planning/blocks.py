"""What trains in a network and what stands still, block by block, as the network itself has it."""

from collections.abc import Sequence

from torch import nn

from tasks.backbones.network import Network
from tasks.frozen import Frozen
from tasks.methods import in_head

REST, HEAD = "outside the blocks", "head"
WRAPPED = "base_model.model."  # before every name in peft's wrapper


class Block(Frozen):
    """A part of a network: how many weights in it train, how many are frozen, and its adapters' ranks by module."""

    name: str
    trained: int
    frozen: int
    ranks: dict[str, int]


class Still(Frozen):
    """Layers that stand still in training, of all there are: batch norms keep their statistics, dropouts are off."""

    norms: tuple[int, int]
    dropouts: tuple[int, int]


def blocks(network: Network) -> tuple[Block, ...]:
    """Every weight in one row: outside the blocks (embeddings, last norms), the blocks from the input on, the head."""
    groups = dict(zip(_titles(network.groups), network.groups, strict=True))
    trained, frozen = (dict.fromkeys((REST, *groups, HEAD), 0) for _ in range(2))
    for name, weight in network.module.named_parameters():
        if "original_module" not in name:  # peft's copy of the head as it was, which is not in use
            kind = trained if weight.requires_grad else frozen
            kind[_place(name, network.head, groups)] += weight.numel()
    ranks = _ranks(network.module)
    placed = {name: _place(f"{name}.", network.head, groups) for name in ranks}
    return tuple(
        Block(
            name=title,
            trained=trained[title],
            frozen=frozen[title],
            ranks={name: rank for name, rank in ranks.items() if placed[name] == title},
        )
        for title in trained
        if trained[title] + frozen[title]
    )


def still(network: Network) -> Still:
    """How the method's training mode leaves the layers that act otherwise in training."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    found = [[layer for layer in network.module.modules() if isinstance(layer, kind)] for kind in kinds]
    norms, dropouts = ([layer.training for layer in layers] for layers in found)
    return Still(norms=(norms.count(False), len(norms)), dropouts=(dropouts.count(False), len(dropouts)))


def _titles(groups: Sequence[Sequence[str]]) -> list[str]:
    """For each group the shortest start of its first module's name that no other group's modules have."""
    titles = []
    for index, group in enumerate(groups):
        others = [name for other in (*groups[:index], *groups[index + 1 :]) for name in other]
        parts = group[0].split(".")
        starts = [".".join(parts[:size]) for size in range(1, len(parts) + 1)]
        titles.append(next(start for start in starts if not any(_within(name, start) for name in others)))
    return titles


def _place(weight: str, head: tuple[str, ...], groups: dict[str, tuple[str, ...]]) -> str:
    if in_head(weight, head):
        return HEAD
    name = weight.removeprefix(WRAPPED)
    for title, modules in groups.items():
        if _within(name, title) or any(_within(name, module) for module in modules):
            return title
    return REST


def _within(name: str, top: str) -> bool:
    return f"{name}.".startswith(f"{top}.")


def _ranks(module: nn.Module) -> dict[str, int]:
    from peft.tuners.lora import LoraLayer

    found = [(name, child) for name, child in module.named_modules() if isinstance(child, LoraLayer)]
    return {name.removeprefix(WRAPPED): next(iter(child.r.values())) for name, child in found}
