"""Tensors and state of a training, kept step by step, checked by hash, never pickled."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from tasks.files import read_folder, write_folder
from tasks.screen import say

PART = 2**25  # bytes of a group's tensors in one file: what is written lies in memory once more
KEPT = 2  # the last and the one before it, should the last be damaged
Tensors = Mapping[str, Tensor]
Kept = tuple[dict[str, dict[str, Tensor]], dict[str, Any]]  # groups of tensors, and the state beside them


def save_step(root: Path, step: int, tensors: Mapping[str, Tensors], state: Mapping[str, Any]) -> None:
    """Keep the state after `step` steps, and the one before it; a later one was damaged, or `step` were not taken."""
    folder = root / f"step-{step:08d}"
    write_folder(folder, _files(tensors, state))
    kept = [old for old in _steps(root) if old.name <= folder.name][-KEPT:]
    for old in set(_steps(root)) - set(kept):
        shutil.rmtree(old, ignore_errors=True)


def last_step(root: Path) -> Kept | None:
    """The newest whole state; a damaged one is named, and the one before it is used."""
    for folder in reversed(_steps(root)):
        files = read_folder(folder)
        if files is None:
            say(f"Checkpoint {folder.name} is damaged: going on from the one before it.", style="yellow")
            continue
        state = json.loads(files.pop("state.json"))
        groups: dict[str, dict[str, Tensor]] = {}
        for name in [*files]:  # popped, so that a file is not kept beside its tensors
            groups.setdefault(name.split(".")[0], {}).update(load(files.pop(name)))
        return groups, state
    return None


def pack(tensors: Tensors) -> bytes:
    """Tensors as safetensors' bytes; one that shares its memory with another is kept as if it did not."""
    apart: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        place = own.untyped_storage().data_ptr()
        apart[name] = own.clone() if place in places else own
        places.add(place)
    packed: bytes = save(apart)
    return packed


def content(tensor: Tensor) -> memoryview:
    """A tensor's values as bytes in order, of any type; not copied where they lie so on the CPU."""
    view: memoryview = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    return view


def _files(tensors: Mapping[str, Tensors], state: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    for name, group in tensors.items():
        for index, part in enumerate(_parts(group)):
            yield f"{name}.{index}.safetensors" if index else f"{name}.safetensors", pack(part)
    yield "state.json", json.dumps(state).encode()


def _parts(group: Tensors) -> Iterator[Tensors]:
    """The tensors in parts of `PART` bytes or, by the last one, more; a group without any is one part."""
    part: dict[str, Tensor] = {}
    for name, tensor in group.items():
        part[name] = tensor
        if sum(one.nbytes for one in part.values()) >= PART:
            yield part
            part = {}
    if part or not group:
        yield part


def _steps(root: Path) -> list[Path]:
    return sorted(folder for folder in root.glob("step-*") if re.fullmatch(r"step-\d+", folder.name))
