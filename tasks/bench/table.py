"""What the turns measured, as a table: medians with their range, ratios turn by turn, and scores on the same rows."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median

import numpy as np
from numpy.typing import NDArray

from tasks.bench.orders import Taken
from tasks.bench.turns import BF16, OURS, Raw, fastest
from tasks.bench.works import Work
from tasks.files import disk_error
from tasks.frozen import Frozen, GraftError
from tasks.metrics import Truth, score
from tasks.paired import Estimate, over_seeds

Answers = NDArray[np.float32]
CLOSE = 1e-4  # how far two sides' probabilities may lie apart where they ask the same model
COLUMNS = (
    "work", "turn", "side", "settings", "rows_per_second", "seconds", "ready_seconds", "wall_seconds", "rows",
    "epochs", "steps", "trained_weights", "peak_bytes", "score", "flops", "rows_digest", "failed",
)  # fmt: skip


class Spread(Frozen):
    """The median of several turns with the lowest and the highest."""

    middle: float
    low: float
    high: float
    turns: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """At least one value."""
        return cls(middle=median(values), low=min(values), high=max(values), turns=len(values))

    def told(self, form: str) -> str:
        """`middle (low to high)`, the range where there are several turns."""
        middle = format(self.middle, form)
        return f"{middle} ({self.low:{form}} to {self.high:{form}})" if self.turns > 1 else middle


class Scores(Frozen):
    """Both sides' mean scores over the turns on the same test rows, and how much higher ours is.

    The difference's 95 % interval holds the chance of the rows and, from two turns on, that of the turns' seeds.
    """

    metric: str
    ours: float
    theirs: float
    difference: Estimate

    @property
    def told(self) -> str:
        """Both scores, ours first."""
        return f"{self.metric} {self.ours:.3f}, {self.theirs:.3f}"


class Line(Frozen):
    """A work's results. Speeds are rows a second, memory is in bytes; ratios are ours by theirs, turn by turn.

    Attributes:
        sides: ours and theirs, by name.
        share: of the machine's highest rate of a matrix product, in our side's precision, by our side; None where
            nobody counted.
    """

    work: Work
    sides: tuple[str, str]
    ours: Spread
    theirs: Spread
    speed: Spread
    memory_ours: Spread
    memory_theirs: Spread
    memory: Spread
    scores: Scores | None = None
    share: Spread | None = None

    @property
    def name(self) -> str:
        """The work's, and the sides' where one of them is not in fp32."""
        plain = self.sides == (OURS, self.work.peer)
        return self.work.name if plain else f"{self.work.name}: {self.sides[0]} beside {self.sides[1]}"

    @property
    def reached(self) -> bool:
        """Whether the median ratio is the goal's at least and the score is not too low.

        It may be lower by what the work allows, or, where that is nothing of its own, by what its interval covers.
        """
        return self.speed.middle >= self.work.goal and self._close()

    def _close(self) -> bool:
        if self.work.within is not None:
            return self.scores is not None and self.scores.ours >= self.scores.theirs - self.work.within
        return self.scores is None or self.scores.difference.high >= 0


def lines(
    work: Work, raws: Sequence[Raw], gflops: Mapping[str, float], scores: Scores | None, best: Scores | None = None
) -> list[Line]:
    """A work's line of both sides in fp32, and a second one of each in its faster precision where that is another.

    Args:
        work: the work.
        raws: of all works; without a turn that has both sides there is no line.
        gflops: the machine's highest rate of a matrix product, by precision.
        scores: of both sides in fp32.
        best: of the sides in their faster precision.
    """
    plain = (OURS, work.peer)
    first = {raw.side: raw.taken.rate for raw in raws if raw.work == work.name and raw.turn == 1 and raw.taken}
    quick = fastest(work, first) if {*plain} <= {*first} else plain
    told = {plain: scores} | ({} if quick == plain else {quick: best})
    found = [_line(work, sides, _pairs(work, raws, *sides), gflops, own) for sides, own in told.items()]
    return [one for one in found if one]


def _line(
    work: Work,
    sides: tuple[str, str],
    turns: Sequence[tuple[Taken, Taken]],
    gflops: Mapping[str, float],
    scores: Scores | None,
) -> Line | None:
    if not turns:
        return None
    ours, theirs = [one for one, _ in turns], [other for _, other in turns]
    peak = 1e9 * gflops["bf16" if sides[0].endswith(BF16) else "fp32"]
    return Line(
        work=work,
        sides=sides,
        ours=Spread.of([one.rate for one in ours]),
        theirs=Spread.of([other.rate for other in theirs]),
        speed=Spread.of([one.rate / other.rate for one, other in turns]),
        memory_ours=Spread.of([one.peak for one in ours]),
        memory_theirs=Spread.of([other.peak for other in theirs]),
        memory=Spread.of([one.peak / other.peak for one, other in turns]),
        scores=scores,
        share=Spread.of([one.flops / one.seconds / peak for one in ours if one.flops]) if ours[0].flops else None,
    )


def _pairs(work: Work, raws: Sequence[Raw], ours: str, theirs: str) -> list[tuple[Taken, Taken]]:
    """Two sides of every turn that has both, in their order."""
    found = {(raw.turn, raw.side): raw.taken for raw in raws if raw.work == work.name and raw.turn and raw.taken}
    both = [(found.get((turn, ours)), found.get((turn, theirs))) for turn in sorted({turn for turn, _ in found})]
    return [(one, other) for one, other in both if one and other]


def graded(metric: str, truth: Truth, answers: Answers) -> float:
    """The score of answers [N, K] to rows of classes [N]."""
    return score(metric, truth, answers.argmax(1))


def scored(metric: str, truth: Truth, turns: Sequence[tuple[Answers, Answers]]) -> Scores:
    """Both sides' answers [N, K] to the same rows of classes [N] in each turn, ours first, compared in pairs."""
    ours, theirs = zip(*turns, strict=True)
    return Scores(
        metric=metric,
        ours=mean(graded(metric, truth, answers) for answers in ours),
        theirs=mean(graded(metric, truth, answers) for answers in theirs),
        difference=over_seeds(metric, truth, [one.argmax(1) for one in ours], [one.argmax(1) for one in theirs]),
    )


def check_same_rows(work: Work, ours: Taken, theirs: Taken) -> None:
    """Raise a GraftError if the sides did not see the same rows, where the other one was to see all."""
    if work.peer_rows is None and (ours.seen, ours.rows, ours.epochs) != (theirs.seen, theirs.rows, theirs.epochs):
        raise GraftError(
            f"The sides of {work.name} saw other rows ({ours.rows} x {ours.epochs} {ours.seen} and {theirs.rows} x "
            f"{theirs.epochs} {theirs.seen}): nothing can be compared. Report it."
        )


def check_same_answers(work: Work, ours: Answers, theirs: Answers) -> None:
    """Raise a GraftError if two sides that asked one model do not give the same labels and probabilities [N, K]."""
    others = int((ours.argmax(1) != theirs.argmax(1)).sum())
    apart = float(np.abs(ours - theirs).max())
    if others or apart > CLOSE:
        raise GraftError(
            f"The sides of {work.name} asked one model, but {others} labels differ and the probabilities by up to "
            f"{apart:.2g} (allowed {CLOSE:g}). Report it."
        )


def columns(raw: Raw) -> dict[str, object]:
    """A raw line by the columns of the CSV."""
    taken = raw.taken
    cells = (
        (round(taken.rate, 3), round(taken.seconds, 4), round(taken.ready, 2), round(raw.wall, 2), taken.rows,
         taken.epochs, taken.steps, taken.trained, taken.peak, raw.score, taken.flops, taken.seen)
        if taken
        else ("", "", "", round(raw.wall, 2), *[""] * 8)
    )  # fmt: skip
    return dict(zip(COLUMNS, (raw.work, raw.turn, raw.side, raw.settings, *cells, raw.failed), strict=True))


def append(file: Path, told: Mapping[str, object]) -> None:
    """Add a line, given by its columns, to a CSV at once, so that whatever ends the benchmark leaves it.

    Raises:
        GraftError: the disk is full or the place not writable.
    """
    try:
        with file.open("a", encoding="utf-8", newline="") as opened:
            table = csv.DictWriter(opened, list(told), lineterminator="\n")
            if opened.tell() == 0:
                table.writeheader()
            table.writerow(told)
    except OSError as error:
        raise disk_error(file, error) from error


def cells(one: Line, quick: bool) -> dict[str, str]:
    """A line as the cells of the table; nothing is judged with `quick`."""
    scores = one.scores
    return {
        "work": one.name,
        "Graft, rows/s": one.ours.told(",.1f"),
        "beside it, rows/s": one.theirs.told(",.1f"),
        "times as fast": one.speed.told(".2f"),
        "goal": f"{one.work.goal:g}",
        "reached": "no proof" if quick else "yes" if one.reached else "no",
        "score": scores.told if scores else "not compared",
        "difference (95 %)": difference(scores.difference) if scores else "",
        "peak MB": f"{one.memory_ours.middle / 1e6:,.0f}, {one.memory_theirs.middle / 1e6:,.0f}",
        "of its memory": one.memory.told(".2f"),
        "share of peak": one.share.told(".0%") if one.share else "",
    }


def difference(found: Estimate) -> str:
    """`value (low to high)`, all signed."""
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def as_objects(lines: Sequence[Line], failed: Mapping[str, str]) -> dict[str, object]:
    """All of it for a program; what failed has its reason."""
    found = [one.model_dump(mode="json") | {"name": one.name, "reached": one.reached} for one in lines]
    return {"works": found, "failed": dict(failed)}
