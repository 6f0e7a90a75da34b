"""Pictures under check: how they look, how large they are, and how bright."""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.checks.subject import Example, Subject, of
from tasks.findings import Finding
from tasks.near import picture_hash
from tasks.pictures import FORMATS, open_picture

LOOK = "look"  # a prepared file may hold the hashes already
HASHED = 20_000  # pictures at most are hashed here
MEASURED, OPENED = 20_000, 500  # pictures of a split whose header is read; that are opened
TINY, LONGEST = 32, 4  # pixels of the shorter side; times it that the longer one may be
FLAT = 4  # of 255: a picture whose values all lie so close shows nothing


class Sizes(NamedTuple):
    """Of the pictures of a split, or of a sample of it.

    Attributes:
        places: [M] which rows they are.
        short: [M] pixels of the shorter side.
        long: [M] pixels of the longer side.
    """

    places: NDArray[np.int64]
    short: NDArray[np.int64]
    long: NDArray[np.int64]


class Spans(NamedTuple):
    """Of a sample of a split's pictures.

    Attributes:
        places: [M] which rows they are.
        means: [M] of all values of 0..255.
        widths: [M] from the least value to the greatest, in the colour where that is most.
    """

    places: NDArray[np.int64]
    means: NDArray[np.float64]
    widths: NDArray[np.int64]


def hashable(subject: Subject) -> bool:
    """Whether the hashes are there, or few enough to be made."""
    return LOOK in subject.rows("train") or sum(subject.data.rows.values()) <= HASHED


def looks_of(subject: Subject, split: str) -> list[bytes | None]:
    """The hash of every picture of a split (see `near.picture_hash`)."""
    rows = subject.rows(split)
    if LOOK in rows:
        return list(rows[LOOK])
    looks = []
    for place, file in enumerate(rows["image"]):
        looks.append(picture_hash(open_picture(file, 3)))
        if place % 50 == 0:
            subject.tell(f"{split} {place:,}/{len(rows):,}")
    return looks


def sizes(subject: Subject, split: str, most: int = MEASURED) -> Sizes:
    """Width and height, from the files' headers."""
    return subject.once(("sizes", split, most), lambda: _sizes(subject, split, most))


def _sizes(subject: Subject, split: str, most: int) -> Sizes:
    places, column = subject.spread(split, most), subject.rows(split)["image"]
    found = [sorted(Image.open(io.BytesIO(column[place]), formats=FORMATS).size) for place in places]
    short, long = np.array(found).T
    return Sizes(np.array(places), short, long)


def spans(subject: Subject, split: str) -> Spans:
    """How bright the pictures of a sample are, and how much there is to see."""
    return subject.once(("spans", split), lambda: _spans(subject, split))


def _spans(subject: Subject, split: str) -> Spans:
    places, column = subject.spread(split, OPENED), subject.rows(split)["image"]
    means, widths = [], []
    for place in places:
        image = open_picture(column[place], 3)
        image.thumbnail((64, 64))
        pixels = np.asarray(image)
        means.append(float(pixels.mean()))
        widths.append(int(np.ptp(pixels, axis=(0, 1)).max()))
    return Spans(np.array(places), np.array(means), np.array(widths))


def unreadable(subject: Subject) -> Finding:
    """Pictures that open but show little: tiny, far from square, or all of one colour.

    What cannot be opened at all is refused by `prepare`; `graft check` lists it here.
    """
    name = "unreadable"
    if subject.is_text:
        return subject.finding(name, "skipped", "Skipped: the rows are texts.")
    rows: dict[str, list[Example]] = {"tiny": [], "far from square": [], "of one colour": []}
    measured, opened = 0, 0
    for split in subject.data.rows:
        found, seen = sizes(subject, split), spans(subject, split)
        measured, opened = measured + len(found.places), opened + len(seen.places)
        rows["tiny"] += of({split: found.places[found.short < TINY]})
        rows["far from square"] += of({split: found.places[found.long > LONGEST * found.short]})
        rows["of one colour"] += of({split: seen.places[seen.widths <= FLAT]})
    told = [f"{len(own):,} {kind}" for kind, own in rows.items() if own]
    scope = f"(of {measured:,} measured, {opened:,} opened for their colours)"
    if not told:
        return subject.finding(name, "ok", f"No picture is tiny, far from square or of one colour {scope}.")
    different = dict.fromkeys(row for own in rows.values() for row in own)
    return subject.finding(
        name,
        "note",
        f"Pictures that may show little: {', '.join(told)} {scope}. Tiny is a shorter side below {TINY} pixels, far "
        f"from square one more than {LONGEST} times the other.",
        "Look at them; the network sees a square cut or squeezed out of each.",
        len(different),
        different,
    )
