"""What the checks before training found: a line for each check, and the receipt of all."""

from typing import Any, Literal

from tasks.frozen import Frozen, GraftError

Severity = Literal["error", "warning", "note", "ok", "skipped"]

CHECKS = {  # the names that `allow:` takes, in the order of the table
    "empty": "rows without an input or a usable label",
    "unreadable": "pictures that cannot be opened, are tiny, blank, or far from square",
    "encoding": "texts with wrongly decoded, lost or control characters",
    "long": "texts far longer than the others",
    "truncation": "rows longer than the backbone's max_length",
    "exact_duplicates": "the same input more than once in train",
    "near_duplicates": "nearly the same input within train, or on both sides of a split",
    "leakage": "the same input in train and in rows that are scored",
    "label_conflicts": "the same input with different labels",
    "label_noise": "labels that a linear probe would not expect",
    "balance": "rows of each class",
    "unseen_class": "classes that train or test lacks",
    "drift": "differences from the champion's training data",
    "source": "where the rows are from, and which state of it",
}


class Finding(Frozen):
    """What one check found.

    Attributes:
        check: one of `CHECKS`.
        severity: an "error" stops training unless it is allowed; "skipped" says why in `about`.
        count: how many rows (or classes, for those checks that are about classes).
        examples: the ids of up to five of the rows, or the names of classes.
        about: what was found and what it means, in one sentence.
        next_step: what to do; empty where there is nothing to do.
        texts: the examples' own text, only if the data set says `show_examples`.
        allowed: the data set's `allow` names the check.
    """

    check: str
    severity: Severity
    count: int = 0
    examples: tuple[str, ...] = ()
    about: str
    next_step: str = ""
    texts: tuple[str, ...] = ()
    allowed: bool = False

    @property
    def stops(self) -> bool:
        """Whether it keeps the data from being trained on."""
        return self.severity == "error" and not self.allowed


class Checked(Frozen):
    """All findings on the data with these hashes, one for each of `CHECKS`.

    `summary` is of the training rows, in numbers: kept with a run, it is what later data are compared with.
    """

    findings: tuple[Finding, ...]
    summary: dict[str, Any]
    origin: str
    revision: str
    hashes: dict[str, str]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The errors that are not allowed."""
        return tuple(finding for finding in self.findings if finding.stops)

    def finding(self, check: str) -> Finding:
        """The finding of a check."""
        return next(finding for finding in self.findings if finding.check == check)

    def require(self) -> None:
        """Let the data pass.

        Raises:
            GraftError: errors were found that are not allowed; each with its next step, and the line that allows all.
        """
        if self.errors:
            told = " ".join(
                f"{found.check}: {found.about} ({', '.join(found.examples)}) {found.next_step}".replace(" ()", "")
                for found in self.errors
            )
            allowed = [finding.check for finding in self.findings if finding.allowed]
            names = ", ".join([*allowed, *(found.check for found in self.errors)])
            raise GraftError(
                f"The data of {self.origin} did not pass its checks. {told} To train on it as it is, "
                f"write `allow: [{names}]` in the data set's file; `graft check` shows all."
            )


def known_checks(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names as they are.

    Raises:
        ValueError: one of them is no check; the error lists the valid ones.
    """
    for name in names:
        if name not in CHECKS:
            raise ValueError(f"there is no check {name!r}. Valid: {', '.join(CHECKS)}")
    return names
