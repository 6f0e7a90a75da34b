"""What a person starts from the Prefect page, and what schedules start: flows whose parameters make a form."""

import json
import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import Field

from flows import finetune as story
from flows import live
from flows import promote as standing
from flows.news import tell, turn
from tasks import compose, ledger, runtime, tracking
from tasks.frozen import GraftError
from tasks.prepare import prepare
from tasks.recipe import Recipe
from tasks.registry import champion_trained_on

OWN = "as the experiment says"

if TYPE_CHECKING:
    from typing import TypeAlias

    Experiment: TypeAlias = str
    Method: TypeAlias = str
    Gate: TypeAlias = str
else:
    Experiment = Literal[tuple(compose.names("experiments"))]
    Method = Literal[(OWN, *compose.names("methods"))]
    Gate = Literal[(OWN, *compose.names("gates"))]

Whole = Annotated[int, Field(ge=0, le=1_000_000_000)]
Version = Annotated[int, Field(ge=1, lt=2**31)]
Named = Annotated[str, Field(min_length=1)]
Because = Annotated[str, Field(min_length=1, max_length=ledger.LONGEST)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _named() -> str:
    given = flow_run.parameters
    return "-".join(str(given[key]) for key in ("experiment", "method", "seed") if given[key] != OWN)


def recipe_of(experiment: str, method: str, seed: int, epochs: int, limit: int, overrides: dict[str, Any]) -> Recipe:
    """The recipe of a form's fields; 0 and `OWN` leave the experiment as it is.

    Raises:
        GraftError: a field or an override is not valid, or an override names a file by its path.
    """
    fields: dict[str, Any] = {"seed": seed} | ({} if method == OWN else {"method": method})
    fields |= ({"schedule.epochs": epochs} if epochs else {}) | ({"dataset.limit": limit} if limit else {})
    given = fields | overrides
    for name in compose.CATALOGUES.keys() & given.keys():
        if str(given[name]).endswith(".yaml"):
            raise GraftError(f"{name}={given[name]!r} is a path. From a form, give a name that `graft list` has.")
    return compose.load(experiment, [f"{name}={json.dumps(value)}" for name, value in given.items()])


def below_data(folder: str) -> None:
    """Take data from a folder below GRAFT_DATA.

    Raises:
        GraftError: it is not below it, or not there.
    """
    root = runtime.data_path(".").resolve()
    found = (root / folder).resolve()
    if not found.is_relative_to(root) or not found.is_dir():
        raise GraftError(f"data={folder!r} is no folder below GRAFT_DATA ({root}).")
    os.environ["GRAFT_DATA"] = str(found)


@flow(name="finetune", flow_run_name=_named)
def finetune(
    experiment: Experiment = "tickets_lora",
    method: Method = OWN,
    seed: Seed = 0,
    epochs: Whole = 0,
    limit: Whole = 0,
    data: str = "",
    overrides: dict[str, Any] = {},  # noqa: B006  Prefect copies it
) -> None:
    """Train, score, verify and register; crown the result if the gate lets it pass.

    Args:
        experiment: what to train, as `graft list` has it
        method: how to adapt the backbone
        seed: of everything that is drawn by chance
        epochs: how often to go through the training rows; 0: as the experiment says
        limit: training rows, those for validation included; 0: all
        data: a folder below the data folder that holds the experiment's paths; empty: the data folder itself
        overrides: any other field of the recipe, such as {"schedule.batch_size": 16}; `graft show` prints them all
    """
    if data:
        below_data(data)
    story.finetune.fn(recipe_of(experiment, method, seed, epochs, limit, overrides))


@flow(name="retrain", flow_run_name=_named)
def retrain(
    experiment: Experiment = "tickets_lora",
    method: Method = OWN,
    seed: Seed = 0,
    only_if_data_changed: bool = True,
    when_busy: Literal["skip", "wait"] = "skip",
    overrides: dict[str, Any] = {},  # noqa: B006  Prefect copies it
) -> State[None]:
    """Train again if there is reason to. What became of it is an event, and a line for GRAFT_WEBHOOK.

    Args:
        experiment: what to train, as `graft list` has it
        method: how to adapt the backbone
        seed: of everything that is drawn by chance
        only_if_data_changed: stop at once if the champion was trained by this recipe on these very rows
        when_busy: what to do while another run trains the same model
        overrides: any other field of the recipe, such as {"schedule.batch_size": 16}; `graft show` prints them all
    """
    recipe = recipe_of(experiment, method, seed, 0, 0, overrides)
    with turn(recipe.model, wait=when_busy == "wait") as ours:
        if not ours:
            return _ended(recipe, "skipped", "Another run trains this model now.")
        try:
            if only_if_data_changed and unchanged(recipe):
                return _ended(recipe, "unchanged", "The champion was trained by this recipe on these very rows.")
            result = story.finetune.fn(recipe)
        except Exception as error:
            tell(recipe, "failed", str(error))
            raise
    return _ended(
        recipe, str(result.verdict), f"{result.card.headline} {result.card.score}. {' '.join(result.verdict.reasons)}"
    )


@flow(name="promote", flow_run_name="promote-{model}-{version}")
def promote(model: Named, version: Version, because: Because, gate: Gate = OWN, override: bool = False) -> State[None]:
    """Judge a version against the champion, now, and make it the champion if the gate lets it pass.

    Args:
        model: the registered model's name, such as tickets
        version: the number of one of its versions
        because: your reason, for the ledger
        gate: by which gate to judge; as the experiment says: the one in the version's recipe
        override: make it the champion unjudged, even one that was refused; the ledger says so
    """
    if before := live.done_before():
        return before
    verdict = standing.promote(model, version, because, "" if gate == OWN else gate, override)
    told = f"{model}/{version}: {verdict}. {' '.join(verdict.reasons)}"
    return live.ended(str(verdict), told if verdict.passed else f"{told} To promote it all the same, choose override.")


@flow(name="rollback", flow_run_name="rollback-{model}")
def rollback(model: Named, to: Whole = 0, because: str = "") -> State[None]:
    """Make the version the champion again that was it before.

    Args:
        model: the registered model's name, such as tickets
        to: the number of a version; 0: the champion before the present one, by the ledger
        because: your reason, for the ledger
    """
    if before := live.done_before():
        return before
    entry = standing.rollback(model, to, because)
    return live.ended("rolled back", f"{model}/{entry.champion} is the champion, instead of {entry.before}.")


def unchanged(recipe: Recipe) -> bool:
    """Whether the champion was trained by this recipe, whatever its seed, on the rows that the source has now."""
    champion = champion_trained_on(recipe.model)
    if champion is None:
        return False
    fingerprint, seed, hashes = champion
    same = recipe.model_copy(update={"seed": seed})
    return same.fingerprint == fingerprint and tracking.hashes_of(prepare(same.model, same.dataset, seed)) == hashes


def _ended(recipe: Recipe, became: str, why: str) -> State[None]:
    return live.ended(became, tell(recipe, became, why))
