"""Children of a suite that train at once, as one bar with what each is at now, and a line for each that has ended."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from rich.markup import escape

from flows import atonce
from flows.child import Outcome, as_it_is, named, outcome_of, told
from tasks import memory, runtime
from tasks.recipe import Recipe
from tasks.screen import Bar, bar, console, say

MEMORY = 4 * 2**30  # bytes for a training beside others, where nobody says how many
LIGHTEST = ("linear_probe", "scratch", "bitfit", "lora", "full")  # kinds of method, by what a step costs
BAR = 66  # characters of a bar without its figures


def jobs_for(count: int) -> int:
    """How many of so many trainings at once on this machine; on a GPU one.

    Cores are counted as the threads that one training alone would have (OMP_NUM_THREADS, if it is set).
    """
    return fitting(count, torch.get_num_threads(), memory.free()) if runtime.device() == "cpu" else 1


def fitting(count: int, cores: int, free: int) -> int:
    """One training a core, with 4 GiB each of the memory that is free (in bytes); at least one."""
    return max(1, min(count, cores, free // MEMORY))


def beside(recipes: Sequence[Recipe], parent: str, jobs: int, known: Mapping[int, Outcome]) -> list[Outcome]:
    """Fine-tune the recipes that are not `known` (by their places), so many at once; returns all in their order."""
    environment = atonce.share(jobs, torch.get_num_threads())
    threads = int(environment["OMP_NUM_THREADS"])
    console.print(f"{jobs} at once, {threads} thread{'' if threads == 1 else 's'} each", highlight=False)
    for place, outcome in known.items():
        _over(place, recipes, outcome)
    with bar("children", len(recipes), len(known)) as shown:
        seen = _Seen(recipes, shown)
        left = {place: recipes[place] for place in longest_first(recipes) if place not in known}
        work = partial(outcome_of, parent=parent, finish=as_it_is, so_far=(), jobs=jobs)
        atonce.each(_as_subflow(work), left, jobs, environment, seen)
    return [known.get(place) or seen.outcomes[place] for place in range(len(recipes))]


def longest_first(recipes: Sequence[Recipe]) -> list[int]:
    """Places, by how long each will train, roughly: what begins last should not end long after the others."""

    def cost(place: int) -> tuple[float, int]:
        recipe = recipes[place]
        return recipe.dataset.limit or math.inf, LIGHTEST.index(recipe.method.kind)

    return sorted(range(len(recipes)), key=cost, reverse=True)


def _over(place: int, recipes: Sequence[Recipe], outcome: Outcome) -> None:
    console.print(f"{named(place, recipes)}  {told(outcome)}", highlight=False)


class _Seen:
    """Shows what the children do (an `atonce.Listener`), and keeps their outcomes by their places."""

    def __init__(self, recipes: Sequence[Recipe], shown: Bar) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self._recipes, self._shown, self._now = recipes, shown, dict[int, str]()
        self._common = _common([recipe.name for recipe in recipes])

    def moved(self, place: int, told: str) -> None:
        recipe = self._recipes[place]
        self._now[place] = f"{recipe.name[self._common :]} {recipe.seed}: {told}"
        self._show(0)

    def said(self, place: int, text: str) -> None:
        say(f"{self._recipes[place].name}, seed {self._recipes[place].seed}: {text}")

    def ended(self, place: int, made: Outcome | atonce.Died) -> None:
        if isinstance(made, atonce.Died):
            reason = f"{made.reason} If memory was short, --jobs 1 takes the least."
            made = Outcome(recipe=self._recipes[place], reason=reason)
        self.outcomes[place] = made
        self._now.pop(place, None)
        self._show(1)
        _over(place, self._recipes, made)

    def _show(self, steps: int) -> None:
        figures = "; ".join(self._now.values())
        self._shown.advance(escape(figures[: max(0, console.width - BAR)]), steps)


def _common(names: Sequence[str]) -> int:
    """With how many characters all names begin, up to their last common hyphen."""
    apart = (at for at, (one, other) in enumerate(zip(min(names), max(names), strict=False)) if one != other)
    return min(names)[: next(apart, None)].rfind("-") + 1


def _as_subflow(work: Callable[[Recipe], Outcome]) -> Callable[[Recipe], Outcome]:
    """The work as a part of the flow run under way, if there is one, in whatever process it is done."""
    from prefect.context import FlowRunContext, with_context

    return work if FlowRunContext.get() is None else with_context(partial(_sent, work))


def _sent(work: Callable[[Recipe], Outcome], recipe: Recipe) -> Outcome:
    """Done, and its log lines and events sent: the process may end before they would be."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    try:
        return work(recipe)
    finally:
        APILogWorker.drain_all(timeout=5)
        EventsWorker.drain_all(timeout=5)
