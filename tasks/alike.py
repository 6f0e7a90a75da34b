"""Groups of rows that are alike, found without comparing every row with every other."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

LONGEST_CHAIN = 10  # rows that belong together only through one another
WINDOW = 3  # neighbours looked at in each sorting
PAIRS = 1 << 16  # compared at once

Flags = NDArray[np.bool_]
Places = NDArray[np.int64]


class Alike(Protocol):
    """N rows that can be compared, in an order that their content decides.

    Attributes:
        sketch: [N, B] bytes; of rows that are alike long stretches are the same.
        step: a stretch can begin at every `step`th byte.
    """

    sketch: NDArray[np.uint8]
    step: int

    def alike(self, left: Places, right: Places) -> Flags:
        """[P] whether rows are alike, of two arrays [P] of row numbers."""

    def near(self, rows: Places) -> Callable[[int], Places]:
        """For some of the rows: what gives, for a place among them, the places of all that are alike, rising."""


def grouped(own: Alike) -> Places:
    """[N] ids from 0 on: rows linked by alike pairs share one.

    Of more than ten rows linked through one another, all must be alike the first row of their group; those that are
    not make groups of their own. Otherwise texts from one template could all become one.

    Sorted by the sketch from each stretch's beginning on, rows that are alike come to lie side by side at least once
    (Charikar, Similarity estimation techniques from rounding algorithms, 2002).
    """
    ids = np.arange(len(own.sketch))
    for start in range(0, own.sketch.shape[1], own.step):
        stretches = np.ascontiguousarray(np.roll(own.sketch, -start, 1)[:, :16]).view(">u8")
        order = np.lexsort((stretches[:, 1], stretches[:, 0]))
        pairs = np.concatenate([np.stack([order[:-gap], order[gap:]], 1) for gap in range(1, WINDOW + 1)])
        pairs = pairs[ids[pairs[:, 0]] != ids[pairs[:, 1]]]
        for part in range(0, len(pairs), PAIRS):
            some = pairs[part : part + PAIRS]
            ids = _linked(ids, some[own.alike(*some.T)])
    fresh = itertools.count(len(ids))
    for chain in np.flatnonzero(np.bincount(ids) > LONGEST_CHAIN):
        rows = np.flatnonzero(ids == chain)
        for group in _cut(own.near(rows), len(rows)):
            ids[rows[group]] = next(fresh)
    return np.unique(ids, return_inverse=True)[1]


def equal(values: NDArray[Any]) -> tuple[Places, Places]:
    """[N] ids that equal values share, and [M] the first row of each; sparing of memory."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(order)]
    del ordered
    ranks = np.cumsum(new)
    ranks -= 1
    ids = np.empty(len(order), np.int64)
    ids[order] = ranks
    del ranks
    return ids, order[new]


def _linked(ids: Places, pairs: Places) -> Places:
    """The ids when the rows of each pair [P, 2] share one as well."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), np.int8), ids[pairs].T), shape=(len(ids), len(ids)))
    merged: Places = connected_components(links, directed=False)[1].astype(np.int64)[ids]
    return merged


def _cut(near: Callable[[int], Places], count: int) -> Iterator[Places]:
    """The groups of a chain of rows: the first that is left leads, those `near` it join, and so on."""
    left = np.ones(count, bool)
    for leader in range(count):
        if left[leader]:
            group = near(leader)
            group = group[left[group]]
            left[group] = False
            yield group
