"""Which rows go where: decided by their content and a salt, stratified, rows that belong together on one side."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.frozen import GraftError

Mask = NDArray[np.bool_]
BLOCK = 100_000  # keys hashed at once


@dataclass(frozen=True)
class Pool:
    """Rows in the order of their keys, or some of them.

    Attributes:
        keys: [M, 16] bytes, the hash of the inputs of all rows.
        labels: [N] class indices or numbers, or [N, K] of 0 and 1.
        units: [N] integers from 0 on, not many more than M; rows that share one must lie on one side. None: all are
            alone.
        rows: [N] where in `keys` each row's is.
    """

    keys: NDArray[np.uint8]
    labels: NDArray[Any]
    units: NDArray[Any] | None
    rows: NDArray[Any]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: Mask) -> "Pool":
        if chosen.all():
            return self
        units = None if self.units is None else self.units[chosen]
        return Pool(self.keys, self.labels[chosen], units, self.rows[chosen])


def carve(pool: Pool, size: float, salt: str) -> Mask:
    """Mark a share (below 1) or a number of rows for the split that the salt begins with.

    Raises:
        GraftError: there are not more rows than that.
    """
    if size >= 1 and size >= len(pool):
        split = salt.partition(":")[0]
        raise GraftError(
            f"{size:.0f} rows cannot be carved for {split}: there are {len(pool)} rows. Set dataset.{split} lower, "
            "or give more rows (dataset.limit counts the validation rows too)."
        )
    return draw(pool, size if size < 1 else size / len(pool), salt)


def draw(pool: Pool, share: float, salt: str) -> Mask:
    """Mark a share of the rows of every class (of every tenth of a number's range), whole units, by a salted hash.

    A unit counts for the class of its first row; of several labels the rarest counts. Where units hold several
    rows, a class comes as near to its share as whole units allow.
    """
    first, place, sizes = _whole(pool)
    strata = _strata(pool.labels, first)
    order = np.argsort(strata, kind="stable").astype(pool.rows.dtype)
    ends = np.searchsorted(strata, np.arange(int(strata.max(initial=-1)) + 2), sorter=order)
    marks = _salted(pool.keys, pool.rows[first], salt)
    groups = [order[start:end] for start, end in pairwise(ends)]
    taken = np.zeros(len(sizes), bool)
    for members, quota in zip(groups, _quotas([int(sizes[group].sum()) for group in groups], share), strict=True):
        _take(members[np.argsort(marks[members], kind="stable")], sizes, quota, taken)
    chosen: Mask = taken[place]
    return chosen


def _whole(pool: Pool) -> tuple[Any, Any, NDArray[Any]]:
    """Of each unit its first row, of each row its unit, of each unit its rows; slices where every row is alone."""
    if pool.units is None:
        return slice(None), slice(None), np.ones(len(pool), np.int8)
    lead = first_of(pool.units)
    leads = lead == np.arange(len(lead), dtype=lead.dtype)
    place = (np.cumsum(leads, dtype=lead.dtype) - 1)[lead]
    return np.flatnonzero(leads).astype(lead.dtype), place, np.bincount(place).astype(lead.dtype)


def _strata(labels: NDArray[Any], first: Any) -> NDArray[Any]:
    """The class, the rarest of several labels (or none), or the tenth of the range, of each unit's first row."""
    own: NDArray[Any] = labels[first]
    if labels.ndim == 2:
        rarity = np.argsort(np.argsort(labels.sum(0), kind="stable"))
        rarest: NDArray[Any] = np.where(own > 0, rarity, labels.shape[1]).min(axis=1)
        return rarest
    if np.issubdtype(labels.dtype, np.integer):
        return own
    tenths: NDArray[Any] = pd.qcut(pd.Series(own).rank(method="first"), min(10, len(own)), labels=False).to_numpy()
    return tenths


def _salted(keys: NDArray[np.uint8], rows: NDArray[Any], salt: str) -> NDArray[np.uint64]:
    """[N] a hash of each row's key, to be ordered by."""
    start = hashlib.sha256(len(salt.encode()).to_bytes(8, "big") + salt.encode() + (32).to_bytes(8, "big"))

    def mark(key: NDArray[np.uint8]) -> bytes:
        digest = start.copy()
        digest.update(key.tobytes().hex().encode())
        return digest.digest()[:8]

    marks = np.empty(len(rows), np.uint64)
    for begin in range(0, len(rows), BLOCK):
        joint = b"".join(mark(key) for key in keys[rows[begin : begin + BLOCK]])
        marks[begin : begin + BLOCK] = np.frombuffer(joint, ">u8")
    return marks


def _quotas(sizes: list[int], share: float) -> list[int]:
    """Largest-remainder shares of each size, so that their sum is the rounded share of the whole."""
    exact = [size * share for size in sizes]
    counts = [int(number) for number in exact]
    spare = round(sum(exact)) - sum(counts)
    for index in sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))[:spare]:
        counts[index] += 1
    return counts


def _take(members: NDArray[Any], sizes: NDArray[Any], quota: int, taken: Mask) -> None:
    """Mark units in their order until the quota of rows is as near as whole units allow."""
    if sizes[members].max(initial=1) == 1:
        taken[members[:quota]] = True
        return
    left = float(quota)
    for unit in members:
        if left <= 0:
            return
        if sizes[unit] / 2 <= left:
            taken[unit] = True
            left -= sizes[unit]


def first_of(units: NDArray[Any]) -> NDArray[Any]:
    """[N] where the first row of each row's unit is."""
    kind = np.int32 if len(units) < 2**31 else np.int64
    places = np.arange(len(units), dtype=kind)
    first = np.zeros(int(units.max(initial=-1)) + 1, kind)
    first[units[::-1]] = places[::-1]
    lead: NDArray[Any] = first[units]
    return lead


def joined(*ids: NDArray[Any]) -> NDArray[Any]:
    """[N] units out of several numberings [N] of the same rows: rows that share an id in any of them are one unit."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if len(ids) == 1:
        return ids[0]
    rows = np.arange(len(ids[0]), dtype=np.int32)
    links = np.concatenate([rows] * len(ids)), np.concatenate([first_of(numbers) for numbers in ids])
    graph = coo_array((np.ones(len(links[0]), np.int8), links), shape=(len(rows), len(rows)))
    units: NDArray[Any] = connected_components(graph, directed=False)[1]
    return units
