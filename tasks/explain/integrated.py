"""Integrated gradients that add up: what every part of an input gave to one of the network's outputs."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from tasks.backbones.ways import Way
from tasks.frozen import GraftError
from tasks.objective import probabilities, weighed
from tasks.results import Target

FEWEST, MOST = 32, 1024  # steps
AT_ONCE = 32  # points of the way in one batch
SHARE, LEAST = 0.01, 0.01  # of the output's change, and in logits: what the attributions may miss


@dataclass(frozen=True)
class Integrated:
    """Attributions to one output of one row.

    Attributes:
        values: [1, ...] of the way's shape, in logits; they add up to `logit - baseline`.
        logit: the output for the row.
        baseline: the output for the input that says nothing.
        error: what the sum misses, in logits (at most 0.01, or 1 % of the larger of both sides).
        steps: points on the way.
    """

    values: Tensor
    logit: float
    baseline: float
    error: float
    steps: int


def integrated(way: Way, output: int, most: int = MOST) -> Integrated:
    """Attributions along a way; the steps are doubled until they add up to the change of the output.

    Source: Sundararajan et al., Axiomatic Attribution for Deep Networks (2017), equation 1 and proposition 1.

    Raises:
        GraftError: they do not with `most` steps.
    """
    with torch.no_grad():
        baseline, logit = (float(way.logits(point)[0, output]) for point in (way.start, way.end))
    gradients, steps = IntegratedGradients(way.logits), FEWEST
    while True:
        values = gradients.attribute(
            way.end, way.start, target=output, n_steps=steps, internal_batch_size=min(AT_ONCE, steps)
        )
        total = float(values.double().sum())
        error = abs(total - (logit - baseline))
        if error <= max(LEAST, SHARE * max(abs(total), abs(logit - baseline))):
            return Integrated(values.detach(), logit, baseline, error, steps)
        if steps * 2 > most:
            raise GraftError(
                f"With {steps} steps the attributions add up to {total:.3f}, but the logit changes by "
                f"{logit - baseline:.3f}: they would not be true. This network is too rough along the way to this "
                "input; ask about a shorter or another one."
            )
        steps *= 2


class Output(NamedTuple):
    """One of a network's outputs: its place; its label and the probability of that, None where it is a number."""

    place: int
    label: str | None
    confidence: float | None

    def __str__(self) -> str:
        return "the number" if self.label is None else self.label


def output_of(target: Target, logits: Tensor, label: str | None) -> Output:
    """The output to explain: that of `label`, or the one that the network answers with (logits are [1, K]).

    Raises:
        GraftError: there is no such label.
    """
    if target.labels is None:
        if label is not None:
            raise GraftError(f"The model answers a number, so there is no label {label!r}. Leave --label out.")
        return Output(0, None, None)
    if label is not None and label not in target.labels:
        raise GraftError(f"{label!r} is no label of this model. Valid: {', '.join(target.labels)}.")
    index = int(weighed(target, logits)[0].argmax()) if label is None else target.labels.index(label)
    return Output(index, target.labels[index], float(probabilities(target, logits)[0, index]))
