"""Checks of the classes and of where the rows are from."""

import numpy as np

from tasks.checks.subject import Subject, some
from tasks.findings import Finding

FEW = 10  # training rows of a class
UNEVEN = 10  # times the rows of the smallest class


def balance(subject: Subject) -> Finding:
    """Rows of each class in train: the smallest one, and how much larger the largest is."""
    labels = subject.data.target.labels
    if labels is None:
        return subject.finding("balance", "skipped", "Skipped: the target is a number.")
    counts = _counts(subject, "train")
    order = np.argsort(counts, kind="stable")
    few = [labels[index] for index in order if counts[index] < FEW]
    least, most = int(order[0]), int(order[-1])
    told = (
        f"{len(counts)} classes; {labels[least]!r} has the fewest training rows ({counts[least]:,}), "
        f"{labels[most]!r} the most ({counts[most]:,})"
    )
    step = "Give more rows of the small classes, set schedule.class_weights=auto, and score macro_f1."
    if few:
        about = f"{told}; {some(len(few), 'class', 'classes')} with fewer than {FEW}: too few to learn from."
        return subject.finding("balance", "warning", about, step, len(few), names=few)
    if counts[most] > UNEVEN * counts[least]:
        about = f"{told}: accuracy tells little of the small ones."
        return subject.finding("balance", "note", about, step, 1, names=[labels[least]])
    return subject.finding("balance", "ok", f"{told}.")


def unseen_class(subject: Subject) -> Finding:
    """Classes that train lacks and a scored split has (`prepare` refuses these), or that no test row has."""
    labels = subject.data.target.labels
    if labels is None:
        return subject.finding("unseen_class", "skipped", "Skipped: the target is a number.")
    counts = {split: _counts(subject, split) for split in subject.data.rows}
    scored = sum(counts[split] for split in subject.scored)
    if missing := [labels[index] for index in np.flatnonzero((scored > 0) & (counts["train"] == 0))]:
        about = f"{some(len(missing), 'scored class', 'scored classes')} without a training row: none can be learnt."
        step = "Give training rows of them, or take their rows out."
        return subject.finding("unseen_class", "error", about, step, len(missing), names=missing)
    if missing := [labels[index] for index in np.flatnonzero(counts["test"] == 0)]:
        about = f"{len(missing)} of {len(labels)} classes without a test row: the score says nothing of them."
        step = "Give test rows of them, or leave them out of `labels`."
        return subject.finding("unseen_class", "note", about, step, len(missing), names=missing)
    return subject.finding("unseen_class", "ok", "Every class is in train and in test.")


def source(subject: Subject) -> Finding:
    """Where the rows are from: a pinned revision, or else the hash of what was read."""
    data = subject.data
    told = f"{data.origin}; train {data.hashes['train'][:12]}, test {data.hashes['test'][:12]}"
    if data.revision:
        return subject.finding("source", "ok", f"{told}; revision {data.revision}.")
    return subject.finding(
        "source", "note", f"{told}; no revision is known, so these hashes alone say which rows they were.",
        "Keep the files, or read them from a pinned revision.",
    )  # fmt: skip


def _counts(subject: Subject, split: str) -> np.ndarray:
    """[K] rows of each class."""
    labels = subject.rows(split).labels
    if labels.ndim == 2:
        counted: np.ndarray = labels.sum(0, dtype=np.int64)
        return counted
    return np.bincount(labels, minlength=len(subject.data.target.labels or ()))
