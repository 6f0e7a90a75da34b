"""What a target asks of the numbers that a network gives: its loss, and its answer."""

import torch
from torch import Tensor, nn

from tasks.results import Target


class Objective(nn.Module):
    """Mean loss of logits [B, K] against labels [B]: cross-entropy for classes, squared error for a number.

    With `weights` (one a class), rare classes count more: rows / (classes * rows of the class).
    """

    def __init__(self, target: Target, labels: Tensor, balanced: bool) -> None:
        super().__init__()
        self.classes = target.labels is not None
        weights = None
        if balanced:
            weights = len(labels) / (target.outputs * torch.bincount(labels, minlength=target.outputs))
        self.register_buffer("weights", weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar in fp32."""
        if self.classes:
            return nn.functional.cross_entropy(logits.float(), labels, weight=self.weights)  # type: ignore[arg-type]
        return nn.functional.mse_loss(logits[:, 0].float(), labels.float())


def answers(target: Target, logits: Tensor) -> Tensor:
    """[N] class indices, or numbers, of logits [N, K]."""
    return logits.argmax(1) if target.labels is not None else logits[:, 0]
