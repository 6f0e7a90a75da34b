"""Many recipes as the children of one run: what is done is found again, what fails does not stop the others."""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from prefect import Flow
from rich.markup import escape

from flows.finetune import run, started
from tasks import suites, tracking
from tasks.frozen import Frozen, GraftError
from tasks.prepare import prepare
from tasks.recipe import Recipe
from tasks.screen import console
from tasks.suites import Done

Asked = TypeVar("Asked")


class Outcome(Frozen):
    """What became of a child: a finished run with its metrics, or the `reason` why there is none."""

    recipe: Recipe
    done: Done | None = None
    reason: str = ""
    before: bool = False  # it was finished by an earlier command


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


Finish = Callable[[Recipe, Sequence[Outcome]], Recipe]


def as_it_is(recipe: Recipe, so_far: Sequence[Outcome]) -> Recipe:
    """A child that does not depend on those before it."""
    return recipe


def run_all(recipes: Sequence[Recipe], parent: str, finish: Finish = as_it_is) -> list[Outcome]:
    """Fine-tune the recipes one after another; the same call goes on with what is missing.

    Args:
        recipes: the children. A finished run of the same recipe and model on the same rows is taken as it is.
        parent: the id of the suite's run in MLflow, to which the children are linked.
        finish: completes a recipe when its turn comes, from the outcomes so far.
    """
    outcomes: list[Outcome] = []
    for place, recipe in enumerate(recipes, 1):
        name = escape(f"{recipe.name}, seed {recipe.seed}")
        console.print(f"[bold]{place} of {len(recipes)}[/]  {name}", highlight=False)
        outcomes.append(_child(recipe, parent, finish, outcomes))
        console.print(f"        {_told(outcomes[-1])}", highlight=False)
    return outcomes


def _child(recipe: Recipe, parent: str, finish: Finish, so_far: Sequence[Outcome]) -> Outcome:
    try:
        recipe = started(finish(recipe, so_far))[0]
        found = _found(recipe)
        done = found or suites.done(run(recipe).registered.run_id)
        suites.link(done.run_id, parent)
    except GraftError as error:
        return Outcome(recipe=recipe, reason=str(error).splitlines()[0])
    except (RuntimeError, OSError) as error:  # the machine's: out of memory, a lost disk or server
        console.print_exception()
        return Outcome(recipe=recipe, reason=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    return Outcome(recipe=recipe, done=done, before=found is not None)


def _found(recipe: Recipe) -> Done | None:
    """The finished run of this recipe on the rows that the source has now; they are read only if there is one."""
    left = suites.finished(recipe)
    if not left:
        return None
    return left.get(tracking.hashes_of(prepare(recipe.model, recipe.dataset, recipe.seed)))


def _told(outcome: Outcome) -> str:
    if outcome.done is None:
        return f"[red]failed[/]: {escape(outcome.reason)}"
    scores = outcome.done.metrics
    told = ", ".join(f"{name} {scores[name]:.3f}" for name in outcome.recipe.dataset.scored if name in scores)
    return f"[green]{'done before' if outcome.before else 'done'}[/]: {told} (run {outcome.done.run_id})"
