"""What a target asks of the numbers that a network gives: its loss, its probabilities and its answer."""

from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn

from tasks.results import Target


class Objective(nn.Module):
    """Mean loss of logits [B, K] against labels.

    Cross-entropy for classes [B]; binary cross-entropy of every label for several labels a row [B, K]; squared error
    for a number [B]. With `balanced`, rare classes count more: rows / (classes * rows of the class); of several
    labels, each one's presence counts (rows without it) / (rows with it) times.
    """

    def __init__(self, target: Target, labels: Tensor, balanced: bool) -> None:
        super().__init__()
        self.kind = target.kind
        weights = None
        if balanced and target.kind == "multilabel":
            present = labels.sum(0)
            weights = (len(labels) - present) / present
        elif balanced:
            weights = len(labels) / (target.outputs * torch.bincount(labels, minlength=target.outputs))
        self.register_buffer("weights", weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar in fp32."""
        weights: Tensor | None = self.weights  # type: ignore[assignment]
        if self.kind == "class":
            return nn.functional.cross_entropy(logits.float(), labels, weight=weights)
        if self.kind == "multilabel":
            loss = nn.functional.binary_cross_entropy_with_logits
            return loss(logits.float(), labels.float(), pos_weight=weights)
        return nn.functional.mse_loss(logits[:, 0].float(), labels.float())


def weighed(target: Target, logits: Tensor) -> Tensor:
    """[N, K] logits moved by the thresholds: the largest, or every one above 0, is the answer."""
    if target.thresholds is None:
        return logits
    limits = torch.tensor(target.thresholds, dtype=torch.float64)
    return logits.double() - (limits.logit() if target.kind == "multilabel" else limits.log()).to(logits.device)


def answers(target: Target, logits: Tensor) -> Tensor:
    """[N] class indices or numbers, or [N, K] of 0 and 1, of logits; where it would abstain, what it holds likeliest.

    Where nothing was tuned it is the likeliest class, or each label whose probability is above a half.
    """
    if target.kind == "multilabel":
        return (weighed(target, logits) > 0).to(torch.int8)
    return weighed(target, logits).argmax(1) if target.kind == "class" else logits[:, 0]


def confidence(target: Target, logits: Tensor) -> Tensor:
    """[N] the probability of the class that is answered."""
    return logits.softmax(1).gather(1, answers(target, logits)[:, None])[:, 0]


def words(target: Target, values: list[Any]) -> list[Any]:
    """[N] labels, lists of labels or numbers: what class indices, rows of 0 and 1, or numbers stand for."""
    if target.labels is None:
        return values
    if target.kind == "multilabel":
        return [list(compress(target.labels, row)) for row in values]
    return [target.labels[index] for index in values]


def said(target: Target, logits: Tensor) -> list[Any]:
    """[N] answers in words, None where it abstains."""
    found = words(target, answers(target, logits).tolist())
    if target.abstain_below is None:
        return found
    sure = (confidence(target, logits) >= target.abstain_below).tolist()
    return [answer if enough else None for answer, enough in zip(found, sure, strict=True)]


def probabilities(target: Target, logits: Tensor) -> Tensor:
    """[N, K] of logits: one distribution a row, or one a label."""
    return logits.sigmoid() if target.kind == "multilabel" else logits.softmax(1)
