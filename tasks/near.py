"""Rows that say or show nearly the same: texts by the letters that they share, pictures by how they look."""

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.alike import Flags, Places, equal, grouped

TEXTS, CHARACTERS = 200_000, 50_000_000  # of more than this only texts that are equal after `normal` are grouped
SHINGLE = 5  # characters
SIMILAR = 0.8  # shared shingles by all shingles of two texts
COUNTING = 50  # in texts of so many words or fewer, other numbers make another text
PERMUTATIONS, AGREEING = 64, 0.65  # at a similarity of 0.8 fewer of 64 agree once in 10,000 pairs
SMALLEST, SIDES, LOOK = 32, ((8, 8), (4, 4), (4, 4)), 112  # pixels a side; of the thumbnail; bytes of the hash
CORRELATED, COLOUR = 0.98, 16  # lumas at least; chromas at most so far apart, of 255


class _Signs(dict[int, str | None]):
    """What becomes of a character: letters, marks on them, digits and emoji stay, invisible ones go, others part."""

    def __missing__(self, code: int) -> str | None:
        kind = unicodedata.category(chr(code))
        gone = kind == "Cf" or 0xFE00 <= code <= 0xFE0F  # joiners, soft hyphens; how an emoji is drawn
        self[code] = None if gone else chr(code) if kind[0] in "LMN" or kind == "So" else " "
        return self[code]


_SIGNS = _Signs()


def normal(text: str) -> str:
    """The text without differences of case, punctuation, spacing and Unicode's ways to write a character.

    Emoji stay, for they can carry the label; a text of punctuation alone stays as it is.
    """
    if text.isascii():
        plain = text.lower()
    else:
        plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(plain.translate(_SIGNS).split()) or text


def text_groups(texts: Iterable[str], done: Callable[[int], Any] | None = None) -> Places:
    """Ids that texts share which are equal after `normal`, or nearly so.

    Near are two texts whose sets of five characters in a row (k = 5 as in Leskovec, Rajaraman and Ullman, Mining of
    Massive Datasets, 3.2.2) have a Jaccard similarity of 0.8 or more, and whose numbers are the same where either is
    short. Candidates come from MinHash signatures, their similarity is then counted. Rows linked through others share
    an id, but no chain of more than ten: there all are near one row of their group, and two that are near each other
    can part. The groups are the same in any order of the texts and in any process.

    Of more than 200,000 texts or 50 million characters only those that are equal after `normal` share an id; memory
    then holds 8 bytes a text, and about 30 for a moment.

    Args:
        texts: N texts, read once.
        done: told now and then how many more were read.

    Returns:
        [N] ids from 0 on.
    """
    digests = bytearray()
    kept: list[str] | None = []
    size, count = 0, 0
    for count, text in enumerate(texts, 1):
        plain = normal(text)
        digests += hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        if kept is not None:
            kept.append(plain)
            size += len(plain)
            kept = None if len(kept) > TEXTS or size > CHARACTERS else kept
        if done and count % 1000 == 0:
            done(1000)
    if done:
        done(count % 1000)
    ids, first = equal(np.frombuffer(digests, np.uint64))
    return ids if kept is None else _near_texts([kept[row] for row in first])[ids]


def _near_texts(texts: Sequence[str]) -> Places:
    """[N] ids of different normal texts."""
    order = sorted(range(len(texts)), key=texts.__getitem__)
    ids = np.empty(len(texts), np.int64)
    ids[order] = grouped(_Texts([texts[row] for row in order]))
    return ids


def shingles(plain: str) -> set[str]:
    """All runs of five characters of a normal text, a space before and after it."""
    padded = f" {plain} "
    return {padded[start : start + SHINGLE] for start in range(max(1, len(padded) - SHINGLE + 1))}


class _Texts:
    """Normal texts: candidates by MinHash, then the similarity itself."""

    step = 16

    def __init__(self, texts: Sequence[str]) -> None:
        from datasketch import MinHash

        self._texts = texts
        self._signatures = np.empty((len(texts), PERMUTATIONS), np.uint32)
        made = MinHash.generator(
            map(shingles, texts), num_perm=PERMUTATIONS, hashfunc=lambda piece: zlib.crc32(piece.encode())
        )
        for row, signature in enumerate(made):
            self._signatures[row] = signature.hashvalues
        self.sketch = self._signatures.view(np.uint8)

    def alike(self, left: Places, right: Places) -> Flags:
        found: Flags = (self._signatures[left] == self._signatures[right]).mean(1) >= AGREEING
        for pair in np.flatnonzero(found):
            found[pair] = self._similar(self._texts[left[pair]], self._texts[right[pair]])
        return found

    def near(self, rows: Places) -> Callable[[int], Places]:
        from scipy.sparse import csr_array

        places: dict[str, int] = {}
        texts = [self._texts[row] for row in rows]
        held = [[places.setdefault(piece, len(places)) for piece in shingles(text)] for text in texts]
        sizes = np.array([len(own) for own in held])
        starts = np.concatenate([[0], np.cumsum(sizes)])
        holders = csr_array((np.ones(starts[-1], np.int8), np.concatenate(held), starts)).tocsc()

        def near(place: int) -> Places:
            lists = [holders.indices[slice(*holders.indptr[piece : piece + 2])] for piece in held[place]]
            shared = np.bincount(np.concatenate(lists), minlength=len(texts))
            found = np.flatnonzero(shared / (sizes + sizes[place] - shared) >= SIMILAR)
            return found[[_same_numbers(texts[place], texts[other]) for other in found]]

        return near

    def _similar(self, one: str, two: str) -> bool:
        left, right = shingles(one), shingles(two)
        shared = len(left & right)
        return shared / (len(left) + len(right) - shared) >= SIMILAR and _same_numbers(one, two)


def _same_numbers(one: str, two: str) -> bool:
    """Whether two normal texts hold the same words with digits, or both are too long for that to matter."""
    if min(one.count(" "), two.count(" ")) >= COUNTING:
        return True
    left, right = (sorted(re.findall(r"\S*\d\S*", text)) for text in (one, two))
    return left == right


def picture_hash(image: Image.Image) -> bytes | None:
    """112 bytes of how a picture looks: two perceptual hashes, and a thumbnail.

    The hashes (imagehash's `phash` and `dhash`, 64 bits each) say whether each of the lowest frequencies lies above
    their median, and whether it gets brighter from left to right; they find what may be alike. The thumbnail, 8 x 8
    of luma and 4 x 4 of each chroma, tells what is.

    Returns:
        the bytes, or None for a picture below 32 pixels a side: too small to tell a look-alike from a copy.
    """
    import imagehash

    if min(image.size) < SMALLEST:
        return None
    bits = [np.packbits(kind(image).hash).tobytes() for kind in (imagehash.phash, imagehash.dhash)]
    planes = image.convert("RGB").convert("YCbCr").split()
    thumbnail = [plane.resize(side, Image.Resampling.BOX) for plane, side in zip(planes, SIDES, strict=True)]
    return b"".join([*bits, *(plane.tobytes() for plane in thumbnail)])


def picture_groups(hashes: Sequence[bytes | None]) -> Places:
    """Ids that pictures share which look nearly the same.

    That is: their thumbnails' lumas have a correlation of 0.98 or more, and no chroma differs by more than 16 of 255.
    Of 1,400 ImageNet pictures no two look so; 99 of 100 do with their copies in JPEG of quality 60, at three quarters
    of the size or 10 % brighter. Chains are cut as in `text_groups`.

    Returns:
        [N] ids from 0 on; a picture without a hash has its own.
    """
    known = [row for row, look in enumerate(hashes) if look is not None]
    looks = np.frombuffer(b"".join(look for look in hashes if look), np.uint8).reshape(len(known), LOOK)
    looks, own = np.unique(looks, axis=0, return_inverse=True)
    groups = grouped(_Looks(looks))
    ids = np.empty(len(hashes), np.int64)
    ids[known] = groups[own.ravel()]
    rest = np.setdiff1d(np.arange(len(hashes)), known)
    ids[rest] = np.arange(len(rest)) + groups.max(initial=-1) + 1
    return ids


class _Looks:
    """Hashes [N, 112] of pictures."""

    step = 1

    def __init__(self, looks: NDArray[np.uint8]) -> None:
        self.sketch, self._luma, self._chroma = np.split(looks, (16, 80), axis=1)

    def alike(self, left: Places, right: Places) -> Flags:
        shift = _apart(self._chroma[left], self._chroma[right])
        one, two = (luma - luma.mean(1, keepdims=True) for luma in (self._luma[left], self._luma[right]))
        sizes = np.sqrt((one**2).sum(1) * (two**2).sum(1))
        same = (one * two).sum(1) >= np.maximum(CORRELATED * sizes, 1)
        flat = (_apart(self._luma[left], self._luma[right]) <= 1) & (shift <= 1)
        alike: Flags = (same & (shift <= COLOUR)) | flat
        return alike

    def near(self, rows: Places) -> Callable[[int], Places]:
        return lambda place: np.flatnonzero(self.alike(np.full(len(rows), rows[place]), rows))


def _apart(one: NDArray[np.uint8], two: NDArray[np.uint8]) -> NDArray[np.int16]:
    """[P] the largest difference in each row of two [P, K]."""
    furthest: NDArray[np.int16] = np.abs(one.astype(np.int16) - two).max(1)
    return furthest
