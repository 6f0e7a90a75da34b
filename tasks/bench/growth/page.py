"""The curves as Markdown, with what must be said beside them."""

from collections.abc import Mapping, Sequence

from tasks.bench.growth.curves import Asked, Curve
from tasks.bench.growth.table import Line, cells
from tasks.bench.machine import Described
from tasks.bench.page import NO_PROOF, on, tabled


def markdown(asked: Asked, lines: Sequence[Line], failed: Mapping[str, str], machine: Described) -> str:
    """A table for each curve with its law, what failed, and the machine."""
    parts = [f"**{NO_PROOF}**"] if asked.quick else []
    for curve, one in zip(asked.curves, lines, strict=True):
        parts.append(f"`{curve.name}`: {headed(curve, one)}")
        parts.append(tabled(cells(one, curve.named)) if one.sizes else "Nothing was measured.")
    parts += ["\n".join(f"- failed: {name}: {why}" for name, why in failed.items())] if failed else []
    return "\n\n".join([*parts, how(asked), on(machine)]) + "\n"


def headed(curve: Curve, one: Line) -> str:
    """What the curve is, and its law."""
    law = f" Time: {one.law.told(one.unit, f'({one.axis})')}." if one.law else ""
    return f"{curve.about}.{law}"


def how(asked: Asked) -> str:
    """How the figures came about."""
    turns = f"{asked.repeats} turns" if asked.repeats > 1 else "One turn"
    return (
        f"{turns}; in each, every size once, each in a fresh process, one epoch. Time is of training alone: starting, "
        "loading, tokenising, validation and checkpoints are not in it; medians, with the lowest and highest turn. "
        "Memory is the process's highest until the end of training. Exponents are fitted to the logarithms of the "
        "medians by least squares; their intervals are Student's, and are about the law, not about another machine."
    )
