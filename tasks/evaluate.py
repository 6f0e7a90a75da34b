"""A saved model judged on test rows: scores with intervals, tables, pictures, and every single prediction."""

import json
import time
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from tasks import plots, runtime, saved
from tasks.backbones.network import Network, logits_of
from tasks.datasets.spec import ROW, DatasetSpec
from tasks.frozen import GraftError
from tasks.metrics import calibration_error, class_table, interval, score
from tasks.objective import answers
from tasks.overlap import pretraining_overlap
from tasks.prepare import inputs_of, rows_of
from tasks.results import Measured, Overlap, Prepared, Scorecard, Target
from tasks.rows import Rows
from tasks.screen import bar
from tasks.steps import step


@step
def evaluate(model: Path, data: Prepared, dataset: DatasetSpec, out: Path) -> Scorecard:
    """Load a saved model and score it; tables and pictures go to the folder `out`.

    Args:
        model: the folder of a saved model.
        data: the rows.
        dataset: says which splits are scored by which metrics (one that the data lacks is left out), and which
            collections the rows come from.
        out: where the scorecard, the predictions and the pictures go.

    Raises:
        GraftError: the model's classes are not those of the data, or its folder is damaged.
    """
    began = time.perf_counter()
    loaded = saved.load(model)
    if (loaded.target.kind, loaded.target.labels) != (data.target.kind, data.target.labels):
        raise GraftError(f"The model answers {loaded.target.labels}, but the test rows hold {data.target.labels}.")
    loaded.network.module.to(runtime.device())
    out.mkdir(parents=True, exist_ok=True)
    measured: dict[str, Measured] = {}
    logits: dict[str, Tensor] = {}
    for split, metrics in dataset.all_scored.items():
        if split in data.rows:
            logits[split] = _answer(loaded.network, data, split)
            measured |= _measure(rows_of(data, split).labels, logits[split], data.target, split, metrics)
            name = "predictions" if split == "test" else f"predictions_{split}"
            _predictions(rows_of(data, split), logits[split], data.target).to_parquet(out / f"{name}.parquet")
    recipe = loaded.recipe
    overlap = pretraining_overlap(recipe.backbone, dataset, recipe.method.pretrained)
    card = _card(data, logits["test"], dataset.scored[0], measured, overlap, out)
    (out / "scorecard.json").write_text(json.dumps(card.model_dump(mode="json", exclude={"folder"}), indent=1))
    plots.draw(rows_of(data, "test").labels, logits["test"].numpy(), data.target, out)
    return card.model_copy(update={"seconds": time.perf_counter() - began})


def _answer(network: Network, data: Prepared, split: str) -> Tensor:
    rows = rows_of(data, split)
    with bar(f"score {split}", len(rows)) as shown:
        inputs = network.ready(inputs_of(rows), data.hashes[split])
        return logits_of(network, inputs, done=lambda rows: shown.advance(steps=rows))


def _measure(
    truth: NDArray[Any], logits: Tensor, target: Target, split: str, metrics: tuple[str, ...]
) -> dict[str, Measured]:
    """Each metric with its interval; those of another split than `test` carry its name."""
    predicted = answers(target, logits).numpy()
    measured = {}
    for name in metrics:
        low, high = interval(name, truth, predicted)
        shown = name if split == "test" else f"{split}/{name}"
        measured[shown] = Measured(value=score(name, truth, predicted), low=low, high=high)
    return measured


def _card(
    data: Prepared, logits: Tensor, headline: str, measured: dict[str, Measured], overlap: Overlap, out: Path
) -> Scorecard:
    truth, labels = rows_of(data, "test").labels, data.target.labels
    one_class = data.target.kind == "class"
    return Scorecard(
        headline=headline,
        metrics=measured,
        calibration_error=calibration_error(truth, logits.softmax(1).numpy()) if one_class else None,
        classes=tuple(class_table(truth, answers(data.target, logits).numpy(), labels)) if labels else (),
        rows=len(truth),
        test_hash=data.hashes["test"],
        pretraining_overlap=overlap,
        folder=out,
    )


def _predictions(rows: Rows, logits: Tensor, target: Target) -> pd.DataFrame:
    """Row id, truth, answer and the logits in the order of the labels."""
    labels = target.labels

    def named(values: Any) -> Any:
        if target.kind == "multilabel":
            return [list(compress(labels or (), row)) for row in values]
        return [labels[index] for index in values] if labels else np.asarray(values)

    return pd.DataFrame(
        {
            ROW: list(rows[ROW]),
            "label": named(rows.labels.tolist()),
            "prediction": named(answers(target, logits).tolist()),
            "logits": list(logits.numpy()),
        }
    )
