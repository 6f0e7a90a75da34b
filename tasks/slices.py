"""Parts of the rows that are looked at by themselves: by class, by length, by a column."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.datasets.spec import INPUTS, SLICE
from tasks.results import Target
from tasks.rows import Rows

BY_CLASS, BY_LENGTH = "class", "length"


def slices(by: str, rows: Rows, target: Target) -> dict[str, NDArray[Any]]:
    """The parts of the rows, each with its mask [N]: by class, by thirds of length, or by a column's values."""
    if by == BY_CLASS:
        return {label: rows.labels == index for index, label in enumerate(target.labels or ())}
    if by == BY_LENGTH:
        lengths = sum(np.array([len(text) for text in rows[name]]) for name in INPUTS if name in rows)
        low, high = np.quantile(lengths, [1 / 3, 2 / 3]).astype(int).tolist()
        return {
            f"up to {low}": lengths <= low,
            f"{low + 1} to {high}": (lengths > low) & (lengths <= high),
            f"above {high}": lengths > high,
        }
    values = np.array(list(rows[f"{SLICE}{by}"]), dtype=object)
    return {str(value) or "(empty)": values == value for value in sorted(set(values))}


def metric_of_part(kind: str, headline: str) -> str:
    """The score that a part is looked at by, given the kind of a target: of one class, say, F1 tells nothing."""
    return {"class": "accuracy", "multilabel": "exact_match", "number": headline}[kind]
