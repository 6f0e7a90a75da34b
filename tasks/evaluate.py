"""A saved model judged on test rows: scores with intervals, tables, pictures, and every single prediction."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from tasks import plots, runtime, saved
from tasks.backbones.network import logits_of
from tasks.frozen import GraftError
from tasks.metrics import calibration_error, class_table, interval, score
from tasks.objective import answers
from tasks.prepare import inputs_of, rows_of
from tasks.results import Measured, Prepared, Scorecard
from tasks.screen import bar
from tasks.steps import step
from tasks.tables import LABEL, ROW


@step
def evaluate(model: Path, data: Prepared, metrics: tuple[str, ...], out: Path) -> Scorecard:
    """Load a saved model and score it on the test rows; tables and pictures go to the folder `out`.

    Raises:
        GraftError: the model's classes are not those of the data, or its folder is damaged.
    """
    began = time.perf_counter()
    loaded = saved.load(model)
    if loaded.target.labels != data.target.labels:
        raise GraftError(f"The model answers {loaded.target.labels}, but the test rows hold {data.target.labels}.")
    loaded.network.module.to(runtime.device())
    rows = rows_of(data, "test")
    with bar("score", len(rows)) as shown:
        logits = logits_of(loaded.network, inputs_of(rows), done=lambda rows: shown.advance(steps=rows))
    card = _card(rows, logits, data, metrics, out)
    out.mkdir(parents=True, exist_ok=True)
    _predictions(rows, logits, data).to_parquet(out / "predictions.parquet")
    (out / "scorecard.json").write_text(json.dumps(card.model_dump(mode="json", exclude={"folder"}), indent=1))
    plots.draw(rows[LABEL].to_numpy(), logits.numpy(), data.target, out)
    return card.model_copy(update={"seconds": time.perf_counter() - began})


def _card(rows: pd.DataFrame, logits: Tensor, data: Prepared, metrics: tuple[str, ...], out: Path) -> Scorecard:
    truth, predicted = rows[LABEL].to_numpy(), answers(data.target, logits).numpy()
    measured = {}
    for name in metrics:
        low, high = interval(name, truth, predicted)
        measured[name] = Measured(value=score(name, truth, predicted), low=low, high=high)
    labels = data.target.labels
    return Scorecard(
        headline=metrics[0],
        metrics=measured,
        calibration_error=calibration_error(truth, logits.softmax(1).numpy()) if labels else None,
        classes=tuple(class_table(truth, predicted, labels)) if labels else (),
        rows=len(rows),
        test_hash=data.hashes["test"],
        folder=out,
    )


def _predictions(rows: pd.DataFrame, logits: Tensor, data: Prepared) -> pd.DataFrame:
    """Row id, truth, answer and the logits in the order of the labels."""
    labels, predicted = data.target.labels, answers(data.target, logits).tolist()

    def named(values: Any) -> Any:
        return [labels[index] for index in values] if labels else np.asarray(values)

    return pd.DataFrame(
        {
            ROW: rows[ROW],
            "label": named(rows[LABEL]),
            "prediction": named(predicted),
            "logits": list(logits.numpy()),
        }
    )
