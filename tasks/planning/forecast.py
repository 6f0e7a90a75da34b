"""What a whole run will take, told before it starts: seconds with their range, memory, disk, and what trains."""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks import runtime, saved
from tasks.checkpoint import KEPT
from tasks.frozen import Frozen
from tasks.metrics import interval
from tasks.planning.pace import Pace
from tasks.planning.rehearsal import Rehearsed, batches_of
from tasks.prepare import inputs_of, rows_of
from tasks.recipe import Recipe
from tasks.results import Prepared
from tasks.runtime import Precision

FEW = 256  # rows of a split that are really scored


class Seconds(Frozen):
    """A forecast with its range: as if every batch went like the fastest, or the slowest, tenth of those timed."""

    seconds: float
    low: float
    high: float


class Disk(Frozen):
    """Bytes by what they hold. The rows and tokens are there already; features and checkpoints go at the run's end."""

    rows: int
    tokens: int
    features: int
    checkpoints: int
    model: int
    registered: int
    free: int

    @property
    def needed(self) -> int:
        """What the run writes beside what is there."""
        return self.features + self.checkpoints + self.model + self.registered


class Plan(Frozen):
    """The forecast of a run.

    Attributes:
        seconds: by stage in their order, "total" last; the data's checks are done and kept, and not among them.
        checked: seconds that the checks took, now and once.
        peak: bytes that the main process will have at most, decoding workers apart.
        device_peak: bytes on the accelerator at most; None on CPU.
        largest_batch: rows of the longest kind that fit in what is free; the training rows are the most it says.
        truncated: training rows cut at the network's longest input.
        precision: in which the run would train.
        precisions: how many times as fast as in fp32 a step goes in each that the device computes in.
    """

    experiment: str
    method: str
    epochs: int
    batch_size: int
    rows: dict[str, int]
    seconds: dict[str, Seconds]
    checked: float
    peak: int
    device_peak: int | None
    largest_batch: int
    truncated: int
    disk: Disk
    rehearsed: Rehearsed
    precision: Precision
    precisions: dict[Precision, float]


class Tried(Frozen):
    """A run walked through to its end on a few steps and rows: seconds by stage, and the rehearsal of its training.

    `ended` is the moment of it, in seconds since 1970; `precisions` are as in a plan.
    """

    seconds: dict[str, float]
    ended: float
    peak: int
    device_peak: int | None
    disk: Disk
    rehearsed: Rehearsed
    precisions: dict[Precision, float]


def plan(recipe: Recipe, data: Prepared, tried: Tried, checked: float, truncated: int) -> Plan:
    """The forecast from what was tried."""
    found = tried.rehearsed
    total = {**tried.seconds, "total": sum(tried.seconds.values())}
    low, high = min(found.step.low, found.forward.low), max(found.step.high, found.forward.high)
    return Plan(
        experiment=recipe.name,
        method=recipe.method.kind,
        epochs=recipe.schedule.epochs,
        batch_size=recipe.schedule.batch_size,
        rows=data.rows,
        seconds={name: Seconds(seconds=took, low=took * low, high=took * high) for name, took in total.items()},
        checked=checked,
        peak=tried.peak,
        device_peak=tried.device_peak,
        largest_batch=min(data.rows["train"], found.free // max(1, found.row)),
        truncated=truncated,
        disk=tried.disk,
        rehearsed=found,
        precision=runtime.precision(),
        precisions=tried.precisions,
    )


def few(data: Prepared, folder: Path) -> Prepared:
    """The same data with `FEW` evenly spread rows of each split at most, written to a folder; of no kept content."""
    folder.mkdir()
    rows = {}
    for split in data.rows:
        with pa.memory_map(str(data.file(split))) as opened:
            table = pa.ipc.open_file(opened).read_all()
            rows[split] = min(FEW, len(table))
            chosen = np.linspace(0, len(table) - 1, rows[split]).astype(int)
            with pa.ipc.new_file(folder / f"{split}.arrow", table.schema) as file:
                file.write_table(table.take(chosen))
    return data.model_copy(update={"folder": folder, "rows": rows, "hashes": dict.fromkeys(data.hashes, "")})


def rest_of_scoring(recipe: Recipe, data: Prepared, scored: Prepared, model: Path, pace: Pace) -> float:
    """Seconds that scoring all rows takes beyond scoring `scored`, a few of them."""
    network, seconds = saved.reopen(model).network, 0.0
    for split, metrics in recipe.dataset.all_scored.items():
        if data.rows.get(split, 0) > scored.rows.get(split, 0):
            whole, part = (rows_of(own, split) for own in (data, scored))
            all_rows, few_rows = (
                network.ready(inputs_of(rows), own.hashes[split]) for rows, own in ((whole, data), (part, scored))
            )
            seconds += pace.seconds(batches_of(network, all_rows)) - pace.seconds(batches_of(network, few_rows))
            seconds += sum(_interval(name, whole.labels) - _interval(name, part.labels) for name in metrics)
    return max(0.0, seconds)


def _interval(metric: str, labels: NDArray[Any]) -> float:
    """Seconds of a score's interval over so many rows."""
    began = time.perf_counter()
    interval(metric, labels, labels, draws=50)
    return (time.perf_counter() - began) * 1000 / 50


def disk(data: Prepared, work: Path, registered: Path, features: int) -> Disk:
    """What lies on disk after a run was tried in `work`, whose model was copied to `registered`, and its `features`."""
    home = runtime.home()
    steps = [bytes_in(folder) for folder in (work / "checkpoints").glob("step-*")]
    tokens = [bytes_in(folder) for mark in data.hashes.values() for folder in (home / "tokens").glob(f"{mark}-*")]
    return Disk(
        rows=bytes_in(data.folder),
        tokens=sum(tokens),
        features=features,
        checkpoints=max(steps) * (KEPT + 1),  # one more while it is written
        model=bytes_in(work / "model"),
        registered=bytes_in(registered),
        free=shutil.disk_usage(home).free,
    )


def bytes_in(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
