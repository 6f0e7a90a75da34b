"""What each mean of speed gains alone: the trainings on which it is tried, and the table."""

from collections.abc import Mapping, Sequence

from tasks.bench.orders import Taken
from tasks.bench.page import Told
from tasks.bench.table import Spread
from tasks.bench.turns import Raw
from tasks.bench.works import FEW, FEW_PICTURES, turns_of
from tasks.compose import load
from tasks.frozen import Frozen
from tasks.recipe import Recipe
from tasks.speed.means import MEANS

PLAIN, ALL = "none", "all"  # as `GRAFT_MEANS` calls them
HOW = (
    "Graft's own training, each line a setting of GRAFT_MEANS, one after another, each in a fresh process, on the same "
    "rows. Rows a second of training alone; medians, with the lowest and highest turn; ratios are of one turn, to "
    "none of the means. A mean that has nothing to do in a training gives 1 there; what one gains while rows are "
    "answered shows in the whole process alone, with imports, loading and validation. The score is that of the first "
    "turn; memory is the process's highest until the end of training."
)


class Tried(Frozen):
    """A training on which the means are tried.

    Attributes:
        changes: to the experiment's recipe.
        quick: more of them with --quick.
    """

    name: str
    about: str
    experiment: str
    changes: tuple[str, ...]
    quick: tuple[str, ...]

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
        changes=(*TEXT, "method=lora_top3"), quick=FEW,
    ),
    Tried(
        name="images", about="LoRA on 400 pictures of ten ImageNet classes, 3 epochs", experiment="imagenet10_lora",
        changes=("dataset.limit=400",), quick=FEW_PICTURES,
    ),
)  # fmt: skip


class Asked(Frozen):
    """The trainings, in each of whose turns every setting of the means runs once."""

    works: tuple[Tried, ...]
    repeats: int
    quick: bool


class Gain(Frozen):
    """A setting of the means on one training.

    Attributes:
        rate: rows a second.
        times: as many as with none of the means, turn by turn; None where that was not measured.
        peak: bytes.
        process: seconds of all of it, with imports, loading, validation and the answers to the test rows.
        score: on the test rows, 0 to 1, in the first turn that has one.
    """

    work: str
    means: str
    rate: Spread
    times: Spread | None
    peak: Spread
    process: Spread
    score: float | None


def asked(repeats: int | None, quick: bool) -> Asked:
    """All trainings.

    Raises:
        GraftError: no turn.
    """
    return Asked(works=TRIED, repeats=turns_of(repeats, quick), quick=quick)


def settings() -> tuple[str, ...]:
    """The settings of `GRAFT_MEANS` that are compared: none, each mean alone, all."""
    return (PLAIN, *MEANS, ALL)


def gains(works: Sequence[Tried], raws: Sequence[Raw]) -> list[Gain]:
    """What was measured of each training and setting, in their order."""
    return [one for work in works for means in settings() if (one := _gain(work.name, means, raws))]


def _gain(work: str, means: str, raws: Sequence[Raw]) -> Gain | None:
    ran = [raw for raw in raws if (raw.work, raw.side) == (work, means) and raw.taken]
    own, plain = _by_turn(work, means, raws), _by_turn(work, PLAIN, raws)
    if not own:
        return None
    times = [taken.rate / plain[turn].rate for turn, taken in own.items() if turn in plain]
    scores = [raw.score for raw in ran if raw.score is not None]
    return Gain(
        work=work,
        means=means,
        rate=Spread.of([taken.rate for taken in own.values()]),
        times=Spread.of(times) if times else None,
        peak=Spread.of([taken.peak for taken in own.values()]),
        process=Spread.of([raw.wall for raw in ran]),
        score=scores[0] if scores else None,
    )


def _by_turn(work: str, means: str, raws: Sequence[Raw]) -> dict[int, Taken]:
    return {raw.turn: raw.taken for raw in raws if (raw.work, raw.side) == (work, means) and raw.taken}


def cells(one: Gain) -> dict[str, str]:
    """A line of the table."""
    return {
        "work": one.work,
        "means": one.means,
        "rows/s": one.rate.told(",.1f"),
        "times as fast as none": one.times.told(".2f") if one.times else "not known",
        "peak MB": f"{one.peak.middle / 1e6:,.0f}",
        "whole process, s": one.process.told(".1f"),
        "score": "" if one.score is None else f"{one.score:.3f}",
    }


def told_of(asked: Asked, raws: Sequence[Raw], failed: Mapping[str, str]) -> Told:
    """All of it as a table; it has no goals."""
    found = gains(asked.works, raws)
    turns = "One turn. " if asked.repeats == 1 else f"{asked.repeats} turns. "
    return Told(
        name="means",
        rows=[cells(one) for one in found],
        good=[True] * len(found),
        about=[f"`{work.name}`: {work.about}." for work in asked.works],
        notes=[],
        how=turns + HOW,
        objects={
            "means": [one.model_dump(mode="json") for one in found], "failed": dict(failed),
            "quick": asked.quick, "repeats": asked.repeats,
        },
        failed=failed,
        quick=asked.quick,
    )  # fmt: skip
