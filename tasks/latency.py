"""How long a saved model takes to answer one row on CPU, as a caller would wait for it."""

import time
from pathlib import Path

import numpy as np

from tasks import rows as prepared
from tasks import saved
from tasks.backbones.network import Rows, logits_of
from tasks.frozen import GraftError
from tasks.results import Latency
from tasks.steps import step

WARM = 10  # answers before the clock runs
FEW = 50  # rows


def few(rows: prepared.Rows) -> Rows:
    """The inputs of the first rows of a split, to time models with."""
    return {name: column[:FEW] for name, column in prepared.inputs_of(rows).items()}


@step
def latency(folder: Path, rows: Rows, repeats: int = 100) -> Latency:
    """Load a saved model and time it: one row at a time, on CPU in fp32, tokenizing or decoding included.

    Args:
        folder: the saved model (see `tasks.saved`).
        rows: input columns of one length; they are asked in turn, so that long and short ones count as they occur.
        repeats: timed answers, at least one.

    Raises:
        GraftError: there is no row, or the folder is damaged.
    """
    count = len(next(iter(rows.values()), ()))
    if not count:
        raise GraftError("No row was given to time the model with. Give at least one.")
    network = saved.load(folder).network
    network.module.cpu()
    took = []
    for turn in range(WARM + repeats):
        row = {name: [column[turn % count]] for name, column in rows.items()}
        began = time.perf_counter()
        logits_of(network, row)
        took.append(1000 * (time.perf_counter() - began))
    p50, p95 = np.quantile(took[WARM:], [0.5, 0.95])
    return Latency(p50=float(p50), p95=float(p95))
