"""One recipe of a suite: what is done is found again, and what fails is told in a line."""

import traceback
from collections.abc import Callable, Sequence

from rich.markup import escape

from flows.finetune import run, started
from tasks import suites, tracking
from tasks.frozen import Frozen, GraftError
from tasks.prepare import prepare
from tasks.recipe import Recipe
from tasks.screen import say
from tasks.suites import Done


class Outcome(Frozen):
    """What became of a child: a finished run with its metrics, or the `reason` why there is none."""

    recipe: Recipe
    done: Done | None = None
    reason: str = ""
    before: bool = False  # it was finished by an earlier command


Finish = Callable[[Recipe, Sequence[Outcome]], Recipe]


def as_it_is(recipe: Recipe, so_far: Sequence[Outcome]) -> Recipe:
    """A child that does not depend on those before it."""
    return recipe


def outcome_of(recipe: Recipe, parent: str, finish: Finish, so_far: Sequence[Outcome], jobs: int = 1) -> Outcome:
    """Fine-tune a recipe if that is not done, as a child of the run `parent`.

    `finish` and `so_far` are as `flows.suite.run_all` has them; so many `jobs` train at once, this one among them.
    """
    try:
        recipe = started(finish(recipe, so_far))[0]
        found = found_of(recipe)
        done = found or suites.done(run(recipe).registered.run_id, jobs)
        suites.link(done.run_id, parent)
    except GraftError as error:
        return Outcome(recipe=recipe, reason=str(error).splitlines()[0])
    except (RuntimeError, OSError) as error:  # the machine's: out of memory, a lost disk or server
        say(traceback.format_exc().rstrip())
        return Outcome(recipe=recipe, reason=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    return Outcome(recipe=recipe, done=done, before=found is not None)


def found_of(recipe: Recipe) -> Done | None:
    """The finished run of this recipe on the rows that the source has now; they are read only if there is one."""
    left = suites.finished(recipe)
    if not left:
        return None
    return left.get(tracking.hashes_of(prepare(recipe.model, recipe.dataset, recipe.seed)))


def named(place: int, recipes: Sequence[Recipe]) -> str:
    """A child for the terminal, by its place from 0."""
    return f"[bold]{place + 1} of {len(recipes)}[/]  {escape(f'{recipes[place].name}, seed {recipes[place].seed}')}"


def told(outcome: Outcome) -> str:
    """What became of it, for the terminal."""
    if outcome.done is None:
        return f"[red]failed[/]: {escape(outcome.reason)}"
    scores = outcome.done.metrics
    shown = ", ".join(f"{name} {scores[name]:.3f}" for name in outcome.recipe.dataset.scored if name in scores)
    return f"[green]{'done before' if outcome.before else 'done'}[/]: {shown} (run {outcome.done.run_id})"
