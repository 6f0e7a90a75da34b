"""Finished children ranked: who is best, and what may be said of the others against it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tasks.comparison.table import Costs, Line, Spread, Standing
from tasks.metrics import Truth
from tasks.paired import SHARES, Estimate, combined, difference, holm, mcnemar, over_seeds, split_votes
from tasks.results import Latency

SURE = 0.05  # a difference whose p-value is below is one
MB = 1_000_000


@dataclass(frozen=True)
class Ran:
    """A finished child: its answers to the test rows, shaped as the truth, and its costs by their names in MLflow."""

    method: str
    limit: int | None
    seed: int
    rows: int
    answers: Truth
    costs: Mapping[str, float]
    curve: tuple[float, ...] = ()  # the validation score after each epoch


def lines_of(
    metric: str,
    truth: Truth,
    runs: Sequence[Ran],
    wanted: int,
    margin: float,
    latencies: Mapping[str, Latency],
) -> tuple[Line, ...]:
    """The ranked lines of all methods that have a finished child, with one number of training rows.

    Args:
        metric: a score of `tasks.metrics`.
        truth: [N] class indices or numbers, or [N, K] labels of 0 and 1.
        runs: the finished children.
        wanted: how many seeds each was asked for.
        margin: within how many points two methods count as equally good.
        latencies: by method.
    """
    own: dict[str, dict[int, Ran]] = {}
    for run in runs:
        own.setdefault(run.method, {})[run.seed] = run
    scores = {name: over_seeds(metric, truth, [run.answers for run in done.values()]) for name, done in own.items()}
    order = sorted(scores, key=lambda name: -scores[name].value)
    lines = []
    for name in order:
        some = list(own[name].values())
        lines.append(
            Line(
                method=name, limit=some[0].limit, rows=round(fmean(run.rows for run in some)), seeds=len(some),
                wanted=wanted, standing="best", score=scores[name], costs=_costs(some), latency=latencies.get(name),
                curve=_curve([run.curve for run in some]),
            )
        )  # fmt: skip
    return tuple(lines[:1]) + _against(metric, truth, lines, own, margin)


def _costs(runs: Sequence[Ran]) -> Costs:
    def mean(name: str) -> float:
        return fmean(run.costs[name] for run in runs)

    known = all("memory/peak_bytes" in run.costs for run in runs)
    return Costs(
        outside=round(mean("weights/adapter")), head=round(mean("weights/head")),
        total=round(mean("weights/total")), seconds=mean("seconds/train"),
        memory=mean("memory/peak_bytes") / MB if known else None,
        disk=mean("size/model_bytes") / MB, disk_trained=mean("size/trained_bytes") / MB,
    )  # fmt: skip


def failed(method: str, limit: int | None, rows: int, wanted: int) -> Line:
    """The line of a method of which no seed is done."""
    return Line(method=method, limit=limit, rows=rows, seeds=0, wanted=wanted, standing="failed")


def _against(
    metric: str, truth: Truth, lines: Sequence[Line], own: Mapping[str, Mapping[int, Ran]], margin: float
) -> tuple[Line, ...]:
    """All but the first line, each held against it."""
    found = []
    for line in lines[1:]:
        seeds = sorted(own[line.method].keys() & own[lines[0].method].keys())
        ours, theirs = ([own[name][seed].answers for seed in seeds] for name in (line.method, lines[0].method))
        apart = paired(metric, truth, ours, theirs) if seeds else None
        votes = [split_votes(truth, *pair) for pair in zip(ours, theirs, strict=True)] if metric in SHARES else []
        p = combined([mcnemar(*vote) for vote in votes]) if votes else None
        found.append(line.model_copy(update={"apart": apart, "paired": len(seeds), "p": p}))
    known = {line.method: line.p for line in found if line.p is not None}
    raised = dict(zip(known, holm([*known.values()]), strict=True))
    found = [line.model_copy(update={"p": raised.get(line.method)}) for line in found]
    return tuple(line.model_copy(update={"standing": standing(line, margin)}) for line in found)


def paired(metric: str, truth: Truth, ours: Sequence[Truth], theirs: Sequence[Truth]) -> Estimate:
    """The mean difference over the same seeds with its 95 % interval.

    That of `over_seeds`; for a share of right rows it is no narrower than the seeds' score bounds by Tango on the
    average, since the bootstrap of a few rows on which the two differ is too sure of itself.
    """
    found = over_seeds(metric, truth, ours, theirs)
    if metric not in SHARES:
        return found
    sure = [difference(metric, truth, *pair, confidence=0.975) for pair in zip(ours, theirs, strict=True)]
    low, high = fmean(one.low for one in sure), fmean(one.high for one in sure)
    return Estimate(value=found.value, low=min(found.low, low), high=max(found.high, high))


def standing(line: Line, margin: float) -> Standing:
    """What may be said of a line against the best.

    Worse needs an interval below 0 and, where there is one, a p-value below 0.05. As good needs an interval within
    the margin (in points) on both sides.
    """
    if line.apart is None:
        return "open"
    if line.apart.high < 0 and (line.p is None or line.p < SURE):
        return "worse"
    return "as good" if -margin < 100 * line.apart.low and 100 * line.apart.high < margin else "open"


def _curve(curves: Sequence[tuple[float, ...]]) -> tuple[Spread, ...]:
    """Over the seeds that came so far: the mean, with the lowest and the highest."""
    longest = max(map(len, curves))
    epochs = [[curve[place] for curve in curves if place < len(curve)] for place in range(longest)]
    return tuple(Spread(mean=fmean(values), low=min(values), high=max(values)) for values in epochs)
