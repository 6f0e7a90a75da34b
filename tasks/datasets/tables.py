"""Tables from files: read strictly and chunk by chunk, their columns renamed to Graft's own."""

import csv
import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import pandas as pd
from pydantic import Field, model_validator

from tasks import runtime
from tasks.datasets.spec import LABEL, ROW
from tasks.frozen import Frozen, GraftError

CHUNK = 50_000  # rows read at once


class Columns(Frozen):
    """The names that the inputs and the label have in a table."""

    text: str | None = None
    text_pair: str | None = None
    image: str | None = Field(None, description="the paths of pictures, or the pictures themselves")
    label: str | tuple[str, ...] = Field(
        LABEL, description="one column; for several labels a row perhaps a column of 0 and 1 for each"
    )
    group: str | None = Field(None, description="rows that share its value never lie on both sides of a split")

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if (self.text is None) == (self.image is None) or (self.text_pair and not self.text):
            raise ValueError("columns must name either text (perhaps with text_pair) or image")
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the input columns that these give."""
        if self.image:
            return ("image",)
        return ("text", "text_pair") if self.text_pair else ("text",)

    @property
    def wanted(self) -> dict[str, str]:
        """The table's columns with one meaning, each with Graft's name for it."""
        own = self.model_dump(exclude_none=True)
        return {given: name for name, given in own.items() if isinstance(given, str)}

    def pick(
        self, chunks: Iterator[pd.DataFrame], origin: str, split: str, also: Mapping[str, str] | None = None
    ) -> Iterator[pd.DataFrame]:
        """Rename to Graft's own columns; row ids are `split:line`, counted from 1 below the header.

        Args:
            chunks: the table, its parts one after the other.
            origin: the table's name in errors.
            split: the beginning of the row ids.
            also: more columns to keep, each with its new name.

        Raises:
            GraftError: a column is missing; the error lists those that there are.
        """
        done, kept = 0, self.wanted | dict(also or {})
        for table in chunks:
            several = [self.label] if isinstance(self.label, str) else list(self.label)
            if missing := [name for name in (*kept, *several) if name not in table.columns]:
                raise GraftError(
                    f"{origin} has no column {missing[0]!r}. It has: {', '.join(map(str, table.columns))}. "
                    "Set `columns:` in the data set's file."
                )
            rows = pd.DataFrame({own: table[given].map(plain) for given, own in kept.items()}, dtype=object)
            ids = range(done + 1, done + len(rows) + 1)
            if len(several) > 1:
                rows[LABEL] = _marked(table[several], [f"{split}:{line}" for line in ids])
            rows.insert(0, ROW, [f"{split}:{line}" for line in ids])
            done += len(rows)
            yield rows.reset_index(drop=True)


def plain(cell: Any) -> Any:
    """Strings without space around them, numbers as strings, a missing cell empty; lists and bytes as they are."""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, dict) and isinstance(cell.get("bytes"), bytes):
        return cell["bytes"]  # how `datasets` keeps a picture
    if isinstance(cell, bytes | list | tuple):
        return cell
    return "" if pd.isna(cell) else str(cell).strip()


def picture_path(cell: str, row: str, root: Path, within: Sequence[Path] = ()) -> Path:
    """Where the cell of a row leads, a path that starts at `root`; `within` are the only folders in which it may lie.

    Raises:
        GraftError: it leads out of those that are allowed (`runtime.data_path`).
    """
    try:
        return runtime.data_path(cell, root, within)
    except GraftError as error:
        raise GraftError(f"Row {row}: picture {error}") from error


def _marked(marks: pd.DataFrame, ids: list[str]) -> list[list[str]]:
    """The names of the columns that hold a 1, for every row."""
    cells = marks.map(plain)
    valid = cells.isin(["0", "1", "0.0", "1.0", "True", "False"])
    if not valid.all(axis=None):
        row, column = next(
            (r, c) for r, c in itertools.product(range(len(cells)), cells.columns) if not valid[c].iloc[r]
        )
        raise GraftError(f"Row {ids[row]}: column {column!r} holds {cells[column].iloc[row]!r}. Valid: 0, 1.")
    on = cells.isin(["1", "1.0", "True"]).to_numpy()
    names = [str(name) for name in marks.columns]
    return [list(itertools.compress(names, row)) for row in on]


def read_table(path: Path) -> pd.DataFrame:
    """A whole table at once; every cell of a CSV or TSV is a string."""
    return pd.concat(read_chunks(path), ignore_index=True)


def read_chunks(
    path: Path, header: bool = True, encoding: str = "utf-8", delimiter: str | None = None
) -> Iterator[pd.DataFrame]:
    """A CSV, TSV (quotes are plain characters in it, as in GLUE's), JSONL or Parquet file, or a saved `datasets` split.

    Without a `header` the columns are named by their number, from "1". A table without rows gives one empty chunk.
    A `delimiter` stands between the cells of a CSV or TSV, whose quotes then have the meaning that a CSV's have.

    Raises:
        GraftError: the file is missing, of another kind, or would be misread.
    """
    if path.suffix not in READERS and not path.is_dir():
        raise GraftError(f"{path.name!r} is of no known kind. Valid endings: {', '.join(READERS)}, or a saved folder.")
    reader = _saved if (path / "state.json").is_file() else READERS.get(path.suffix, _csv)
    if delimiter:
        if reader is not _csv:
            raise GraftError(f"delimiter is {delimiter!r}, but {path.name!r} is no CSV or TSV. Leave delimiter out.")
        reader = partial(_csv, delimiter=delimiter)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header would lose cells
            yield from reader(path, header, encoding)
    except FileNotFoundError as error:
        raise GraftError(f"{path} does not exist. Relative data paths start at GRAFT_DATA.") from error
    except pd.errors.ParserWarning as error:
        raise GraftError(f"{path} cannot be read as a table: its rows have more cells than its header.") from error
    except UnicodeDecodeError as error:
        raise GraftError(
            f"{path} cannot be read as a table: {error}. Is it in another encoding? Set `encoding: latin-1`."
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).strip()
        raise GraftError(f"{path} cannot be read as a table: {reason}.") from error


def _csv(path: Path, header: bool, encoding: str, delimiter: str | None = None) -> Iterator[pd.DataFrame]:
    tab = path.suffix == ".tsv" and not delimiter
    options: dict[str, Any] = {"sep": "\t", "quoting": csv.QUOTE_NONE, "lineterminator": "\n"} if tab else {}
    options |= ({"sep": delimiter} if delimiter else {}) | ({} if header else {"header": None})
    with pd.read_csv(
        path, dtype=str, keep_default_na=False, index_col=False, encoding=encoding, chunksize=CHUNK, **options
    ) as chunks:
        for table in chunks:
            table.columns = [
                str(name).strip() if header else str(number) for number, name in enumerate(table.columns, 1)
            ]
            yield table


def _jsonl(path: Path, header: bool, encoding: str) -> Iterator[pd.DataFrame]:
    with path.open(encoding=encoding) as file:
        lines = enumerate(file, 1)
        empty = True
        while block := list(itertools.islice(lines, CHUNK)):
            yield pd.DataFrame([_object(line, number) for number, line in block if line.strip()], dtype=object)
            empty = False
    if empty:
        raise ValueError("it is empty")


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number} is no JSON ({error.msg})") from error
    if not isinstance(found, dict):
        raise ValueError(f"line {number} holds no JSON object")
    return found


def _parquet(path: Path, header: bool, encoding: str) -> Iterator[pd.DataFrame]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield pd.DataFrame({name: [] for name in file.schema_arrow.names}, dtype=object)
        for batch in file.iter_batches(CHUNK if "struct" not in str(file.schema_arrow) else 256):
            yield pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in batch.to_pydict().items()})


def _saved(path: Path, header: bool, encoding: str) -> Iterator[pd.DataFrame]:
    yield from of_dataset(_load(path))


def _load(path: Path) -> Any:
    from datasets import load_from_disk

    return load_from_disk(str(path))


def of_dataset(dataset: Any) -> Iterator[pd.DataFrame]:
    """The rows of a `datasets.Dataset`: class labels by their names, pictures as their files' bytes."""
    from datasets import ClassLabel, Image

    names = {name: kind.names for name, kind in dataset.features.items() if isinstance(kind, ClassLabel)}
    pictures = [name for name, kind in dataset.features.items() if isinstance(kind, Image)]
    for name in pictures:
        dataset = dataset.cast_column(name, Image(decode=False))
    yield pd.DataFrame({name: [] for name in dataset.features}, dtype=object)
    for batch in dataset.iter(256 if pictures else CHUNK):
        table = pd.DataFrame({name: pd.Series(column, dtype=object) for name, column in batch.items()})
        for name, own in names.items():
            table[name] = [own[index] if index is not None and index >= 0 else "" for index in table[name]]
        yield table


READERS: dict[str, Callable[[Path, bool, str], Iterator[pd.DataFrame]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
