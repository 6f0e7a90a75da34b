"""A saved model judged on test rows: scores with intervals, tables, pictures, and every single prediction."""

import json
import time
from collections.abc import Iterator
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
from tasks.metrics import calibration_error, class_table, interval, resampled, score
from tasks.objective import answers, confidence
from tasks.overlap import pretraining_overlap
from tasks.prepare import inputs_of, rows_of
from tasks.results import Measured, Overlap, Part, Prepared, Scorecard, Target
from tasks.rows import Rows
from tasks.screen import bar
from tasks.slices import BY_LENGTH, metric_of_part, slices
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
    target, measured, logits = loaded.target, dict[str, Measured](), dict[str, Tensor]()
    for split, metrics in dataset.all_scored.items():
        if split in data.rows:
            logits[split] = _answer(loaded.network, data, split)
            measured |= _measure(rows_of(data, split).labels, logits[split], target, split, metrics)
            name = "predictions" if split == "test" else f"predictions_{split}"
            _predictions(rows_of(data, split), logits[split], target).to_parquet(out / f"{name}.parquet")
    recipe = loaded.recipe
    overlap = pretraining_overlap(recipe.backbone, dataset, recipe.method.pretrained)
    measured |= _selective(rows_of(data, "test").labels, logits["test"], target)
    card = _card(data, dataset, target, logits["test"], measured, overlap, out)
    (out / "scorecard.json").write_text(json.dumps(card.model_dump(mode="json", exclude={"folder"}), indent=1))
    truth, predicted = rows_of(data, "test").labels, answers(target, logits["test"]).numpy()
    plots.draw(truth, predicted, logits["test"].numpy(), target, out)
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
    return {name if split == "test" else f"{split}/{name}": _scored(name, truth, predicted) for name in metrics}


def _scored(name: str, truth: NDArray[Any], predicted: NDArray[Any]) -> Measured:
    low, high = interval(name, truth, predicted)
    return Measured(value=score(name, truth, predicted), low=low, high=high)


def _selective(truth: NDArray[Any], logits: Tensor, target: Target) -> dict[str, Measured]:
    """Where the model may abstain: the share of rows that it answers, and how many of those answers are right.

    Source: Geifman and El-Yaniv, Selective Classification for Deep Neural Networks (2017), section 2.
    """
    if target.abstain_below is None:
        return {}
    sure = confidence(target, logits).numpy() >= target.abstain_below
    right = (answers(target, logits).numpy() == truth)[sure]
    found = {"coverage": sure} | ({"selective_accuracy": right} if len(right) else {})
    return {name: _mean(values) for name, values in found.items()}


def _mean(values: NDArray[Any]) -> Measured:
    low, high = np.quantile(resampled(lambda rows: values[rows].mean(), len(values), 1000), [0.025, 0.975])
    return Measured(value=float(values.mean()), low=float(low), high=float(high))


def _card(
    data: Prepared,
    dataset: DatasetSpec,
    target: Target,
    logits: Tensor,
    measured: dict[str, Measured],
    overlap: Overlap,
    out: Path,
) -> Scorecard:
    rows, headline = rows_of(data, "test"), dataset.scored[0]
    truth, predicted = rows.labels, answers(target, logits).numpy()
    plain = answers(target.model_copy(update={"thresholds": None}), logits).numpy()
    told, raw = (
        calibration_error(truth, numbers.softmax(1).numpy()) if target.kind == "class" else None
        for numbers in (logits, logits * target.temperature)
    )
    return Scorecard(
        headline=headline,
        metrics=measured,
        calibration_error=told,
        raw_calibration_error=raw,
        untuned=score(headline, truth, plain) if target.thresholds else None,
        classes=tuple(class_table(truth, predicted, target.labels)) if target.labels else (),
        parts=tuple(_parts(rows, target, headline, predicted, dataset)),
        rows=len(truth),
        test_hash=data.hashes["test"],
        pretraining_overlap=overlap,
        folder=out,
    )


def _parts(rows: Rows, target: Target, headline: str, predicted: NDArray[Any], dataset: DatasetSpec) -> Iterator[Part]:
    """The scores by length and by the data set's columns; the class table has those by class."""
    metric = metric_of_part(target.kind, headline)
    for by in ([BY_LENGTH] if dataset.accepts == "text" else []) + list(dataset.sliced_by):
        for name, own in slices(by, rows, target).items():
            if own.any():
                measured = _scored(metric, rows.labels[own], predicted[own])
                yield Part(by=by, name=name, rows=int(own.sum()), metric=metric, score=measured)


def _predictions(rows: Rows, logits: Tensor, target: Target) -> pd.DataFrame:
    """Row id, truth, answer (also where the model would abstain) and the logits in the order of the labels."""
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
