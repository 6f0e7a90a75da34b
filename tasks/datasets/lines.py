"""A TSV whose rows are known to be whole: pandas fills a row with too few cells up, and nobody would notice."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.datasets.tables import read_chunks
from tasks.frozen import GraftError


class Lines:
    """The lines of a TSV: which are rows, and which have fewer cells than the first line and so are pieces of one.

    Pieces are an error, or skipped. They are never put together again: in QQP's train file, the one of GLUE that has
    some, there is an odd number of them and one in the dev file, so that a piece need not lie beside the rest of its
    row. Lines end with a line feed, perhaps after a carriage return, and with nothing else.
    """

    def __init__(self, file: Path, header: bool = True, skip: bool = False) -> None:
        self.skipped = 0
        self._file, self._header, self._skip = file, header, skip
        self._pieces: dict[int, int] = {}  # row from 0 -> line from 1
        self._rows = 0

    def read(self) -> Iterator[pd.DataFrame]:
        """The table as `read_chunks` gives it.

        Raises:
            GraftError: it cannot be read, or a line is a piece of a row and pieces are not skipped.
        """
        read = 0
        for table in read_chunks(self._file, self._header):
            if not read:
                self._look()
            read += len(table)
            yield table
        if read != self._rows:
            raise GraftError(f"{self._file} has {self._rows} lines with text, but reads as {read} rows. Get it again.")

    def whole(self, chunks: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """What became of `read`'s tables, row for row, without those that are pieces."""
        done = 0
        for chunk in chunks:
            kept = np.array([row not in self._pieces for row in range(done, done + len(chunk))], bool)
            done += len(chunk)
            yield chunk[kept].reset_index(drop=True)
        self.skipped = len(self._pieces)

    def _look(self) -> None:
        """Note how many lines hold a row, and which are pieces."""
        row = -1 if self._header else 0
        with self._file.open("rb") as lines:
            first = next(lines, b"").count(b"\t")
            for number, line in enumerate(lines, 2):
                if line.strip(b" \n"):  # pandas skips the others
                    row += 1
                    if line.count(b"\t") < first:
                        self._pieces[row] = number
        self._rows = row + 1
        if self._pieces and not self._skip:
            raise GraftError(
                f"{self._file}, line {min(self._pieces.values())} has fewer cells than line 1 (of such lines there are "
                f"{len(self._pieces)}): a row is cut, or broken over lines. Join its pieces, or get the file again."
            )
