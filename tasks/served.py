"""What MLflow runs to serve a registered model: it is copied beside the weights, and nothing is pickled."""

from pathlib import Path
from threading import Lock
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

from tasks import saved
from tasks.backbones.network import Rows, logits_of
from tasks.frozen import GraftError
from tasks.objective import confidence, probabilities, said
from tasks.pictures import picture_of
from tasks.rows import inputs_of
from tasks.speed.quick import ANSWERING, MANY, quicken


class Served(PythonModel):  # type: ignore[misc]
    """A saved model behind `mlflow.pyfunc`: a table with `text` (and `text_pair`) or `image` in, answers out.

    An image is a file's content, as bytes or in base64.
    """

    def load_context(self, context: Any) -> None:
        """Load the weights once."""
        self.model = saved.load(Path(context.artifacts["model"]))
        self.lock = Lock()  # a server's threads ask the same network
        self.quick = False

    def logits(self, table: pd.DataFrame) -> Any:
        """[N, K] logits of a table's rows.

        Raises:
            GraftError: the table lacks an input column, a cell is empty, or an image is none.
        """
        for name in self.model.recipe.dataset.inputs:
            if name not in table:
                raise GraftError(f"The input has no column {name!r}. It has: {', '.join(map(str, table.columns))}.")
            if any(not isinstance(cell, str | bytes) or not cell.strip() for cell in table[name]):
                raise GraftError(f"The column {name!r} has an empty cell. Fill it or leave the row out.")
        if "image" in self.model.recipe.dataset.inputs:
            table = table.assign(image=[picture_of(cell) for cell in table["image"]])
        rows = inputs_of(table)
        with self.lock:
            self._quicken(rows)
            return logits_of(self.model.network, rows)

    def _quicken(self, rows: Rows) -> None:
        """From the first call with many rows on the network answers by the means of speed: they cost once."""
        if not self.quick and len(next(iter(rows.values()))) >= MANY:
            self.model.network.module.eval()
            quicken(self.model.network, rows, ANSWERING)
            self.quick = True

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """`label`, `confidence` and `probabilities` (in the labels' order) of every row; `score` for a number.

        The label is None where the model abstains. Where a row may have several: `labels`, and the `probabilities`.
        """
        logits, target = self.logits(model_input), self.model.target
        words = said(target, logits)
        if target.labels is None:
            return pd.DataFrame({"score": words})
        shares = probabilities(target, logits).tolist()
        if target.kind == "multilabel":
            return pd.DataFrame({"labels": words, "probabilities": shares})
        sure = confidence(target, logits).tolist()
        return pd.DataFrame({"label": pd.Series(words, dtype=object), "confidence": sure, "probabilities": shares})


mlflow.models.set_model(Served())
