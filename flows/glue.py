"""GLUE as one flow: a child run for each task and seed, and one table with published rows beside ours."""

import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from prefect import flow
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.suite import Children, Outcome, Unfinished, ended, run_all
from tasks import suites, tracking
from tasks.frozen import GraftError
from tasks.glue import standings
from tasks.glue.standings import Standings
from tasks.glue.suite import TAUGHT, TEACHER, Suite, check_data, composed, settings
from tasks.overlap import pretraining_overlap
from tasks.recipe import Recipe

WHOLE = {"task", "score", "seeds", "rows", "seen", "settings"}  # columns that are not broken over lines
ROOM = len("mismatched/")  # a metric's name is broken there
WIDE, WIDE_ALONE = 140, {"seeds", "rows", "settings"}  # characters of a line, and columns that less has no room for


class Report(Children):
    """The table, the children, and the suite's run in MLflow."""

    standings: Standings


def taught(recipe: Recipe, so_far: Sequence[Outcome]) -> Recipe:
    """The recipe with the adapter of the same seed's MNLI run as its start.

    Raises:
        GraftError: that run failed.
    """
    if recipe.model not in TAUGHT:
        return recipe
    (teacher,) = (one for one in so_far if one.recipe.model == TEACHER and one.recipe.seed == recipe.seed)
    if teacher.done is None:
        raise GraftError(f"mnli with seed {recipe.seed} failed, and this starts from it.")
    return recipe.model_copy(update={"start_from": teacher.done.run_id})


@flow(name="glue", flow_run_name="glue-{suite.method}-{suite.backbone}")
def glue(suite: Suite) -> Report:
    """Compose, check all data, run every child that is not done, and write the table.

    Raises:
        Unfinished: a child failed.
        GraftError: the suite cannot begin.
    """
    recipes = composed(suite)
    check_data(recipes)
    mark = json.dumps([suite.start_from_mnli, [[recipe.model, recipe.fingerprint] for recipe in recipes]])
    run_id = suites.begin("glue", hashlib.sha256(mark.encode()).hexdigest()[:16], suite.title)
    with tracking.failing(run_id):
        children = run_all(recipes, run_id, taught) if suite.start_from_mnli else run_all(recipes, run_id)
        report = Report(standings=table(suite, children), children=tuple(children), run_id=run_id)
        keep(report)
    tracking.end(run_id, "FAILED" if report.failed else "FINISHED", average=report.standings.span)
    if report.failed:
        raise Unfinished(report, (f"{child.recipe.model} (seed {child.recipe.seed})" for child in report.failed))
    return report


def table(suite: Suite, children: Sequence[Outcome]) -> Standings:
    """The children's numbers by task."""
    lines = []
    for task in suite.tasks:
        own = [child for child in children if child.recipe.model == task]
        scored = own[0].recipe.dataset.all_scored
        names = [
            name if split == "test" else f"{split}/{name}" for split, metrics in scored.items() for name in metrics
        ]
        runs = [child.done.metrics for child in own if child.done]
        first = own[0].recipe
        overlap = pretraining_overlap(first.backbone, first.dataset, first.method.pretrained)
        lines.append(standings.line(task, settings(suite, task), names, runs, len(own), overlap))
    return Standings(title=suite.title, lines=tuple(lines))


def keep(report: Report) -> None:
    """The table in the suite's run in MLflow, and in Prefect where there is a flow run."""
    from prefect.artifacts import create_table_artifact
    from prefect.context import FlowRunContext

    with tempfile.TemporaryDirectory() as folder:
        standings.write(report.standings, Path(folder))
        tracking.add_results(report.run_id, report.standings.numbers, Path(folder))
    if FlowRunContext.get() is not None:
        told = "\n\n".join([report.standings.title, *standings.notes()])
        create_table_artifact(key="glue", table=standings.rows(report.standings), description=told)


def main(suite: Suite, as_json: bool) -> int:
    """Run the suite and show its table; returns the exit code, 1 if a child failed."""
    report = ended(glue, suite)
    show(report, Console(stderr=as_json))
    if as_json:
        sys.stdout.write(json.dumps(as_object(report)) + "\n")
    return 1 if report.failed else 0


def as_object(report: Report) -> dict[str, object]:
    """The report as one JSON object; scores are 0 to 1."""
    made = report.standings
    children = [
        {"task": c.recipe.model, "seed": c.recipe.seed, "run_id": c.done and c.done.run_id, "reason": c.reason}
        for c in report.children
    ]
    return made.model_dump(mode="json") | {
        "average": made.average, "average_over": list(made.over), "run_id": report.run_id, "children": children
    }  # fmt: skip


def _shown(made: Standings, narrow: bool) -> Table:
    *tasks, average = standings.rows(made)
    columns = [name for name in average if not (narrow and name in WIDE_ALONE)]
    shown = Table(title=escape(made.title), title_justify="left", box=None, header_style="dim", padding=(0, 1, 0, 0))
    for name in columns:
        style, room = "dim" if name.endswith("*") else "", ROOM if name == "metrics" else None
        shown.add_column(escape(name), style=style, overflow="fold", no_wrap=name in WHOLE, min_width=room)
    for row in tasks:
        shown.add_row(*(escape(row[name]) for name in columns))
    shown.add_section()
    shown.add_row(*(escape(average[name]) for name in columns), style="bold")
    return shown


def show(report: Report, screen: Console) -> None:
    """The table, its notes, and what failed with the next step."""
    if not screen.is_terminal:  # a file is as wide as its lines
        screen.width = max(screen.width, WIDE)
    screen.print(_shown(report.standings, narrow=screen.width < WIDE))
    for note in standings.notes():
        screen.print(note, style="dim", markup=False)
    for child in report.failed:
        name = f"{child.recipe.model}, seed {child.recipe.seed}"
        screen.print(f"[red]failed[/] {escape(f'{name}: {child.reason}')}", highlight=False)
    if report.failed:
        screen.print("The same command goes on with what is missing.")
    screen.print(f"MLflow run {report.run_id} (experiment glue) has the table.", highlight=False)
