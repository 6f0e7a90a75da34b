"""Whether a source is as it was when it was prepared: told by its files' sizes and times, without reading them."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from tasks import runtime
from tasks.datasets.spec import DatasetSpec
from tasks.files import stamp, write_file
from tasks.results import Prepared

# what decides on the rows
CODE = ("alike", "arranged", "intake", "near", "pictures", "prepare", "rows", "shelves", "splits")


def mark_of(name: str, dataset: DatasetSpec, seed: int) -> str | None:
    """32 hex digits that change whenever prepared rows might; None where only reading the source can tell.

    They stand for what is asked, for Graft's own code, and for every file that is read (see `tasks.files.stamp`).
    """
    places = dataset.places()
    if places is None:
        return None
    digest = hashlib.sha256(f"{name} {seed} {dataset.model_dump_json()} {code()}".encode())
    try:
        for file in _files(places):
            told = stamp(file)
            if told is None:
                return None
            digest.update(f"\n{told}".encode())
    except OSError:  # reading it will say what is wrong
        return None
    return digest.hexdigest()[:32]


def recall(mark: str) -> Prepared | None:
    """What was prepared under this mark, if all its files are still there."""
    try:
        found = Prepared.model_validate_json(_file(mark).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return found if all(found.file(split).exists() for split in found.rows) else None


def note(mark: str, prepared: Prepared) -> None:
    """Keep what was prepared under a mark.

    Raises:
        GraftError: the disk is full.
    """
    _file(mark).parent.mkdir(exist_ok=True)
    write_file(_file(mark), prepared.model_dump_json().encode())


def _file(mark: str) -> Path:
    return runtime.home() / "prepared" / "known" / f"{mark}.json"


def _files(places: Iterable[Path]) -> Iterator[Path]:
    """The files, and all below the folders, in a fixed order."""
    for place in places:
        if not place.is_dir():
            yield place
            continue
        for folder, below, names in os.walk(place, followlinks=True):
            below.sort()
            yield from (Path(folder) / name for name in sorted(names))


def code() -> str:
    """The hash of all of Graft's own code that decides on the rows."""
    here = Path(__file__).parent
    files = [*(here / f"{name}.py" for name in CODE), *sorted((here / "datasets").glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
