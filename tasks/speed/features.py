"""What a network's frozen front gives for every row, on disk while a training lasts."""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.backbones.network import Batch, Network, Rows
from tasks.files import disk_error
from tasks.frozen import GraftError
from tasks.screen import bar
from tasks.speed.cut import Cut

SHARE = 0.5  # of the free disk that features may take
NAME = "features"  # of their column


class Features(Sequence[NDArray[np.float32]]):
    """[N] arrays in one file: of row i [t_i, D...] by token, or [1, D...]. Pickled, it is the file and its shape."""

    def __init__(self, file: Path, starts: NDArray[np.int64], tail: tuple[int, ...]) -> None:
        self.file, self.starts, self.tail = file, starts, tail
        self._width = int(np.prod(tail)) * np.dtype(np.float32).itemsize
        self._opened = file.open("r+b", buffering=0)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: Any) -> Any:
        first, past = int(self.starts[row]), int(self.starts[row + 1])
        content = os.pread(self._opened.fileno(), (past - first) * self._width, self._place(row))
        if len(content) != (past - first) * self._width:
            raise GraftError(f"{self.file} is cut short. Delete it: it is made anew.")
        return np.frombuffer(content, np.float32).reshape(-1, *self.tail)

    def put(self, row: int, values: NDArray[np.float32]) -> None:
        """Write one row's.

        Raises:
            GraftError: they are of another shape than the first row's.
            OSError: the disk is full.
        """
        if values.nbytes != int(self.starts[row + 1] - self.starts[row]) * self._width:
            raise GraftError(
                f"The frozen layers give row {row} features {values.shape}, which are not [n, *{self.tail}] like the "
                "others'. Set GRAFT_MEANS=none, and report the backbone."
            )
        if os.pwrite(self._opened.fileno(), np.ascontiguousarray(values).data, self._place(row)) < values.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def settle(self) -> None:
        """Have all of it on the disk: a file of the right size that the machine's end left empty would be believed."""
        os.fsync(self._opened.fileno())

    def _place(self, row: int) -> int:
        return int(self.starts[row]) * self._width

    def __reduce__(self) -> Any:
        return Features, (self.file, self.starts, self.tail)


def fits(bytes_needed: int, folder: Path) -> bool:
    """Whether so much may be written there."""
    return bytes_needed <= SHARE * shutil.disk_usage(folder).free


def remember(
    network: Network, cut: Cut, rows: Rows, file: Path, seeds: Sequence[NDArray[np.int64] | None] = (None,)
) -> Features | None:
    """Run all rows through the front once, or once for each of several draws of their augmentation.

    Args:
        network: in eval mode.
        cut: where its front ends.
        rows: N rows as `ready` gives them.
        file: where the features lie, N for each draw; if it is there already, whole, it is used. Another cut, other
            rows or other draws need another.
        seeds: of each draw, [N] or None for rows as they are.

    Returns:
        None where they would take more than half of the free disk.

    Raises:
        GraftError: the disk is full.
    """
    lengths = network.lengths(rows)
    order = np.argsort(lengths, kind="stable")
    sizes = np.tile(lengths if cut.by_token else np.ones_like(lengths), len(seeds))
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    probe = cut.features(network, _batch(network, rows, order[:1], seeds[0]))
    tail = tuple(probe.shape[2:] if cut.by_token else probe.shape[1:])
    total = int(starts[-1]) * int(np.prod(tail)) * np.dtype(np.float32).itemsize
    if file.exists() and file.stat().st_size == total:
        return Features(file, starts, tail)
    file.parent.mkdir(exist_ok=True)
    if not fits(total, file.parent):
        return None
    part = file.with_suffix(".part")
    try:
        with part.open("wb") as opened:
            opened.truncate(total)
        _fill(network, cut, rows, order, seeds, Features(part, starts, tail))
        part.rename(file)
    except OSError as error:
        raise disk_error(file.parent, error) from error
    return Features(file, starts, tail)


def _fill(
    network: Network, cut: Cut, rows: Rows, order: Any, seeds: Sequence[NDArray[np.int64] | None], into: Features
) -> None:
    lengths = network.lengths(rows)
    with bar("frozen layers", len(order) * len(seeds)) as shown:
        for draw, own in enumerate(seeds):
            for start in range(0, len(order), network.at_once):
                chosen = order[start : start + network.at_once]
                for row, values in made(network, cut, rows, chosen, own, lengths).items():
                    into.put(draw * len(order) + row, values)
                shown.advance(steps=len(chosen))
    into.settle()


def made(
    network: Network,
    cut: Cut,
    rows: Rows,
    chosen: NDArray[np.int64],
    seeds: NDArray[np.int64] | None,
    lengths: NDArray[np.int64],
) -> dict[int, NDArray[np.float32]]:
    """The features of `chosen` rows, run as one batch: by token [t, D...], t their `lengths`, or [1, D...]."""
    given = cut.features(network, _batch(network, rows, chosen, seeds)).float().cpu().numpy()
    if cut.by_token:
        return {row: own[: lengths[row]] for row, own in zip(chosen.tolist(), given, strict=True)}
    return {row: own[None] for row, own in zip(chosen.tolist(), given, strict=True)}


def _batch(network: Network, rows: Rows, chosen: Any, seeds: NDArray[np.int64] | None) -> Batch:
    some = {name: [column[row] for row in chosen.tolist()] for name, column in rows.items()}
    batch = network.encode(some, None if seeds is None else seeds[chosen].tolist())
    device = next(network.module.parameters()).device
    return {name: tensor.to(device) for name, tensor in batch.items()}


def stacked(kept: Sequence[NDArray[np.float32]], by_token: bool) -> Tensor:
    """Some rows' features as one batch: [B, T, D...] with zeros behind the shorter ones, or [B, D...]."""
    if not by_token:
        return torch.from_numpy(np.concatenate(kept))
    longest = max(len(values) for values in kept)
    batch = np.zeros((len(kept), longest, *kept[0].shape[1:]), np.float32)
    for row, values in enumerate(kept):
        batch[row, : len(values)] = values
    return torch.from_numpy(batch)
