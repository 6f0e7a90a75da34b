"""A suite's scores: each task's mean over the seeds with its range, the macro average, published rows beside it."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Self

from tasks import plots
from tasks.frozen import Frozen
from tasks.glue.published import MARK, PUBLISHED, Published
from tasks.results import Overlap

TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")
APART = "ax/"  # metrics of the diagnostic set: in the table, but in no average
NONE = "-"
COLUMNS = ("task", "score", "metrics", "seeds", "rows", "seen", "settings")


class Spread(Frozen):
    """The mean over seeds with the lowest and the highest, 0 to 1; printed times 100, as GLUE does."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """That of some values, at least one."""
        return cls(mean=fmean(values), low=min(values), high=max(values))

    def __str__(self) -> str:
        told = f"{100 * self.mean:.1f}"
        return told if self.low == self.high else f"{told} ({100 * self.low:.1f} to {100 * self.high:.1f})"


class Line(Frozen):
    """A task: its metrics and its score, over `seeds` of the `wanted` ones; without a score if no seed has one.

    `overlap`: whether the trunk's pretraining saw the task's data (see `tasks.overlap`).
    """

    task: str
    settings: str
    metrics: dict[str, Spread]
    score: Spread | None
    seeds: int
    wanted: int
    rows: int
    overlap: Overlap


class Standings(Frozen):
    """All lines, in GLUE's order."""

    title: str
    lines: tuple[Line, ...]

    @property
    def over(self) -> tuple[str, ...]:
        """The tasks that have a score."""
        return tuple(line.task for line in self.lines if line.score)

    @property
    def average(self) -> float | None:
        """The mean of the tasks' scores, 0 to 1: every task weighs the same, whatever its rows."""
        return fmean(line.score.mean for line in self.lines if line.score) if self.over else None

    @property
    def span(self) -> str:
        """What the average is over: all of GLUE, or a part that no whole average can be compared with."""
        whole = len(self.over) == len(TASKS)
        told = f"over all {len(TASKS)} tasks" if whole else f"over {len(self.over)} of {len(TASKS)} tasks"
        short = any(line.seeds < line.wanted for line in self.lines)
        return f"{told}, some seeds missing" if short else told

    @property
    def numbers(self) -> dict[str, float]:
        """The means as metrics for MLflow, 0 to 1."""
        found = {f"{line.task}/{name}/mean": s.mean for line in self.lines for name, s in line.metrics.items()}
        return found | ({"average": self.average, "average/tasks": len(self.over)} if self.average is not None else {})


def line(
    task: str,
    settings: str,
    names: Sequence[str],
    runs: Sequence[Mapping[str, float]],
    wanted: int,
    overlap: Overlap = "unknown",
) -> Line:
    """A task's line.

    Args:
        task: its name.
        settings: where they come from.
        names: its metrics; one that is in no run (a diagnostic set that the data lack) is left out.
        runs: the metrics of every seed that is done, 0 to 1, `rows` among them.
        wanted: how many seeds were asked for.
        overlap: whether the trunk's pretraining saw the task's data.
    """
    metrics = {name: Spread.of([run[name] for run in runs]) for name in names if runs and all(name in r for r in runs)}
    counted = [name for name in metrics if not name.startswith(APART)]
    score = Spread.of([fmean(run[name] for name in counted) for run in runs]) if counted else None
    rows = int(runs[0]["rows"]) if runs else 0
    return Line(
        task=task, settings=settings, metrics=metrics, score=score, seeds=len(runs), wanted=wanted, rows=rows,
        overlap=overlap,
    )  # fmt: skip


def rows(standings: Standings, published: Sequence[Published] = PUBLISHED) -> list[dict[str, str]]:
    """The table, times 100: a row for each task, then the average, published figures in columns of their own."""
    average = NONE if standings.average is None else _points(100 * standings.average)
    last = dict.fromkeys(COLUMNS, "") | {"task": "average", "score": average, "metrics": standings.span}
    last |= {f"{row.name} *": _points(row.average(standings.over)) for row in published}
    return [*(_row(one, published) for one in standings.lines), last]


def _row(one: Line, published: Sequence[Published]) -> dict[str, str]:
    parts = [f"{name} {spread}" for name, spread in one.metrics.items()]
    told = [*one.metrics] if len(parts) == 1 else parts  # one metric is the score itself
    rows = f"{one.rows:,}" if one.rows else NONE
    cells = (
        one.task,
        str(one.score or NONE),
        ", ".join(told) or NONE,
        f"{one.seeds} of {one.wanted}",
        rows,
        one.overlap,
        one.settings,
    )
    return dict(zip(COLUMNS, cells, strict=True)) | {f"{row.name} *": _cell(row, one.task) for row in published}


def notes(published: Sequence[Published] = PUBLISHED) -> list[str]:
    """What must be said below the table."""
    told = [f"{row.name}: {row.source}" for row in published]
    return [
        "Times 100: mean over the seeds (lowest to highest), on GLUE's dev rows, which trained nothing. A task with "
        "two metrics scores their mean, MNLI that of matched and mismatched; AX is in no average. Seen: whether the "
        "trunk's pretraining saw the task's data, as far as their files say.",
        f"* {MARK}. {'. '.join(told)}. {NONE}: not known to us, and no average without it.",
    ]


def _cell(row: Published, task: str) -> str:
    """A published figure with its metric, which is not always ours."""
    return ", ".join(f"{value:.1f} {metric}" for metric, value in row.scores.get(task, {}).items()) or NONE


def _points(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}"


def markdown(standings: Standings) -> str:
    """The table and its notes."""
    table = rows(standings)
    lines = [" | ".join(table[0]), " | ".join("---" for _ in table[0]), *(" | ".join(row.values()) for row in table)]
    told = "\n\n".join(note.replace("*", r"\*") for note in notes())
    return f"# {standings.title}\n\n" + "".join(f"| {text} |\n" for text in lines).replace(" *", r" \*") + f"\n{told}\n"


def table_csv(standings: Standings) -> str:
    """A row for each source, task and metric, times 100; a published figure has no range."""
    out = io.StringIO()
    written = csv.writer(out, lineterminator="\n")
    written.writerow(["source", "task", "metric", "mean", "lowest", "highest", "seeds", "rows"])
    for one in standings.lines:
        for name, spread in (one.metrics | ({"score": one.score} if one.score else {})).items():
            points = [f"{100 * value:.2f}" for value in (spread.mean, spread.low, spread.high)]
            written.writerow(["graft", one.task, name, *points, one.seeds, one.rows])
    for row in PUBLISHED:
        for task, scores in row.scores.items():
            written.writerows(
                [f"{row.name} ({MARK})", task, name, value, "", "", "", ""] for name, value in scores.items()
            )
    return out.getvalue()


def write(standings: Standings, folder: Path) -> None:
    """`glue.csv`, `glue.md` and, where there is a score, `glue.png`."""
    (folder / "glue.csv").write_text(table_csv(standings))
    (folder / "glue.md").write_text(markdown(standings))
    scored = {line.task: line.score for line in standings.lines if line.score}
    if scored:
        spreads = [(max(0.0, score.low), max(0.0, score.high)) for score in scored.values()]
        means = [max(0.0, score.mean) for score in scored.values()]
        plots.bars(
            [*scored], means, spreads, folder / "glue.png", "score of each task, lowest to highest over the seeds"
        )
