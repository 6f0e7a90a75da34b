"""How many times as fast each work is, as bars with the goals."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tasks.bench.table import Line
from tasks.plots import INK, figure


def draw(lines: Sequence[Line], file: Path, quick: bool) -> None:
    """A bar for every work, with the range over turns and a mark at its goal; the scale is logarithmic."""
    drawn, axes = figure(7.5, 1.4 + 0.55 * len(lines))
    speeds = [one.speed for one in lines]
    middles = np.array([own.middle for own in speeds])
    errors = np.array([[own.middle - own.low, own.high - own.middle] for own in speeds]).T
    goals = [one.work.goal for one in lines]
    places = np.arange(len(lines))
    axes.barh(places, middles, xerr=errors, color=INK, ecolor="black", capsize=3, height=0.6)
    axes.vlines(goals, places - 0.42, places + 0.42, color="#d55e00", linewidth=2, label="goal")
    axes.axvline(1, color="grey", linewidth=1, linestyle="--")
    for place, own in enumerate(speeds):
        axes.text(max(own.high, 1) * 1.04, place, f"{own.middle:.2f}", va="center", fontsize=8)
    axes.set_yticks(places, [one.name for one in lines])
    axes.invert_yaxis()
    axes.set_xscale("log")
    ticks = [tick for tick in (0.25, 0.5, 1, 2, 5, 10, 20, 50) if tick <= 1.3 * max(*middles, *goals)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlim=(min(0.5, *middles * 0.8), 1.5 * max(*middles, *goals)))
    axes.set(xlabel="times as many rows a second as what stands beside it" + (" (--quick: no proof)" if quick else ""))
    axes.legend(loc="lower right")
    drawn.savefig(file, dpi=120)
