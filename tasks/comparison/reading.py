"""Finished children read back from their MLflow runs, and ranked."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks import recorded, suites
from tasks.comparison.asked import Child, Compared, Shared, trained_on
from tasks.comparison.ranking import Ran, failed, lines_of
from tasks.comparison.table import Beside, Comparison, Line
from tasks.frozen import GraftError
from tasks.metrics import Truth
from tasks.overlap import pretraining_overlap
from tasks.prepare import rows_of
from tasks.results import Latency, Target
from tasks.screen import console
from tasks.steps import step
from tasks.suites import Done


@step
def ranked(
    compared: Compared,
    children: Sequence[Child],
    done: Sequence[Done | None],
    data: Shared,
    latencies: Mapping[str, Latency],
) -> Comparison:
    """The table of what is done.

    Args:
        compared: what was asked.
        children: all of them.
        done: for each child its finished run, or None.
        data: the rows that they had (see `asked.prepared`).
        latencies: by method.

    Raises:
        GraftError: MLflow does not answer, or a run did not answer these test rows.
    """
    one, first = next(iter(data.values())), children[0].recipe
    truth = rows_of(one, "test").labels
    runs = _read([pair for pair in zip(children, done, strict=True) if pair[1]], data, truth, one.target)
    lines: list[Line] = []
    for limit in reversed(dict.fromkeys(child.limit for child in children)):
        own = [run for run in runs if run.limit == limit]
        methods = list(dict.fromkeys(child.method for child in children))
        wanted, rows = len(compared.seeds), trained_on(data[limit, compared.seeds[0]])
        lines += lines_of(first.dataset.scored[0], truth, own, wanted, compared.margin, latencies)
        lines += [failed(name, limit, rows, wanted) for name in methods if name not in {run.method for run in own}]
    return Comparison(
        title=compared.title, metric=first.dataset.scored[0], margin=compared.margin, test_rows=len(truth),
        overlap=pretraining_overlap(first.backbone, first.dataset, any(c.recipe.method.pretrained for c in children)),
        lines=tuple(lines), beside=beside([one for one in done if one]),
    )  # fmt: skip


def beside(done: Sequence[Done]) -> Beside | None:
    """What is known of those that did not train alone; None if all did."""
    if not (own := [one for one in done if one.jobs > 1]):
        return None
    return Beside(runs=len(own), jobs=max(one.jobs for one in own), threads=min(one.threads for one in own))


def _read(found: Sequence[tuple[Child, Any]], data: Shared, truth: Truth, target: Target) -> list[Ran]:
    runs = []
    with tempfile.TemporaryDirectory() as folder, console.status("reading the runs"):
        for child, done in found:
            file = recorded.fetched(done.run_id, recorded.PREDICTIONS, folder)
            curve = suites.curve(done.run_id, f"validation/{child.recipe.dataset.scored[0]}")
            seed, said = child.recipe.seed, answers(file, target, truth)
            rows = trained_on(data[child.limit, seed])
            runs.append(Ran(child.method, child.limit, seed, rows, said, done.costs, curve))
    return runs


def answers(file: Path, target: Target, truth: Truth) -> Truth:
    """The answers of a `predictions.parquet` as `tasks.metrics` takes them: [N], or [N, K] for several labels.

    Raises:
        GraftError: they are not to rows with this truth, in its order.
    """
    table = pd.read_parquet(file, columns=["label", "prediction"])
    own = recorded.numbered(table["label"], target)
    if not np.array_equal(own, truth):
        raise GraftError(
            f"A run answered {len(own)} test rows that are not the {len(truth)} of today. Delete it in MLflow and give "
            "the same command again."
        )
    return recorded.numbered(table["prediction"], target)
