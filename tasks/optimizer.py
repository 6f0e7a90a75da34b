"""The optimizer of the one loop."""

from typing import Any

import torch
from torch import Tensor, nn


def adamw(module: nn.Module, rate: float, decay: float) -> torch.optim.Optimizer:
    """AdamW in one kernel on the weights that train; biases and norms (one dimension at most) do not decay.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019).
    """
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, fused=True)


def trained(optimizer: Any) -> list[Tensor]:
    """The weights that it trains."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]
