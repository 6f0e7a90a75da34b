"""Where and with what a run is executed. Read from the environment alone; never part of a recipe's identity."""

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Literal, cast, get_args

from tasks.frozen import GraftError

Precision = Literal["fp32", "bf16", "fp16"]


def home() -> Path:
    """The folder of all state (`GRAFT_HOME`, default `.graft`), made if need be and known to be writable.

    Raises:
        GraftError: the folder cannot be made or written.
    """
    folder = Path(os.environ.get("GRAFT_HOME") or ".graft").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise GraftError(
            f"GRAFT_HOME={folder} cannot be written ({error.strerror}). "
            "Make it writable or set GRAFT_HOME to another folder."
        ) from error
    return folder


def data_path(path: str) -> Path:
    """Resolve a data path: absolute as it is, a relative one against `GRAFT_DATA` (default `data`)."""
    return Path(os.environ.get("GRAFT_DATA") or "data").absolute() / Path(path).expanduser()


def package_folder(name: str) -> Path:
    """The folder of an installed Python package, found without importing it.

    Raises:
        GraftError: the package is not installed.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # the package of a dotted name is not there, or it is no name at all
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise GraftError(f"Python package {name!r} is not installed. `make setup` installs the embedded ones.")
    return Path(next(iter(spec.submodule_search_locations)))


def tracking_uri() -> str:
    """The MLflow server of `MLFLOW_TRACKING_URI`, or a SQLite file in the home folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def offline() -> bool:
    """Whether the user has told the hub's clients to stay offline."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def device() -> str:
    """`GRAFT_DEVICE` (cpu, cuda, mps), or the best that torch finds."""
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found.insert(0, "cuda")
    if torch.backends.mps.is_available():
        found.insert(0, "mps")
    wanted = os.environ.get("GRAFT_DEVICE", found[0])
    if wanted not in found:
        raise GraftError(f"GRAFT_DEVICE={wanted!r} is not on this machine. Valid here: {', '.join(found)}.")
    return wanted


def precision() -> Precision:
    """`GRAFT_PRECISION` (fp32, bf16, fp16); fp32 unless asked: `graft doctor` times what this machine gains."""
    wanted = os.environ.get("GRAFT_PRECISION", "fp32")
    if wanted not in get_args(Precision):
        raise GraftError(f"GRAFT_PRECISION={wanted!r} is unknown. Valid: {', '.join(get_args(Precision))}.")
    return cast(Precision, wanted)


def workers() -> int:
    """Processes that decode ahead of training (`GRAFT_WORKERS`); none where the cores are needed to train."""
    return int(os.environ.get("GRAFT_WORKERS") or max(0, min(4, (os.cpu_count() or 1) - 2)))


def checkpoint_seconds() -> float:
    """Seconds between two checkpoints within an epoch (`GRAFT_CHECKPOINT_SECONDS`)."""
    return float(os.environ.get("GRAFT_CHECKPOINT_SECONDS", "60"))
