"""From a network's numbers to answers: a temperature, thresholds, and when to answer nothing.

Fitted on validation rows alone, never on those that a score is told of. Works on numbers alone.
"""

import math
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tasks.frozen import Frozen
from tasks.metrics import Truth, score
from tasks.objective import answers, confidence, probabilities
from tasks.results import Covered, Target

HOTTEST = 20.0  # the temperature lies between this and its inverse
ROUNDS = 3  # times that every class's threshold is looked at, each beside the others as they are by then
CUTS = (*(round(0.05 * step, 2) for step in range(20)), 0.99)
CLOSEST = 1e-6  # of a threshold to 0 and 1


class Decision(Frozen):
    """How outputs become answers; `auto` is fitted on the validation rows of the weights that are kept."""

    temperature: Literal["auto"] | None = Field(
        "auto", description="auto: confidences are scaled to be true on the validation rows; no answer changes"
    )
    thresholds: Literal["auto"] | None = Field(
        None,
        description="auto: each class's threshold is tuned for the headline metric, each of several labels for its F1",
    )
    abstain_below: float | None = Field(
        None, gt=0, lt=1, description="a less confident row is answered with no label; its probabilities are told"
    )

    def check_fit(self, target: str) -> None:
        """Whether answers of this kind can be decided so.

        Raises:
            ValueError: they cannot.
        """
        if self.thresholds and target == "number":
            raise ValueError("decision.thresholds are for classes, but the data set's target is a number")
        if self.abstain_below is not None and target != "class":
            raise ValueError(f"decision.abstain_below is for one class a row, but the data set's target is {target!r}")


def decided(decision: Decision, target: Target, headline: str, truth: Truth, logits: Tensor) -> Target:
    """The target with all that was fitted on validation rows.

    Args:
        decision: what is wanted.
        target: the classes.
        headline: the metric that a class's threshold is tuned for.
        truth: [N] class indices or numbers, or [N, K] labels of 0 and 1.
        logits: [N, K] of these rows, as the network gives them.
    """
    if target.labels is None:
        return target
    heat = temperature(target, truth, logits) if decision.temperature else 1.0
    target = target.model_copy(update={"temperature": heat, "abstain_below": decision.abstain_below})
    if not decision.thresholds:
        return target
    tuned = _of_labels if target.kind == "multilabel" else _of_classes
    return target.model_copy(update={"thresholds": tuned(target, headline, truth, logits / heat)})


def temperature(target: Target, truth: Truth, logits: Tensor) -> float:
    """What logits [N, K] are to be divided by, so that the rows' labels are the least surprising (log loss).

    One row more is thought to be there, labelled with every class alike: without it, rows that are all answered right
    would make every confidence 1.

    Source: Guo et al., On Calibration of Modern Neural Networks (2017), section 4.2; the smoothed labels as in Platt,
    Probabilistic Outputs for Support Vector Machines (1999), section 2.2.
    """
    from scipy.optimize import minimize_scalar

    if float(np.ptp(logits.numpy())) == 0:
        return 1.0  # no temperature tells such rows apart
    several, numbers = target.kind == "multilabel", logits.double()
    labels = torch.tensor(truth)
    share, alike = 1 / (len(truth) + 1), 1 / (2 if several else target.outputs)
    wanted = labels.double() if several else nn.functional.one_hot(labels.long(), target.outputs).double()
    wanted = (1 - share) * wanted + share * alike
    loss = nn.functional.binary_cross_entropy_with_logits if several else nn.functional.cross_entropy
    edge = math.log(HOTTEST)
    found = minimize_scalar(
        lambda log: float(loss(numbers / math.exp(log), wanted)), bounds=(-edge, edge), method="bounded"
    )
    return math.exp(float(found.x))


def _of_labels(target: Target, headline: str, truth: Truth, logits: Tensor) -> tuple[float, ...]:
    """For every label the probability above which its F1 is highest; a half where no other does better."""
    shares = probabilities(target, logits).double().numpy()
    return tuple(_best_f1(own, share) for own, share in zip(truth.T, shares.T, strict=True))


def _best_f1(truth: Truth, shares: Truth) -> float:
    order = np.argsort(-shares, kind="stable")
    sorted_shares, hits = shares[order], np.cumsum(truth[order], dtype=float)
    f1 = 2 * hits / (np.arange(1, len(truth) + 1) + truth.sum(dtype=float))
    limits = np.append((sorted_shares[:-1] + sorted_shares[1:]) / 2, sorted_shares[-1] / 2)
    possible = np.append(sorted_shares[:-1] > sorted_shares[1:], True)  # rows of one probability stay together
    plain = float(f1[(shares > 0.5).sum() - 1]) if (shares > 0.5).any() else 0.0
    best = f1[possible].max(initial=0.0)
    if best <= plain:
        return 0.5
    equal = limits[possible][f1[possible] == best]
    return float(np.clip(equal[np.abs(equal - 0.5).argmin()], CLOSEST, 1 - CLOSEST))


def _of_classes(target: Target, headline: str, truth: Truth, logits: Tensor) -> tuple[float, ...]:
    """Thresholds t of the rule argmax p / t that sum to 1, class by class, as long as the headline's score rises.

    For two classes it is one threshold of the second one's probability.
    """
    numbers = logits.double().log_softmax(1).numpy()
    moved, best = np.zeros(target.outputs), score(headline, truth, numbers.argmax(1))
    for _ in range(ROUNDS):
        before = best
        for place in range(target.outputs):
            moved[place], best = _best_shift(headline, truth, numbers + moved, place, moved[place], best)
        if best == before:
            break
    limits = np.exp(-(moved - moved.min()))  # each at most 1: none overflows
    return tuple(np.clip(limits / limits.sum(), CLOSEST, 1 - CLOSEST).tolist())


def _best_shift(
    headline: str, truth: Truth, numbers: Truth, place: int, now: float, best: float
) -> tuple[float, float]:
    """The shift of one class's logits with the best score, and that score; `now` where none beats `best`."""
    others = np.delete(numbers, place, axis=1)
    rivals = np.delete(np.arange(numbers.shape[1]), place)[others.argmax(1)]
    gaps = others.max(1) - numbers[:, place]  # by how much more a row goes over to this class
    edges = np.unique(gaps)
    cuts = (edges[:-1] + edges[1:]) / 2
    most = max(11, 1000 // numbers.shape[1])
    if len(cuts) > most:
        cuts = cuts[np.linspace(0, len(cuts) - 1, most).astype(int)]
    found, value = now, best
    for cut in cuts[np.argsort(np.abs(cuts), kind="stable")].tolist():  # of equal ones the smallest step
        got = score(headline, truth, np.where(gaps < cut, place, rivals))
        if got > value:
            found, value = now + cut, got
    return found, value


def coverage(target: Target, truth: Truth, logits: Tensor) -> tuple[Covered, ...]:
    """For rising confidences the share of rows that are at least so sure, and how many of these are right.

    `logits` are the network's with its temperature in them. Empty where a row does not have one class.

    Source: Geifman and El-Yaniv, Selective Classification for Deep Neural Networks (2017), section 2.
    """
    if target.kind != "class":
        return ()
    sure, right = confidence(target, logits).numpy(), answers(target, logits).numpy() == truth
    return tuple(
        Covered(below=cut, coverage=float((sure >= cut).mean()), accuracy=float(right[sure >= cut].mean()))
        for cut in sorted({*CUTS, *([target.abstain_below] if target.abstain_below else [])})
        if (sure >= cut).any()
    )
