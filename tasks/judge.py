"""Candidate and champion before the gate: both asked now, on the same rows, in the same way."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from tasks import recorded, registry, runtime, saved
from tasks.backbones.network import Network, logits_of
from tasks.corruptions import corrupted
from tasks.datasets.spec import INPUTS, DatasetSpec
from tasks.evaluate import evaluate
from tasks.evidence import Evidence
from tasks.frozen import GraftError
from tasks.gates import Gate
from tasks.latency import few, latency
from tasks.objective import answers
from tasks.prepare import rows_of
from tasks.recipe import Recipe
from tasks.results import Prepared, Reason, Scorecard, Verdict
from tasks.rows import inputs_of
from tasks.screen import bar
from tasks.slices import slices
from tasks.steps import step

CORRUPTED = 1000  # rows at most: those with the lowest keys


@step
def judge(recipe: Recipe, data: Prepared, card: Scorecard, folder: Path, work: Path) -> Verdict:
    """The gate's verdict; the champion is scored again, now, on the very same rows.

    Args:
        recipe: with the gate.
        data: the rows.
        card: the candidate's scores on them.
        folder: the candidate's saved model.
        work: where the champion's scorecard goes.
    """
    shown = evidence(recipe.gate, folder, data, recipe.dataset, card)
    held = registry.champion(recipe.model)
    if held is None:
        return recipe.gate.judge(shown, None)
    try:
        place = registry.folder_of(held)
        other = evaluate(place, data, recipe.dataset, work / "champion")
    except GraftError as error:
        told = f"The champion cannot be scored on these rows: {error}"
        return Verdict(judged=(Reason(about="champion", outcome="open", told=told),), against=held.version)
    against = evidence(recipe.gate, place, data, recipe.dataset, other)
    return recipe.gate.judge(shown, against, held.version)


def evidence(gate: Gate, folder: Path, data: Prepared, dataset: DatasetSpec, card: Scorecard) -> Evidence:
    """What a saved model shows of all that the gate asks for; its answers are those that the scorecard came from."""
    rows = rows_of(data, "test")
    asked = np.argsort(list(rows["key"]), kind="stable")[:CORRUPTED] if gate.robustness else None
    return Evidence(
        card=card,
        truth=rows.labels,
        predicted=recorded.answers_in(card.folder / recorded.PREDICTIONS, saved.target_of(folder)).predicted,
        slices={one.by: slices(one.by, rows, data.target) for one in gate.slices},
        asked=asked,
        corrupted=_corrupted(gate, folder, rows.table(asked.tolist())) if asked is not None else {},
        milliseconds=latency(folder, few(rows)).p95 if gate.milliseconds else 0.0,
        megabytes=saved.sizes(folder)["model"] / 1e6 if gate.megabytes else 0.0,
    )


def _corrupted(gate: Gate, folder: Path, rows: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """Of each corruption the answers to the rows."""
    loaded = saved.load(folder)
    loaded.network.module.to(runtime.device())
    found: dict[str, NDArray[Any]] = {}
    for kind in gate.robustness:
        given = rows.copy()
        for name in set(INPUTS) & set(rows):
            given[name] = [corrupted(kind, *cells) for cells in zip(rows[name], rows["key"], strict=True)]
        found[kind] = answers(loaded.target, _asked(loaded.network, given, kind)).numpy()
    return found


def _asked(network: Network, rows: pd.DataFrame, kind: str) -> Tensor:
    with bar(f"score with {kind}", len(rows)) as shown:
        return logits_of(network, inputs_of(rows), done=lambda rows: shown.advance(steps=rows))
