"""What is made for a point of a curve: rows of exactly so many tokens, and networks of fewer blocks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from tasks.backbones.network import Network
from tasks.backbones.text import TextNetwork
from tasks.frozen import GraftError


def joined(network: TextNetwork, texts: Sequence[str], labels: Sequence[str], rows: int) -> Iterator[tuple[str, str]]:
    """Rows of exactly as many tokens as the network keeps: texts joined in their order, the last one cut.

    Args:
        network: its `max_length` is how many, the tokenizer's own special ones among them.
        texts: real ones; each is used in one row at most.
        labels: theirs; a row has that of the text that ends it.
        rows: how many are made.

    Yields:
        text and label.

    Raises:
        GraftError: there are too few texts.
    """
    sizes, special = network.lengths({"text": texts}), int(network.lengths({"text": [""]})[0])
    parts: list[str] = []
    held, made = special, 0
    for text, label, size in zip(texts, labels, sizes.tolist(), strict=True):
        parts.append(text)
        held += size - special
        if held < network.max_length:
            continue
        row = _cut(network, " ".join(parts))
        parts, held = [], special
        if network.lengths({"text": [row]})[0] == network.max_length:  # else the cut went through a longest piece
            yield row, label
            made += 1
        if made == rows:
            return
    raise GraftError(
        f"{len(texts):,} texts give {made} rows of {network.max_length} tokens, but {rows} are wanted. Is the data set "
        "whole?"
    )


def _cut(network: TextNetwork, text: str) -> str:
    """The text up to the last character of which the network keeps a token."""
    kept = [span for span in network.spans({"text": [text]}) if span]
    return text[: kept[-1].end]


def shorten(network: TextNetwork, blocks: int, folder: Path) -> None:
    """Write the first blocks of a network of transformers to a folder, from which a backbone can load them.

    The network is taken apart by it.

    Raises:
        GraftError: it has not so many blocks.
    """
    module: Any = network.module
    config = module.config
    there = config.num_hidden_layers
    if not 0 < blocks <= there:
        raise GraftError(f"The network has {there} blocks, but {blocks} are wanted.")
    stack = next(m for m in module.modules() if isinstance(m, nn.ModuleList) and len(m) == there)
    del stack[blocks:]
    config.num_hidden_layers = blocks
    if getattr(config, "layer_types", None):  # one for each block
        config.layer_types = config.layer_types[:blocks]
    folder.mkdir(parents=True)
    module.save_pretrained(folder)
    network.describe(folder)


def multiplied(network: Network) -> int:
    """How many weights a network has outside its embeddings: those are looked up and cost no arithmetic."""
    tables = [module for module in network.module.modules() if isinstance(module, nn.Embedding)]
    looked_up = {id(weight) for table in tables for weight in table.parameters()}
    return sum(weight.numel() for weight in network.module.parameters() if id(weight) not in looked_up)
