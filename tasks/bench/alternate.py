"""Means that come and go within a process, batch by batch in turn: `python -m tasks.bench.alternate`, order on stdin.

A machine's speed drifts by more than one of them gains. So every batch is taken with each setting, one right after the
other and each time in another order, in one process: what drifts slowly meets all of them alike. And the fastest of
several takes counts: what interrupts one of them does not.
"""

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from tasks import runtime, tracking
from tasks.backbones.network import Batch
from tasks.batches import epoch_batches
from tasks.bench.orders import ALL, LAPS, PLAIN, Alternated, Lap, Laps, Part
from tasks.frozen import GraftError
from tasks.prepare import inputs_of
from tasks.speed.few_words import FewWords
from tasks.speed.quick import ANSWERING, TRAINING, Finder, Swaps, change, quicken, slow_down
from tasks.train import Training

Taking = TypeVar("Taking")
Way = Callable[[], AbstractContextManager[None]]  # makes a setting hold for a while
FEW = "few_words"


def measure(order: Alternated) -> list[Lap]:
    """Steps of a training, then answers to its validation rows, with every setting in turn.

    Raises:
        GraftError: what a training raises.
    """
    recipe, data = order.recipe, order.data
    with tempfile.TemporaryDirectory(dir=order.out) as folder:
        work = Path(folder)
        training = Training(recipe, data, work, tracking.begin(recipe, data, work / "run_id"))
        slow_down(training.quickened)
        training.progress.step = 1  # the first step is watched, which takes its time
        return [*_steps(training, order), *_answers(training, order)]


def _steps(training: Training, order: Alternated) -> Iterator[Lap]:
    """Laps of the first batches of the first epoch: forward, backward, and the optimizer's step."""
    recipe = training.recipe
    ways = {means: partial(_changed, swaps) for means, swaps in classes_of(training, TRAINING).items()}
    if training.words.table is not None:
        words = training.words
        with runtime.setting({"GRAFT_MEANS": PLAIN}):
            training.words = FewWords(training.network, training.inputs, training.optimizer)
        for means, way in ((FEW, ways[PLAIN]), (ALL, ways.get(ALL, ways[PLAIN]))):
            ways[means] = partial(_shortened, training, words, way)
    chosen = epoch_batches(training.lengths, recipe.schedule.batch_size, recipe.seed, 0)[: order.batches]
    batches = list(training.feed.epoch(chosen, recipe.seed, 0, 0))
    recipe.method.train_mode(training.network)

    def step(batch: tuple[Batch, Tensor]) -> None:
        training.update(*batch, training.rate())

    return laps_of("steps", order, ways, batches, step, sum(map(len, chosen)))


@contextmanager
def _changed(swaps: Swaps) -> Iterator[None]:
    plain = change(swaps)
    yield
    change(plain)


@contextmanager
def _shortened(training: Training, words: FewWords, way: Way) -> Iterator[None]:
    """With the words in use alone; before and after, the table is whole."""
    without, training.words = training.words, words
    words.shorten()
    with way():
        yield
    words.whole()
    training.words = without


def _answers(training: Training, order: Alternated) -> Iterator[Lap]:
    """Laps of answers to as many batches of validation rows, by the adapters as they are by now."""
    network, scored = training.network, training.scored
    ways = {means: partial(_changed, swaps) for means, swaps in classes_of(training, ANSWERING).items()}
    chosen = epoch_batches(network.lengths(scored), network.at_once, training.recipe.seed, 0)[: order.batches]
    batches = [network.encode({name: [told[row] for row in rows] for name, told in scored.items()}) for rows in chosen]
    device = training.accelerator.device
    network.module.eval()

    @torch.no_grad()
    def answer(batch: Batch) -> None:
        network.logits({name: tensor.to(device) for name, tensor in batch.items()}).cpu()

    return laps_of("answers", order, ways, batches, answer, sum(map(len, chosen)))


def classes_of(training: Training, by: Mapping[str, Finder]) -> dict[str, Swaps]:
    """Every setting that changes this network, with the classes that it gives to layers; and none."""
    found: dict[str, Swaps] = {PLAIN: {}}
    for means, finders in [*((mean, {mean: by[mean]}) for mean in by), (ALL, by)]:
        plain = quicken(training.network, inputs_of(training.rows), finders)
        if plain:
            found[means] = {layer: type(layer) for layer in plain}
        slow_down(plain)
    return found


def laps_of(
    part: Part,
    order: Alternated,
    ways: Mapping[str, Way],
    batches: Sequence[Taking],
    take: Callable[[Taking], None],
    rows: int,
) -> Iterator[Lap]:
    """All batches, each with every setting, in every turn; once before, which nobody counts."""
    settings = list(ways)
    for turn in range(order.repeats + 1):
        seconds = dict.fromkeys(settings, 0.0)
        for place, batch in enumerate(batches):
            fastest = dict.fromkeys(settings, math.inf)
            for number in range(order.takes if turn else 1):
                first = (place + number) % len(settings)
                for means in settings[first:] + settings[:first]:
                    with ways[means]():
                        began = time.perf_counter()
                        take(batch)
                        fastest[means] = min(fastest[means], time.perf_counter() - began)
            seconds = {means: told + fastest[means] for means, told in seconds.items()}
        if turn:
            yield from (Lap(part=part, means=means, turn=turn, rows=rows, seconds=seconds[means]) for means in settings)


def main() -> None:
    """Read the order, do it, and write what was measured to its folder; a GraftError is the last line of stderr."""
    order = Alternated.model_validate_json(sys.stdin.read())
    try:
        laps = measure(order)
    except GraftError as error:
        sys.exit(str(error))
    (order.out / LAPS).write_text(Laps(laps=tuple(laps)).model_dump_json())


if __name__ == "__main__":
    main()
