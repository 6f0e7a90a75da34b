"""The watch over the first step: exactly the weights that are meant to move have moved."""

import hashlib

from torch import Tensor, nn

from tasks.checkpoint import content
from tasks.frozen import GraftError
from tasks.methods import in_head

Hashes = dict[str, bytes]


def hashes(module: nn.Module) -> Hashes:
    """The SHA-256 of every weight and buffer by its name: a copy would be memory for the whole network once more."""
    return {name: _hash(tensor) for name, tensor in _all(module)}


def check_moved(before: Hashes, module: nn.Module, head: tuple[str, ...], whole: bool) -> None:
    """Compare a module with its `hashes` before the first optimizer step; gradients must still be there.

    Raises:
        GraftError: a frozen weight or (unless the `whole` trunk trains) a buffer changed, a weight with a
            gradient did not, or no gradient reached the head or anything at all outside it.
    """
    weights = dict(module.named_parameters())
    reached = {name: w.grad is not None and bool(w.grad.any()) for name, w in weights.items() if w.requires_grad}
    for name, tensor in _all(module):
        changed = _hash(tensor) != before[name]
        if changed and name in weights and name not in reached:
            raise GraftError(f"The frozen weight {name} changed in the first step.")
        if changed and name not in weights and not whole:
            raise GraftError(f"The frozen trunk's buffer {name} changed in the first step (batch-norm statistics?).")
        if reached.get(name) and not changed:
            raise GraftError(f"The weight {name} has a gradient but did not change: is the learning rate too small?")
    for part, inside in (("head", True), ("trunk", False)):
        marks = [hit for name, hit in reached.items() if in_head(name, head) is inside]
        if marks and not any(marks):
            raise GraftError(f"No gradient reached the {part}'s weights: what the method trains is not in use.")


def _all(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _hash(tensor: Tensor) -> bytes:
    return hashlib.sha256(content(tensor)).digest()
