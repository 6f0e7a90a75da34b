"""What every data set says of itself, and what reading it gives: plain rows by split, chunk by chunk."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field, field_validator, model_validator

from tasks.findings import known_checks
from tasks.frozen import Frozen, GraftError
from tasks.metrics import known
from tasks.results import Target

LABEL, ROW, GROUP = "label", "row_id", "group"
SLICE = "slice:"  # begins the names of columns that a gate may look at part by part
INPUTS = ("text", "text_pair", "image")
Chunks = Callable[[], Iterator[pd.DataFrame]]


@dataclass(frozen=True)
class Source:
    """Where rows can be read from: `train`, perhaps `test`, perhaps more labelled sets to score (MNLI's other one).

    Each split gives tables that fit into memory, one after the other, as often as it is asked. Their columns are
    `row_id` (str), the inputs `text` and perhaps `text_pair` (str) or `image` (the file's bytes), `label` (str; for
    several labels a row, a list of str), perhaps `group` (str), and perhaps some `slice:...` (str). `origin` says where
    from, `revision` which state of it. `classes` are the labels that the source itself declares, in its order.
    """

    splits: Mapping[str, Chunks]
    origin: str
    revision: str = ""
    classes: tuple[str, ...] = ()

    def table(self, split: str) -> pd.DataFrame:
        """All rows of a split at once."""
        return pd.concat(self.splits[split](), ignore_index=True)


class DatasetSpec(Frozen):
    """What every data set says of itself."""

    about: str = Field("", description="one line for `graft list`; not part of the identity")
    target: Literal["class", "multilabel", "number"] = Field(
        "class", description="one class a row, any number of labels a row, or a number to predict"
    )
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
    part_of: tuple[str, ...] | None = Field(
        None, description="the published collections that these rows come from; not known if not given"
    )
    allow: tuple[str, ...] = Field((), description="checks whose errors are accepted (see `graft check`)")
    show_examples: bool = Field(False, description="let checks print and log the rows' own text")

    @property
    def accepts(self) -> Literal["text", "image"]:
        """What a backbone must take."""
        return "image" if "image" in self.inputs else "text"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the input columns."""
        raise NotImplementedError

    @field_validator("labels", mode="before")
    @classmethod
    def _name_labels(cls, value: object) -> object:
        if isinstance(value, list | dict) and any(isinstance(raw, bool) for raw in value):
            raise ValueError('YAML reads yes, no, on, off as truth values. Quote them: "yes"')
        if isinstance(value, list):
            return {str(raw): str(raw) for raw in value}
        return {str(raw): str(name) for raw, name in value.items()} if isinstance(value, dict) else value

    @field_validator("allow")
    @classmethod
    def _check_allowed(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return known_checks(names)

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
    def sliced_by(self) -> tuple[str, ...]:
        """The columns by which a gate may part the test rows."""
        return ()

    @property
    def scored(self) -> tuple[str, ...]:
        """The names of the metrics, the headline first."""
        usual = {
            "class": ("accuracy", "macro_f1"),
            "multilabel": ("micro_f1", "macro_f1", "exact_match"),
            "number": ("pearson", "spearman"),
        }
        return self.metrics or usual[self.target]

    @property
    def more_scored(self) -> dict[str, tuple[str, ...]]:
        """Further labelled splits with their metrics."""
        return {}

    @property
    def all_scored(self) -> dict[str, tuple[str, ...]]:
        """Every split that is scored with its metrics, `test` first."""
        return {"test": self.scored} | self.more_scored

    def named(self, raw: Iterable[str]) -> dict[str, str]:
        """Classes as the data writes them, each with its readable name."""
        return {label: label for label in raw}

    def places(self) -> list[Path] | None:
        """Every file that is read, and folders of which all is; none where a pinned revision or a library decides.

        None where only reading can tell: then the rows are read and compared each time.
        """
        return None

    def read(self) -> Source:
        """Open the source.

        Raises:
            GraftError: a file or column is missing, or the hub cannot give it; here or while its rows are read.
        """
        raise NotImplementedError


def target_of(spec: DatasetSpec, source: Source, seen: set[str]) -> Target:
    """The classes in their fixed order: as the file says, else as the source declares, else sorted as `seen` in train.

    Raises:
        GraftError: there are not two of them.
    """
    if spec.target == "number":
        return Target(kind="number", labels=None)
    labels = spec.labels or spec.named(source.classes or sorted(seen))
    if len(labels) < 2:
        raise GraftError(f"The training rows hold one class only ({', '.join(labels)}). At least two are needed.")
    return Target(kind=spec.target, labels=tuple(labels.values()), raw=tuple(labels))
