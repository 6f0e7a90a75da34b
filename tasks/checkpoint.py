"""Tensors and state of a training, kept step by step, checked by hash, never pickled."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from tasks.files import read_folder, write_folder
from tasks.screen import say

KEPT = 2  # the last and the one before it, should the last be damaged
Tensors = Mapping[str, Tensor]
Kept = tuple[dict[str, dict[str, Tensor]], dict[str, Any]]  # groups of tensors, and the state beside them


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
            say(f"Checkpoint {folder.name} is damaged: going on from the one before it.", style="yellow")
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
