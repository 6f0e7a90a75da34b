"""Which words of a text made a model answer so."""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tasks.backbones.text import TextNetwork
from tasks.explain.integrated import Integrated, Output, integrated, output_of
from tasks.frozen import GraftError
from tasks.saved import Model

WORD = re.compile(r"\w+(?:['’\-]\w+)*|[^\w\s]")


class Word(NamedTuple):
    """A word (or a single sign) of a text column.

    Attributes:
        column: `text` or `text_pair`.
        before: the spaces before it.
        text: as it is written.
        value: its attribution in logits; None if no token of it was read, as the text was cut off before it.
    """

    column: str
    before: str
    text: str
    value: float | None


@dataclass(frozen=True)
class Told:
    """The words of a row with what each gave to an output's logit."""

    output: Output
    words: tuple[Word, ...]
    sums: Integrated

    @property
    def unread(self) -> int:
        """How many words no token stands for."""
        return sum(word.value is None for word in self.words)

    @property
    def strongest(self) -> tuple[Word, ...]:
        """The words that were read, the one that moved the logit most first."""
        return tuple(sorted((w for w in self.words if w.value is not None), key=lambda w: -abs(w.value or 0)))


def explain_text(model: Model, row: Mapping[str, str], label: str | None = None) -> Told:
    """Attribute the logit of a label, or of the model's answer, to the words of a row.

    Integrated gradients from the row with mask (or pad) tokens in place of its own, the special tokens kept, to the
    row itself, in the space of the token embeddings; a word's value is the sum over its tokens and their dimensions.

    Args:
        model: on CPU, in eval mode.
        row: `text`, and `text_pair` where the model was trained on pairs.
        label: which logit; that of the model's answer if not given.

    Raises:
        GraftError: there is no such label, the tokenizer cannot say whose a token is, or the attributions do not add
            up.
    """
    network = model.network
    if not isinstance(network, TextNetwork):
        raise GraftError("This model takes pictures. Give --image instead of --text.")
    rows = {name: [cell] for name, cell in row.items()}
    way = network.way(rows)
    output = output_of(model.target, way.logits(way.end).detach(), label)
    sums = integrated(way, output.place)
    by_token = sums.values[0].double().sum(1).tolist()
    found = {name: list(WORD.finditer(cell)) for name, cell in row.items()}
    values: dict[str, dict[int, float]] = {name: {} for name in row}
    for span, value in zip(network.spans(rows), by_token, strict=True):
        if span:
            place = place_of(row[span.column], found[span.column], span.start, span.end)
            values[span.column][place] = values[span.column].get(place, 0.0) + value
    words = tuple(word for name in row for word in _words(name, row[name], found[name], values[name]))
    return Told(output, words, sums)


def place_of(text: str, words: list[re.Match[str]], start: int, end: int) -> int:
    """The index of the word that a token belongs to: where its first letter is; of a space, the word before."""
    piece = text[start:end]
    first = start + len(piece) - len(piece.lstrip())
    return max(0, bisect_right([word.start() for word in words], min(first, max(start, end - 1))) - 1)


def _words(column: str, text: str, words: list[re.Match[str]], values: Mapping[int, float]) -> list[Word]:
    ends = [0, *(word.end() for word in words)]
    return [
        Word(column, text[ends[index] : word.start()], word[0], values.get(index)) for index, word in enumerate(words)
    ]
