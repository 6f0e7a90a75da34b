"""A saved model judged on test rows: scores with intervals, tables, pictures, and every single prediction."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from tasks import plots, runtime, saved
from tasks.backbones.network import Network, logits_of
from tasks.datasets.spec import ROW, DatasetSpec
from tasks.frozen import GraftError
from tasks.metrics import calibration_error, class_table, interval, score
from tasks.objective import answers, confidence, words
from tasks.overlap import pretraining_overlap
from tasks.prepare import inputs_of, rows_of
from tasks.results import Measured, Overlap, Part, Prepared, Scorecard, Target
from tasks.rows import Rows
from tasks.screen import bar
from tasks.slices import BY_LENGTH, metric_of_part, slices
from tasks.speed.quick import answering
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
    target = loaded.target
    measured: dict[str, Measured] = {}
    asked: dict[str, Answered] = {}
    for split, metrics in dataset.all_scored.items():
        if split in data.rows:
            asked[split] = found = _ask(loaded.network, target, data, split)
            measured |= _measure(found, split, metrics)
            name = "predictions" if split == "test" else f"predictions_{split}"
            _predictions(found, target).to_parquet(out / f"{name}.parquet")
    test = asked["test"]
    measured |= _selective(test, target)
    overlap = pretraining_overlap(loaded.recipe.backbone, dataset, loaded.recipe.method.pretrained)
    card = _card(test, data, dataset, target, measured, overlap, out)
    (out / "scorecard.json").write_text(json.dumps(card.model_dump(mode="json", exclude={"folder"}), indent=1))
    plots.draw(test.truth, test.predicted, test.logits.numpy(), target, out)
    return card.model_copy(update={"seconds": time.perf_counter() - began})


class Answered(NamedTuple):
    """A split's rows with their truth, the logits [N, K], and the answers, shaped as the truth."""

    rows: Rows
    truth: NDArray[Any]
    logits: Tensor
    predicted: NDArray[Any]


def _ask(network: Network, target: Target, data: Prepared, split: str) -> Answered:
    rows = rows_of(data, split)
    inputs = inputs_of(rows)
    with bar(f"score {split}", len(rows)) as shown, answering(network, inputs):
        ready = network.ready(inputs, data.hashes[split])
        logits = logits_of(network, ready, done=lambda rows: shown.advance(steps=rows))
    return Answered(rows, rows.labels, logits, answers(target, logits).numpy())


def _measure(found: Answered, split: str, metrics: tuple[str, ...]) -> dict[str, Measured]:
    """Each metric with its interval; those of another split than `test` carry its name."""
    return {
        name if split == "test" else f"{split}/{name}": _scored(name, found.truth, found.predicted) for name in metrics
    }


def _scored(name: str, truth: NDArray[Any], predicted: NDArray[Any]) -> Measured:
    low, high = interval(name, truth, predicted)
    return Measured(value=score(name, truth, predicted), low=low, high=high)


def _selective(found: Answered, target: Target) -> dict[str, Measured]:
    """Where the model may abstain: the share of rows that it answers, and how many of those answers are right.

    Source: Geifman and El-Yaniv, Selective Classification for Deep Neural Networks (2017), section 2.
    """
    if target.abstain_below is None:
        return {}
    sure = confidence(target, found.logits).numpy() >= target.abstain_below
    coverage = {"coverage": _scored("accuracy", np.full(len(sure), True), sure)}  # a share of rows, as accuracy is
    if not sure.any():
        return coverage
    return coverage | {"selective_accuracy": _scored("accuracy", found.truth[sure], found.predicted[sure])}


def _card(
    test: Answered,
    data: Prepared,
    dataset: DatasetSpec,
    target: Target,
    measured: dict[str, Measured],
    overlap: Overlap,
    out: Path,
) -> Scorecard:
    headline = dataset.scored[0]
    plain = answers(target.model_copy(update={"thresholds": None}), test.logits).numpy()
    told, raw = (
        calibration_error(test.truth, numbers.softmax(1).numpy()) if target.kind == "class" else None
        for numbers in (test.logits, test.logits * target.temperature)
    )
    return Scorecard(
        headline=headline,
        metrics=measured,
        calibration_error=told,
        raw_calibration_error=raw,
        untuned=score(headline, test.truth, plain) if target.thresholds else None,
        classes=tuple(class_table(test.truth, test.predicted, target.labels)) if target.labels else (),
        parts=tuple(_parts(test, target, dataset)),
        rows=len(test.truth),
        test_hash=data.hashes["test"],
        pretraining_overlap=overlap,
        folder=out,
    )


def _parts(test: Answered, target: Target, dataset: DatasetSpec) -> Iterator[Part]:
    """The scores by length and by the data set's columns; the class table has those by class."""
    metric = metric_of_part(target.kind, dataset.scored[0])
    for by in ([BY_LENGTH] if dataset.accepts == "text" else []) + list(dataset.sliced_by):
        for name, own in slices(by, test.rows, target).items():
            if own.any():
                measured = _scored(metric, test.truth[own], test.predicted[own])
                yield Part(by=by, name=name, rows=int(own.sum()), metric=metric, score=measured)


def _predictions(found: Answered, target: Target) -> pd.DataFrame:
    """Row id, truth, answer (also where the model would abstain) and the logits in the order of the labels."""
    return pd.DataFrame(
        {
            ROW: list(found.rows[ROW]),
            "label": words(target, found.truth.tolist()),
            "prediction": words(target, found.predicted.tolist()),
            "logits": list(found.logits.numpy()),
        }
    )
