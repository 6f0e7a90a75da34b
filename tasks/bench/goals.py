"""What whole commands came to, held against their goals: the table of `graft bench --whole`."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tasks.bench.page import Told
from tasks.bench.table import Spread
from tasks.bench.whole import COMPARE, FINETUNE, HELP, LOOP, Asked, Kind, Timed, Work
from tasks.frozen import Frozen

SHARE = 0.02  # of the bare loop's seconds, which a fine-tune may take beside its fixed ones
HOW = (
    "Wall seconds of whole commands, each a fresh process, without a Prefect server; medians, with the lowest and "
    "highest turn; ratios are of one turn. Both sides of a comparison begin in an empty home, one after the other; the "
    "commands of other works have run once before. The first step is over when its loss is noted. The bare loop is a "
    "process of Graft's own that imports, loads, trains with validation and checkpoints, and answers the test rows; "
    "its steps are the seconds of training in it. A fine-tune does the same, scores with intervals, draws, registers, "
    "verifies, and scores the champion on the same rows."
)

Turn = Mapping[str, Sequence[Timed]]  # the processes of each side


class Goal(NamedTuple):
    """What is held against a goal.

    Attributes:
        name: as the reader sees it.
        kind: of the works that have it.
        most: `value` of a turn may be so much.
        unit: behind both.
    """

    name: str
    kind: Kind
    most: float
    unit: str
    value: Callable[[Turn], float]


def _seconds(turn: Turn, side: str) -> float:
    """Of all processes of a side."""
    return sum(one.wall for one in turn[side])


def _first(turn: Turn) -> float:
    return turn[FINETUNE][0].first or 0.0


def _beyond_process(turn: Turn) -> float:
    return _seconds(turn, FINETUNE) - (1 + SHARE) * _seconds(turn, LOOP)


def _beyond_steps(turn: Turn) -> float:
    return _seconds(turn, FINETUNE) - (1 + SHARE) * (turn[LOOP][0].training or 0.0)


def _shared(turn: Turn) -> float:
    return _seconds(turn, COMPARE) / _seconds(turn, FINETUNE)


GOALS = (
    Goal("help", "help", 0.8, " s", lambda turn: _seconds(turn, HELP)),
    Goal("first step", "finetune", 10, " s", _first),
    Goal("overhead: beyond 1.02 x the bare loop's process", "finetune", 12, " s", _beyond_process),
    Goal("the same beyond 1.02 x its steps alone", "finetune", 12, " s", _beyond_steps),
    Goal("one command by its runs one by one", "compare", 0.5, "", _shared),
)


class Line(Frozen):
    """What a work came to.

    Attributes:
        measured: the goal's name.
        sides: seconds of each side.
        most: the goal.
    """

    work: str
    measured: str
    sides: dict[str, Spread]
    value: Spread
    most: float
    unit: str

    @property
    def reached(self) -> bool:
        """Whether the median turn is not above the goal."""
        return self.value.middle <= self.most


def lines(works: Sequence[Work], raws: Sequence[Timed]) -> list[Line]:
    """All goals of the works of which a whole turn was measured."""
    found = []
    for work in works:
        if turns := _turns(work, raws):
            sides = {side: Spread.of([_seconds(turn, side) for turn in turns]) for side in turns[0]}
            found += [
                Line(
                    work=work.name, measured=goal.name, sides=sides, most=goal.most, unit=goal.unit,
                    value=Spread.of([goal.value(turn) for turn in turns]),
                )
                for goal in GOALS if goal.kind == work.kind
            ]  # fmt: skip
    return found


def _turns(work: Work, raws: Sequence[Timed]) -> list[Turn]:
    """The turns of which every process ended well, each with its sides in their order."""
    sides = [step.side for step in work.steps()]
    found: list[Turn] = []
    for turn in sorted({raw.turn for raw in raws if raw.work == work.name and raw.turn}):
        own = [raw for raw in raws if (raw.work, raw.turn, raw.failed) == (work.name, turn, "")]
        if [raw.side for raw in own] == sides:
            found.append({side: [raw for raw in own if raw.side == side] for side in dict.fromkeys(sides)})
    return found


def cells(one: Line, quick: bool) -> dict[str, str]:
    """A line of the table; nothing is judged with `quick`."""
    return {
        "work": one.work,
        "measured": one.measured,
        "came to": f"{one.value.told('.2f')}{one.unit}",
        "goal": f"{one.most:g}{one.unit}",
        "reached": "no proof" if quick else "yes" if one.reached else "no",
        "seconds of each": ", ".join(f"{side} {took.told('.1f')}" for side, took in one.sides.items()),
    }


def told_of(asked: Asked, raws: Sequence[Timed], failed: Mapping[str, str]) -> Told:
    """All of it as a table; works that failed have no line."""
    found = lines([work for work in asked.works if work.name not in failed], raws)
    turns = "One turn. " if asked.repeats == 1 else f"{asked.repeats} turns. "
    return Told(
        name="whole",
        rows=[cells(one, asked.quick) for one in found],
        good=[one.reached for one in found],
        about=[f"`{work.name}`: {work.about}." for work in asked.works],
        notes=[],
        how=turns + HOW,
        objects={
            "whole": [one.model_dump(mode="json") | {"reached": one.reached} for one in found],
            "failed": dict(failed), "quick": asked.quick, "repeats": asked.repeats,
        },
        failed=failed,
        quick=asked.quick,
    )  # fmt: skip
