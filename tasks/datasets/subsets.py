"""Subsets of image sets: some classes, so many pictures of each; the same ones on every machine."""

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Self

import pandas as pd
from pydantic import Field, model_validator

from tasks.datasets.spec import LABEL, ROW, DatasetSpec
from tasks.datasets.wordnet import WNID, definition, short_names, synonyms, words_for
from tasks.frozen import GraftError

ROWS, SIZE = 256, 2**26  # a table is full at so many pictures, or at 64 MiB of them


class Subset(DatasetSpec):
    """What every set of pictures can be cut down to.

    A class's pictures are drawn by the smallest SHA-256 of `subset_seed`, a colon and the picture's name in its split:
    neither the order of listing nor the other classes matter, and a larger subset holds the smaller ones.
    """

    classes: tuple[str, ...] | None = Field(
        None, min_length=2, description="these alone, in this order: as the data writes them, WordNet ids or names"
    )
    per_class: int | None = Field(None, ge=1, description="so many training pictures of each class (validation's too)")
    per_class_test: int | None = Field(None, ge=1, description="so many test pictures of each class")
    subset_seed: int = Field(0, ge=0, description="another one draws other pictures")

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("image",)

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        if self.classes and len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise ValueError(f"classes names {twice!r} twice")
        return self

    def named(self, raw: Iterable[str]) -> dict[str, str]:
        plain = super().named(raw)
        return plain | short_names(plain)

    def chosen(self, known: Sequence[str], origin: str) -> tuple[str, ...]:
        """The labels, as the data writes them, that `classes` means; all that are known if it is not given.

        Raises:
            GraftError: a name is unknown, means several of them, or means one that is named already.
        """
        if self.classes is None:
            return tuple(known)
        meant = [_meant(name, tuple(known), origin) for name in self.classes]
        for place, label in enumerate(meant):
            if label in meant[:place]:
                raise GraftError(f"classes names {label!r} twice, the second time as {self.classes[place]!r}.")
        return tuple(meant)

    def drawn(self, split: str, label: str, names: Sequence[str]) -> list[int]:
        """Positions of the pictures of a class that belong to the subset, rising.

        Args:
            split: "train" or another one.
            label: the class.
            names: of all its pictures in that split; they must be the same on every machine.

        Raises:
            GraftError: the class has too few.
        """
        field = "per_class" if split == "train" else "per_class_test"
        count: int | None = getattr(self, field)
        if count and len(names) < count:
            raise GraftError(
                f"Class {told(label)} has {len(names)} pictures in {split}, but {field} is {count}. "
                "Lower it, or name in `classes` those that have enough."
            )
        if self.classes and not names:
            raise GraftError(f"Class {told(label)} has no picture in {split}. Leave it out of `classes`.")
        if count is None:
            return list(range(len(names)))
        marks = [hashlib.sha256(f"{self.subset_seed}:{name}".encode()).digest() for name in names]
        return sorted(sorted(range(len(names)), key=marks.__getitem__)[:count])


def tables(rows: Iterable[tuple[str, bytes, str]]) -> Iterator[pd.DataFrame]:
    """Row ids, pictures and labels as tables that fit into memory."""
    batch: list[tuple[str, bytes, str]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row[1])
        if len(batch) == ROWS or size >= SIZE:
            yield pd.DataFrame(batch, columns=[ROW, "image", LABEL])
            batch, size = [], 0
    if batch:
        yield pd.DataFrame(batch, columns=[ROW, "image", LABEL])


def told(label: str) -> str:
    """A label with its readable name."""
    names = short_names([label])
    return f"{label!r} ({names[label]})" if label in names else repr(label)


def _meant(name: str, known: tuple[str, ...], origin: str) -> str:
    """The one label that a name means: as it is, as its readable name, or as one of its synonyms."""
    if name in known:
        return name
    ways = _ways(known)
    asked = [(way, name) for way in ways] + [(ways[0], words) for words in _words(name, known)]
    for way, words in asked:
        found = way.get(_plain(words), [])
        if len(found) == 1:
            return found[0]
        if found:
            raise GraftError(f"Class {name!r} could mean {' or '.join(map(_defined, found))}. Give one of these.")
    raise GraftError(f"{origin} has no class {name!r}. {_near(name, known)}")


def _words(name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """A WordNet id in words, for labels that are words."""
    return words_for(name) if WNID.fullmatch(name) and not any(map(WNID.fullmatch, known)) else ()


@lru_cache(maxsize=4)
def _ways(known: tuple[str, ...]) -> list[dict[str, list[str]]]:
    """Plain name to labels: by the label itself, by its readable name, by its synonyms."""
    short = short_names(known)
    ways: list[dict[str, list[str]]] = [{}, {}, {}]
    for label in known:
        ways[0].setdefault(_plain(label), []).append(label)
        if label in short:
            ways[1].setdefault(_plain(short[label]), []).append(label)
            for word in synonyms(label) if WNID.fullmatch(label) else label.split(", "):
                ways[2].setdefault(_plain(word), []).append(label)
    return ways


def _near(name: str, known: tuple[str, ...]) -> str:
    labels = {word: found[0] for way in reversed(_ways(known)) for word, found in way.items()}
    near = difflib.get_close_matches(_plain(name), labels, 5, 0.6)
    if near:
        return f"Did you mean {' or '.join(map(told, list(dict.fromkeys(labels[word] for word in near))[:3]))}?"
    rest = f" and {len(known) - 10:,} more" if len(known) > 10 else ""
    return f"Valid: {', '.join(map(told, known[:10]))}{rest}."


def _defined(label: str) -> str:
    return f"{label!r} ({definition(label)})" if WNID.fullmatch(label) else repr(label)


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ")
