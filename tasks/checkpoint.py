"""Folders of tensors and state that are whole or absent, checked by hash, never pickled."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from tasks.frozen import GraftError
from tasks.screen import console

KEPT = 2  # the last and the one before it, should the last be damaged
Tensors = Mapping[str, Tensor]
Kept = tuple[dict[str, dict[str, Tensor]], dict[str, Any]]  # groups of tensors, and the state beside them


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files and their hashes to a new folder at once: after a crash it is whole or not there.

    Raises:
        GraftError: the disk is full or the place not writable; what was there before is untouched.
    """
    made = folder.with_name(f"{folder.name}.writing")
    try:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        for name, content in {**files, "sha256.json": json.dumps(hashes).encode()}.items():
            _write(made / name, content)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        raise disk_error(folder, error) from error


def read_folder(folder: Path) -> dict[str, bytes] | None:
    """The files of a folder written by `write_folder`, or None if one is missing or not as it was written."""
    try:
        hashes = json.loads((folder / "sha256.json").read_text())
        files = {name: (folder / name).read_bytes() for name in hashes}
    except (OSError, ValueError):
        return None
    return files if all(hashlib.sha256(files[name]).hexdigest() == hashes[name] for name in hashes) else None


def save_step(root: Path, step: int, tensors: Mapping[str, Tensors], state: Mapping[str, Any]) -> None:
    """Keep the state after `step` steps, and the one before it; a later one was damaged, or `step` were not taken."""
    files = {f"{name}.safetensors": pack(group) for name, group in tensors.items()}
    folder = root / f"step-{step:08d}"
    write_folder(folder, {**files, "state.json": json.dumps(state).encode()})
    kept = [old for old in _steps(root) if old.name <= folder.name][-KEPT:]
    for old in set(_steps(root)) - set(kept):
        shutil.rmtree(old, ignore_errors=True)


def last_step(root: Path) -> Kept | None:
    """The newest whole state; a damaged one is named, and the one before it is used."""
    for folder in reversed(_steps(root)):
        files = read_folder(folder)
        if files is None:
            console.print(f"[yellow]Checkpoint {folder.name} is damaged: going on from the one before it.[/]")
            continue
        state = json.loads(files.pop("state.json"))
        return {name.removesuffix(".safetensors"): load(content) for name, content in files.items()}, state
    return None


def pack(tensors: Tensors) -> bytes:
    """Tensors as safetensors' bytes; each is copied, so that views and shared memory do no harm."""
    packed: bytes = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
    return packed


def _steps(root: Path) -> list[Path]:
    return sorted(folder for folder in root.glob("step-*") if re.fullmatch(r"step-\d+", folder.name))


def write_file(file: Path, content: bytes) -> None:
    """Write one file whole or not at all.

    Raises:
        GraftError: the disk is full or the place not writable.
    """
    made = file.with_name(f"{file.name}.{os.getpid()}.writing")
    try:
        _write(made, content)
        made.replace(file)
    except OSError as error:
        made.unlink(missing_ok=True)
        raise disk_error(file, error) from error


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def disk_error(place: Path, error: OSError) -> GraftError:
    """What to tell when a file cannot be written: the cause, and that nothing is lost."""
    return GraftError(
        f"{place} cannot be written: {error.strerror}. Free space (or set GRAFT_HOME to a larger disk) "
        "and give the same command again: it goes on from the last good checkpoint."
    )
