"""What is told of errors: tables that go to the terminal, to a CSV and to a page."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tasks.datasets.spec import INPUTS, ROW
from tasks.explain.errors import Answers, Confused, Parting, confused, partings, worst
from tasks.explain.page import Picture, Table, picture
from tasks.rows import Rows

PICTURE = "image"


@dataclass(frozen=True)
class Listing:
    """A table; `places` are the rows of the split that its lines are about, empty where they are about none.

    `name` is that of its CSV file; pictures are on the page alone.
    """

    name: str
    title: str
    frame: pd.DataFrame
    places: tuple[int, ...] = ()

    def table(self, rows: Rows) -> Table:
        """For the page, with the rows' pictures."""
        cells: list[list[str | Picture]] = [list(map(str, line)) for line in self.frame.itertuples(index=False)]
        columns = list(self.frame)
        if self.places and PICTURE in rows:
            shown = rows[PICTURE]
            cells = [[picture(shown[place]), *line] for place, line in zip(self.places, cells, strict=True)]
            columns = [PICTURE, *columns]
        return Table(self.title, columns, cells)


def listings(rows: Rows, own: Answers, other: Answers | None, count: int) -> list[Listing]:
    """The worst wrong answers, the classes most often confused, and where two models part; each of so many lines.

    Args:
        rows: of the split that was answered to, in its order.
        own: the answers.
        other: another model's to the same rows.
        count: lines of each table at most.
    """
    places = worst(own, count)
    how = "off by" if own.target.kind == "number" else "confidence"
    frame = _described(rows, own, places, {"prediction": own.named_all(places)})
    frame.insert(3, how, [round(float(own.far[place]), 4) for place in places])
    found = [Listing("worst", "The surest errors", frame, tuple(places))]
    if own.target.labels:
        frame = pd.DataFrame(confused(own)[:count], columns=Confused._fields)
        found.append(Listing("confused", "Most confused", frame))
    return [*found, _parted(rows, own, other, partings(own, other)[:count])] if other else found


def _parted(rows: Rows, own: Answers, other: Answers, parted: Sequence[Parting]) -> Listing:
    places = [one.row for one in parted]
    named = {"this": own.named_all(places), "other": other.named_all(places), "right": [one.right for one in parted]}
    return Listing("parted", "Where the two part", _described(rows, own, places, named), tuple(places))


def _described(rows: Rows, own: Answers, places: Sequence[int], named: dict[str, list[str]]) -> pd.DataFrame:
    """Row id and label, what was answered, and the texts."""
    texts = {name: [rows[name][place] for place in places] for name in INPUTS if name in rows and name != PICTURE}
    truth = {ROW: [rows[ROW][place] for place in places], "label": [own.named(own.truth[place]) for place in places]}
    return pd.DataFrame(truth | named | texts)
