"""What the cells of one column are alike: texts, words from a short list, numbers, lists, pictures, ids, dates."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from tasks.datasets.tables import plain
from tasks.frozen import Frozen

Kind = Literal[
    "empty", "constant", "flag", "split", "words", "number", "comma", "lists", "multi", "text", "picture", "path",
    "id", "group", "date", "url", "object",
]  # fmt: skip

FEW = 1000  # cells that a pattern is tried on
MOST_LABELS = 200  # different parts that the labels in one cell may have
FLAGS = {"0", "1", "0.0", "1.0", "True", "False"}
SEPARATORS = ("|", ";", ",")
PATTERNS: dict[Kind, re.Pattern[str]] = {
    "path": re.compile(r"(?!\w+://).*\.(jpe?g|png|gif|bmp|tiff?|webp|avif|ppm|jp2|jfif)", re.I),
    "url": re.compile(r"(https?://|www\.)\S+|[\w.+-]+@[\w-]+\.[\w.]+"),
    "date": re.compile(
        r"(\d{4}[-/]\d{1,2}([-/]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}:\d\d)([T ,]+[\d:.]+ ?([AP]M)?)?"
        r"(Z| ?[+-]\d\d:?\d\d)?", re.I
    ),
    "comma": re.compile(r"[+-]?\d+,\d+"),
}  # fmt: skip
ID_NAME = re.compile(r"(?i:(.*[_\W])?(id|uuid|guid|key|index|idx|nr|hash))|.*[a-z]I[dD]|Unnamed: \d+")
GROUP_NAME = re.compile(
    r"(user|customer|client|group|patient|subject|session|account|author|speaker|family|document|case|device|site"
    r"|household)s?([_\W]?name)?", re.I
)  # fmt: skip


class Look(Frozen):
    """A column's kind with the counts that led to it; `values` are its different labels, `rare` the rarest of them."""

    name: str
    kind: Kind
    rows: int
    empty: int = 0
    first_empty: int = 0
    distinct: int = 0
    words: float = 0.0
    letters: float = 0.0
    separator: str | None = None
    whole: bool = False
    low: float = 0.0
    high: float = 0.0
    values: tuple[str, ...] = ()
    rare: str = ""
    smallest: int = 0
    largest: int = 0

    @property
    def full(self) -> int:
        """Rows that have a cell."""
        return self.rows - self.empty

    @property
    def told(self) -> str:
        """What was seen, in a few words; no cell of a text."""
        several = f"{self.distinct:,} different values in {self.full:,} rows"
        told: dict[str, str] = {
            "empty": "no cell is filled",
            "constant": "the same value in every row",
            "flag": "0 or 1 in every row",
            "split": "every cell is train or test",
            "words": several,
            "number": f"numbers from {self.low:g} to {self.high:g}, {several}",
            "comma": "numbers with a comma",
            "lists": f"lists of {self.distinct} different labels",
            "multi": f"{self.distinct} different labels between {self.separator!r}",
            "text": f"texts of {self.words:.0f} words on average, {several}",
            "picture": "pictures",
            "path": "paths of pictures",
            "id": f"ids, {several}",
            "group": f"rows share its values, {several}",
            "date": "dates",
            "url": "addresses",
            "object": "objects or lists that are no labels",
        }
        return told[self.kind] + (f", {self.empty:,} rows empty" if self.empty and self.full else "")


def look(name: str, cells: Sequence[Any]) -> Look:
    """The kind of a column's cells, by the first of these that fits.

    - No cell is filled; lists; pictures; one value; 0 and 1; train and test.
    - Nine of ten cells have the form of a picture's path, an address, a date, or a number with a comma.
    - Numbers. Whole ones that all differ are ids, as are those of a column named as ids are.
    - An id: nine of ten cells differ and have no space, and half of them have a digit; or its name says so. A group:
      the name says so (`user_id`, `patient`), and rows share its values.
    - Several labels: cells are split by `|`, `;` or `,` into parts of four words at most, which come back five times
      and more and are fewer than their combinations.
    - Words: a value comes back three times on average and is short, or 20 times and there are 50 of them at most.
    - Else texts.
    """
    odd = any(isinstance(cell, dict) and "bytes" not in cell for cell in cells[:FEW])
    own = [plain(cell) for cell in cells]
    empty = [row for row, cell in enumerate(own, 1) if isinstance(cell, str) and not cell]
    full = [cell for cell in own if not isinstance(cell, str) or cell]
    first = {"name": name, "rows": len(own), "empty": len(empty), "first_empty": empty[0] if empty else 0}
    found = {"kind": "object"} if odd else _found(name, full)
    return Look.model_validate(first | found)


def _found(name: str, full: list[Any]) -> dict[str, Any]:
    if not full:
        return {"kind": "empty"}
    if isinstance(full[0], bytes):
        return {"kind": "picture"}
    if isinstance(full[0], list | tuple):
        parts = [part for cell in full for part in cell] if all(isinstance(c, list | tuple) for c in full) else [{}]
        if not all(isinstance(part, str | int) for part in parts) or not parts:
            return {"kind": "object"}
        return {"kind": "lists"} | _counts([str(part).strip() for part in parts])
    cells = [str(cell) for cell in full]
    size = {"words": float(np.mean([len(c.split()) for c in cells])), "letters": float(np.mean([*map(len, cells)]))}
    counts = _counts(cells)
    return counts | size | _of_strings(name, cells, counts["distinct"], size["words"])


def _counts(values: Iterable[str]) -> dict[str, Any]:
    seen = Counter(values)
    rare = min(seen, key=seen.__getitem__)
    labels = tuple(sorted(seen)) if len(seen) <= 2 * FEW else ()
    counts = {"largest": max(seen.values()), "smallest": seen[rare]}
    return {"distinct": len(seen), "rare": rare, "values": labels} | counts


def _of_strings(name: str, cells: list[str], distinct: int, words: float) -> dict[str, Any]:
    own = set(cells) if distinct <= len(FLAGS) else set()
    if distinct == 1:
        return {"kind": "constant"}
    if own and own <= FLAGS:
        return {"kind": "flag"}
    if own == {"train", "test"}:
        return {"kind": "split"}
    some = cells[:: max(1, len(cells) // FEW)]
    for kind, pattern in PATTERNS.items():
        if sum(bool(pattern.fullmatch(cell)) for cell in some) >= 0.9 * len(some):
            return {"kind": kind}
    if numbers := _numbers(cells):
        named = ID_NAME.fullmatch(name) or (GROUP_NAME.fullmatch(name) and distinct > 20)
        ids = numbers["whole"] and (distinct == len(cells) > 20 or bool(named))
        return numbers | ({"kind": "id" if distinct > 0.9 * len(cells) else "group"} if ids else {})
    if kind_of_id := _id_kind(name, some, distinct / len(cells)):
        return {"kind": kind_of_id}
    if several := _several(cells, distinct):
        return several
    share = len(cells) / distinct
    listed = (share >= 3 and words <= 6) or (share >= 20 and distinct <= 50)
    if not listed:
        return {"kind": "text"}
    return {"kind": "group" if GROUP_NAME.fullmatch(name) and distinct > 20 else "words"}


def _numbers(cells: list[str]) -> dict[str, Any]:
    found = pd.to_numeric(pd.Series(cells), errors="coerce").to_numpy(float)
    if not np.isfinite(found).all():
        return {}
    whole = bool((found == np.floor(found)).all())
    return {"kind": "number", "whole": whole, "low": float(found.min()), "high": float(found.max())}


def _id_kind(name: str, some: list[str], share: float) -> Kind | None:
    """`id` or `group` for cells of one word whose name or digits say so; `share`: different values a row."""
    named = bool(ID_NAME.fullmatch(name))
    if max(len(cell.split()) for cell in some) > (3 if named else 1):
        return None
    if share > 0.9 and (named or sum(bool(re.search(r"\d", cell)) for cell in some) > len(some) / 2):
        return "id"
    return "group" if named or (GROUP_NAME.fullmatch(name) and share > 0.1) else None


def _several(cells: list[str], distinct: int) -> dict[str, Any] | None:
    """Cells that hold several labels each; `distinct` is how many combinations there are."""
    for separator in SEPARATORS:
        if sum(separator in cell for cell in cells[:FEW]) < 0.05 * len(cells[:FEW]):
            continue
        counts = _counts(part.strip() for cell in cells for part in cell.split(separator) if part.strip())
        longest = max((len(value.split()) for value in counts["values"]), default=0)
        many = sum(cell.count(separator) + 1 for cell in cells) >= 5 * counts["distinct"]
        if counts["values"] and counts["distinct"] <= min(distinct, MOST_LABELS) and longest <= 4 and many:
            return {"kind": "multi", "separator": separator} | counts
    return None
