"""Inputs that occur more than once: within train, on both sides of a split, and with different labels."""

from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tasks import near
from tasks.alike import Places, equal
from tasks.checks.looks import HASHED, hashable, looks_of
from tasks.checks.subject import EXAMPLES, Subject, of, share, some
from tasks.datasets.spec import ROW
from tasks.findings import Finding

LEARNT = ("train", "validation")  # what the source calls train
MANY = 0.01  # of the training rows: a copy in a hundred weighs little
CONFLICTING = 0.005  # of the rows: below, a score loses less by them than it varies from seed to seed
WORDS = 3  # a text of fewer says the same as another by chance
APART = 0.1  # of the range: numbers further apart than this are different labels


def exact_duplicates(subject: Subject) -> Finding:
    """Training rows (those carved for validation among them) whose input an earlier one has."""
    later = {split: _repeated(subject.keys(split)) for split in LEARNT}
    count, rows = sum(map(len, later.values())), sum(subject.data.rows[split] for split in LEARNT)
    if not count:
        return subject.finding("exact_duplicates", "ok", "No training row repeats another.")
    return subject.finding(
        "exact_duplicates",
        "warning" if count > MANY * rows else "note",
        f"{some(count, 'training row')} ({share(count, rows)}) found that repeat another: each weighs on its own.",
        "Take the copies out, unless their number means something.",
        count,
        of(later),
    )


def near_duplicates(subject: Subject) -> Finding:
    """Rows that are near another but not the same, within the training rows and between these and what is scored."""
    groups = _groups(subject)
    if isinstance(groups, str):
        return subject.finding("near_duplicates", "skipped", groups)
    within = {split: _with_others(groups[split], subject.marks(split)) for split in LEARNT}
    across = {split: _near_train(subject, groups, split) for split in groups if split != "train"}
    told = [
        f"{some(len(places), f'{split} row')} near a training row" for split, places in across.items() if len(places)
    ]
    inside, outside = sum(map(len, within.values())), sum(map(len, across.values()))
    if inside:
        rows = sum(subject.data.rows[split] for split in LEARNT)
        told.append(f"{some(inside, 'training row')} near another ({share(inside, rows)})")
    if not told:
        return subject.finding("near_duplicates", "ok", f"No two {_kind(subject)} are nearly the same.")
    return subject.finding(
        "near_duplicates",
        "warning" if outside else "note",
        f"Nearly the same: {'; '.join(told)}. Such rows tell less than their number says.",
        "Look at the pairs; take the training rows out, or read the score as a little too good."
        if outside
        else "Nothing must be done: when Graft splits, such rows stay on one side.",
        outside or inside,
        of(across if outside else within),
    )


def leakage(subject: Subject) -> Finding:
    """Scored rows whose input is among the training rows: the score would count what was learnt by heart.

    Equal is what is equal after `near.normal`; texts below three words are a warning only, for such say the same by
    chance. Training rows with the very same input were left out by `prepare` and are counted all the same: the
    source's splits are not what they promise.
    """
    left_out = subject.data.left_out
    learnt = np.concatenate([subject.marks(split) for split in LEARNT])
    found = {split: np.flatnonzero(np.isin(subject.marks(split), learnt)) for split in subject.scored}
    found["validation"] = np.flatnonzero(np.isin(subject.marks("validation"), subject.marks("train")))
    long = {split: places[_long(subject, split, places)] for split, places in found.items()}
    count = sum(map(len, long.values()))
    chance = sum(map(len, found.values())) - count
    told = [f"{some(len(places), f'{split} row')} in train as well" for split, places in long.items() if len(places)]
    if left_out:
        told.append(f"{some(left_out, 'row')} of the source's train split in a scored split as well")
    if chance:
        told.append(f"{some(chance, 'text')} of one or two words on both sides, perhaps by chance")
    if not told:
        return subject.finding("leakage", "ok", "No scored row is in train.")
    step = "Mend the source's splits"
    if left_out + count:
        step += ", or accept it with `allow: [leakage]`"
        step += ": the training rows with the very same input are left out" if left_out else ""
    return subject.finding(
        "leakage",
        "error" if left_out + count else "warning",
        f"Equal inputs on both sides: {'; '.join(told)}. A score over them is too good.",
        f"{step}.",
        left_out + count + chance,
        of(found if chance and not count + left_out else long),
        _left_out(subject) if left_out and not count else (),
    )


def label_conflicts(subject: Subject) -> Finding:
    """Rows of any split with the same input (after `near.normal`) but different labels.

    They are noise that no model can learn: of each two it must get one wrong. Numbers conflict when they lie more
    than a tenth of their range apart.
    """
    splits = list(subject.data.rows)
    ids = equal(np.concatenate([subject.marks(split) for split in splits]))[0]
    labels = _codes(np.concatenate([subject.rows(split).labels for split in splits]))
    order = np.argsort(ids, kind="stable")
    starts = np.flatnonzero(np.diff(ids[order], prepend=-1))
    gap = np.maximum.reduceat(labels[order], starts) - np.minimum.reduceat(labels[order], starts)
    conflicts = (gap > (APART * np.ptp(labels) if subject.data.target.kind == "number" else 0))[ids]
    count = int(conflicts.sum())
    if not count:
        return subject.finding("label_conflicts", "ok", "No input has different labels.")
    ends = np.cumsum([0, *(subject.data.rows[split] for split in splits)])
    where = order[conflicts[order]]  # rows with the same input side by side
    at = np.searchsorted(ends, where[:EXAMPLES], side="right") - 1
    return subject.finding(
        "label_conflicts",
        "warning" if count > CONFLICTING * len(labels) else "note",
        f"{some(count, 'row')} ({share(count, len(labels))}) with the input of another but a different label: "
        "no model can get all of them right.",
        "Decide on one label for each, or take them out.",
        count,
        [(splits[split], int(row - ends[split])) for split, row in zip(at, where, strict=False)],
    )


def _repeated(keys: NDArray[np.uint64]) -> Places:
    """The rows whose key an earlier row has."""
    return np.setdiff1d(np.arange(len(keys)), equal(keys)[1])


def _left_out(subject: Subject) -> tuple[str, ...]:
    """The ids of up to five rows of the source's train split whose very input is in a scored split."""
    scored = {hash(parts) for split in subject.scored for parts in subject.cells(split)}
    chunks = subject.spec.read().splits["train"]()
    rows = (row for chunk in chunks for row in zip(chunk[ROW], *(chunk[name] for name in subject.names), strict=True))
    return tuple(islice((row for row, *parts in rows if hash(tuple(parts)) in scored), EXAMPLES))


def _codes(labels: NDArray[np.generic]) -> NDArray[np.generic]:
    """[N] numbers that are equal where the labels are."""
    return labels if labels.ndim == 1 else np.unique(labels, axis=0, return_inverse=True)[1].ravel()


def _kind(subject: Subject) -> str:
    return "texts" if subject.is_text else "pictures"


def _long(subject: Subject, split: str, places: Places) -> NDArray[np.bool_]:
    return subject.texts[split].words[places] >= WORDS if subject.is_text else np.ones(len(places), bool)


def _with_others(groups: Places, marks: NDArray[np.uint64]) -> Places:
    """The rows in whose group is another mark too."""
    pairs = np.unique(np.stack([groups.astype(np.uint64), marks], 1), axis=0)[:, 0].astype(int)
    return np.flatnonzero(np.bincount(pairs)[groups] > 1)


def _near_train(subject: Subject, groups: dict[str, Places], split: str) -> Places:
    """The rows of a split that share a group with a training row, but are not equal to one."""
    others = [other for other in LEARNT if other != split]
    learnt, marks = (
        np.concatenate([of_split(other) for other in others]) for of_split in (groups.__getitem__, subject.marks)
    )
    return np.flatnonzero(np.isin(groups[split], learnt) & ~np.isin(subject.marks(split), marks))


def _groups(subject: Subject) -> dict[str, Places] | str:
    """Ids by split that near rows of any split share, or why there are none."""
    splits, sizes = list(subject.data.rows), list(subject.data.rows.values())
    if subject.is_text:
        characters = sum(int(texts.characters.sum()) for texts in subject.texts.values())
        if sum(sizes) > near.TEXTS or characters > near.CHARACTERS:
            return (
                f"Skipped: above {near.TEXTS:,} texts or {near.CHARACTERS:,} characters only equal ones are compared "
                "(exact_duplicates, leakage)."
            )
        ids = near.text_groups("\n".join(parts) for split in splits for parts in subject.cells(split))
    elif not hashable(subject):
        return f"Skipped: above {HASHED:,} pictures their looks are not hashed again."
    else:
        looks = [look for split in splits for look in looks_of(subject, split)]
        if not any(looks):
            return f"Skipped: all pictures are below {near.SMALLEST} pixels a side, too small to tell alike from same."
        ids = near.picture_groups(looks)
    return dict(zip(splits, np.split(ids, np.cumsum(sizes)[:-1]), strict=True))
