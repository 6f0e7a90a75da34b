"""The table as a value: for every method its score, its difference to the best, and what it costs."""

from typing import Literal

from tasks.frozen import Frozen
from tasks.paired import Estimate
from tasks.results import Latency, Overlap

Standing = Literal["best", "worse", "as good", "open", "failed"]


class Costs(Frozen):
    """What a method takes, as the mean over its seeds; weights outside the head and in it, MB of 1,000,000 bytes.

    `memory`: the training process at its highest, with libraries and rows (see `Checkpoint.peak_memory`).
    """

    outside: int
    head: int
    total: int
    seconds: float
    memory: float | None
    disk: float
    disk_trained: float

    @property
    def share(self) -> float:
        """Of all weights, those that train, 0 to 1."""
        return (self.outside + self.head) / self.total


class Spread(Frozen):
    """A mean with the lowest and the highest."""

    mean: float
    low: float
    high: float


class Line(Frozen):
    """A method with so many training rows; scores are 0 to 1, and without a finished seed there are none.

    Attributes:
        rows: training rows, validation among them.
        seeds: how many are done of the `wanted` ones.
        apart: ours less the best's, over the `paired` seeds that both have.
        p: that ours and the best are right equally often, raised by Holm's rule over all that are compared with it.
        curve: the validation score after each epoch, over the seeds.
    """

    method: str
    limit: int | None
    rows: int
    seeds: int
    wanted: int
    standing: Standing
    score: Estimate | None = None
    apart: Estimate | None = None
    paired: int = 0
    p: float | None = None
    costs: Costs | None = None
    latency: Latency | None = None
    curve: tuple[Spread, ...] = ()


class Beside(Frozen):
    """So many `runs` trained beside others: up to so many `jobs` at once, each with `threads` (0: not recorded)."""

    runs: int
    jobs: int
    threads: int


class Comparison(Frozen):
    """All lines, those with the most training rows first and the best of them on top; `margin` is in points.

    `beside`: what is known of runs that did not train alone, in whatever comparison they did; None if all did.
    """

    title: str
    metric: str
    margin: float
    test_rows: int
    overlap: Overlap
    lines: tuple[Line, ...]
    beside: Beside | None = None

    @property
    def groups(self) -> tuple[tuple[Line, ...], ...]:
        """The lines by number of training rows, those with the most first."""
        limits = dict.fromkeys(line.limit for line in self.lines)
        return tuple(tuple(line for line in self.lines if line.limit == limit) for limit in limits)

    @property
    def top(self) -> tuple[Line, ...]:
        """The scored lines with the most training rows of which one is scored."""
        scored = [tuple(line for line in group if line.score) for group in self.groups]
        return next(filter(None, scored), ())

    @property
    def numbers(self) -> dict[str, float]:
        """What MLflow keeps of it: scores 0 to 1, the differences with their bounds, p-values, milliseconds."""
        found: dict[str, float] = {}
        for line in self.lines:
            place = line.method if len(self.groups) == 1 else f"{line.method}/{line.limit or 'all'}"
            for name, one in ((self.metric, line.score), ("difference", line.apart)):
                found |= {f"{place}/{name}/{part}": value for part, value in one.model_dump().items()} if one else {}
            found |= {f"{place}/p": line.p} if line.p is not None else {}
            found |= (
                {f"{place}/latency_{k}_ms": v for k, v in line.latency.model_dump().items()} if line.latency else {}
            )
        return found
