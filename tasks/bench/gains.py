"""What each mean of speed gains alone: the trainings on which it is tried, and the table."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from tasks.bench.orders import ALL, PLAIN, TAKES, Lap, Part
from tasks.bench.page import Told
from tasks.bench.table import Spread
from tasks.bench.turns import Raw
from tasks.bench.works import FEW, FEW_PICTURES, turns_of
from tasks.compose import load
from tasks.frozen import Frozen
from tasks.recipe import Recipe
from tasks.speed.means import MEANS

HOW = (
    "How many times as fast as with none of the means; medians, with the lowest and highest turn. Means that come "
    "and go are timed in one process for each training: every batch is taken with each of them, one "
    f"right after the other and the fastest of {TAKES} takes counts, in steps of training and in answers to validation "
    "rows, all of them with the heap kept; `all` there is all that such a process can change. "
    "`whole training` is by fresh processes with GRAFT_MEANS set, one after another, and by their seconds of training "
    "alone. A cell is empty, or a line missing, where a mean has nothing to do or is not timed so. Memory is the "
    "process's highest until the end of training, the score that of the first turn."
)


class Tried(Frozen):
    """A training on which the means are tried.

    Attributes:
        changes: to the experiment's recipe.
        quick: more of them with --quick.
        alone: means that have something to do here and need processes of their own.
    """

    name: str
    about: str
    experiment: str
    changes: tuple[str, ...]
    quick: tuple[str, ...]
    alone: tuple[str, ...] = ()

    @property
    def processes(self) -> tuple[str, ...]:
        """The settings of the means for each of which it is trained whole."""
        return (PLAIN, *self.alone, ALL)

    def recipe(self, quick: bool) -> Recipe:
        """What is trained.

        Raises:
            GraftError: the experiment does not load.
        """
        return load(self.experiment, [*self.changes, *(self.quick if quick else ())])


TEXT = ("dataset.limit=1000",)
TRIED: tuple[Tried, ...] = (
    Tried(
        name="text", about="LoRA on 1,000 sentences of SST-2, 2 epochs", experiment="sst2_lora", changes=TEXT,
        quick=FEW,
    ),
    Tried(
        name="text-top3", about="the same, LoRA on the three upper blocks", experiment="sst2_lora",
        changes=(*TEXT, "method=lora_top3"), quick=FEW, alone=("frozen_front",),
    ),
    Tried(
        name="text-full", about="the same, all weights", experiment="sst2_lora", changes=(*TEXT, "method=full"),
        quick=FEW,
    ),
    Tried(
        name="images", about="LoRA on 400 pictures of ten ImageNet classes, 3 epochs, each picture drawn once",
        experiment="imagenet10_lora", changes=("dataset.limit=400", "schedule.draws=1"), quick=FEW_PICTURES,
        alone=("kept_heap", "frozen_front"),
    ),
)  # fmt: skip


class Asked(Frozen):
    """The trainings, in each of whose turns every setting of the means runs once."""

    works: tuple[Tried, ...]
    repeats: int
    quick: bool


class Speed(Frozen):
    """Rows a second, and how many times as many as with none of the means, turn by turn; None without its none."""

    rate: Spread
    times: Spread | None


class Gain(Frozen):
    """A setting of the means on one training; None where it was not measured.

    Attributes:
        steps, answers: batch by batch in turn with the other settings.
        training: in a process of its own.
        peak: bytes.
        process: seconds of all of it, with imports, loading, validation and the answers to the test rows.
        score: on the test rows, 0 to 1, in the first turn that has one.
    """

    work: str
    means: str
    steps: Speed | None
    answers: Speed | None
    training: Speed | None
    peak: Spread | None
    process: Spread | None
    score: float | None


class Measured(Protocol):
    """What was measured: a line for each process, laps by the training's name, and failures."""

    raws: list[Raw]
    laps: dict[str, tuple[Lap, ...]]
    failed: dict[str, str]


def asked(repeats: int | None, quick: bool) -> Asked:
    """All trainings.

    Raises:
        GraftError: no turn.
    """
    return Asked(works=TRIED, repeats=turns_of(repeats, quick), quick=quick)


def settings() -> tuple[str, ...]:
    """The settings of `GRAFT_MEANS` that are compared: none, each mean alone, all."""
    return (PLAIN, *MEANS, ALL)


def gains(works: Sequence[Tried], found: Measured) -> list[Gain]:
    """What was measured of each training and setting, in their order."""
    every = [
        _gain(work.name, means, found.raws, found.laps.get(work.name, ())) for work in works for means in settings()
    ]
    return [one for one in every if one.steps or one.answers or one.training]


def _gain(work: str, means: str, raws: Sequence[Raw], laps: Sequence[Lap]) -> Gain:
    ran = [raw for raw in raws if (raw.work, raw.side) == (work, means) and raw.taken]
    scores = [raw.score for raw in ran if raw.score is not None]
    return Gain(
        work=work,
        means=means,
        steps=_speed(_of_laps("steps", means, laps), _of_laps("steps", PLAIN, laps)),
        answers=_speed(_of_laps("answers", means, laps), _of_laps("answers", PLAIN, laps)),
        training=_speed(_of_processes(work, means, raws), _of_processes(work, PLAIN, raws)),
        peak=Spread.of([raw.taken.peak for raw in ran if raw.taken]) if ran else None,
        process=Spread.of([raw.wall for raw in ran]) if ran else None,
        score=scores[0] if scores else None,
    )


def _speed(own: Mapping[int, float], plain: Mapping[int, float]) -> Speed | None:
    """Of rows a second by turn."""
    times = [rate / plain[turn] for turn, rate in own.items() if turn in plain]
    return Speed(rate=Spread.of([*own.values()]), times=Spread.of(times) if times else None) if own else None


def _of_laps(part: Part, means: str, laps: Sequence[Lap]) -> dict[int, float]:
    return {lap.turn: lap.rows / lap.seconds for lap in laps if (lap.part, lap.means) == (part, means)}


def _of_processes(work: str, means: str, raws: Sequence[Raw]) -> dict[int, float]:
    return {raw.turn: raw.taken.rate for raw in raws if (raw.work, raw.side) == (work, means) and raw.taken}


def cells(one: Gain) -> dict[str, str]:
    """A line of the table."""
    return {
        "work": one.work,
        "means": one.means,
        "steps": _told(one.means, one.steps),
        "answers": _told(one.means, one.answers),
        "whole training": _told(one.means, one.training),
        "peak MB": f"{one.peak.middle / 1e6:,.0f}" if one.peak else "",
        "whole process, s": one.process.told(".1f") if one.process else "",
        "score": "" if one.score is None else f"{one.score:.3f}",
    }


def _told(means: str, speed: Speed | None) -> str:
    if speed is None:
        return ""
    if means == PLAIN:
        return f"1: {speed.rate.middle:,.1f} rows/s"
    return speed.times.told(".2f") if speed.times else "not known"


def told_of(asked: Asked, found: Measured) -> Told:
    """All of it as a table; it has no goals."""
    lines = gains(asked.works, found)
    turns = "One turn. " if asked.repeats == 1 else f"{asked.repeats} turns. "
    return Told(
        name="means",
        rows=[cells(one) for one in lines],
        good=[True] * len(lines),
        about=[f"`{work.name}`: {work.about}." for work in asked.works],
        notes=[],
        how=turns + HOW,
        objects={
            "means": [one.model_dump(mode="json") for one in lines], "failed": dict(found.failed),
            "quick": asked.quick, "repeats": asked.repeats,
        },
        failed=found.failed,
        quick=asked.quick,
    )  # fmt: skip
