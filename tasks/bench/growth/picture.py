"""A curve as a picture: time with its law, and peak memory, both against the size."""

from pathlib import Path
from typing import Any

from tasks.bench.growth.table import Line
from tasks.plots import INK, panels


def draw(one: Line, file: Path, quick: bool) -> None:
    """Time on the left, logarithmic, with the range over turns at each size, memory on the right; at least one size."""
    drawn, (left, right) = panels(2)
    _times(left, one)
    right.plot(_places(one), [size.memory.middle / 1e6 for size in one.sizes], "o-", color=INK)
    right.set_ylim(bottom=0)
    for axes, told in ((left, one.unit), (right, "peak memory, MB")):
        axes.set_xscale("log")
        axes.set_xticks(_places(one), [f"{place:,.0f}" for place in _places(one)], rotation=45, ha="right")
        axes.xaxis.minorticks_off()
        axes.set(xlabel=one.axis, ylabel=told)
    drawn.suptitle(one.name + (" (--quick: no proof)" if quick else ""))
    drawn.savefig(file, dpi=120)


def _places(one: Line) -> list[float]:
    return [size.place for size in one.sizes]


def _times(axes: Any, one: Line) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    places, times = _places(one), [size.time for size in one.sizes]
    spread = [[own.middle - own.low for own in times], [own.high - own.middle for own in times]]
    axes.errorbar(places, [own.middle for own in times], yerr=spread, fmt="o", color=INK, capsize=3, label="measured")
    if one.law:
        ends = [places[0], places[-1]]
        label = f"~ size^{one.law.exponent:.2f}"
        axes.plot(ends, [one.law.at(end) for end in ends], "--", color="#d55e00", linewidth=1.5, label=label)
    axes.set_ylim(min(own.low for own in times) / 1.3, max(own.high for own in times) * 1.3)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend()
