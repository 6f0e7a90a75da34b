"""GLUE: the official TSV folder where it exists, else the hub; the same rows and labels from either."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from tasks import hub, runtime
from tasks.datasets import tables
from tasks.datasets.lines import Lines
from tasks.datasets.spec import LABEL, Chunks, DatasetSpec, Source
from tasks.datasets.tables import Columns
from tasks.frozen import Frozen, GraftError
from tasks.metrics import known
from tasks.screen import console

INDEX = "index"
TAKEN = {"train", "validation", "test"}


class HubTable(Frozen):
    """A data set on the hub at a pinned commit."""

    id: str
    revision: hub.Revision
    config: str | None = None
    columns: Columns
    train: str = "train"
    test: str = "validation"
    classes: tuple[str, ...] = Field(
        (), description="the official files' words for the hub's class numbers, in order; numbers if not given"
    )


class Part(Frozen):
    """One more table of a task: its file in the official folder, and where the hub has the same rows."""

    tsv: tuple[str, ...] = Field(min_length=1, description="file names below the folder; the first that is there")
    columns: Columns | None = Field(None, description="its columns, where they are not those of the train file")
    split: str | None = Field(None, description="its split on the hub; not there if not given")
    config: str | None = Field(None, description="its configuration on the hub, where it is not the task's")

    def file(self, folder: Path) -> Path | None:
        """The first of its files that exists."""
        places = (runtime.data_path(name, folder) for name in self.tsv)
        return next((place for place in places if place.is_file()), None)


class Scored(Part):
    """One more labelled set, scored beside the dev rows."""

    metrics: tuple[str, ...] = Field(min_length=1)


class Unlabelled(Part):
    """A test set whose labels the leaderboard keeps."""

    fill: str = Field(description="what to answer without a model: the commonest training label, or the mean score")


class Glue(DatasetSpec):
    """A GLUE task: the official TSV folder where it exists, else the hub. Its labelled dev rows are the test rows."""

    kind: Literal["glue"]
    folder: str
    columns: Columns
    header: bool = Field(True, description="whether the train and dev files begin with the columns' names")
    dev: str = "dev.tsv"
    hub: HubTable
    more: dict[str, Scored] = Field({}, description="more labelled sets that are scored too, by name")
    board: dict[str, Unlabelled] = Field({}, description="the leaderboard's test sets, by the name of their file there")
    broken: Literal["refuse", "leave_out"] = Field(
        "refuse", description="pieces of rows that are broken over lines, and training rows with an empty text"
    )
    counts: dict[str, int] = Field({}, description="the published number of rows: train, test, and those named above")
    allow_other_counts: bool = Field(False, description="take files with another number of rows than published")

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        names = {"train", "test", *self.more, *self.board}
        if odd := sorted((self.counts.keys() - names) | (self.more.keys() & TAKEN)):
            raise ValueError(f"{odd[0]!r} names no set of this task. Valid in counts: {', '.join(sorted(names))}")
        valid = known(self.target)
        for name in (name for part in self.more.values() for name in part.metrics):
            if name not in valid:
                raise ValueError(f"metric {name!r} is unknown for target {self.target!r}. Valid: {', '.join(valid)}")
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.columns.inputs

    @property
    def more_scored(self) -> dict[str, tuple[str, ...]]:
        return {name: part.metrics for name, part in self.more.items()}

    def places(self) -> list[Path] | None:
        folder = runtime.data_path(self.folder)
        if not folder.is_dir():
            return []
        more = (part.file(folder) for part in self.more.values())
        return [folder / "train.tsv", runtime.data_path(self.dev, folder), *(file for file in more if file)]

    def read(self) -> Source:
        """Open the source; `origin` names the sets of `more` that it lacks.

        The number of rows is compared with the published one at the end of each split.
        """
        folder = runtime.data_path(self.folder)
        return self._official(folder) if folder.is_dir() else self._published()

    def unlabelled(self) -> dict[str, Chunks]:
        """The leaderboard's test sets that the source has, by the name of their file there, read chunk by chunk.

        Columns: `row_id`, `index` (str, as the official file or the hub gives it) and the inputs. Labels that a test
        file may have are not read.
        """
        folder = runtime.data_path(self.folder)
        if folder.is_dir():
            files = {name: part.file(folder) for name, part in self.board.items()}
            return {name: partial(self._test_file, name, file) for name, file in files.items() if file}
        return {name: partial(self._test_split, name) for name, part in self.board.items() if part.split}

    # The official folder.

    def _official(self, folder: Path) -> Source:
        splits: dict[str, Chunks] = {
            "train": partial(self._file, "train", folder / "train.tsv", self.columns, self.header),
            "test": partial(self._file, "test", runtime.data_path(self.dev, folder), self.columns, self.header),
        }
        told = ["official TSV"]
        for name, part in self.more.items():
            if file := part.file(folder):
                splits[name] = partial(self._file, name, file, part.columns or self.columns)
            else:
                told.append(f"without {name}, which needs {part.tsv[0]}")
        return Source(splits, f"{self.folder} ({', '.join(told)})")

    def _file(self, split: str, file: Path, columns: Columns, header: bool = True) -> Iterator[pd.DataFrame]:
        lenient = self.broken == "leave_out"
        lines = Lines(file, header, skip=lenient)
        rows = lines.whole(columns.pick(lines.read(), str(file), file.stem))
        yield from self._filled(self._counted(rows, split, str(file)), split)
        if lines.skipped:
            console.print(f"{file}: {lines.skipped} pieces of broken rows are left out.", style="yellow", markup=False)

    def _test_file(self, name: str, file: Path) -> Iterator[pd.DataFrame]:
        lines = Lines(file)
        given = (table.rename(columns={table.columns[0]: INDEX}) for table in lines.read())
        columns = self.board[name].columns or self.columns
        rows = lines.whole(_indexed(columns, given, file.stem, str(file)))
        yield from self._counted(rows, name, str(file))

    # The hub.

    def _published(self) -> Source:
        loaded = hub.dataset(self.hub.id, self.hub.revision, self.hub.config)
        wanted = {"train": self.hub.train, "test": self.hub.test}
        wanted |= {name: part.split for name, part in self.more.items() if part.split}
        splits: dict[str, Chunks] = {
            name: partial(self._split, name, _split_of(loaded, split, self.hub.id), split)
            for name, split in wanted.items()
        }
        told = "".join(f", without {name}, which has no labels there" for name in self.more if name not in splits)
        return Source(splits, f"hub {self.hub.id}@{self.hub.revision}{told}", self.hub.revision)

    def _split(self, name: str, rows: Any, split: str) -> Iterator[pd.DataFrame]:
        own = self.hub.columns.pick((self._labelled(table) for table in _tables(rows)), self.hub.id, split)
        yield from self._filled(self._counted(own, name, f"{self.hub.id} {split}"), name)

    def _labelled(self, table: pd.DataFrame) -> pd.DataFrame:
        """The labels as the official files write them: the hub has numbers, and rounds scores to 32 bits."""
        column, classes = str(self.hub.columns.label), self.hub.classes
        if column not in table:
            return table
        own = table[column]
        words = [classes[n] if 0 <= n < len(classes) else "" for n in own] if classes else own.astype(str)
        return table.assign(**{column: words})

    def _test_split(self, name: str) -> Iterator[pd.DataFrame]:
        part = self.board[name]
        split = str(part.split)
        loaded = hub.dataset(self.hub.id, self.hub.revision, part.config or self.hub.config)
        given = (table.rename(columns={"idx": INDEX}) for table in _tables(_split_of(loaded, split, self.hub.id)))
        rows = _indexed(self.hub.columns, given, split, self.hub.id)
        yield from self._counted(rows, name, f"{self.hub.id} {split}")

    # Both.

    def _counted(self, chunks: Iterator[pd.DataFrame], name: str, origin: str) -> Iterator[pd.DataFrame]:
        rows = 0
        for chunk in chunks:
            rows += len(chunk)
            yield chunk
        published = self.counts.get(name, rows)
        if rows != published and not self.allow_other_counts:
            raise GraftError(
                f"{origin} has {rows:,} rows, but {published:,} were published. Get it again, "
                "or take it as it is with dataset.allow_other_counts=true."
            )

    def _filled(self, chunks: Iterator[pd.DataFrame], split: str) -> Iterator[pd.DataFrame]:
        """Leave training rows with an empty text out, where that is asked for."""
        if split != "train" or self.broken == "refuse":
            return (yield from chunks)
        empty = 0
        for chunk in chunks:
            full = (chunk[list(self.inputs)] != "").all(axis=1)
            empty += int((~full).sum())
            yield chunk[full].reset_index(drop=True)
        if empty:
            told = f"{self.folder}: {empty} training rows with an empty text are left out."
            console.print(told, style="yellow", markup=False)


def _split_of(loaded: Any, split: str, name: str) -> Any:
    if split not in loaded:
        raise GraftError(f"Hub data set {name!r} has no split {split!r}. It has: {', '.join(loaded)}.")
    return loaded[split]


def _tables(rows: Any) -> Iterator[pd.DataFrame]:
    yield from rows.with_format("pandas").iter(tables.CHUNK)


def _indexed(columns: Columns, given: Iterator[pd.DataFrame], split: str, origin: str) -> Iterator[pd.DataFrame]:
    """The inputs of unlabelled rows, and the number by which the leaderboard knows each row."""
    for rows in columns.model_copy(update={"label": INDEX}).pick(given, origin, split):
        if not (numbers := rows[LABEL].str.fullmatch(r"\d+", na=False)).all():
            first = rows[~numbers].iloc[0]
            raise GraftError(f"{origin}: row {first['row_id']} has the index {first[LABEL]!r}, which is no number.")
        yield rows.rename(columns={LABEL: INDEX})
