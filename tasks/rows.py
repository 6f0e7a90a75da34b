"""A split's rows on disk, memory-mapped: millions of them cost no memory until they are asked for."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tasks.datasets.spec import INPUTS, LABEL


class Column(Sequence[Any]):
    """One column of an Arrow file; a cell is read when it is asked for. Pickled, it is its file and its name."""

    def __init__(self, file: Path, name: str) -> None:
        self._file, self._name = file, name
        with pa.memory_map(str(file)) as opened:
            reader = pa.ipc.open_file(opened)
            batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
        self._parts = [batch.column(name) for batch in batches]
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[index] for index in range(*row.indices(len(self)))]
        if not 0 <= row < len(self):
            raise IndexError(row)
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._parts[part][int(row - self._starts[part])].as_py()

    def __iter__(self) -> Iterator[Any]:
        """Every cell in order, read part by part: a map of the file would count as this process's memory."""
        with pa.OSFile(str(self._file)) as opened:
            place = pa.ipc.open_file(opened).schema.get_field_index(self._name)
            reader = pa.ipc.open_file(opened, options=pa.ipc.IpcReadOptions(included_fields=[place]))
            for index in range(reader.num_record_batches):
                yield from reader.get_batch(index).column(self._name).to_pylist()

    def __reduce__(self) -> Any:
        return Column, (self._file, self._name)

    def numpy(self) -> NDArray[Any]:
        """[N], or [N, K] where a cell is a list of K numbers."""
        flat = [part.flatten() if pa.types.is_list(part.type) else part for part in self._parts]
        joined = np.concatenate([part.to_numpy(zero_copy_only=False) for part in flat])
        return joined if len(joined) == len(self) or not len(self) else joined.reshape(len(self), -1)


class Rows:
    """The rows of a prepared split: `row_id`, `label`, `key` (the hash of the inputs), and the inputs."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with pa.memory_map(str(file)) as opened:
            self.names = tuple(pa.ipc.open_file(opened).schema.names)

    def __getitem__(self, name: str) -> Column:
        return Column(self._file, name)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def labels(self) -> NDArray[Any]:
        """[N] class indices or numbers, or [N, K] of 0 and 1 where a row has several labels."""
        return self[LABEL].numpy()

    def table(self, chosen: Sequence[int] | None = None) -> pd.DataFrame:
        """Some rows, or all, in memory."""
        places = range(len(self)) if chosen is None else chosen
        columns = {name: self[name] for name in self.names}
        return pd.DataFrame({name: [column[row] for row in places] for name, column in columns.items()})


def inputs_of(rows: Rows | pd.DataFrame) -> dict[str, Sequence[Any]]:
    """The input columns alone, as a backbone takes them."""
    return {name: rows[name] if isinstance(rows, Rows) else rows[name].tolist() for name in INPUTS if name in rows}
