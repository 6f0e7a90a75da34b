"""Pictures on this machine: a folder of classes (the full ImageNet is one), and scikit-learn's digits."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

import pandas as pd
from pydantic import Field, model_validator
from rich.progress import track

from tasks import runtime
from tasks.datasets.spec import LABEL, ROW, DatasetSpec, Source
from tasks.datasets.subsets import Subset, tables
from tasks.frozen import GraftError
from tasks.screen import console

Listed = dict[str, list[str]]  # label -> the paths of its files below a split's folder, rising


class ImageFolder(Subset):
    """A folder `<split>/<class>/<file>`; row ids are the files' paths below the folder.

    Files are listed once, and only those of the chosen classes are listed and only the chosen ones read. The test
    folder may hold its files without classes, as the official ImageNet does; `test_labels` then names them.
    """

    kind: Literal["image_folder"]
    path: str
    train_folder: str = "train"
    test_folder: str | None = Field(None, description="test rows are carved from train where this is not given")
    test_labels: str | None = Field(
        None,
        description="file and class of each test picture, where they lie in no folders: a CSV with a header, such as "
        "LOC_val_solution.csv, or a text file with both on each line; a path below `path`",
    )

    @model_validator(mode="after")
    def _has_test(self) -> Self:
        for field in ("per_class_test", "test_labels"):
            if getattr(self, field) is not None and self.test_folder is None:
                raise ValueError(f"{field} is for a test folder. Name it in test_folder")
        return self

    def places(self) -> list[Path] | None:
        return list(self._places().values())

    def _places(self) -> dict[str, Path]:
        """The folders `train` and perhaps `test`, and perhaps the file `test_labels`."""
        root = runtime.data_path(self.path)
        parts = {"train": self.train_folder, "test": self.test_folder, "test_labels": self.test_labels}
        return {name: runtime.data_path(part, root) for name, part in parts.items() if part}

    def read(self) -> Source:
        places = self._places()
        train, test = places["train"], places.get("test")
        chosen = self.chosen(_folders(train), str(train))
        listed = {"train": self._subset("train", _in_folders(train, chosen))}
        if test:
            listed["test"] = self._subset("test", self._test(test, places.get("test_labels"), chosen))
        names = {"train": self.train_folder, "test": str(self.test_folder)}
        splits = {
            split: lambda split=split, files=files: tables(_read(places[split], names[split], files))
            for split, files in listed.items()
        }
        return Source(splits, self.path, classes=chosen if self.classes else ())

    def _test(self, folder: Path, labels_file: Path | None, chosen: tuple[str, ...]) -> Listed:
        """The test files of the chosen classes, or of all that the test folder has."""
        if not labels_file:
            return _in_folders(folder, chosen if self.classes else _folders(folder))
        labels = _read_labels(labels_file)
        return _labelled(folder, labels, chosen if self.classes else sorted(set(labels.values())))

    def _subset(self, split: str, listed: Listed) -> Listed:
        subset = {}
        for label, files in listed.items():
            names = [f"{label}/{Path(file).name}" for file in files]  # alike in folders and without
            subset[label] = [files[place] for place in self.drawn(split, label, names)]
        return subset


def _folders(folder: Path) -> list[str]:
    """The names of the class folders, rising.

    Raises:
        GraftError: there is none.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())
    except OSError as error:
        raise _absent(folder) from error
    if not found:
        raise _absent(folder)
    return found


def _absent(folder: Path) -> GraftError:
    return GraftError(f"{folder} holds no <class>/<file>. Relative data paths start at GRAFT_DATA.")


def _in_folders(folder: Path, labels: Sequence[str]) -> Listed:
    shown = track(labels, f"listing {folder.name}", console=console, transient=True, disable=len(labels) < 100)
    listed = {label: [f"{label}/{name}" for name in _files(folder / label)] for label in shown}
    if not any(listed.values()):
        raise _absent(folder)
    return listed


def _files(folder: Path) -> list[str]:
    """The names of the files in a folder, rising; none where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_file())
    except FileNotFoundError:
        return []


def _read_labels(path: Path) -> dict[str, str]:
    """The class of each file, by the file's name as the table writes it: the first word of the second cell."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:] if path.suffix == ".csv" else [line.split() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise GraftError(f"test_labels: {path} cannot be read ({error}). It starts at the data set's path.") from error
    labels: dict[str, str] = {}
    for number, row in enumerate((row for row in rows if row), 1):
        if len(row) < 2 or not row[1].split():
            raise GraftError(f"test_labels: row {number} of {path} names no file and class: {' '.join(row)!r}.")
        if labels.setdefault(row[0], row[1].split()[0]) != row[1].split()[0]:
            raise GraftError(f"test_labels: {path} gives {row[0]!r} two classes.")
    return labels


def _labelled(folder: Path, labels: dict[str, str], wanted: Sequence[str]) -> Listed:
    """The files of the wanted classes in a folder without classes; the table may leave out the files' endings."""
    listed: Listed = {label: [] for label in wanted}
    names = _files(folder)
    for name in names:
        label = labels.get(name) or labels.get(Path(name).stem)
        if label is None:
            raise GraftError(f"test_labels names no class for {folder / name}.")
        if label in listed:
            listed[label].append(name)
    there = {*names, *(Path(name).stem for name in names)}
    if missing := [name for name, label in labels.items() if label in listed and name not in there]:
        raise GraftError(f"{folder} lacks {missing[0]!r} and {len(missing) - 1:,} more files that test_labels names.")
    return listed


def _read(folder: Path, name: str, listed: Listed) -> Iterator[tuple[str, bytes, str]]:
    """The rows of a split's folder, whose name begins their ids."""
    for label in sorted(listed):
        for path in listed[label]:
            row = f"{name}/{path}"
            try:
                yield row, (folder / path).read_bytes(), label
            except OSError as error:
                raise GraftError(f"Row {row}: the picture cannot be read ({error.strerror}) below {folder}.") from error


class Digits(DatasetSpec):
    """scikit-learn's 1,797 real handwritten digits, 8 x 8 grey pixels; they come with the library."""

    kind: Literal["digits"]

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("image",)

    def places(self) -> list[Path] | None:
        return []

    def read(self) -> Source:
        return Source({"train": self._rows}, "sklearn.datasets.load_digits")

    def _rows(self) -> Iterator[pd.DataFrame]:
        from PIL import Image
        from sklearn.datasets import load_digits

        digits = load_digits()

        def png(pixels: "pd.Series[float]") -> bytes:
            file = io.BytesIO()
            Image.fromarray((pixels * 255 / 16).round().astype("uint8")).save(file, "PNG")
            return file.getvalue()

        yield pd.DataFrame(
            {
                ROW: [f"digit:{index}" for index in range(len(digits.target))],
                "image": [png(pixels) for pixels in digits.images],
                LABEL: [str(digit) for digit in digits.target],
            }
        )
