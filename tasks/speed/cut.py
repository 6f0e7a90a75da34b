"""Where the frozen front of a network ends, and the rest of it run on what the front gave."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tasks.backbones.network import Batch, Network, Rows, adaptable

TRIES = 64  # ends of modules, from the latest that is allowed
TOLERANCE = 1e-4  # of logits, by their size


@dataclass(frozen=True)
class Cut:
    """The front's end.

    Attributes:
        front: the modules that need not run once the front's output is known.
        last: the module whose output that is.
        place: its name.
        by_token: the output is [B, T, ...], T the tokens of the batch's longest row; else [B, ...] of one shape.
    """

    front: tuple[nn.Module, ...]
    last: nn.Module
    place: str
    by_token: bool

    @contextmanager
    def passed(self, features: Tensor) -> Iterator[None]:
        """While the body runs, the front gives `features` at once."""
        for module in self.front:
            module.__dict__["forward"] = lambda *_, **__: features
        try:
            yield
        finally:
            for module in self.front:
                del module.__dict__["forward"]

    @torch.inference_mode()
    def features(self, network: Network, batch: Batch) -> Tensor:
        """What the front gives for a batch, in 32 bits whatever it was; what follows it does not run."""
        reached: list[Tensor] = []

        def stop(_: nn.Module, __: Any, out: Tensor) -> None:
            reached.append(out)
            raise _Reached

        hook = self.last.register_forward_hook(stop)
        try:
            network.logits(batch)
        except _Reached:
            return reached[0].float()
        finally:
            hook.remove()
        raise AssertionError("the network did not run its own module")


class _Reached(Exception):
    """The front has ended."""


@torch.no_grad()
def find(network: Network, rows: Rows) -> Cut | None:
    """The latest place before which nothing trains and behind which nothing else of the front is needed.

    Every candidate is tried out: on short and on long rows, the rest must give the same logits from its output alone.
    None where there is no such place with a layer worth sparing before it.

    Args:
        network: in eval mode, as the method trains it.
        rows: the inputs as `ready` gives them.
    """
    lengths = network.lengths(rows)
    order = np.argsort(lengths, kind="stable").tolist()
    names = {module: name for name, module in network.module.named_modules()}
    with _shaken(network.module):
        tries = [_Try(network, rows, part) for part in (order[:2], order[-2:])]
        allowed = _before_training(network.module, lambda: network.logits(tries[0].batch))
        for count in range(len(allowed), max(0, len(allowed) - TRIES), -1):
            last = allowed[count - 1]
            front = _outermost([child for child in allowed[:count] if child is last or _weighs(child)])
            if not any(adaptable(child) for module in front for child in module.modules()):
                return None
            cut = Cut(front, last, names[last], bool(lengths.any()))
            shapes = [one.shape_behind(network, cut) for one in tries]
            if (by_token := _by_token(shapes, cut.by_token)) is not None:
                return replace(cut, by_token=by_token)
    return None


@contextmanager
def _shaken(module: nn.Module) -> Iterator[None]:
    """While the body runs, all that trains is random: an adapter that still adds nothing would hide what it reads."""
    kept = {weight: weight.clone() for weight in module.parameters() if weight.requires_grad}
    drawn = torch.Generator().manual_seed(0)  # its own, so that the training's random state is untouched
    try:
        for weight in kept:
            weight.add_(0.1 * torch.randn(weight.shape, generator=drawn).to(weight.device))
        yield
    finally:
        for weight, value in kept.items():
            weight.copy_(value)


class _Try:
    """A few rows, and what the whole network answers to them."""

    def __init__(self, network: Network, rows: Rows, chosen: Sequence[int]) -> None:
        self._rows = {name: [column[row] for row in chosen] for name, column in rows.items()}
        device = next(network.module.parameters()).device
        self.batch = {name: tensor.to(device) for name, tensor in network.encode(self._rows).items()}
        self._logits = network.logits(self.batch)

    def shape_behind(self, network: Network, cut: Cut) -> tuple[tuple[int, ...], int] | None:
        """Of what the front gives, and the last dimension of the inputs; None if the rest then answers otherwise."""
        given = cut.features(network, self.batch)
        try:
            with cut.passed(given):
                beside = network.beside(self._rows, given)
                found = network.logits({name: tensor.to(given.device) for name, tensor in beside.items()})
        except (RuntimeError, ValueError, TypeError, IndexError):  # something behind it needs another form
            return None
        alike = found.shape == self._logits.shape and torch.allclose(found, self._logits, TOLERANCE, TOLERANCE)
        rowwise = given.ndim > 1 and len(given) == len(found)
        return (tuple(given.shape[1:]), next(iter(self.batch.values())).shape[-1]) if alike and rowwise else None


def _before_training(module: nn.Module, run: Callable[[], Any]) -> list[nn.Module]:
    """The modules that give a tensor before one that trains begins, in the order in which they end."""
    begun: list[nn.Module] = []
    with _hooked(module, begun.append, lambda *_: None):
        run()
    training = _first_called(module, set(begun))
    ended: list[nn.Module] = []
    over: list[nn.Module] = []

    def begin(child: nn.Module) -> None:
        over.extend([child] * (child in training))

    def end(child: nn.Module, out: Any) -> None:
        if not over and isinstance(out, Tensor):
            ended.append(child)

    with _hooked(module, begin, end):
        run()
    return ended


@contextmanager
def _hooked(
    module: nn.Module, begin: Callable[[nn.Module], None], end: Callable[[nn.Module, Any], None]
) -> Iterator[None]:
    """Tell of the begin and the end of every module inside while the body runs."""
    hooks = [child.register_forward_pre_hook(lambda own, _: begin(own)) for child in module.modules()]
    hooks += [child.register_forward_hook(lambda own, _, out: end(own, out)) for child in module.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _first_called(module: nn.Module, called: set[nn.Module]) -> set[nn.Module]:
    """Of every module with weights of its own that train, itself or, if its parent reads them, the next one called."""
    found = set()
    for name, child in module.named_modules():
        if any(weight.requires_grad for weight in child.parameters(recurse=False)):
            place = name
            while place and module.get_submodule(place) not in called:
                place = place.rpartition(".")[0]
            found.add(module.get_submodule(place))
    return found


def _weighs(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _outermost(ended: Sequence[nn.Module]) -> tuple[nn.Module, ...]:
    """Those that lie in no other of them."""
    inside = {child for parent in ended for child in parent.modules() if child is not parent}
    return tuple(child for child in dict.fromkeys(ended) if child not in inside)


def _by_token(shapes: Sequence[tuple[tuple[int, ...], int] | None], tokens: bool) -> bool | None:
    """Whether outputs of such shapes (see `shape_behind`) hold a part for each token, if the inputs have `tokens`.

    None if they fit no file.
    """
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes):
        return None
    one_width = len({shape[1:] for shape, _ in known}) == 1
    if tokens and one_width and all(len(shape) > 1 and shape[0] == longest for shape, longest in known):
        return True
    return False if len({shape for shape, _ in known}) == 1 else None
