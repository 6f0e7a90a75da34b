"""One recipe: prepared, trained, scored, registered, and crowned if the gate lets it pass."""

import hashlib
import json
import shutil
import time
from pathlib import Path

from prefect import flow

from flows import live
from flows.check import passed
from tasks import champion, runtime, tracking, verify
from tasks.evaluate import evaluate
from tasks.frozen import Frozen
from tasks.judge import judge
from tasks.prepare import prepare
from tasks.recipe import Recipe
from tasks.register import register
from tasks.registry import model_folder, run_of
from tasks.results import Checkpoint, Prepared, Reason, Registered, Scorecard, Verdict
from tasks.saved import check_start
from tasks.train import alone, train

NOT_ASKED = "The recipe says crown: false, so no gate was asked."
UNCROWNED = Verdict(judged=(Reason(about="crown", outcome="open", told=NOT_ASKED),))


class Result(Frozen):
    """All that a fine-tune leaves, as receipts."""

    recipe: Recipe
    trained: Checkpoint
    card: Scorecard
    registered: Registered
    verdict: Verdict
    seconds: dict[str, float]


@flow(name="finetune", flow_run_name="{recipe.name}-{recipe.method.kind}-{recipe.seed}")
def finetune(recipe: Recipe) -> Result:
    """Prepare, check, train, evaluate, register; promote only through the gate, and never where crown is false."""
    with live.shown():
        return _story(recipe)


def _story(recipe: Recipe) -> Result:
    began = time.perf_counter()
    recipe.backbone.check()
    recipe, start = started(recipe)
    verify.ready(recipe.dataset.accepts)
    data = prepare(recipe.model, recipe.dataset, recipe.seed)
    recipe.gate.check_rows(data.hashes["test"])
    prepared = time.perf_counter()
    with alone(place(recipe, data)):
        result = _worked(recipe, data, start, {"prepare": prepared - began})
    live.scored(result)
    return result


def _worked(recipe: Recipe, data: Prepared, start: Path | None, seconds: dict[str, float]) -> Result:
    began = time.perf_counter()
    work, run_id = workspace(recipe, data)
    live.linked(run_id, work)
    with tracking.failing(run_id):
        passed(data, recipe, run_id)
        checked = time.perf_counter()
        trained = train(recipe, data, work, run_id, start)
        card = evaluate(trained.folder, data, recipe.dataset, work / "results")
        registered = register(recipe, data, trained, card, work, run_id)
        verdict = _judged(recipe, data, card, trained, registered, work) if recipe.crown else UNCROWNED
    tracking.end(run_id, "FINISHED", verdict=str(verdict), reasons=" ".join(verdict.reasons))
    shutil.rmtree(work)  # all of it is in the registry now; the same recipe again is a new run
    total = seconds["prepare"] + time.perf_counter() - began
    seconds |= {"check": checked - began, "train": trained.seconds, "evaluate": card.seconds}
    return Result(
        recipe=recipe, trained=trained, card=card, registered=registered, verdict=verdict,
        seconds=seconds | {"register": registered.seconds, "total": total},
    )  # fmt: skip


def _judged(
    recipe: Recipe, data: Prepared, card: Scorecard, trained: Checkpoint, registered: Registered, work: Path
) -> Verdict:
    """The verdict, and what follows from it; after a crash the one that was kept, for the champion may be this one."""
    kept = champion.kept_verdict(registered.run_id)
    return champion.settle(registered, kept or judge(recipe, data, card, trained.folder, work))


def started(recipe: Recipe) -> tuple[Recipe, Path | None]:
    """The recipe with `start_from` as a run's id, and the saved model of that run, if there is one to start from.

    Raises:
        GraftError: there is no such run or version, or its backbone or method is another.
    """
    if recipe.start_from is None:
        return recipe, None
    recipe = recipe.model_copy(update={"start_from": run_of(recipe.start_from)})
    folder = model_folder(str(recipe.start_from))
    check_start(recipe, folder)
    return recipe, folder


def place(recipe: Recipe, data: Prepared) -> Path:
    """The folder in which this model, recipe and data are under way, made if need be."""
    told = json.dumps([recipe.model, recipe.fingerprint, data.hashes], sort_keys=True)
    mark = hashlib.sha256(told.encode()).hexdigest()[:8]
    work = runtime.home() / "runs" / f"{recipe.name}-{recipe.seed}-{mark}"
    work.mkdir(parents=True, exist_ok=True)
    return work


def workspace(recipe: Recipe, data: Prepared) -> tuple[Path, str]:
    """The folder of the work and its MLflow run: found again after a crash."""
    work = place(recipe, data)
    return work, tracking.begin(recipe, data, work / "run_id")


def run(recipe: Recipe) -> Result:
    """The flow where a Prefect server is set (PREFECT_API_URL or profile), else the same body without one."""
    from prefect.settings import PREFECT_API_URL

    return finetune(recipe) if PREFECT_API_URL.value() else finetune.fn(recipe)
