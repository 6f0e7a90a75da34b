"""Methods compared as one flow: a child run for each method, number of rows and seed, and one ranked table."""

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect import flow
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.suite import Children, Outcome, Unfinished, ended, run_all
from tasks import runtime, suites, tracking
from tasks.comparison import page, words
from tasks.comparison.asked import Child, Compared, Shared, composed, prepared
from tasks.comparison.reading import ranked
from tasks.comparison.table import Comparison
from tasks.latency import few, latency
from tasks.prepare import rows_of
from tasks.registry import model_folder
from tasks.results import Latency
from tasks.screen import say

WIDE = 165  # characters of a line in a file
SPARE = {"seeds", "p", "trained + head", "memory MB"}  # columns that a narrow terminal leaves to the page
COLORS = {"best": "bold", "worse": "red", "as good": "green", "open": "", "failed": "red"}


class Report(Children):
    """The table, the children, the comparison's run in MLflow, and the page."""

    comparison: Comparison
    page: Path


@flow(name="compare", flow_run_name="compare-{compared.name}")
def compare(compared: Compared) -> Report:
    """Compose, prepare all rows, run every child that is not done, time the models, write the table and the page.

    The children have the model name `<model>-compare` and are judged by no gate: whatever a comparison trains, the
    champion of production stays. What is done is found by recipe and rows, in this and in earlier comparisons.

    Raises:
        Unfinished: a child failed.
        GraftError: the comparison cannot begin.
    """
    children = composed(compared)
    data = prepared(children)
    mark = _mark(children)
    run_id = suites.begin(children[0].recipe.model, mark, f"compare {compared.title}")
    with tracking.failing(run_id):
        outcomes = run_all([child.recipe for child in children], run_id, jobs=compared.jobs)
        timed = _timed(children, outcomes, data)
        comparison = ranked(compared, children, [outcome.done for outcome in outcomes], data, timed)
        folder = runtime.home() / "reports" / f"{compared.name}-{mark[:8]}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        made = page.write(comparison, compared, children, folder)
        keep(comparison, run_id, folder)
    report = Report(comparison=comparison, children=tuple(outcomes), run_id=run_id, page=made)
    tracking.end(run_id, "FAILED" if report.failed else "FINISHED", answer=words.answer(comparison))
    if report.failed:
        raise Unfinished(report, (f"{child.recipe.name} (seed {child.recipe.seed})" for child in report.failed))
    return report


def _mark(children: Sequence[Child]) -> str:
    """16 hex digits of what is trained: the same children are the same comparison, whatever its margin."""
    told = json.dumps([[child.method, child.limit, child.recipe.fingerprint] for child in children])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _timed(children: Sequence[Child], outcomes: Sequence[Outcome], data: Shared) -> dict[str, Latency]:
    """One model of each method, one after another now that nothing trains, whenever the models were made."""
    rows = few(rows_of(next(iter(data.values())), "test"))
    found: dict[str, Latency] = {}
    for child, outcome in zip(children, outcomes, strict=True):
        if outcome.done and child.method not in found:
            found[child.method] = latency(model_folder(outcome.done.run_id), rows)
            say(f"{child.method} answers a row in {found[child.method].p50:.1f} ms")
    return found


def keep(comparison: Comparison, run_id: str, folder: Path) -> None:
    """Table, page and pictures in the comparison's run in MLflow; in Prefect the table, where there is a flow run."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact
    from prefect.context import FlowRunContext

    tracking.add_results(run_id, comparison.numbers, folder)
    if FlowRunContext.get() is not None:
        table = page.rows(comparison)
        create_table_artifact(key="compare", table=table, description=words.answer(comparison))
        create_markdown_artifact(key="compare-answer", markdown=page.markdown(comparison))


def main(compared: Compared, as_json: bool) -> int:
    """Run the comparison and show its table; returns the exit code, 1 if a child failed."""
    report = ended(compare, compared)
    show(report, Console(stderr=as_json))
    if as_json:
        sys.stdout.write(json.dumps(as_object(report)) + "\n")
    return 1 if report.failed else 0


def as_object(report: Report) -> dict[str, object]:
    """The report as one JSON object; scores and differences are 0 to 1, the margin is in points."""
    comparison = report.comparison
    children = [
        {"name": c.recipe.name, "seed": c.recipe.seed, "run_id": c.done and c.done.run_id, "reason": c.reason}
        for c in report.children
    ]
    return comparison.model_dump(mode="json") | {
        "answer": words.answer(comparison), "notes": words.notes(comparison), "run_id": report.run_id,
        "page": str(report.page), "children": children,
    }  # fmt: skip


def show(report: Report, screen: Console) -> None:
    """The answer, the table, what must be said with it, and what failed with the next step."""
    if not screen.is_terminal:  # a file is as wide as its lines
        screen.width = max(screen.width, WIDE)
    comparison = report.comparison
    table = page.rows(comparison)
    columns = [name for name in table[0] if screen.width >= WIDE or name not in SPARE]
    shown = Table(
        title=escape(comparison.title), title_justify="left", box=None, header_style="dim", padding=(0, 1, 0, 0)
    )
    for name in columns:
        shown.add_column(name, justify="left" if name in ("method", "judged") else "right", overflow="fold")
    for line, row in zip(comparison.lines, table, strict=True):
        shown.add_row(*(escape(row[name]) for name in columns), style=COLORS[line.standing])
    screen.print(shown)
    for sentence in words.lines(comparison):
        screen.print(f"- {sentence}", style="dim", markup=False, highlight=False)
    screen.print(words.answer(comparison), style="bold", markup=False, highlight=False)
    for note in words.notes(comparison):
        screen.print(note, style="yellow", markup=False, highlight=False)
    for child in report.failed:
        name = f"{child.recipe.name}, seed {child.recipe.seed}"
        screen.print(f"[red]failed[/] {escape(f'{name}: {child.reason}')}", highlight=False)
    if report.failed:
        screen.print("The same command goes on with what is missing.")
    screen.print(f"Page: {report.page}", markup=False, highlight=False, soft_wrap=True)
    place = report.children[0].recipe.model
    screen.print(f"MLflow run {report.run_id} (experiment {place}) has all of it.", highlight=False)
