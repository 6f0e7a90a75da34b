"""A finished run once more, from what it recorded: equal, within seed noise, or different, and why."""

import json
import shutil
import sys
from collections.abc import Sequence

from prefect import flow
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows import live
from flows.finetune import started
from tasks import recorded, runtime, tracking
from tasks.evaluate import evaluate
from tasks.frozen import Frozen
from tasks.prepare import prepare, rows_of
from tasks.provenance import MATTER, Compared, Provenance, compared, gathered, settings_of
from tasks.recipe import Recipe
from tasks.registry import model_folder, run_of
from tasks.reproduction import Judged, judged
from tasks.results import Prepared
from tasks.saved import same_weights
from tasks.screen import say
from tasks.train import alone, train

COLORS = {"equal": "green", "within seed noise": "yellow", "different": "red"}


class Report(Frozen):
    """The recorded run, then and now, and the answer.

    `own_run_id` is the reproduction's run, None if nothing was trained; `adjusted` is what this machine would do
    otherwise, and did as it was done then.
    """

    run_id: str
    own_run_id: str | None
    adjusted: tuple[Compared, ...]
    compared: tuple[Compared, ...]
    judged: Judged


@flow(name="reproduce", flow_run_name="reproduce-{run_id}")
def reproduce(run_id: str) -> Report:
    """Compare then and now, train the same recipe again, and judge. Nothing is registered and no alias moves.

    Raises:
        GraftError: the run is no finished fine-tune, or what it was made from cannot be had here.
    """
    with live.shown():
        then = recorded.provenance(run_id)
        with settings_of(then.machine) as adjusted:
            return _story(run_id, then, adjusted)


def _story(run_id: str, then: Provenance, adjusted: tuple[Compared, ...]) -> Report:
    for row in adjusted:
        say(f"{row.what}: {row.then}, as it was then; here it would be {row.now}.")
    data = prepare(then.recipe.model, then.recipe.dataset, then.recipe.seed)
    rows = compared(then, gathered(then.recipe, data))
    changes = [str(row) for row in rows if not row.same]
    if other := [str(row) for row in rows if row.decides and not row.same]:
        answer = Judged(answer="different", reasons=(f"{'; '.join(other)}.", "So nothing was trained."))
        return Report(run_id=run_id, own_run_id=None, adjusted=adjusted, compared=rows, judged=answer)
    say(f"Changed since then: {'; '.join(changes)}." if changes else "Nothing that is recorded has changed since then.")
    own, answer = _again(run_id, then.recipe, data, changes)
    return Report(run_id=run_id, own_run_id=own, adjusted=adjusted, compared=rows, judged=answer)


def _again(run_id: str, recipe: Recipe, data: Prepared, changes: Sequence[str]) -> tuple[str, Judged]:
    """Train in a folder and an MLflow run of its own, found again after a crash; what is compared is fetched first."""
    recipe.backbone.check()
    start = started(recipe)[1]
    folder, then = model_folder(run_id), recorded.answers_of(run_id, data.target)
    others = recorded.other_seeds(recipe, data.hashes["test"], data.target)
    work = runtime.home() / "runs" / f"reproduce-{run_id}"
    work.mkdir(parents=True, exist_ok=True)
    with alone(work):
        own = tracking.begin(recipe, data, work / "run_id")
        tracking.tag(own, {recorded.REPRODUCES: run_id})
        live.linked(own, work)
        with tracking.failing(own):
            trained = train(recipe, data, work, own, start)
            card = evaluate(trained.folder, data, recipe.dataset, work / "results")
            now = recorded.answers_in(card.folder / recorded.PREDICTIONS, data.target)
            same, truth = same_weights(folder, trained.folder), rows_of(data, "test").labels
            answer = judged(card.headline, truth, then, now, same, others, changes)
            (card.folder / "reproduction.json").write_text(answer.model_dump_json(indent=1))
            scores = {f"test/{name}": measured.value for name, measured in card.metrics.items()}
            tracking.add_results(own, scores, card.folder)
        tracking.end(own, "FINISHED", reproduction=answer.answer)
        shutil.rmtree(work)
    return own, answer


def main(ref: str, as_json: bool) -> int:
    """Reproduce the run that is meant and show the answer; returns the exit code, 1 if it is different."""
    from prefect.settings import PREFECT_API_URL

    run_id = run_of(ref)
    report = reproduce(run_id) if PREFECT_API_URL.value() else reproduce.fn(run_id)
    show(report, Console(stderr=as_json))
    if as_json:
        sys.stdout.write(json.dumps(as_object(report)) + "\n")
    return int(report.judged.answer == "different")


def as_object(report: Report) -> dict[str, object]:
    """The report as one JSON object; scores are 0 to 1."""
    compared = [row.model_dump() | {"same": row.same} for row in report.compared]
    return report.model_dump(mode="json", exclude={"judged"}) | {"compared": compared} | report.judged.model_dump()


def show(report: Report, screen: Console) -> None:
    """Then and now as a table, and the answer; a package is a line only if its version has changed."""
    shown = Table("what", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("then", "now", "same"):
        shown.add_column(column, overflow="fold")
    quiet = [row for row in report.compared if row.what in MATTER and row.same]
    for row in report.compared:
        if row not in quiet:
            mark = "yes" if row.same else f"[{'red' if row.decides else 'yellow'}]no[/]"
            shown.add_row(escape(row.what), escape(row.then), escape(row.now), mark)
    screen.print(shown)
    screen.print(f"The versions of {len(quiet)} packages that matter are the same.", style="dim", highlight=False)
    answer = report.judged.answer
    screen.print(f"[{COLORS[answer]}]{answer}[/]: {escape(' '.join(report.judged.reasons))}", highlight=False)
    if report.own_run_id:
        screen.print(f"MLflow run {report.own_run_id} reproduces {report.run_id}; nothing was registered.", style="dim")
