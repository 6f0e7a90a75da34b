"""The rows of a split's intake as carving needs them: in an order of their own, and which must stay together.

Which rows are nearly the same takes long to find; it is kept by the rows' content, since every seed asks it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks import near, runtime, unchanged
from tasks.datasets.spec import GROUP, INPUTS, LABEL
from tasks.files import write_file
from tasks.intake import Intake, coded
from tasks.results import Target
from tasks.screen import counting
from tasks.shelves import KEY_BYTES, key_order, keys_of
from tasks.splits import Pool, joined


def pool_of(intake: Intake, target: Target, grouped: bool) -> Pool:
    """What deciding on the rows needs; `grouped`: with the units that must stay together."""
    small = np.min_scalar_type(-target.outputs) if target.kind == "class" else None  # of millions of rows
    keys = np.empty((intake.rows, KEY_BYTES), np.uint8)
    labels, groups, done = [], [], 0
    for rows, codes in in_order(intake, target):
        keys[done : done + len(rows)] = keys_of(rows)
        done += len(rows)
        labels.append(codes.astype(small) if small else codes)
        if GROUP in rows.column_names:
            groups += rows[GROUP].to_pylist()
    pool = Pool(keys, np.concatenate(labels), None, np.arange(intake.rows, dtype=np.int32))
    if not grouped:
        return pool
    units = [_kept(intake, target, keys)]
    if groups:
        units.append(np.unique(groups, return_inverse=True)[1])
    own = joined(*units)
    return replace(pool, units=own.astype(np.int32)) if np.bincount(own).max() > 1 else pool


def _kept(intake: Intake, target: Target, keys: NDArray[np.uint8]) -> NDArray[np.int64]:
    """What `_alike` finds, or found at an earlier call for the very same rows."""
    mark = hashlib.sha256(f"{intake.columns} {unchanged.code()}".encode() + keys.tobytes()).hexdigest()[:32]
    file = runtime.home() / "prepared" / "alike" / mark
    if file.exists() and len(kept := np.fromfile(file, np.int32)) == len(keys):
        return kept.astype(np.int64)
    found = _alike(intake, target, keys)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, found.astype(np.int32).tobytes())
    return found


def _alike(intake: Intake, target: Target, keys: NDArray[np.uint8]) -> NDArray[np.int64]:
    """[N] ids that rows with nearly the same inputs share."""
    with counting("near-duplicates") as shown:
        tables = (rows for rows, _ in in_order(intake, target))
        if "image" not in intake.columns:
            return near.text_groups(
                (text for rows in tables for text in _texts(rows)), lambda n: shown.advance(steps=n)
            )
        looks = near.picture_groups([look for rows in tables for look in rows["look"].to_pylist()])
    return joined(looks, np.unique(keys, axis=0, return_inverse=True)[1])


def _texts(rows: pa.Table) -> Iterator[str]:
    columns = [rows[name].to_pylist() for name in INPUTS if name in rows.column_names]
    return ("\n".join(parts) for parts in zip(*columns, strict=True))


def in_order(intake: Intake, target: Target) -> Iterator[tuple[pa.Table, NDArray[Any]]]:
    """The rows by key, then label, with their labels as numbers: whatever order they came in."""
    for rows in intake.shelves:
        codes = coded(rows[LABEL], target)
        ranks = codes if codes.ndim == 1 else np.unique(codes, axis=0, return_inverse=True)[1]
        order = key_order(keys_of(rows), ranks)
        yield rows.take(order), codes[order]
