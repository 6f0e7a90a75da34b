"""What a network opens to those who ask why it answers so: a way through its inside, and whose the tokens are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from tasks.frozen import GraftError


@dataclass(frozen=True)
class Way:
    """A straight way inside a network, from an input that says nothing to the one that is asked about.

    Attributes:
        start: [1, ...] the first point.
        end: [1, ...] the last one.
        logits: points [S, ...] to [S, K], differentiable.
    """

    start: Tensor
    end: Tensor
    logits: Callable[[Tensor], Tensor]


class Span(NamedTuple):
    """The characters of a text column that a token stands for."""

    column: str
    start: int
    end: int


def embedded_way(
    embedding: nn.Module, logits: Callable[[dict[str, Tensor]], Tensor], batch: dict[str, Tensor], empty: Tensor
) -> Way:
    """The way of one row's token embeddings [1, T, D] from the ids `empty` [1, T] to its own.

    At every point the network is told of the row's own ids: it takes its padding and its last token from them.
    """

    def answered(points: Tensor) -> Tensor:
        hook = embedding.register_forward_hook(lambda *_: points)
        try:
            return logits({name: tensor.expand(len(points), -1) for name, tensor in batch.items()})
        finally:
            hook.remove()

    return Way(embedding(empty).detach(), embedding(batch["input_ids"]).detach(), answered)


def spans_of(tokenizer: Any, columns: dict[str, str], max_length: int) -> list[Span | None]:
    """Of every token of one row its characters; None for the tokens that the tokenizer itself put in.

    Raises:
        GraftError: the tokenizer is not a fast one, and so does not know.
    """
    if not tokenizer.is_fast:
        raise GraftError(
            f"The tokenizer {type(tokenizer).__name__} does not say which characters a token stands for. "
            "Choose a backbone with a tokenizer.json."
        )
    names = list(columns)
    found = tokenizer(*columns.values(), truncation=True, max_length=max_length, return_offsets_mapping=True)
    places = zip(found.sequence_ids(), found["offset_mapping"], strict=True)
    return [None if part is None else Span(names[part], *ends) for part, ends in places]
