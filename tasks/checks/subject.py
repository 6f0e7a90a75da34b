"""The rows under check: what several checks need of them is read once and kept as numbers."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.alike import Places
from tasks.backbones import Backbone
from tasks.backbones.network import Network
from tasks.checks.wording import faults_in
from tasks.datasets.spec import INPUTS, ROW, DatasetSpec
from tasks.findings import Finding, Severity
from tasks.near import normal
from tasks.prepare import rows_of
from tasks.results import Prepared
from tasks.rows import Rows, inputs_of

EXAMPLES = 5
TOKENIZER_ROWS = 20_000
SHOWN = 200  # characters of a row's own text
T = TypeVar("T")
Example = tuple[str, int]  # a split, and a row's place in it


class Texts(NamedTuple):
    """Numbers of a split's N texts."""

    marks: NDArray[np.uint64]  # of the normal text: equal where it is
    characters: NDArray[np.int32]
    words: NDArray[np.int16]  # with a letter, a digit or an emoji; 32,767 at most
    faults: NDArray[np.uint8]  # see `tasks.checks.wording`


class Subject:
    """Prepared rows, what their file says of them, and the backbone that is to be trained on them.

    `tell` shows a line of figures while something takes long.
    """

    def __init__(
        self,
        data: Prepared,
        spec: DatasetSpec,
        backbone: Backbone,
        pretrained: bool = True,
        tell: Callable[[str], object] = str,
    ) -> None:
        self.data, self.spec, self.backbone, self.tell = data, spec, backbone, tell
        self.pretrained = pretrained and backbone.pretrained
        self._made: dict[tuple[Any, ...], Any] = {}

    @property
    def is_text(self) -> bool:
        return self.data.accepts == "text"

    @property
    def scored(self) -> list[str]:
        """The splits that are reported: test, and perhaps more."""
        return [split for split in self.data.rows if split not in ("train", "validation")]

    def rows(self, split: str) -> Rows:
        return self.once(("rows", split), lambda: rows_of(self.data, split))

    def keys(self, split: str) -> NDArray[np.uint64]:
        """[N] equal where the inputs are the very same."""
        return self.once(
            ("keys", split),
            lambda: np.fromiter(
                (int(key[:16], 16) for key in self.rows(split)["key"]), np.uint64, self.data.rows[split]
            ),
        )

    def marks(self, split: str) -> NDArray[np.uint64]:
        """[N] equal where the texts are equal after `normal`, or the pictures' files are the same."""
        return self.texts[split].marks if self.is_text else self.keys(split)

    @cached_property
    def texts(self) -> dict[str, Texts]:
        """By split."""
        return {split: self._measured(split) for split in self.data.rows}

    def _measured(self, split: str) -> Texts:
        count = self.data.rows[split]
        found = Texts(
            np.zeros(count, np.uint64), np.zeros(count, np.int32), np.zeros(count, np.int16), np.zeros(count, np.uint8)
        )
        for place, parts in enumerate(self.cells(split)):
            plain = [normal(part) for part in parts]
            digest = hashlib.blake2b("\n".join(plain).encode("utf-8", "surrogatepass"), digest_size=8).digest()
            found.marks[place] = int.from_bytes(digest, "big")
            found.characters[place] = sum(map(len, parts))
            found.words[place] = min(32767, sum(map(_words, plain)))
            found.faults[place] = faults_in(parts)
            if place % 1000 == 0:
                self.tell(f"{split} {place:,}/{count:,}")
        return found

    def cells(self, split: str) -> Iterator[tuple[str, ...]]:
        """The texts of every row."""
        return zip(*(self.rows(split)[name] for name in self.names), strict=True)

    @cached_property
    def network(self) -> Network:
        """The backbone as training would begin with it; a tokenizer of its own is made from a sample."""
        with torch.random.fork_rng():
            table = self.rows("train").table(self.spread("train", TOKENIZER_ROWS if self.is_text else 1))
            return self.backbone.load(self.data.target, inputs_of(table), self.pretrained)

    @property
    def names(self) -> tuple[str, ...]:
        """The input columns."""
        return tuple(name for name in INPUTS if name in self.rows("train").names)

    def spread(self, split: str, size: int) -> list[int]:
        """At most so many places of a split, evenly apart; rows lie in the order of their hash, so by chance."""
        count = self.data.rows[split]
        places: list[int] = np.unique(np.linspace(0, count - 1, min(count, size)).astype(int)).tolist()
        return places

    def once(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """What `make` gives, made at the first call with this key."""
        if key not in self._made:
            self._made[key] = make()
        return cast(T, self._made[key])

    def finding(
        self,
        check: str,
        severity: Severity,
        about: str,
        next_step: str = "",
        count: int = 0,
        rows: Iterable[Example] = (),
        names: Iterable[str] = (),
    ) -> Finding:
        """A finding with up to five of the rows by their ids, and their texts if the data set lets them be shown.

        What is about classes gives their `names` in place of rows.
        """
        few = list(islice(rows, EXAMPLES))
        return Finding(
            check=check,
            severity=severity,
            count=count,
            examples=tuple([self.rows(split)[ROW][place] for split, place in few] or islice(names, EXAMPLES)),
            about=about,
            next_step=next_step if severity != "ok" else "",
            texts=tuple(self._shown(*row) for row in few) if self.spec.show_examples and self.is_text else (),
        )

    def _shown(self, split: str, place: int) -> str:
        return " | ".join(self.rows(split)[name][place] for name in self.names)[:SHOWN]


def _words(plain: str) -> int:
    """Words of a normal text; 0 where it is signs alone."""
    return sum(word[0].isalnum() or not word.isascii() for word in plain.split())


def of(places: Mapping[str, Places]) -> Iterator[Example]:
    """Places by split as examples."""
    return ((split, int(place)) for split, own in places.items() for place in own)


def some(count: int, noun: str, several: str = "") -> str:
    """Such as "1 row" and "1,200 rows"."""
    return f"{count:,} {noun if count == 1 else several or f'{noun}s'}"


def share(part: int, whole: int) -> str:
    """A percentage, such as "0.4 %"."""
    return f"{100 * part / whole:.2g} %" if part < whole else "100 %"
