"""What became of a scheduled run, told to Prefect's events and to a webhook."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import httpx
from prefect.blocks.system import Secret
from prefect.events import emit_event

from tasks import runtime
from tasks.files import locked
from tasks.recipe import Recipe
from tasks.screen import say

SECONDS = 10.0  # that a webhook may take
HOOK, BLOCK = "GRAFT_WEBHOOK", "graft-webhook"


def tell(recipe: Recipe, became: str, why: str) -> str:
    """An event `graft.<became>` of the model, and `{"text": line}` posted to the webhook; returns the line."""
    line = f"{recipe.model}: {became} ({recipe.name}, seed {recipe.seed}). {why}"
    emit_event(
        event=f"graft.{became}",
        resource={"prefect.resource.id": f"graft.model.{recipe.model}", "prefect.resource.name": recipe.model},
        payload={"experiment": recipe.name, "seed": recipe.seed, "why": why},
    )
    say(line)
    if hook := _webhook():
        try:
            httpx.post(hook, json={"text": line}, timeout=SECONDS).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # its text may hold the address, which is a secret
            say(f"The webhook did not take it ({type(error).__name__}).", style="yellow")
    return line


def _webhook() -> str | None:
    """The address in GRAFT_WEBHOOK, or in Prefect's Secret block `graft-webhook`."""
    if hook := os.environ.get(HOOK):
        return hook
    try:
        return str(cast(Secret[str], Secret.load(BLOCK)).get())
    except ValueError:  # there is no such block
        return None


@contextmanager
def turn(model: str, wait: bool) -> Iterator[bool]:
    """Whether this process has the turn to train a model in this home; with `wait` it waits for it."""
    places = runtime.home() / "turns"
    places.mkdir(exist_ok=True)
    file = places / f"{model}.lock"
    with locked(file) as ours:
        if ours or not wait:
            yield ours
            return
    say(f"Another run trains {model} now: this one waits.")
    with locked(file, wait=True) as ours:
        yield ours
