"""A verb is one function: a Prefect task inside a flow run, a plain call anywhere else."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def step(verb: Callable[P, R]) -> Callable[P, R]:
    """Make a verb that Prefect shows and times where it runs, and that needs no server where it does not.

    Prefect itself is imported by flows alone: a process that only loads a model has no need of it.
    """

    @functools.cache
    def as_task() -> Callable[P, R]:
        from prefect import task
        from prefect.cache_policies import NO_CACHE

        return task(cache_policy=NO_CACHE)(verb)

    @functools.wraps(verb)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return as_task()(*args, **kwargs) if _in_flow_run() else verb(*args, **kwargs)

    return call


def _in_flow_run() -> bool:
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None
