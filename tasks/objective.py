"""What a target asks of the numbers that a network gives: its loss, and its answer."""

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


def answers(target: Target, logits: Tensor) -> Tensor:
    """[N] class indices or numbers, or [N, K] of 0 and 1 (a label whose probability is above a half), of logits."""
    if target.kind == "multilabel":
        return (logits > 0).to(torch.int8)
    return logits.argmax(1) if target.kind == "class" else logits[:, 0]


def probabilities(target: Target, logits: Tensor) -> Tensor:
    """[N, K] of logits: one distribution a row, or one a label."""
    return logits.sigmoid() if target.kind == "multilabel" else logits.softmax(1)
