"""A network behind one face: how to feed it, run it, find its head and what in it can be adapted."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks import runtime
from tasks.backbones.ways import Way

Rows = Mapping[str, Sequence[Any]]  # columns `text` (and `text_pair`) or `image`, all of one length
Batch = dict[str, Tensor]


@dataclass
class Network(ABC):
    """A module with its inputs' treatment.

    Attributes:
        module: gives logits; replaced by the adapted one in `tasks.methods`.
        head: dotted names of the modules that were put on top of the trunk for this target.
        groups: names of the modules that a method can adapt (linear maps, ungrouped convolutions),
            grouped by block from the input to the output; the head is in none.
    """

    module: nn.Module
    head: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]

    augmented: ClassVar[bool] = False  # a training row is drawn anew from its seed

    @abstractmethod
    def encode(self, rows: Rows, seeds: Sequence[int] | None = None) -> Batch:
        """Raw inputs to tensors. `seeds` (one a row) asks for training's augmentation, drawn from them."""

    @abstractmethod
    def describe(self, folder: Path) -> None:
        """Write all that `rebuild` needs, the weights apart, into a folder."""

    @abstractmethod
    def way(self, row: Rows) -> Way:
        """The way to one row, in eval mode, along which the answer to it can be attributed to its parts."""

    def ready(self, rows: Rows, content: str | None = None) -> Rows:
        """The rows in the form that is cheapest to encode again and again: texts as tokens.

        With the hash of their `content`, the tokens are kept on disk for the next run.
        """
        return rows

    @property
    def at_once(self) -> int:
        """Rows in a batch that is answered without gradients: what more of them give outgrows a processor's cache."""
        return 32 if runtime.device() == "cpu" else 64

    def beside(self, rows: Rows, features: Tensor) -> Batch:
        """What `logits` must be given beside the features [B, ...] that its first layers would give for the rows."""
        return self.encode(rows)

    @property
    def table(self) -> nn.Module | None:
        """The table of embeddings by which words come in, if any do."""
        return None

    def light(self) -> "Network":
        """The same without its weights: all that a process needs which only encodes."""
        return replace(self, module=nn.Identity())

    def lengths(self, rows: Rows) -> NDArray[np.int64]:
        """[N] tokens of each row; 0 where all inputs have one size."""
        return np.zeros(len(next(iter(rows.values()))), np.int64)

    def logits(self, batch: Batch) -> Tensor:
        """[B, K] logits, or [B, 1] for a number."""
        out: Tensor = self.module(**batch)
        return out


def adaptable(module: nn.Module) -> bool:
    """Whether LoRA fits the layer: a linear map, or a convolution without groups.

    A grouped convolution's adapter would outgrow the layer and cannot be merged.
    """
    if isinstance(module, nn.Conv2d):
        return module.groups == 1
    return isinstance(module, nn.Linear) or transposed(module)


def transposed(module: nn.Module) -> bool:
    """Whether it is GPT-2's linear map, whose weight is [in, out]; transformers calls it Conv1D."""
    return type(module).__name__ == "Conv1D"


@cache
def mixed(first: type, kind: type[nn.Module]) -> type[nn.Module]:
    """A module's class with methods of another before its own."""
    return type(f"{first.__name__}{kind.__name__}", (first, kind), {})


def by_block(module: nn.Module, blocks: Sequence[Sequence[str]], head: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Adaptable modules grouped by block; a block is given by its modules' names, in order from the input.

    A module in no block (an embedding's projection, a pooler) joins the block before it.
    """
    groups: dict[int, list[str]] = {}
    current = 0
    for name, child in module.named_modules():
        if _within(name, head):
            continue
        current = next((index for index, block in enumerate(blocks, 1) if _within(name, block)), current)
        if adaptable(child):
            groups.setdefault(current, []).append(name)
    return tuple(tuple(names) for _, names in sorted(groups.items()))


def _within(name: str, tops: Sequence[str]) -> bool:
    return any(name == top or name.startswith(f"{top}.") for top in tops)


@torch.inference_mode()
def logits_of(
    network: Network, rows: Rows, batch_size: int | None = None, done: Callable[[int], None] | None = None
) -> Tensor:
    """[N, K] logits of all rows in their order, on CPU; `done` is told of every batch's rows.

    Batches are made of rows of similar length, so that padding costs little; the network's own `at_once` is their
    size if none is given.
    """
    batch_size = batch_size or network.at_once
    network.module.eval()
    rows = network.ready(rows)
    order = np.argsort(network.lengths(rows), kind="stable").tolist()
    device = next(network.module.parameters()).device
    parts = []
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = network.encode({name: [column[row] for row in chosen] for name, column in rows.items()})
        parts.append(network.logits({name: tensor.to(device) for name, tensor in batch.items()}).float().cpu())
        if done:
            done(len(chosen))
    return torch.cat(parts)[torch.tensor(order).argsort()]
