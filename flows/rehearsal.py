"""A run walked through in a fresh process and a home of its own: `flows.plan` starts it, and reads what it says.

All is done by the verbs of a fine-tune, in their order, on few steps and rows. The home's caches are the real ones;
its database, runs and registry are thrown away.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from flows.imports import uncollected
from flows.quiet import hush
from tasks.frozen import Frozen, GraftError

if TYPE_CHECKING:
    from tasks.planning.forecast import Tried
    from tasks.planning.rehearsal import Rehearsed
    from tasks.recipe import Recipe
    from tasks.results import Checkpoint, Prepared

REFUSED = 3  # exit code; the error's text is in place of the answer


class Order(Frozen):
    """A recipe as JSON; the model that it starts from; whether there is a database; the answer's file."""

    recipe: str
    saved: Path | None
    database: bool
    answer: Path


class Clock:
    """Seconds by stage, from the process's own beginning on."""

    def __init__(self, began: float) -> None:
        self.seconds: dict[str, float] = {}
        self._last = began

    def note(self, stage: str) -> None:
        """What has gone since the last note belongs to this stage."""
        now = time.time()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def main(order: Order) -> "Tried":
    """Walk through the run and tell what it took."""
    import psutil

    clock = Clock(psutil.Process().create_time())
    with uncollected():
        from flows import report  # noqa: F401  what a fine-tune imports, so that memory and seconds are a fine-tune's
    from flows.check import passed
    from flows.finetune import workspace
    from tasks import champion, memory, runtime, tracking
    from tasks.evaluate import evaluate
    from tasks.judge import evidence
    from tasks.planning import forecast
    from tasks.planning.precisions import speeds
    from tasks.prepare import prepare
    from tasks.recipe import Recipe
    from tasks.register import register

    recipe = Recipe.model_validate_json(order.recipe)
    clock.note("start")
    recipe.backbone.check()
    data = prepare(recipe.model, recipe.dataset, recipe.seed)
    clock.note("prepare")
    if order.database:  # so there is one here too: to make it takes seconds that the run does not need
        tracking.client().search_experiments(max_results=1)
        clock.note("tried")
    work, run_id = workspace(recipe, data)
    passed(data, recipe, run_id)
    clock.note("begin")
    found, trained = _train(recipe, data, work, run_id, order.saved, clock)
    few = forecast.few(data, work / "few")
    clock.note("tried")
    card = evaluate(trained.folder, few, recipe.dataset, work / "results")
    clock.note("scoring")
    registered = register(recipe, few, trained, card, work, run_id)
    champion.settle(
        registered, recipe.gate.judge(evidence(recipe.gate, trained.folder, few, recipe.dataset, card), None)
    )
    tracking.end(run_id, "FINISHED")
    clock.note("registration")
    peak = memory.peak()
    clock.seconds["scoring"] += forecast.rest_of_scoring(recipe, data, few, trained.folder, found.forward)
    device_peak = memory.device_peak()
    precisions = speeds(recipe, data, work / "precisions", run_id, order.saved)  # last: what it takes is no run's
    stages = ("start", "prepare", "begin", "training", "checkpoints", "scoring", "registration")
    return forecast.Tried(
        seconds={stage: clock.seconds[stage] for stage in stages},
        ended=time.time(),
        peak=peak,
        device_peak=device_peak,
        disk=forecast.disk(data, work, runtime.home() / "artifacts", found.features),
        rehearsed=found,
        precisions=precisions,
    )


def _train(
    recipe: "Recipe", data: "Prepared", work: Path, run_id: str, saved: Path | None, clock: Clock
) -> tuple["Rehearsed", "Checkpoint"]:
    """What the training will take; the network is free again after it, as in a run."""
    from tasks.planning.rehearsal import rehearse
    from tasks.train import Training

    training = Training(recipe, data, work, run_id, saved)
    clock.note("begin")
    found = rehearse(training, run_id)
    clock.note("tried")
    trained = training.finish()
    clock.note("training")
    for stage, took in found.seconds.items():
        clock.seconds[stage] = clock.seconds.get(stage, 0.0) + took
    return found, trained


if __name__ == "__main__":
    hush()
    given = Order.model_validate_json(sys.stdin.read())
    try:
        given.answer.write_text(main(given).model_dump_json())
    except GraftError as error:
        given.answer.write_text(str(error))
        sys.exit(REFUSED)
