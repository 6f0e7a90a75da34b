"""The curves from what was measured: medians with their range over the turns, and the law of each."""

from collections.abc import Mapping, Sequence

from tasks.bench.growth.curves import Curve, Point
from tasks.bench.growth.law import Law, fitted
from tasks.bench.table import Spread, columns
from tasks.bench.turns import Raw
from tasks.frozen import Frozen


class Size(Frozen):
    """What one size took over all turns.

    Attributes:
        place: on the curve's axis.
        time: in the curve's unit.
        rate: rows a second.
        memory: bytes, the process's highest until the end of training.
    """

    size: str
    place: float
    time: Spread
    rate: Spread
    memory: Spread


class Line(Frozen):
    """A curve: its sizes in rising order and the law of their median times; None where there are not two."""

    name: str
    axis: str
    unit: str
    sizes: tuple[Size, ...]
    law: Law | None


def line(curve: Curve, points: Sequence[Point], raws: Sequence[Raw]) -> Line:
    """A curve of its points and the raw lines of all curves; a point that has none is left out."""
    found = []
    for point in sorted((one for one in points if one.curve == curve.name), key=lambda one: one.place):
        taken = [raw.taken for raw in raws if (raw.work, raw.settings) == point.key and raw.taken]
        if taken:
            size = Size(
                size=point.size,
                place=point.place,
                time=Spread.of([curve.time(one) for one in taken]),
                rate=Spread.of([one.rate for one in taken]),
                memory=Spread.of([one.peak for one in taken]),
            )
            found.append(size)
    law = fitted([one.place for one in found], [one.time.middle for one in found])
    return Line(name=curve.name, axis=curve.axis, unit=curve.unit, sizes=tuple(found), law=law)


def of_csv(point: Point, raw: Raw) -> dict[str, object]:
    """A raw line by the columns of the CSV."""
    told = columns(raw)
    return {"curve": told.pop("work"), "size": told.pop("settings"), "place": point.place, **told}


def cells(one: Line, named: bool) -> list[dict[str, str]]:
    """A curve as the cells of its table, a row for each size; `named` gives the sizes' names too."""
    return [
        ({"network": size.size} if named else {})
        | {
            one.axis: f"{size.place:,.0f}",
            one.unit: size.time.told(",.2f"),
            "rows/s": size.rate.told(",.1f"),
            "peak MB": f"{size.memory.middle / 1e6:,.0f}",
        }
        for size in one.sizes
    ]


def as_objects(lines: Sequence[Line], failed: Mapping[str, str]) -> dict[str, object]:
    """All of it for a program; what failed has its reason."""
    return {"curves": [one.model_dump(mode="json") for one in lines], "failed": dict(failed)}
