"""A training tried out: real steps, real evaluation batches and a real checkpoint, all on the clock."""

import time
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from tasks import memory, runtime, saved
from tasks.backbones.network import Network, Rows
from tasks.batches import epoch_batches
from tasks.curves import Curves
from tasks.frozen import Frozen
from tasks.planning.blocks import Block, Still, blocks, still
from tasks.planning.front import Front
from tasks.planning.pace import Pace, Sizes, fit, in_order, sizes_of, telling, timed
from tasks.screen import bar
from tasks.tracking import BATCH
from tasks.train import Training

STEPS, SECONDS = 30, 4.0  # so many at most, or so long; never fewer than four


class Rehearsed(Frozen):
    """What a training tried out tells of the whole of it.

    Attributes:
        seconds: "training" with its validations, and "checkpoints" with the metrics that are sent after them.
        steps: of the whole training.
        step: the pace of a step.
        forward: the pace of a batch that is only answered.
        padding: padded positions by all positions of the first epoch.
        row: bytes that a row of the longest batch needs in a step, where the training runs.
        features: bytes on disk of what the frozen front gives, while it trains.
        free: bytes free there beside the network and its optimizer.
        blocks: what trains.
        still: what does not move though it could.
    """

    seconds: dict[str, float]
    steps: int
    step: Pace
    forward: Pace
    padding: float
    row: int
    features: int
    free: int
    blocks: tuple[Block, ...]
    still: Still


def rehearse(training: Training, run_id: str) -> Rehearsed:
    """Try a new training out; `training.finish()` then gives a model that nobody needs.

    Raises:
        GraftError: what the training itself would raise in its first steps.
    """
    recipe = training.recipe
    front = Front(training)
    training.run_on = front.network
    recipe.method.train_mode(training.network)
    parts, stands = blocks(training.network), still(training.network)
    epochs = [
        sizes_of(training.lengths, epoch_batches(training.lengths, recipe.schedule.batch_size, recipe.seed, epoch))
        for epoch in range(recipe.schedule.epochs)
    ]
    step, first, row, free = _steps(training, front, epochs[0])
    training.words.whole()
    forward = forwards(front, training.scored)
    whole = first + step.seconds(np.concatenate(epochs)) + front.seconds()
    validation = forward.seconds(batches_of(training.network, training.scored))
    kept = _checkpoints(training, run_id, whole)
    return Rehearsed(
        seconds={"training": whole + validation * (recipe.schedule.epochs + 1), "checkpoints": kept},  # one to decide
        steps=training.steps,
        step=step,
        forward=forward,
        padding=float(1 - training.lengths.sum() / epochs[0].sum()) if training.lengths.any() else 0.0,
        row=row,
        features=front.kept(),
        free=free,
        blocks=parts,
        still=stands,
    )


def _steps(training: Training, front: Front, sizes: Sizes) -> tuple[Pace, float, int, int]:
    """The pace, what the very first step takes beyond it, bytes a row of the longest batch, and bytes left."""
    recipe, done = training.recipe, training.progress
    batches = epoch_batches(training.lengths, recipe.schedule.batch_size, recipe.seed, 0)
    chosen = list(islice(telling(sizes), STEPS))
    took: list[float] = []
    began = started = time.perf_counter()
    spent = 0.0
    with bar("try steps", STEPS) as shown:
        for inputs, labels in front.fed(batches, chosen):
            if done.step == 1:  # the longest batch, after a short one that has made the optimizer's state
                training.words.shorten()  # what it takes is no row's
                free = memory.free()
                row = _watched(training, inputs, labels) // len(labels)
            else:
                _update(training, inputs, labels)
            done.step, done.rows = done.step + 1, done.rows + len(labels)
            now = time.perf_counter()
            took.append(now - began - (front.spent - spent))
            spent = front.spent
            shown.advance(f"{took[-1]:.3f} s")
            began = now
            if now - started > SECONDS and len(took) > 3:
                break
    done.seconds = sum(took)
    pace = fit(sizes[chosen[1 : len(took)]].tolist(), took[1:])
    return pace, max(0.0, took[0] - pace.seconds(sizes[chosen[:1]])), row, free


def _update(training: Training, inputs: dict[str, Tensor], labels: Tensor) -> None:
    """A step as the loop has it."""
    rate = training.rate()
    loss = training.update(inputs, labels, rate)
    training.metrics.add(training.progress.step, {"train/loss": loss, "train/learning_rate": rate})


def _watched(training: Training, inputs: dict[str, Tensor], labels: Tensor) -> int:
    """The same; returns the bytes by which memory rose, at least the batch's own."""
    if runtime.device() == "cuda":
        before = torch.cuda.memory_allocated()
        _update(training, inputs, labels)
        return torch.cuda.max_memory_allocated() - before
    with memory.Watch() as watch:
        _update(training, inputs, labels)
    return max(watch.grown, sum(tensor.nbytes for tensor in inputs.values()))


@torch.inference_mode()
def forwards(front: Front, rows: Rows) -> Pace:
    """The pace of batches as `logits_of` makes and answers them."""
    network = front.network
    network.module.eval()
    lengths = network.lengths(rows)
    batches = in_order(lengths, network.at_once)
    sizes = sizes_of(lengths, batches)
    device = next(network.module.parameters()).device
    took: list[float] = []
    chosen: list[int] = []
    for index in islice(telling(sizes), STEPS):
        began, spent = time.perf_counter(), front.spent
        batch = front.encoded(rows, batches[index])
        network.logits({name: tensor.to(device) for name, tensor in batch.items()}).float().cpu()
        took.append(time.perf_counter() - began - (front.spent - spent))
        chosen.append(index)
        if sum(took) > SECONDS / 2 and len(took) > 1:
            break
    return fit(sizes[chosen[1:]].tolist(), took[1:])


def batches_of(network: Network, rows: Rows) -> Sizes:
    """The sizes of all batches that `logits_of` makes of rows."""
    lengths = network.lengths(rows)
    return sizes_of(lengths, in_order(lengths, network.at_once))


def _checkpoints(training: Training, run_id: str, seconds: float) -> float:
    """Seconds of all checkpoints of a training that steps so long, and of sending its metrics."""
    epochs = training.recipe.schedule.epochs
    training.progress.judge(1, 0.0, 0.0, saved.trained_state(training.network))
    each = sorted(timed(training.keep) for _ in range(3))[1]
    many = Curves(run_id, training.work / "many.jsonl")
    many.add(0, {f"many/{index}": 0.0 for index in range(BATCH)})
    many.ship()
    metric = timed(many.settle) / BATCH
    often = seconds / epochs / max(runtime.checkpoint_seconds(), 1e-9)  # 0 seconds: after each step
    within = min(int(often), training.per_epoch - 1)
    return each * epochs * (1 + within) + metric * 3 * training.steps
