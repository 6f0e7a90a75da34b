"""Pictures from the hub: a data set's splits at a pinned commit, whole or cut down to some classes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tasks import hub, runtime
from tasks.datasets.spec import Source
from tasks.datasets.subsets import ROWS, Subset, tables
from tasks.datasets.tables import picture_path
from tasks.frozen import GraftError


class HubImages(Subset):
    """A hub data set with a column of pictures and one of classes; row ids are `split:row`, counted from 1.

    Classes are chosen by the column of labels alone; of the pictures only the chosen rows' are read.
    """

    kind: Literal["hub_images"]
    id: str
    revision: hub.Revision
    config: str | None = None
    files: dict[str, str] | None = Field(
        None, description="each split's parquet files by pattern: for repositories that declare no splits, or hold more"
    )
    image: str = Field("image", description="the column of pictures")
    label: str = Field("label", description="the column of classes")
    train_split: str = "train"
    test_split: str | None = Field("test", description="test rows are carved from train where this is null")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.per_class_test and self.test_split is None:
            raise ValueError("per_class_test is for a test split. Name it in test_split")
        if self.config and self.files:
            raise ValueError("config and files both say which files are read. Keep one of them")
        return self

    def places(self) -> list[Path] | None:
        return []

    def read(self) -> Source:
        loaded = _parquet(self.id, self.revision, self.files) if self.files else self._declared()
        given = {"train": self.train_split} | ({"test": self.test_split} if self.test_split else {})
        parts = {split: self._part(loaded, name) for split, name in given.items()}
        labels = {split: _labels(part, self.label) for split, part in parts.items()}
        known = labels["train"][0]
        chosen = self.chosen(known, f"Hub data set {self.id!r}")
        rows = {split: self._subset(split, given[split], *labels[split], chosen) for split in parts}
        splits = {
            split: lambda split=split: tables(self._rows(parts[split], given[split], rows[split], labels[split]))
            for split in parts
        }
        return Source(splits, f"hub {self.id}@{self.revision}", self.revision, chosen)

    def _declared(self) -> Any:
        return hub.dataset(self.id, self.revision, self.config)

    def _part(self, loaded: Any, split: str) -> Any:
        """A split with the two columns alone, its pictures as files.

        Raises:
            GraftError: the split or a column is missing, or the column holds no pictures.
        """
        from datasets import Image

        if split not in loaded:
            raise GraftError(f"Hub data set {self.id!r} has no split {split!r}. It has: {', '.join(loaded)}.")
        part = loaded[split]
        for field, column in (("image", self.image), ("label", self.label)):
            if column not in part.features:
                raise GraftError(
                    f"Hub data set {self.id!r} has no column {column!r} ({field}). It has: {', '.join(part.features)}."
                )
        if not isinstance(part.features[self.image], Image):
            raise GraftError(f"Column {self.image!r} of hub data set {self.id!r} holds no pictures. Set `image:`.")
        return part.select_columns([self.image, self.label]).cast_column(self.image, Image(decode=False))

    def _subset(
        self, split: str, name: str, words: tuple[str, ...], codes: NDArray[np.int64], chosen: Sequence[str]
    ) -> NDArray[np.int64]:
        """The rows that are read, rising."""
        if self.classes is None and (self.per_class if split == "train" else self.per_class_test) is None:
            return np.arange(len(codes))
        found = []
        for label in chosen:
            rows = np.flatnonzero(codes == words.index(label)) if label in words else np.zeros(0, np.int64)
            found.append(rows[self.drawn(split, label, [f"{name}:{row + 1}" for row in rows])])
        return np.sort(np.concatenate(found))

    def _rows(
        self, part: Any, name: str, rows: NDArray[np.int64], labels: tuple[tuple[str, ...], NDArray[np.int64]]
    ) -> Iterator[tuple[str, bytes, str]]:
        words, codes = labels
        for start in range(0, len(rows), ROWS):
            chunk = rows[start : start + ROWS]
            for row, cell in zip(chunk, part[chunk][self.image], strict=True):
                word = words[codes[row]] if codes[row] >= 0 else ""
                yield f"{name}:{row + 1}", _content(cell, f"{name}:{row + 1}"), word


def _parquet(repo: str, revision: str, files: dict[str, str]) -> Any:
    """The splits that the patterns name, and no other file."""
    from datasets import load_dataset
    from huggingface_hub import snapshot_download

    with hub.explained(repo, revision):
        folder = snapshot_download(
            repo,
            repo_type="dataset",
            revision=revision,
            allow_patterns=list(files.values()),
            local_files_only=not hub.reachable(),
        )
        for pattern in files.values():
            runtime.data_path(pattern, within=[Path(folder)])
        found = {split: sorted(map(str, Path(folder).glob(pattern))) for split, pattern in files.items()}
        if missing := [split for split, paths in found.items() if not paths]:
            raise GraftError(f"Hub data set {repo!r} has no file {files[missing[0]]!r} for {missing[0]} at {revision}.")
        return load_dataset("parquet", data_files=found)


def _labels(part: Any, column: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The classes and [N] their numbers for all rows, -1 without one; only the column of labels is read."""
    from datasets import ClassLabel

    cells = part.select_columns([column]).to_pandas()[column]
    if isinstance(part.features[column], ClassLabel):
        return tuple(part.features[column].names), cells.fillna(-1).to_numpy(np.int64)
    texts = cells.map(str, na_action="ignore").fillna("").str.strip()
    words = tuple(sorted(set(texts) - {""}))
    index = {word: place for place, word in enumerate(words)}
    return words, texts.map(lambda text: index.get(text, -1)).to_numpy(np.int64)


def _content(cell: Any, row: str) -> bytes:
    """A picture's file, kept in the table or beside it, which is in the caches of the hub's clients."""
    from datasets.config import HF_DATASETS_CACHE
    from huggingface_hub.constants import HF_HUB_CACHE

    if cell is None:
        return b""
    if cell["bytes"] is not None:
        found: bytes = cell["bytes"]
        return found
    caches = [Path(HF_HUB_CACHE), Path(HF_DATASETS_CACHE)]
    try:
        return picture_path(cell["path"], row, caches[0], caches).read_bytes()
    except OSError as error:
        raise GraftError(f"Row {row}: picture {cell['path']!r} cannot be read ({error.strerror}).") from error
