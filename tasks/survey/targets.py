"""What a label's target is: one class, several labels, or a number; and whether it can be learnt."""

from collections.abc import Sequence
from typing import Literal

from tasks.frozen import GraftError
from tasks.survey.cells import SEPARATORS, Look

TargetKind = Literal["class", "multilabel", "number"]
MOST_CLASSES = 1000
FEW_NUMBERS = 20  # so many whole numbers are classes
NUMERIC = {"number", "flag", "id", "group", "constant"}


def listed(looks: Sequence[Look]) -> str:
    """Columns with what was seen in them."""
    return ", ".join(f"{look.name!r} ({look.told})" for look in looks)


def target_of(label: Sequence[Look], wanted: TargetKind | None) -> tuple[TargetKind, str]:
    """The target as it is seen or `wanted`, and why.

    Raises:
        GraftError: what is wanted does not fit, or the user must decide.
    """
    seen, why = _seen_target(label, wanted)
    if wanted is None or wanted == seen:
        return seen, why
    own = label[0]
    if len(label) > 1 or own.kind == "lists" or (wanted == "number" and own.kind not in NUMERIC):
        raise GraftError(f"--target {wanted} does not fit label {listed(label)}. Leave --target out, or give {seen}.")
    return wanted, f"--target {wanted}"


def _seen_target(label: Sequence[Look], wanted: TargetKind | None) -> tuple[TargetKind, str]:
    own = label[0]
    if len(label) > 1:
        if odd := [look for look in label if look.kind not in ("flag", "constant")]:
            raise GraftError(
                f"Several --label must be columns of 0 and 1, but here is {listed(odd)}. Give one --label."
            )
        return "multilabel", f"{len(label)} columns of 0 and 1"
    if own.kind in ("lists", "multi"):
        return "multilabel", "several labels in a cell"
    if own.kind == "comma" and wanted != "class":
        raise GraftError(f"Column {own.name!r} writes numbers with a comma. Write them with a point, as in 3.5.")
    if own.kind == "number" and not (own.whole and own.distinct <= FEW_NUMBERS):
        if own.whole and own.low in (0, 1) and own.high - own.low + 1 == own.distinct <= MOST_CLASSES and not wanted:
            raise GraftError(
                f"Column {own.name!r} holds {own.told}: classes by number, or an amount? "
                "Decide with --target class or --target number."
            )
        return "number", "numbers with many different values"
    return "class", "few whole numbers" if own.kind == "number" else "one value of a short list in a row"


def check_label(label: Sequence[Look], target: TargetKind) -> None:
    """Raise a GraftError if the label cannot be learnt: empty cells, one class, too many of them, or too few rows."""
    own = label[0]
    name = f"Column {own.name!r}"
    if target == "multilabel":
        if len(label) == 1 and own.distinct < 2:
            raise GraftError(f"{name} as the label holds {own.distinct} different label. At least two are needed.")
        return
    if own.empty:
        raise GraftError(
            f"{name} as the label is empty in {own.empty:,} rows, the first is row:{own.first_empty}. "
            "Label them or leave the rows out."
        )
    if own.kind in ("picture", "object"):
        raise GraftError(f"{name} cannot be the label: it holds {own.told}. Choose with --label COLUMN.")
    if own.distinct < 2:
        raise GraftError(
            f"{name} as the label holds one class only in the {own.rows:,} rows looked at. At least two are needed."
        )
    if target == "class" and own.distinct == own.rows:
        raise GraftError(
            f"{name} as the label differs in every row: nothing can be learnt. Choose with --label COLUMN."
        )
    if target == "class" and own.distinct > MOST_CLASSES:
        raise GraftError(
            f"{name} as the label has {own.distinct:,} different values; {MOST_CLASSES:,} classes are the most. "
            "Choose with --label COLUMN, or give --target number."
        )


def separator_of(label: Look, target: TargetKind) -> str | None:
    """What stands between the labels of one cell, where it is not a data set's default."""
    if target != "multilabel" or label.kind == "lists":
        return None
    found = label.separator or next((sign for sign in SEPARATORS if any(sign in value for value in label.values)), "|")
    return found if found != "|" else None
