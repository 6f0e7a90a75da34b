"""The checks before training, each a function from the rows under check to one finding."""

from collections.abc import Callable

from tasks.checks.classes import balance, source, unseen_class
from tasks.checks.copies import exact_duplicates, label_conflicts, leakage, near_duplicates
from tasks.checks.looks import unreadable
from tasks.checks.noise import label_noise
from tasks.checks.subject import Subject
from tasks.checks.wordy import empty, encoding, long, truncation
from tasks.findings import Finding

ALL: tuple[Callable[[Subject], Finding], ...] = (
    empty,
    unreadable,
    encoding,
    long,
    truncation,
    exact_duplicates,
    near_duplicates,
    leakage,
    label_conflicts,
    label_noise,
    balance,
    unseen_class,
    source,
)
