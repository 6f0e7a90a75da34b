"""The power law of a curve: `value ~ size^exponent`, by least squares on the logarithms."""

from collections.abc import Sequence

import numpy as np

from tasks.frozen import Frozen

SURE = 0.95


class Law(Frozen):
    """A fitted power law.

    Attributes:
        exponent: 1 where twice the size takes twice as long, 2 where it takes four times as long.
        factor: the value at size 1.
        error: the exponent's standard error; None, as the interval is, where two sizes alone leave nothing to judge by.
        low, high: ends of its 95 % interval.
    """

    exponent: float
    factor: float
    error: float | None = None
    low: float | None = None
    high: float | None = None

    def at(self, size: float) -> float:
        """The value that it gives a size."""
        return float(self.factor * size**self.exponent)

    def told(self, value: str, size: str) -> str:
        """The law in words and figures."""
        law = f"{value} ~ {size}^{self.exponent:.2f}"
        if self.error is None:
            return f"{law} (two sizes: no interval)"
        return f"{law} (standard error {self.error:.2f}; 95 %: {self.low:.2f} to {self.high:.2f})"


def fitted(sizes: Sequence[float], values: Sequence[float]) -> Law | None:
    """The law of values [N] at sizes [N], all above 0; None where there are not two different sizes.

    The interval is Student's with N - 2 degrees of freedom. It takes the law for granted: a curve that bends has a wide
    one.
    """
    from scipy.stats import linregress, t

    if len(set(sizes)) < 2:
        return None
    found = linregress(np.log(sizes), np.log(values))
    exponent, factor = float(found.slope), float(np.exp(found.intercept))
    if len(sizes) == 2:
        return Law(exponent=exponent, factor=factor)
    error = float(found.stderr)
    room = float(t.ppf((1 + SURE) / 2, len(sizes) - 2)) * error
    return Law(exponent=exponent, factor=factor, error=error, low=exponent - room, high=exponent + room)
