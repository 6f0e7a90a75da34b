"""ImageNet's classes in words: folders and files name them by WordNet ids such as n01440764 (a tench)."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

from tasks.frozen import GraftError

WNID = re.compile(r"n\d{8}")


def synonyms(wnid: str) -> tuple[str, ...]:
    """The names that WordNet gives a class, the commonest first; none for an id that timm's table has not."""
    try:
        return tuple(_table().label_name_to_description(wnid).split(", "))
    except KeyError:
        return ()


def definition(wnid: str) -> str:
    """What the class is, in WordNet's words; the id must have `synonyms`."""
    told: str = _table().label_name_to_description(wnid, detailed=True)
    return told.partition(": ")[2]


def readable(wnid: str) -> str:
    """A short name that no other class has: the first synonym, with the id where that is not enough.

    Among ImageNet-1k's classes the id is added where two share the word (two kinds of crane, two maillots, and the
    cardigan with the Cardigan corgi); outside of them always.

    Raises:
        GraftError: timm's table has no such id.
    """
    if not (names := synonyms(wnid)):
        raise GraftError(f"{wnid!r} is no WordNet id of an ImageNet class. Valid: such as n01440764 (tench).")
    return _short().get(wnid, f"{names[0]} ({wnid})")


def words_for(wnid: str) -> tuple[str, ...]:
    """What a set that writes words may call one of ImageNet-1k's classes, where they can mean no other class."""
    own = [", ".join(synonyms(wnid)), *synonyms(wnid)[:1]]
    return tuple(dict.fromkeys(words for words in own if _wordings().get(words) == wnid))


def short_names(labels: Iterable[str]) -> dict[str, str]:
    """A readable name for each label that is a WordNet id, or all synonyms of a class, as the hub's ImageNet has it.

    "tench, Tinca tinca" becomes "tench". Other labels have none: they are what somebody chose to call a class.
    """
    named = {}
    for label in labels:
        wnid = label if WNID.fullmatch(label) else _wordings().get(label) if ", " in label else None
        if wnid and synonyms(wnid):
            named[label] = readable(wnid)
    return named


@cache
def _table() -> Any:
    from timm.data import ImageNetInfo

    return ImageNetInfo()


@cache
def _short() -> dict[str, str]:
    """The readable name of each of ImageNet-1k's ids."""
    firsts = {wnid: synonyms(wnid)[0] for wnid in _table().label_names()}
    taken = Counter(first.casefold() for first in firsts.values())
    return {wnid: first if taken[first.casefold()] == 1 else f"{first} ({wnid})" for wnid, first in firsts.items()}


@cache
def _wordings() -> dict[str, str]:
    """All synonyms of a class, or its first alone, to its id; without those that several of ImageNet-1k's share."""
    meant: dict[str, set[str]] = {}
    for wnid, short in _short().items():
        meant.setdefault(", ".join(synonyms(wnid)), set()).add(wnid)
        if short == synonyms(wnid)[0]:
            meant.setdefault(short, set()).add(wnid)
    return {words: wnids.pop() for words, wnids in meant.items() if len(wnids) == 1}
