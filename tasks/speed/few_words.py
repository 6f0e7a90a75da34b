"""A large table of embeddings, of which the words of the training rows alone train step by step.

AdamW reads and writes every weight and both of its moments in every step, and the table's gradient is filled with zeros
for it; half of a small encoder is its table, and a few thousand rows of text use a part of that. A row of the table
whose word no training row has never gets a gradient: its moments stay 0, and AdamW only lets it decay (Loshchilov and
Hutter 2019, algorithm 2 with a gradient of 0).

So while steps are taken, the rows in use are a weight of their own. Before anybody looks at the table it is whole
again, to the bit as AdamW would have left it; only the gradients' norm is summed in another order.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tasks.backbones.network import Network, Rows
from tasks.speed.means import wanted
from tasks.speed.quick import Swaps, change

IDS = "input_ids"
SHARE = 0.5  # of its rows in use, up to which it pays
AT_ONCE = 10_000  # rows whose words are gathered at once
BLOCK = 512  # rows of the table that decay at once: they fit a processor's cache


class _Used:
    """Mixed into a table's own class: words [B, T] to the rows of `few`; a word that is not there is an IndexError."""

    few: nn.Parameter | None
    places: Tensor
    padding: int | None

    def forward(self: Any, words: Tensor) -> Tensor:
        return functional.embedding(self.places[words], self.few, self.padding)


class FewWords:
    """A training's table of words, if it pays: whole, or for the time of some steps its rows in use."""

    def __init__(self, network: Network, inputs: Rows, optimizer: Any) -> None:
        """Look for it; nothing changes. `inputs` are all training rows, made ready."""
        found = _table(network, inputs) if "few_words" in wanted() else None
        self.table: nn.Embedding | None = found[0] if found else None
        self.used = found[1] if found else torch.empty(0)
        self.optimizer = optimizer
        self.short: Any = _short(*found) if found else None
        self.own: Swaps = {}
        self.few: nn.Parameter | None = None
        self.factors: list[float] = []  # what AdamW multiplied a row without a gradient by, step by step since then

    @torch.no_grad()
    def shorten(self) -> None:
        """Let the rows in use stand for the table in network and optimizer, if they do not yet."""
        if self.table is None or self.few is not None:
            return
        table = self.table.weight
        self.few = self.short.few = nn.Parameter(table[self.used])
        self.own = change({self.table: self.short})
        self._exchange(table, self.few, lambda moment: moment[self.used])

    def stepped(self) -> None:
        """Note a step that the optimizer has taken."""
        if self.few is not None:
            group = self._group(self.few)
            self.factors.append(1 - group["lr"] * group["weight_decay"])

    @torch.no_grad()
    def whole(self) -> None:
        """Put the table together again, if it is not whole."""
        if self.table is None or self.few is None:
            return
        table, few = self.table.weight, self.few
        for block in torch.split(table, BLOCK):
            for factor in self.factors:  # each by itself, for so it is rounded
                block.mul_(factor)
        table[self.used] = few
        self._exchange(few, table, lambda moment: torch.zeros_like(table).index_copy_(0, self.used, moment))
        change(self.own)
        self.few = self.short.few = None
        self.factors = []

    def _group(self, weight: Tensor) -> Any:
        return next(of for of in self.optimizer.param_groups if any(own is weight for own in of["params"]))

    def _exchange(self, old: Tensor, new: Tensor, moment: Callable[[Tensor], Tensor]) -> None:
        """Let the optimizer train another weight in the place of an old one, whose moments it takes along."""
        group, state = self._group(old), self.optimizer.state.pop(old, {})
        group["params"] = [new if own is old else own for own in group["params"]]
        self.optimizer.state[new] = {name: moment(t) if t.shape == old.shape else t for name, t in state.items()}


def _table(network: Network, inputs: Rows) -> tuple[nn.Embedding, Tensor] | None:
    """The table, and its rows in use [U] in their order; None where it does not pay."""
    table = network.table
    if not isinstance(table, nn.Embedding) or not _plain(table):
        return None
    lengths = network.lengths(inputs)
    ends = [int(lengths.argmin()), int(lengths.argmax())]  # padded, if any batch is
    batch = network.encode({name: [column[row] for row in ends] for name, column in inputs.items()})
    used = np.union1d(_words(inputs[IDS]), batch[IDS].numpy())
    if table.padding_idx is not None:
        used = np.union1d(used, [table.padding_idx])
    if len(used) > SHARE * len(table.weight):
        return None
    return table, torch.from_numpy(used.astype(np.int64)).to(table.weight.device)


def _short(table: nn.Embedding, used: Tensor) -> type[nn.Module]:
    """The table's class while its rows in use stand for it."""
    places = torch.full((len(table.weight),), -1, device=used.device)
    places[used] = torch.arange(len(used), device=used.device)
    padding = None if table.padding_idx is None else int(places[table.padding_idx])
    content = {"few": None, "places": places, "padding": padding}  # of the class, like `folded`
    return type(f"Few{type(table).__name__}", (_Used, type(table)), content)


def _plain(table: nn.Embedding) -> bool:
    """Whether it trains and does nothing but look rows up."""
    own = type(table).forward is nn.Embedding.forward and table.max_norm is None
    return own and table.weight.requires_grad and not (table.sparse or table.scale_grad_by_freq)


def _words(ids: Sequence[Any]) -> NDArray[Any]:
    """Every word of the rows once."""
    parts = [np.unique(np.concatenate(ids[start : start + AT_ONCE])) for start in range(0, len(ids), AT_ONCE)]
    return np.unique(np.concatenate(parts))
