"""Where rows come from. One file in `configs/datasets` is one of these; reading gives plain tables by split."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pandas as pd
from pydantic import Field, field_validator, model_validator

from tasks import hub, runtime
from tasks.frozen import Frozen, GraftError
from tasks.metrics import known
from tasks.results import Target
from tasks.tables import LABEL, ROW, Columns, read_table


@dataclass(frozen=True)
class Source:
    """What was read: `train` and perhaps `test`, with columns `row_id`, `label` (both str) and the inputs.

    Inputs are `text` and perhaps `text_pair` (str), or `image` (the file's bytes). `origin` says where from.
    """

    train: pd.DataFrame
    test: pd.DataFrame | None
    origin: str


class DatasetSpec(Frozen):
    """What every data set says of itself."""

    accepts: ClassVar[Literal["text", "image"]]

    about: str = Field("", description="one line for `graft list`; not part of the identity")
    target: Literal["class", "number"] = Field("class", description="classes to tell apart, or a number to predict")
    labels: dict[str, str] | None = Field(
        None,
        description="the classes in order, as the data writes them, each with its readable name; else as seen in train",
    )
    metrics: tuple[str, ...] = Field((), description="what is scored, the headline first")
    validation: float = Field(0.1, gt=0, description="carved from train: a share below 1, or a number of rows")
    test: float = Field(0.25, gt=0, lt=1, description="share carved as test rows where the source has none")
    limit: int | None = Field(
        None, ge=2, description="use so many labelled rows (stratified, seeded), validation rows among them"
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _name_labels(cls, value: object) -> object:
        if isinstance(value, list | dict) and any(isinstance(raw, bool) for raw in value):
            raise ValueError('YAML reads yes, no, on, off as truth values. Quote them: "yes"')
        if isinstance(value, list):
            return {str(raw): str(raw) for raw in value}
        return {str(raw): str(name) for raw, name in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _check_metrics(self) -> "DatasetSpec":
        if self.labels and len(set(self.labels.values())) < max(2, len(self.labels)):
            raise ValueError(f"labels {sorted(self.labels.values())} must be at least two different names")
        if self.labels and self.target == "number":
            raise ValueError("labels are for classes, but target is number")
        valid = known(self.target)
        for name in self.metrics:
            if name not in valid:
                raise ValueError(f"metric {name!r} is unknown for target {self.target!r}. Valid: {', '.join(valid)}")
        return self

    @property
    def scored(self) -> tuple[str, ...]:
        """The names of the metrics, the headline first."""
        return self.metrics or (("accuracy", "macro_f1") if self.target == "class" else ("pearson", "spearman"))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the input columns."""
        return (self.accepts,)

    def read(self) -> Source:
        """Read the source.

        Raises:
            GraftError: a file or column is missing, or the hub cannot give it.
        """
        raise NotImplementedError


class Csv(DatasetSpec):
    """One CSV or TSV file with a header, a row per example."""

    kind: Literal["csv"]
    path: str
    package: str | None = Field(None, description="the file lies in this installed Python package, not in GRAFT_DATA")
    columns: Columns = Columns(text="text")
    split_column: str | None = Field(None, description="a column whose cells are train or test")

    accepts: ClassVar[Literal["text", "image"]] = "text"

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.columns.inputs

    def read(self) -> Source:
        path = runtime.package_folder(self.package) / self.path if self.package else runtime.data_path(self.path)
        table = read_table(path)
        origin = f"{self.package}/{self.path}" if self.package else self.path
        if self.split_column is None:
            return Source(self.columns.pick(table, str(path), "row"), None, origin)
        cells = Columns(text=self.columns.text, label=self.split_column).pick(table, str(path), "row")[LABEL]
        if unknown := sorted(set(cells) - {"train", "test"}):
            raise GraftError(f"{path}: column {self.split_column!r} holds {unknown[0]!r}. Valid: train, test.")
        rows = self.columns.pick(table, str(path), "row")
        return Source(rows[cells == "train"], rows[cells == "test"], origin)


class HubTable(Frozen):
    """A data set on the hub at a pinned commit."""

    id: str
    revision: hub.Revision
    config: str | None = None
    columns: Columns
    train: str = "train"
    test: str = "validation"


class Glue(DatasetSpec):
    """A GLUE task: the official TSV folder where it exists, else the hub. Its labelled dev rows are the test rows."""

    kind: Literal["glue"]
    folder: str
    columns: Columns
    hub: HubTable

    accepts: ClassVar[Literal["text", "image"]] = "text"

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.columns.inputs

    def read(self) -> Source:
        folder = runtime.data_path(self.folder)
        if folder.is_dir():
            tables = [read_table(folder / f"{name}.tsv") for name in ("train", "dev")]
            train, dev = (self.columns.pick(t, str(folder), s) for t, s in zip(tables, ("train", "dev"), strict=True))
            return Source(train, dev, f"{self.folder} (official TSV)")
        loaded = hub.dataset(self.hub.id, self.hub.revision, self.hub.config)
        if missing := [split for split in (self.hub.train, self.hub.test) if split not in loaded]:
            raise GraftError(f"Hub data set {self.hub.id!r} has no split {missing[0]!r}. It has: {', '.join(loaded)}.")
        train, dev = (
            self.hub.columns.pick(loaded[split].to_pandas(), self.hub.id, split)
            for split in (self.hub.train, self.hub.test)
        )
        return Source(train, dev, f"hub {self.hub.id}@{self.hub.revision}")


class ImageFolder(DatasetSpec):
    """A folder `<split>/<class>/<file>`; row ids are the files' paths below the folder."""

    kind: Literal["image_folder"]
    path: str
    train_folder: str = "train"
    test_folder: str | None = Field(None, description="test rows are carved from train where this is not given")

    accepts: ClassVar[Literal["text", "image"]] = "image"

    def read(self) -> Source:
        root = runtime.data_path(self.path)
        test = self._rows(root, self.test_folder) if self.test_folder else None
        return Source(self._rows(root, self.train_folder), test, self.path)

    def _rows(self, root: Path, split: str) -> pd.DataFrame:
        files = sorted(file for file in (root / split).glob("*/*") if file.is_file() and file.name[0] != ".")
        if not files:
            raise GraftError(f"{root / split} holds no <class>/<file>. Relative data paths start at GRAFT_DATA.")
        return pd.DataFrame(
            {
                ROW: [str(file.relative_to(root)) for file in files],
                "image": [file.read_bytes() for file in files],
                LABEL: [file.parent.name for file in files],
            }
        )


class Digits(DatasetSpec):
    """scikit-learn's 1,797 real handwritten digits, 8 x 8 grey pixels; they come with the library."""

    kind: Literal["digits"]

    accepts: ClassVar[Literal["text", "image"]] = "image"

    def read(self) -> Source:
        from PIL import Image
        from sklearn.datasets import load_digits

        digits = load_digits()

        def png(pixels: "pd.Series[float]") -> bytes:
            file = io.BytesIO()
            Image.fromarray((pixels * 255 / 16).round().astype("uint8")).save(file, "PNG")
            return file.getvalue()

        rows = pd.DataFrame(
            {
                ROW: [f"digit:{index}" for index in range(len(digits.target))],
                "image": [png(pixels) for pixels in digits.images],
                LABEL: [str(digit) for digit in digits.target],
            }
        )
        return Source(rows, None, "sklearn.datasets.load_digits")


Dataset = Annotated[Csv | Glue | ImageFolder | Digits, Field(discriminator="kind")]


def target_of(spec: DatasetSpec, source: Source) -> Target:
    """The classes in their fixed order: as the file says, else sorted as seen in the training rows."""
    if spec.target == "number":
        return Target(labels=None)
    labels = spec.labels or {raw: raw for raw in sorted(set(source.train[LABEL]))}
    return Target(labels=tuple(labels.values()), raw=tuple(labels))
