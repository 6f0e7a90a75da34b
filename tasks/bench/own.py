"""Graft's side: the one training loop with its validation and checkpoints, and the model as it is served."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from tasks import memory, saved, tracking
from tasks.backbones.network import logits_of
from tasks.bench.flops import of_training
from tasks.bench.orders import Order, Taken, answered, digest
from tasks.export.libraries import library_of
from tasks.methods import count_trained
from tasks.prepare import inputs_of, rows_of
from tasks.results import Checkpoint
from tasks.screen import Bar
from tasks.train import Training

WARM = 256  # rows that are answered before the clock runs


class Timed(Training):
    """The one loop with a clock: validation and checkpoints happen as ever, but their seconds are taken out."""

    beside, began, ended = 0.0, 0.0, 0.0

    def run(self) -> Checkpoint:
        self.began = time.perf_counter()
        return super().run()

    def _epoch(self, shown: Bar) -> None:
        super()._epoch(shown)
        self.ended = time.perf_counter()

    def _validate(self, epoch: int) -> None:
        with self._beside():
            super()._validate(epoch)

    def keep(self) -> None:
        with self._beside():
            super().keep()

    @contextmanager
    def _beside(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.beside += time.perf_counter() - began

    @property
    def seconds(self) -> float:
        """Of the loop from its start to the end of its last epoch; what it makes ready for itself is in it."""
        return self.ended - self.began - self.beside


def train(order: Order) -> tuple[Taken, NDArray[np.float32]]:
    """Train the recipe, then answer all test rows.

    Raises:
        GraftError: what a training raises.
    """
    recipe, data, entered = order.recipe, order.data, time.perf_counter()
    with tempfile.TemporaryDirectory(dir=order.out) as folder:
        work = Path(folder)
        training = Timed(recipe, data, work, tracking.begin(recipe, data, work / "run_id"))
        trained = sum(count_trained(training.network))
        done = training.run()
        peak = memory.device_peak() or memory.peak()
        test = inputs_of(rows_of(data, "test"))
        logits = logits_of(training.network, training.network.ready(test, data.hashes["test"]))
        if order.keep:
            shutil.rmtree(order.keep, ignore_errors=True)
            shutil.copytree(done.folder, order.keep)
    rows = training.rows
    inputs = inputs_of(rows)
    flops = of_training(recipe, data.target, inputs) * done.epochs if recipe.method.kind == "lora" else 0.0
    taken = Taken(
        seconds=training.seconds,
        ready=training.began - entered,
        rows=len(rows),
        epochs=done.epochs,
        steps=done.steps,
        trained=trained,
        peak=peak,
        seen=digest(next(iter(inputs.values())), rows.labels),
        flops=flops or None,
    )
    return taken, logits.numpy()


def predict(order: Order) -> tuple[Taken, NDArray[np.float32]]:
    """Answer all test rows as `graft predict` and a server do: raw texts in, labels and probabilities out."""
    from tasks.served import Served

    entered = time.perf_counter()
    served: Any = Served()
    served.load_context(SimpleNamespace(artifacts={"model": str(order.model)}))
    rows = rows_of(order.data, "test")
    table = pd.DataFrame(inputs_of(rows.table()))
    served.predict(None, table[:WARM])
    began = time.perf_counter()
    answers = served.predict(None, table)
    seconds = time.perf_counter() - began
    taken = answered(table["text"].tolist(), rows.labels, began - entered, seconds)
    return taken, np.array(answers["probabilities"].tolist(), np.float32)


def export(model: Path, to: Path) -> None:
    """Write a trained model as its own library loads it, an adapter merged in.

    Raises:
        GraftError: the model is damaged, or no library but Graft loads it.
    """
    loaded = saved.load(model)
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    with torch.no_grad():
        library_of(loaded.recipe, "merged").merged(loaded, to)
