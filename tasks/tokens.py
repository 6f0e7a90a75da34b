"""Tokenised rows: flat arrays of token ids, kept on disk by content so that no run tokenises the same rows again."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import runtime
from tasks.files import disk_error
from tasks.frozen import GraftError
from tasks.screen import counting

BLOCK = 10_000  # rows tokenised at once
Tokenise = Callable[[Mapping[str, list[str]]], Mapping[str, list[list[int]]]]


class OnDisk:
    """Numbers in a file, of which slices are read when they are asked for.

    Mapped into memory, what is read would count as this process's own: gigabytes where there are millions of rows.
    """

    def __init__(self, file: Path) -> None:
        self.file, self._size = file, np.dtype(np.int32).itemsize
        self._opened = file.open("rb", buffering=0)

    def __getitem__(self, part: slice) -> NDArray[np.int32]:
        count = int(part.stop - part.start) * self._size
        content = os.pread(self._opened.fileno(), count, int(part.start) * self._size)
        if len(content) != count:
            raise GraftError(f"{self.file} is cut short. Delete its folder: it is made anew.")
        return np.frombuffer(content, np.int32)


class Ragged(Sequence[NDArray[np.int32]]):
    """N arrays of different lengths in one: `flat` holds all of them, `starts` [N + 1] where each begins."""

    def __init__(self, flat: NDArray[np.int32] | OnDisk, starts: NDArray[np.int64]) -> None:
        self._flat, self._starts = flat, starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[index] for index in range(*row.indices(len(self)))]
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self._flat[self._starts[row] : self._starts[row + 1]]

    def __reduce__(self) -> Any:
        if isinstance(self._flat, OnDisk):
            return _kept, (self._flat.file,)
        return Ragged, (self._flat, self._starts)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[N] how long each is."""
        return np.diff(self._starts)


def tokenised(rows: Mapping[str, Sequence[str]], tokenise: Tokenise, mark: str | None) -> dict[str, Ragged]:
    """Every row's tokens by the tokenizer's names for them.

    Args:
        rows: the text columns.
        tokenise: gives, for some rows, a list of ids a row under each name.
        mark: names the content of the rows and of the tokenizer; with it the tokens are kept in the home folder and
            read from there, without it they stay in memory.

    Raises:
        GraftError: the disk is full.
    """
    if mark is None:
        return _in_memory(rows, tokenise)
    folder = runtime.home() / "tokens" / mark
    if not folder.exists():
        try:
            _write(rows, tokenise, folder)
        except OSError as error:
            raise disk_error(folder, error) from error
    return {file.stem: _kept(file) for file in sorted(folder.glob("*.ids"))}


def _in_memory(rows: Mapping[str, Sequence[str]], tokenise: Tokenise) -> dict[str, Ragged]:
    parts: dict[str, list[NDArray[np.int32]]] = {}
    for tokens in _blocks(rows, tokenise):
        for name, lists in tokens.items():
            parts.setdefault(name, []).extend(np.asarray(ids, np.int32) for ids in lists)
    return {name: Ragged(np.concatenate(own), _starts([len(ids) for ids in own])) for name, own in parts.items()}


def _blocks(rows: Mapping[str, Sequence[str]], tokenise: Tokenise) -> Iterator[Mapping[str, list[list[int]]]]:
    cells = zip(*rows.values(), strict=True)
    while block := list(islice(cells, BLOCK)):
        yield tokenise({name: list(column) for name, column in zip(rows, zip(*block, strict=True), strict=True)})


def _starts(lengths: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _write(rows: Mapping[str, Sequence[str]], tokenise: Tokenise, folder: Path) -> None:
    """Fill a folder beside its place and move it there at once; where another run was quicker, its files are used."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    lengths: list[NDArray[np.int64]] = []
    try:
        with counting("tokenise") as shown:
            for tokens in _blocks(rows, tokenise):
                for name, lists in tokens.items():
                    with (made / f"{name}.ids").open("ab") as file:
                        np.concatenate([np.asarray(ids, np.int32) for ids in lists]).tofile(file)
                first = next(iter(tokens.values()))
                lengths.append(np.fromiter((len(ids) for ids in first), np.int64, len(first)))
                shown.advance(steps=len(first))
        np.save(made / "starts.npy", _starts(np.concatenate(lengths)))
        made.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _kept(file: Path) -> Ragged:
    return Ragged(OnDisk(file), np.load(file.with_name("starts.npy"), mmap_mode="r"))
