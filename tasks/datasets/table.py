"""One table of texts, pairs of texts, or paths of pictures: CSV, TSV, JSONL, Parquet or a saved `datasets` folder."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from tasks import runtime
from tasks.datasets.spec import LABEL, ROW, SLICE, DatasetSpec, Source
from tasks.datasets.tables import Columns, picture_path, read_chunks
from tasks.frozen import GraftError

SPLITS = ("train", "test")
PICTURES = 256  # so many are in memory at once


class Table(DatasetSpec):
    """A file with a row per example; a folder saved by `datasets` is one too.

    A saved folder with several splits gives its `train` and `test`.
    """

    kind: Literal["table"]
    path: str
    test_path: str | None = Field(None, description="the file with the test rows, where they are in one of their own")
    package: str | None = Field(None, description="the file lies in this installed Python package, not in GRAFT_DATA")
    columns: Columns = Columns(text="text")
    split_column: str | None = Field(None, description="a column whose cells are train or test")
    separator: str = Field("|", min_length=1, description="between the labels of one cell (target multilabel)")
    slices: tuple[str, ...] = Field((), description="columns by whose values a gate may look at the test rows")
    image_root: str | None = Field(None, description="where the pictures' paths start; beside the table if not given")
    encoding: str = "utf-8"
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="between the cells of a CSV, where it is no comma: ; or a tab"
    )

    @model_validator(mode="after")
    def _slices_are_free(self) -> Self:
        if taken := [name for name in self.slices if name in self.columns.wanted]:
            raise ValueError(f"slices names the column {taken[0]!r}, which columns names already. Name other columns")
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.columns.inputs

    @property
    def sliced_by(self) -> tuple[str, ...]:
        return self.slices

    def places(self) -> list[Path] | None:
        tables = [self._place(path) for path in (self.path, self.test_path) if path]
        return None if self.columns.image else tables  # the cells name the pictures

    def read(self) -> Source:
        path = self._place(self.path)
        root = runtime.data_path(self.image_root) if self.image_root else None
        origin = f"{self.package}/{self.path}" if self.package else self.path
        if self.split_column:
            return Source({split: partial(self._marked, path, root, split) for split in SPLITS}, origin)
        files = {"train": path} | ({"test": self._place(self.test_path)} if self.test_path else {})
        if (path / "dataset_dict.json").is_file():
            files = {split: path / split for split in SPLITS if (path / split).is_dir()}
        named = {split: "row" if split == "train" else split for split in files}
        return Source({split: partial(self._rows, file, root, named[split]) for split, file in files.items()}, origin)

    def _place(self, path: str) -> Path:
        return runtime.data_path(path, within=self._within())

    def _within(self) -> list[Path]:
        """The package's folder."""
        return [runtime.package_folder(self.package)] if self.package else []

    def _marked(self, path: Path, root: Path | None, split: str) -> Iterator[pd.DataFrame]:
        """The rows whose cell in `split_column` is the split; a cell that names neither is an error."""
        for rows in self._rows(path, root, "row", {str(self.split_column): "split"}):
            if unknown := sorted(set(rows["split"]) - set(SPLITS)):
                raise GraftError(f"{path}: column {self.split_column!r} holds {unknown[0]!r}. Valid: train, test.")
            yield rows[rows["split"] == split].drop(columns="split").reset_index(drop=True)

    def _rows(
        self, path: Path, root: Path | None, name: str, also: Mapping[str, str] | None = None
    ) -> Iterator[pd.DataFrame]:
        """The table at `path`; its cells name pictures from `root` on, or from beside the table."""
        chunks = read_chunks(path, encoding=self.encoding, delimiter=self.delimiter)
        sliced = {column: f"{SLICE}{column}" for column in self.slices}
        found = self.columns.pick(chunks, str(path), name, sliced | dict(also or {}))
        for rows in _parts(found) if self.columns.image else found:
            if self.columns.image:
                cells = zip(rows[ROW], rows["image"], strict=True)
                within = [] if root else self._within()
                rows["image"] = [_picture(root or path.parent, within, row, cell) for row, cell in cells]
            if self.target == "multilabel":
                rows[LABEL] = [self._labels(cell) for cell in rows[LABEL]]
            yield rows

    def _labels(self, cell: str | list[str]) -> list[str]:
        parts = cell.split(self.separator) if isinstance(cell, str) else [str(part) for part in cell]
        return [part.strip() for part in parts if part.strip()]


def _picture(root: Path, within: Sequence[Path], row: str, cell: str | bytes) -> bytes:
    if isinstance(cell, bytes):
        return cell
    try:
        return picture_path(cell, row, root, within).read_bytes()
    except OSError as error:
        raise GraftError(f"Row {row}: picture {cell!r} cannot be read ({error.strerror}) below {root}.") from error


def _parts(tables: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The same rows in tables of `PICTURES` rows at most."""
    for table in tables:
        for start in range(0, len(table), PICTURES):
            yield table.iloc[start : start + PICTURES].reset_index(drop=True)
