"""Rows as vectors for a linear probe: what the frozen trunk makes of them, or words and pixels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from tasks import runtime
from tasks.backbones.network import Network, Rows
from tasks.checks.subject import Subject
from tasks.pictures import open_picture
from tasks.rows import inputs_of

BATCH = 32
PIXELS = 12  # a side


def features(subject: Subject, table: pd.DataFrame) -> tuple[Any, str]:
    """[N, D] features of some rows (sparse where they are words), and what they are in words.

    A pretrained trunk gives the mean of its last states over a text's tokens, or what the head of a picture's network
    takes. Where nothing is pretrained, texts give their TF-IDF, pictures 12 x 12 pixels.
    """
    if subject.pretrained:
        return _trunk(subject.network, inputs_of(table), subject.tell), "the frozen trunk's features"
    if subject.is_text:
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = table[list(subject.names)].agg("\n".join, axis=1)
        words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
        try:
            return words.fit_transform(texts), "the words' TF-IDF"
        except ValueError:  # not one word in all texts
            return np.zeros((len(table), 1)), "the words' TF-IDF"
    return np.stack([_pixels(file) for file in table["image"]]), "their pixels"


def _pixels(file: bytes) -> np.ndarray:
    image = open_picture(file, 3).resize((PIXELS, PIXELS), Image.Resampling.BOX)
    return np.asarray(image, np.float32).ravel() / 255


@torch.inference_mode()
def _trunk(network: Network, rows: Rows, tell: Callable[[str], object]) -> np.ndarray:
    """[N, D]; batches are of similar length."""
    rows = network.ready(rows)
    order = np.argsort(network.lengths(rows), kind="stable").tolist()
    device = runtime.device()
    network.module.to(device).eval()
    parts = []
    with _caught(network) as caught:
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            batch = network.encode({name: [column[row] for row in chosen] for name, column in rows.items()})
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            network.logits(batch)
            parts.append(_mean(caught[-1], batch.get("attention_mask")).float().cpu())
            tell(f"row {start + len(chosen):,}/{len(order):,}")
    found: np.ndarray = torch.cat(parts)[torch.tensor(order).argsort()].numpy()
    return found


@contextmanager
def _caught(network: Network) -> Iterator[list[Tensor]]:
    """The last states [B, T, D] that a module outside the head gave, or else what the head took, by shape alone."""
    caught: list[Tensor] = []
    heads = [network.module.get_submodule(name) for name in network.head]
    inside = {id(module) for head in heads for module in head.modules()}

    def state(module: nn.Module, given: Any, out: Any) -> None:
        if isinstance(out, Tensor) and out.ndim == 3:
            caught[:] = [out]

    def taken(module: nn.Module, given: tuple[Any, ...]) -> None:
        if not caught or caught[-1].ndim != 3:
            caught[:] = [given[0]]

    hooks = [module.register_forward_hook(state) for module in network.module.modules() if id(module) not in inside]
    hooks.append(heads[0].register_forward_pre_hook(taken))
    try:
        yield caught
    finally:
        for hook in hooks:
            hook.remove()


def _mean(states: Tensor, mask: Tensor | None) -> Tensor:
    """[B, D] means over the tokens that the mask [B, T] marks."""
    if states.ndim == 2:
        return states
    weights = (torch.ones(states.shape[:2], device=states.device) if mask is None else mask)[..., None].to(states)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)
