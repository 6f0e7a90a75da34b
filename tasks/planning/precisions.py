"""Real steps in each precision that a device computes in, in turn: which to train in is seen by timing, not by name."""

from functools import partial
from itertools import islice
from pathlib import Path

from torch import Tensor

from tasks import runtime
from tasks.batches import epoch_batches
from tasks.optimizer import trained
from tasks.planning.front import Front
from tasks.planning.pace import sizes_of, telling, timed
from tasks.recipe import Recipe
from tasks.results import Prepared
from tasks.runtime import Precision
from tasks.screen import bar
from tasks.speed import mixed
from tasks.train import Training

BATCHES = 3  # a short one, a long one and one between
TAKES = 3  # of each batch; the fastest counts, for the first makes what later ones find
SLOW = 2.0  # times as long as in fp32 on a short batch: it is not tried further

Seconds = dict[Precision, float]


def speeds(
    recipe: Recipe, data: Prepared, work: Path, run_id: str, start: Path | None = None
) -> dict[Precision, float]:
    """How many times as fast as in fp32 a step goes in each precision; fp32 itself is 1.

    The training that is tried is made anew in `work` and left there; none of its steps moves a weight.

    Raises:
        GraftError: what the training itself would raise as it begins.
    """
    work.mkdir(parents=True, exist_ok=True)
    with runtime.setting({"GRAFT_PRECISION": "fp32"}):
        training = Training(recipe, data, work, run_id, start)
        front = Front(training)
        training.run_on = front.network
        recipe.method.train_mode(training.network)
        training.words.shorten()
        return _tried(training, front)


def _tried(training: Training, front: Front) -> dict[Precision, float]:
    recipe = training.recipe
    batches = epoch_batches(training.lengths, recipe.schedule.batch_size, recipe.seed, 0)
    chosen = list(islice(telling(sizes_of(training.lengths, batches)), BATCHES))
    left: list[Precision] = ["fp32", "bf16", *(("fp16",) if training.accelerator.device.type == "cuda" else ())]
    found: dict[Precision, float] = {}
    total: Seconds = dict.fromkeys(left, 0.0)
    with bar("try precisions", len(chosen)) as shown:
        for inputs, labels in front.fed(batches, chosen):
            for kind, seconds in _steps(training, inputs, labels, left).items():
                total[kind] += seconds
            found |= {kind: total["fp32"] / total[kind] for kind in left}
            left = [kind for kind in left if SLOW * found[kind] > 1]
            shown.advance(", ".join(f"{kind} {speed:.2f}" for kind, speed in found.items()))
    return found


def _steps(training: Training, inputs: dict[str, Tensor], labels: Tensor, kinds: list[Precision]) -> Seconds:
    """Seconds of a step on one batch, in each precision."""
    device = training.accelerator.device
    batch = {name: tensor.to(device) for name, tensor in inputs.items()}
    truth = labels.to(device)

    def there_and_back(kind: Precision) -> None:
        training.optimizer.zero_grad()
        with mixed.precision(kind, device):
            logits = training.run_on.logits(batch)
        training.objective(logits.float(), truth).backward()

    best: Seconds = {}
    for _ in range(TAKES):
        for kind in reversed(kinds):  # fp32 last: no gradient of 16 bits is in what comes after
            took = timed(partial(there_and_back, kind))
            best[kind] = min(took, best.get(kind, took))
    rest = min(timed(partial(_update, training)) for _ in range(TAKES))
    return {kind: seconds + rest for kind, seconds in best.items()}


def _update(training: Training) -> None:
    """What is the same in all of them; at a rate of 0, which moves nothing."""
    for group in training.optimizer.param_groups:
        group["lr"] = 0.0
    training.accelerator.clip_grad_norm_(trained(training.optimizer), training.recipe.schedule.clip)
    training.optimizer.step()
