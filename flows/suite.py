"""Many recipes as the children of one run: what is done is found again, what fails does not stop the others."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from prefect import Flow

from flows.beside import beside, jobs_for
from flows.child import Finish, Outcome, as_it_is, found_of, named, outcome_of, told
from flows.finetune import started
from tasks import suites
from tasks.frozen import Frozen, GraftError
from tasks.recipe import Recipe
from tasks.screen import console

__all__ = ["Children", "Outcome", "Unfinished", "ended", "run_all"]

Asked = TypeVar("Asked")


class Children(Frozen):
    """What every suite ends with: its children, and its own run in MLflow."""

    children: tuple[Outcome, ...]
    run_id: str

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The children without a result."""
        return tuple(child for child in self.children if child.done is None)


Ended = TypeVar("Ended", bound=Children)


class Unfinished(GraftError, Generic[Ended]):
    """Children of a suite failed, by these names; the `report` has the others."""

    def __init__(self, report: Ended, names: Iterable[str]) -> None:
        super().__init__(f"Failed: {', '.join(names)}. The same command goes on with what is missing.")
        self.report = report


def ended(suite: Flow[[Asked], Ended], asked: Asked) -> Ended:
    """Run a suite, as a flow where a Prefect server is set; its report, whether or not children failed."""
    from prefect.settings import PREFECT_API_URL

    try:
        return suite(asked) if PREFECT_API_URL.value() else suite.fn(asked)
    except Unfinished as error:
        report: Ended = error.report
        return report


def run_all(recipes: Sequence[Recipe], parent: str, finish: Finish = as_it_is, jobs: int | None = 1) -> list[Outcome]:
    """Fine-tune the recipes; the same call goes on with what is missing. The outcomes are in the recipes' order.

    Args:
        recipes: the children. A finished run of the same recipe and model on the same rows is taken as it is.
        parent: the id of the suite's run in MLflow, to which the children are linked.
        finish: completes a recipe when its turn comes, from the outcomes so far; with one job alone.
        jobs: so many train at once, each in a process of its own; one is this process. None: see `jobs_for`.
    """
    if jobs != 1:
        known = _known(recipes, parent)
        missing = len(recipes) - len(known)
        if (jobs := min(jobs or jobs_for(missing), missing)) > 1:
            return beside(recipes, parent, jobs, known)
    outcomes: list[Outcome] = []
    for place, recipe in enumerate(recipes):
        console.print(named(place, recipes), highlight=False)
        outcomes.append(outcome_of(recipe, parent, finish, outcomes))
        console.print(f"        {told(outcomes[-1])}", highlight=False)
    return outcomes


def _known(recipes: Sequence[Recipe], parent: str) -> dict[int, Outcome]:
    """What is done already, by its place; what cannot be looked up is told when its turn comes."""
    known: dict[int, Outcome] = {}
    for place, recipe in enumerate(recipes):
        with suppress(GraftError, RuntimeError, OSError):
            own = started(recipe)[0]
            if found := found_of(own):
                suites.link(found.run_id, parent)
                known[place] = Outcome(recipe=own, done=found, before=True)
    return known
