"""What a survey of the user's data gives: columns and their roles, classes, and a sample to measure on."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from tasks import runtime
from tasks.frozen import Frozen
from tasks.pictures import check_picture
from tasks.survey.targets import TargetKind

LEAST = 10  # rows of a class, below which it is noted
NAMED = 50  # classes that a data set's file lists


class Seen(Frozen):
    """A column or folder: its role, empty if it has none, and what was seen."""

    column: str
    role: str
    why: str


class Survey(Frozen):
    """All that the files need: `fields` are the data set's own, `labels` its classes with their readable names.

    `rows` are those looked at (`whole`: there are no more), `train_rows` those of them to train and validate on.
    `smallest` and `largest` count the rows of the rarest and the commonest class. `sample` are texts (or pairs), and
    `side` is the median of the pictures' longer sides in pixels.
    """

    kind: Literal["table", "image_folder"]
    fields: dict[str, Any]
    target: TargetKind
    labels: dict[str, str]
    seen: tuple[Seen, ...]
    notes: tuple[str, ...] = ()
    rows: int
    train_rows: int
    whole: bool = True
    smallest: int = 0
    largest: int = 0
    group: str | None = None
    sample: tuple[tuple[str, ...], ...] = ()
    side: int = 0

    @property
    def image(self) -> bool:
        """Whether the inputs are pictures."""
        return self.kind == "image_folder" or "image" in self.fields["columns"]


def stored(path: Path) -> str:
    """The path as a data set's file has it: relative to GRAFT_DATA if it lies below it, else absolute.

    A link is kept as it was given, for `runtime.data_path` follows none; only where GRAFT_DATA itself is reached by
    another way is it seen that the path lies below it.
    """
    root = runtime.data_path(".")
    for folder, place in ((root, path), (root.resolve(), path.resolve())):
        if place.is_relative_to(folder):
            return str(place.relative_to(folder))
    return str(path)


def longer_side(files: Iterable[bytes]) -> int:
    """The median of the longer sides, in pixels.

    Raises:
        GraftError: one of the files is no picture.
    """
    sides = sorted(max(check_picture(file).size) for file in files)
    return sides[len(sides) // 2]
