"""A curve as a picture: time with its law, and peak memory, both against the size; logarithmic."""

from pathlib import Path

from tasks.bench.growth.table import Line
from tasks.plots import INK, panels


def draw(one: Line, file: Path, quick: bool) -> None:
    """Time on the left, the range over turns at each size, and memory on the right; at least one size."""
    drawn, (left, right) = panels(2)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
    places, times = [size.place for size in one.sizes], [size.time for size in one.sizes]
    spread = [[own.middle - own.low for own in times], [own.high - own.middle for own in times]]
    left.errorbar(places, [own.middle for own in times], yerr=spread, fmt="o", color=INK, capsize=3, label="measured")
    if one.law:
        ends = [places[0], places[-1]]
        label = f"~ size^{one.law.exponent:.2f}"
        left.plot(ends, [one.law.at(end) for end in ends], "--", color="#d55e00", linewidth=1.5, label=label)
    right.plot(places, [size.memory.middle / 1e6 for size in one.sizes], "o-", color=INK)
    for axes, told in ((left, one.unit), (right, "peak memory, MB")):
        axes.set_xticks(places, [f"{place:,.0f}" for place in places], rotation=45, ha="right")
        axes.minorticks_off()
        axes.set(xlabel=one.axis, ylabel=told)
    left.legend()
    drawn.suptitle(one.name + (" (--quick: no proof)" if quick else ""))
    drawn.savefig(file, dpi=120)
