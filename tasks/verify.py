"""The proof before registration: a fresh process without network loads the model from its URI and answers alike."""

import os
import sys
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks import fresh
from tasks.datasets.spec import INPUTS
from tasks.frozen import GraftError
from tasks.objective import said, weighed
from tasks.results import Target
from tasks.rounding import TOLERANCE, apart

ROWS = 64
SAVED = ("tasks.verify", "tasks.saved", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "peft")
LIBRARIES = {  # what takes long to import of all that loads a model
    "text": (*SAVED, "transformers.modeling_utils"),
    "image": (*SAVED, "timm"),
}


def keep(work: Path, rows: pd.DataFrame, logits: Tensor) -> None:
    """Note what the trained network, still in memory, answers to some rows."""
    rows.to_parquet(work / "probe.parquet")
    save_file({"logits": logits}, work / "probe.safetensors")


def ready(accepts: Literal["text", "image"]) -> None:
    """Begin to import, beside whatever goes on, what `verify` will need for a model of texts or of images."""
    if server := fresh.server():
        server.load(LIBRARIES[accepts])


def verify(uri: str, work: Path, target: Target) -> None:
    """Load `uri` in a new process with an empty hub cache and compare; `target` is the trained model's.

    Raises:
        GraftError: it does not load, or its logits (to 1e-5 of their size) or label names differ.
    """
    run = (fresh.server() or fresh).run
    if wrong := run("tasks.verify", uri, str(work), target.model_dump_json()):
        raise GraftError(f"The saved model failed its check and is not registered: {wrong}")


def load(uri: str) -> Any:
    """A registered model as `mlflow.pyfunc` loads it; Python keeps no bytecode of its code beside its files."""
    import mlflow

    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return mlflow.pyfunc.load_model(uri)
    finally:
        sys.dont_write_bytecode = kept


def main(uri: str, work: str, target: str) -> None:
    """The check itself, in the new process; what is wrong ends it."""
    import mlflow

    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    _compare(load(uri), Path(work), Target.model_validate_json(target))


def _compare(loaded: Any, work: Path, target: Target) -> None:
    served = loaded.unwrap_python_model()
    rows = pd.read_parquet(work / "probe.parquet")
    inputs = rows[[name for name in INPUTS if name in rows]]
    wanted, got = load_file(work / "probe.safetensors")["logits"], served.logits(inputs)
    far = float(apart(wanted, got).max())
    if not far <= TOLERANCE:
        raise SystemExit(f"its logits differ by {far:.2g} from those of the trained network (allowed {TOLERANCE}).")
    if not _same(loaded.predict(inputs), wanted, target) or served.model.target != target:
        raise SystemExit("its label names, or how it answers with them, are not the trained model's.")


def _same(answers: pd.DataFrame, wanted: Tensor, target: Target) -> bool:
    """Whether the answers in words are what the logits say."""
    if target.labels is None:
        return torch.allclose(torch.tensor(answers["score"].tolist()), wanted[:, 0], atol=TOLERANCE)
    if target.kind == "multilabel":
        sure = weighed(target, wanted)
        rows = ((sure > 0) | (sure.abs() <= TOLERANCE), sure > TOLERANCE)  # allowed, and required
        allowed, required = ([{n for n, on in zip(target.labels, row, strict=True) if on} for row in r] for r in rows)
        return all(need <= set(own) <= may for need, own, may in zip(required, answers["labels"], allowed, strict=True))
    return list(answers["label"]) == said(target, wanted)
