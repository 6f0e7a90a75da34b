"""Rows spread over files by the first bits of their key: sorted file by file, they are sorted as a whole."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SHELVES = 64  # ten million rows are 160,000 a shelf
KEY_BYTES = 16


class Shelves:
    """Rows put in chunk by chunk and given back shelf by shelf; each has a `key` of 16 bytes."""

    def __init__(self, folder: Path, schema: pa.Schema, count: int = SHELVES) -> None:
        folder.mkdir(parents=True)
        self._files = [folder / f"{number:02}" for number in range(count)]
        self._writers = [pa.ipc.new_stream(file, schema) for file in self._files]

    def add(self, rows: pa.Table) -> None:
        """Put rows in."""
        place = keys_of(rows)[:, 0].astype(int) * len(self._files) // 256
        order = np.argsort(place, kind="stable")
        ends = np.searchsorted(place[order], np.arange(len(self._files) + 1))
        for shelf, (start, end) in enumerate(pairwise(ends)):
            if end > start:
                self._writers[shelf].write_table(rows.take(order[start:end]))

    def close(self) -> None:
        """No more rows come in."""
        for writer in self._writers:
            writer.close()

    def __iter__(self) -> Iterator[pa.Table]:
        """The shelves one after the other, in the order of the key; inside a shelf the rows lie as they came."""
        for file in self._files:
            with pa.OSFile(str(file)) as opened:
                yield pa.ipc.open_stream(opened).read_all()


def keys_of(rows: pa.Table) -> NDArray[np.uint8]:
    """[N, 16] bytes of the column `key`."""
    parts = [
        np.frombuffer(part.buffers()[1], np.uint8).reshape(-1, KEY_BYTES)[part.offset : part.offset + len(part)]
        for part in rows["key"].chunks
    ]
    return np.concatenate(parts) if parts else np.empty((0, KEY_BYTES), np.uint8)


def key_order(keys: NDArray[np.uint8], ranks: NDArray[Any]) -> NDArray[np.int64]:
    """[N] places in the order of the keys [N, 16], then of the ranks [N]."""
    high, low = (np.ascontiguousarray(keys[:, half : half + 8]).view(">u8").ravel() for half in (0, 8))
    return np.lexsort((ranks, low, high))
