"""Pictures of a scorecard, drawn without a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from tasks.metrics import Truth, calibration_error, class_table, reliability
from tasks.results import Covered, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#1f5f8b"


def figure(width: float = 6.0, height: float = 5.0) -> tuple["Figure", Any]:
    """A figure with one set of axes, free of pyplot's global state."""
    drawn = _blank(width, height)
    return drawn, drawn.subplots()


def panels(count: int) -> tuple["Figure", Any]:
    """A figure with so many square sets of axes side by side."""
    drawn = _blank(4.5 * count, 4.5)
    return drawn, drawn.subplots(1, count)


def _blank(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure((width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn


def draw(truth: Truth, predicted: Truth, logits: Truth, target: Target, out: Path) -> None:
    """Confusion matrix and reliability for classes; F1 of every label; predicted against true for a number."""
    from scipy.special import softmax

    if target.labels is None:
        _scatter(truth, predicted, out / "predicted_against_true.png")
        return
    if target.kind == "multilabel":
        scores = [float(row["f1"]) for row in class_table(truth, predicted, target.labels)]
        bars(target.labels, scores, [(score, score) for score in scores], out / "labels.png", "F1 of each label")
        return
    _confusion(truth, predicted, target.labels, out / "confusion.png")
    told = {"as told": logits}
    if target.temperature != 1:
        told = {"without the temperature": logits * target.temperature, f"temperature {target.temperature:.2f}": logits}
    _reliability(truth, {name: softmax(values, axis=1) for name, values in told.items()}, out / "reliability.png")


def coverage(covered: Sequence[Covered], chosen: float | None, file: Path) -> None:
    """What abstaining would cost and gain, on validation rows; `chosen` is where the model abstains."""
    drawn, axes = figure()
    below = [one.below for one in covered]
    axes.plot(below, [one.coverage for one in covered], ".-", color="grey", label="rows answered")
    axes.plot(below, [one.accuracy for one in covered], ".-", color=INK, label="of those, right")
    if chosen is not None:
        axes.axvline(chosen, linestyle="--", color="black", linewidth=1, label=f"abstain_below {chosen:g}")
    axes.set(xlabel="abstain_below", ylabel="share", xlim=(0, 1), ylim=(0, 1.02), title="On the validation rows")
    axes.legend(loc="lower left")
    drawn.savefig(file, dpi=120)


def _confusion(truth: Truth, predicted: Truth, labels: Sequence[str], file: Path) -> None:
    counts = np.zeros((len(labels), len(labels)), int)
    np.add.at(counts, (truth, predicted), 1)
    drawn, axes = figure(2.5 + 0.55 * len(labels), 2 + 0.5 * len(labels))
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion (rows; shade: share of the true class)")
    for row, column in np.ndindex(counts.shape) if len(labels) <= 25 else ():
        if counts[row, column]:
            shade = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", color=shade, fontsize=8)
    drawn.savefig(file, dpi=120)


def _reliability(truth: Truth, told: Mapping[str, Truth], file: Path) -> None:
    """Probabilities [N, K] by name; the last are those of the model."""
    drawn, axes = figure()
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1, label="perfectly calibrated")
    for name, color in zip(told, [*["#c9c9c9"] * (len(told) - 1), INK], strict=True):
        confidence, accuracy, count = reliability(truth, told[name])
        label = f"{name}: error {calibration_error(truth, told[name]):.3f}"
        axes.scatter(confidence, accuracy, s=20 + 200 * count / count.max(), color=color, label=label)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title="Reliability")
    axes.legend()
    drawn.savefig(file, dpi=120)


def _scatter(truth: Truth, predicted: Truth, file: Path) -> None:
    drawn, axes = figure()
    axes.scatter(truth, predicted, s=8, alpha=0.4, color=INK)
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    axes.plot(ends, ends, "--", color="grey", linewidth=1)
    axes.set(xlabel="true", ylabel="predicted", title="Predicted against true")
    drawn.savefig(file, dpi=120)


def bars(
    names: Sequence[str],
    values: Sequence[float],
    spreads: Sequence[tuple[float, float]],
    file: Path | IO[bytes],
    told: str = "score on the test rows, with its 95 % interval",
) -> None:
    """Scores with their 95 % intervals as horizontal bars, the first on top."""
    drawn, axes = figure(7, 1.2 + 0.55 * len(names))
    errors = np.abs(np.array(spreads).T - np.array(values))
    axes.barh(names, values, xerr=errors, color=INK, ecolor="black", capsize=4)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel=told)
    for place, value in enumerate(values):
        axes.text(0.01, place, f"{value:.3f}", color="white", va="center", fontsize=9)
    drawn.savefig(file, dpi=120)
