"""How far two computations of the same numbers may be apart: by another order of the same sums, and no more."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOLERANCE = 1e-5  # of numbers up to 1 as it is, of larger ones as a share


def apart(wanted: ArrayLike, got: ArrayLike) -> NDArray[np.floating[Any]]:
    """[...] how far each number [...] is from the wanted one [...], as a share of that one where it is above 1.

    Rounding goes by size: the nearest neighbours of 60 in 32 bits are 4e-6 away, so that two or three roundings of it
    are already 1e-5.
    """
    one, two = np.asarray(wanted), np.asarray(got)
    return np.asarray(np.abs(one - two) / np.maximum(1.0, np.abs(one)))
