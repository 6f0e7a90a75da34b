"""All that a training needs to go on as if it had never stopped."""

import dataclasses
import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks import checkpoint, saved
from tasks.backbones.network import Network
from tasks.checkpoint import Kept

State = dict[str, Tensor]


@dataclass
class Progress:
    """How far a training is, and the best it has seen on the validation rows."""

    step: int = 0
    rows: int = 0
    seconds: float = 0.0
    stale: int = 0  # epochs since the best
    best_epoch: int = 0
    best_score: float = -math.inf
    best_loss: float = math.inf
    best_state: State = field(default_factory=dict)

    def judge(self, epoch: int, score: float, loss: float, state: State, last: bool = False) -> None:
        """Keep the weights if the score is higher, or as high at a lower loss; with `last`, in any case."""
        self.stale += 1
        if last or (score, -loss) > (self.best_score, -self.best_loss):
            self.best_epoch, self.best_score, self.best_loss, self.stale = epoch, score, loss, 0
            self.best_state = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}

    def stopped(self, patience: int | None) -> bool:
        """Whether so many epochs have gone by without a better one."""
        return patience is not None and self.stale >= patience


def save(work: Path, network: Network, optimizer: Any, progress: Progress) -> None:
    """Write a checkpoint: trained weights, optimizer, random state, progress.

    Raises:
        GraftError: the disk is full; the checkpoint before is untouched.
    """
    moments = optimizer.state_dict()["state"]
    tensors = {
        "trained": saved.trained_state(network),
        "optimizer": {f"{index}.{name}": t for index, of in moments.items() for name, t in of.items()},
        "best": progress.best_state,
        "random": {"cpu": torch.get_rng_state()}
        | {f"cuda.{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())},
    }
    numbers = {name: value for name, value in vars(progress).items() if name != "best_state"}
    scaler = getattr(optimizer, "scaler", None)
    state = {
        "progress": numbers,
        "scaler": scaler.state_dict() if scaler else None,
        "python": random.getstate(),
        "numpy": [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()],
    }
    checkpoint.save_step(work / "checkpoints", progress.step, tensors, state)


def restore(found: Kept, network: Network, optimizer: Any) -> Progress:
    """Put what `checkpoint.last_step` found into the network, the optimizer and the generators."""
    tensors, state = found
    saved.restore(network, tensors["trained"], "trained")
    moments: dict[int, State] = {}
    for key, tensor in tensors["optimizer"].items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    if state["scaler"] and getattr(optimizer, "scaler", None):
        optimizer.scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(tensors["random"]["cpu"])
    for name, generator in tensors["random"].items():
        if name.startswith("cuda."):
            torch.cuda.set_rng_state(generator, int(name.removeprefix("cuda.")))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(tuple(state["numpy"]))
    return dataclasses.replace(Progress(**state["progress"]), best_state=tensors["best"])
