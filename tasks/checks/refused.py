"""Rows that `prepare` refuses: all of them found at once, and the data set without them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from tasks.checks.subject import EXAMPLES
from tasks.datasets.spec import LABEL, ROW, DatasetSpec, Source
from tasks.findings import Finding
from tasks.frozen import GraftError
from tasks.pictures import open_picture
from tasks.screen import counting

REASONS = {
    "empty": ("have no input, or no label that can be used", "Fill them or leave these rows out."),
    "unreadable": ("are pictures that cannot be opened", "Replace the files or take them out."),
    "encoding": ("hold half a character", "Mend the file."),
    "unseen_class": ("have a class that train or `labels` lacks", "Give training rows of it, or correct the labels."),
}


@dataclass
class Refused:
    """The ids of the rows by check, and the classes that no training row has."""

    rows: dict[str, list[str]] = field(default_factory=lambda: {check: [] for check in REASONS})
    lacking: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return any(self.rows.values()) or bool(self.lacking)

    @property
    def ids(self) -> frozenset[str]:
        """Of all refused rows."""
        return frozenset(row for rows in self.rows.values() for row in rows)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """An error for each check that refused rows or classes."""
        return tuple(self._finding(check) for check in REASONS if self._count(check))

    def _count(self, check: str) -> int:
        return len(self.rows[check]) or (len(self.lacking) if check == "unseen_class" else 0)

    def _finding(self, check: str) -> Finding:
        rows, missing = self.rows[check], sorted(self.lacking) if check == "unseen_class" else []
        about, step = REASONS[check]
        lacking = f" (train has no row of {', '.join(map(repr, missing[:EXAMPLES]))})" if missing else ""
        return Finding(
            check=check,
            severity="error",
            count=self._count(check),
            examples=tuple(rows[:EXAMPLES] or missing[:EXAMPLES]),
            about=f"{len(rows):,} rows {about}{lacking}: they can be neither trained nor scored on.",
            next_step=step,
        )


def refused(spec: DatasetSpec) -> Refused:
    """Read every row of every split and find what `prepare` would stop at, one after the other."""
    source, found = spec.read(), Refused()
    classes = set(spec.labels or source.classes)
    for split in sorted(source.splits, key=lambda name: name != "train"):
        seen: set[str] = set()
        with counting(f"look at {split}") as shown:
            for rows in source.splits[split]():
                usable = _usable(spec, rows, found)
                for row, own in zip(usable[ROW], usable[LABEL], strict=True):
                    labels = {own} if isinstance(own, str) else set(own)
                    seen |= labels
                    if spec.target != "number" and classes and not labels <= classes:
                        found.rows["unseen_class"].append(row)
                shown.advance(steps=len(rows))
        if split == "train" and spec.target != "number":
            found.lacking = classes - seen
            classes = (classes or seen) - found.lacking
    return found


def _usable(spec: DatasetSpec, rows: pd.DataFrame, found: Refused) -> pd.DataFrame:
    """The rows without those that have no input or no label; these are noted."""
    reasons = [_reason(spec, row) for row in rows[[*spec.inputs, LABEL]].to_dict("records")]
    for row, reason in zip(rows[ROW], reasons, strict=True):
        if reason:
            found.rows[reason].append(row)
    return rows[[reason is None for reason in reasons]]


def _reason(spec: DatasetSpec, row: dict[str, Any]) -> str | None:
    """The check that refuses a row."""
    for name in spec.inputs:
        value = row[name]
        if not (value if isinstance(value, bytes) else value.strip()):
            return "empty"
        if isinstance(value, bytes):
            try:
                open_picture(value, 3)
            except GraftError:
                return "unreadable"
        elif not value.isascii() and value.encode(errors="ignore").decode() != value:
            return "encoding"
    if spec.target == "multilabel":
        return None
    if spec.target == "number":
        return None if np.isfinite(pd.to_numeric(row[LABEL], errors="coerce")) else "empty"
    return None if row[LABEL] else "empty"


class Usable:
    """A data set without its refused rows, for `prepare`."""

    def __init__(self, spec: DatasetSpec, refused: Refused) -> None:
        self._spec, self._refused = spec, refused
        self.labels = {raw: name for raw, name in (spec.labels or {}).items() if raw not in refused.lacking} or None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spec, name)

    def places(self) -> None:
        """Its rows are not those of the files: what is prepared of them must not be taken for the whole set."""

    def read(self) -> Source:
        """The source, the rows and classes left out."""
        source = self._spec.read()
        splits = {split: partial(self._kept, source, split) for split in source.splits}
        classes = tuple(name for name in source.classes if name not in self._refused.lacking)
        return replace(source, splits=splits, classes=classes)

    def _kept(self, source: Source, split: str) -> Iterator[pd.DataFrame]:
        gone = self._refused.ids
        for rows in source.splits[split]():
            yield rows[~rows[ROW].isin(gone)].reset_index(drop=True)
