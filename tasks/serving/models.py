"""A registered version in memory, ready to answer. Versions that hold the same frozen weights hold them once."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor, nn

from tasks import registry, runtime, saved
from tasks.backbones.network import Network, Rows, logits_of
from tasks.backbones.text import TextNetwork
from tasks.checkpoint import content
from tasks.objective import confidence, probabilities, said
from tasks.results import Registered, Target


@dataclass(frozen=True, eq=False)
class Loaded:
    """A version that answers; `since` is when it was loaded."""

    version: Registered
    model: saved.Model
    since: datetime

    @property
    def inputs(self) -> tuple[str, ...]:
        """The fields that each row has."""
        return self.model.recipe.dataset.inputs

    def answers(self, rows: Rows, batch_size: int) -> list[dict[str, Any]]:
        """What it answers to each row, in words; `batch_size` rows at most go through the network at once."""
        return in_words(self.model.target, logits_of(self.model.network, rows, batch_size))


def in_words(target: Target, logits: Tensor) -> list[dict[str, Any]]:
    """Logits [N, K] as N answers: `label` (None where it abstains) and `confidence`, `labels`, or `score`.

    All but a score have the `probabilities` by label.
    """
    words = said(target, logits)
    if target.labels is None:
        return [{"score": score} for score in words]
    shares = [dict(zip(target.labels, row, strict=True)) for row in probabilities(target, logits).tolist()]
    if target.kind == "multilabel":
        return [{"labels": own, "probabilities": share} for own, share in zip(words, shares, strict=True)]
    sure = confidence(target, logits).tolist()
    return [
        {"label": label, "confidence": most, "probabilities": share}
        for label, most, share in zip(words, sure, shares, strict=True)
    ]


class Shared:
    """Frozen weights and tokenizers by their content; each is kept as long as a network holds it.

    It goes weight by weight, since two fine-tunes of one trunk differ in their frozen files: each has the random head
    that its adapter replaced, and another method gives other names.
    """

    def __init__(self) -> None:
        self._weights: WeakValueDictionary[str, nn.Parameter] = WeakValueDictionary()
        self._tokenizers: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def load(self, version: Registered) -> Loaded:
        """A version from the registry, its frozen weights shared with those loaded before it.

        Raises:
            GraftError: MLflow does not answer, or the files are damaged.
        """
        with TemporaryDirectory() as place:
            folder = registry.folder_of(version, Path(place))
            return Loaded(version, self.open(folder), datetime.now(UTC))

    def open(self, folder: Path) -> saved.Model:
        """A saved model, its frozen weights shared with those opened before it.

        Raises:
            GraftError: a file is missing or damaged.
        """
        model = saved.load(folder)
        model.network.module.to(runtime.device())
        self._share_weights(model.network)
        if isinstance(model.network, TextNetwork):
            mark = _mark(folder / "backbone", model.network.tokenizer.model_input_names)
            model.network.tokenizer = self._tokenizers.setdefault(mark, model.network.tokenizer)
        return model

    def _share_weights(self, network: Network) -> None:
        for module in network.module.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                if not weight.requires_grad:
                    setattr(module, name, self._weights.setdefault(_content(weight), weight))


def _content(weight: Tensor) -> str:
    """The hash of a weight's values, shape, type and place."""
    digest = hashlib.sha256(f"{weight.dtype} {weight.shape} {weight.stride()} {weight.device}".encode())
    digest.update(content(weight))
    return digest.hexdigest()


def _mark(backbone: Path, names: list[str]) -> str:
    """The hash of all that makes a tokenizer: its files, and the names of what the network takes of it."""
    digest = hashlib.sha256(str(names).encode())
    for file in sorted(backbone.iterdir()):
        if file.name != "config.json":  # the network's own, with its labels
            digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
