"""Pictures of a comparison as SVG. Text and axes take the colour of the page's text: they read on any ground."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from tasks import plots
from tasks.comparison.table import Comparison, Line

INK = "#010203"  # stands for the page's own colour
COLORS = ("#2a86c8", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#8c7ae6")  # after Okabe and Ito: told apart by all
MARKS = "osD^vP"
STYLE: Any = {
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "graft", "font.size": 9,
    "axes.facecolor": "none", "figure.facecolor": "none", "legend.frameon": False,
}  # fmt: skip


def drawn(comparison: Comparison) -> dict[str, str]:
    """SVG texts by name: `scores`, `cost`, `learning`, and `rows` where there are several numbers of them.

    None where no run is finished.
    """
    if not comparison.top:
        return {}
    looks = {name: _look(place) for place, name in enumerate(dict.fromkeys(line.method for line in comparison.lines))}
    with mpl.rc_context(STYLE):
        found = {"scores": _scores(comparison, looks), "cost": _cost(comparison, looks)}
        found["learning"] = _learning(comparison, looks)
        if len(comparison.groups) > 1:
            found["rows"] = _rows(comparison, looks)
    return found


def front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """The places, by rising cost, of what nothing else beats in both: as cheap and better, or as good and cheaper."""
    found: list[int] = []
    for place in sorted(range(len(costs)), key=lambda place: (costs[place], -scores[place])):
        if not found or scores[place] > scores[found[-1]]:
            found.append(place)
    return found


Looks = Mapping[str, Mapping[str, Any]]


def _look(place: int) -> dict[str, Any]:
    return {"color": COLORS[place % len(COLORS)], "marker": MARKS[place % len(MARKS)]}


def _text(figure: Figure) -> str:
    """The figure as an `<svg>` element to put into a page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")


def _points(lines: Sequence[Line]) -> tuple[list[float], Any]:
    """Scores times 100, and how far their intervals reach below and above, [2, N]."""
    scores = [line.score for line in lines if line.score]
    values = [100 * score.value for score in scores]
    return values, np.array([[100 * (s.value - s.low) for s in scores], [100 * (s.high - s.value) for s in scores]])


def _legend(axes: Any) -> None:
    """Beside the picture: within it, it would lie on the lines."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)


def _scores(comparison: Comparison, looks: Looks) -> str:
    lines = comparison.top
    figure, axes = plots.figure(6.4, 1.2 + 0.4 * len(lines))
    values, errors = _points(lines)
    for place, line in enumerate(lines):
        axes.errorbar(values[place], place, xerr=errors[:, [place]], capsize=4, markersize=7, **looks[line.method])
    axes.set_yticks(range(len(lines)), [line.method for line in lines])
    axes.set(ylim=(len(lines) - 0.5, -0.5), xlabel=f"{comparison.metric} x 100, with its 95 % interval")
    axes.grid(axis="x", alpha=0.25)
    return _text(figure)


def _cost(comparison: Comparison, looks: Looks) -> str:
    lines = [line for line in comparison.top if line.costs]
    figure, axes = plots.figure(6.4, 3.8)
    values, errors = _points(lines)
    seconds = [line.costs.seconds for line in lines if line.costs]
    best = front(seconds, values)
    axes.plot([seconds[place] for place in best], [values[place] for place in best], "--", color=INK, alpha=0.6,
              label="Pareto front")  # fmt: skip
    for place, line in enumerate(lines):
        axes.errorbar(
            seconds[place], values[place], yerr=errors[:, [place]], capsize=3, markersize=8, label=line.method,
            linestyle="none", **looks[line.method],
        )  # fmt: skip
    axes.set(xlabel="seconds of training", ylabel=f"{comparison.metric} x 100", xlim=(0, None))
    axes.grid(alpha=0.25)
    _legend(axes)
    return _text(figure)


def _learning(comparison: Comparison, looks: Looks) -> str:
    figure, axes = plots.figure(6.4, 3.8)
    for line in comparison.top:
        epochs = range(1, len(line.curve) + 1)
        axes.plot(epochs, [100 * one.mean for one in line.curve], label=line.method, markersize=5, **looks[line.method])
        low, high = ([100 * getattr(one, end) for one in line.curve] for end in ("low", "high"))
        axes.fill_between(epochs, low, high, color=looks[line.method]["color"], alpha=0.15, linewidth=0)
    axes.set(xlabel="epoch", ylabel=f"{comparison.metric} x 100 on validation rows")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    _legend(axes)
    return _text(figure)


def _rows(comparison: Comparison, looks: Looks) -> str:
    figure, axes = plots.figure(6.4, 3.8)
    for name, look in looks.items():
        lines = sorted(
            (line for line in comparison.lines if line.method == name and line.score), key=lambda line: line.rows
        )
        if lines:
            values, errors = _points(lines)
            axes.errorbar(
                [line.rows for line in lines], values, yerr=errors, capsize=3, markersize=6, label=name, **look
            )
    ticks = sorted({line.rows for line in comparison.lines})
    axes.set(xscale="log", xlabel="training rows, validation among them", ylabel=f"{comparison.metric} x 100")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    _legend(axes)
    return _text(figure)
