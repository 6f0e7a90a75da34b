"""Where and with what a run is executed. Read from the environment alone; never part of a recipe's identity."""

import importlib.util
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast, get_args

from tasks.frozen import GraftError

Precision = Literal["fp32", "bf16", "fp16"]


def home() -> Path:
    """The folder of all state (`GRAFT_HOME`, default `.graft`), made if need be and known to be writable.

    Raises:
        GraftError: the folder cannot be made or written.
    """
    folder = _home()
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


def _home() -> Path:
    return Path(os.environ.get("GRAFT_HOME") or ".graft").absolute()


def data_path(path: str, start: Path | None = None, within: Sequence[Path] = ()) -> Path:
    """Where a path that a config gives leads; every such path is resolved here, before anything is read.

    It must lie below one of the folders `within` (a package's, say); where none is given, below `GRAFT_DATA` (default
    `data`), `GRAFT_HOME`, the current folder, or a folder of `GRAFT_ALLOW`. Its `..` are taken as they are written and
    no link is followed: a link below these folders may lead out, for whoever made it owns them.

    Args:
        path: as the config, or the cell of a table, has it.
        start: where a relative path starts. If not given, at the first of `within`; where there is none, at
            `GRAFT_DATA`, and `~` is the user's home.
        within: the only folders in which it may lie.

    Raises:
        GraftError: it leads elsewhere.
    """
    given = path if start or within else os.path.expanduser(path)
    found = Path(os.path.abspath(os.path.join(start or [*within, _data()][0], given)))
    if allowed(found, within):
        return found
    if within:
        raise GraftError(f"{path!r} is {found}, which is not below {within[0]}. Give a path inside it.")
    folder = found.parent if found.suffix and found.parent.name else found
    raise GraftError(
        f"{path!r} is {found}, which is not below GRAFT_DATA ({_data()}), GRAFT_HOME ({_home()}), the current folder "
        f"({Path.cwd()}) or a folder of GRAFT_ALLOW ({os.environ.get('GRAFT_ALLOW') or 'not set'}). "
        f"Move it below GRAFT_DATA, or set GRAFT_ALLOW={allowance(folder)}."
    )


def _data() -> Path:
    return Path(os.path.abspath(os.environ.get("GRAFT_DATA") or "data"))


def allowed(path: Path, within: Sequence[Path] = ()) -> bool:
    """Whether an absolute path lies below one of the folders, which are those of `data_path` if none are given."""
    named = map(Path, filter(None, os.environ.get("GRAFT_ALLOW", "").split(os.pathsep)))
    folders = within or (_data(), _home(), Path.cwd(), *named)
    return any(path.is_relative_to(os.path.abspath(folder)) for folder in folders)


def allowance(*folders: Path) -> str:
    """The value of `GRAFT_ALLOW` with which these folders are allowed beside those that it names now."""
    return os.pathsep.join(filter(None, [os.environ.get("GRAFT_ALLOW"), *map(str, folders)]))


@contextmanager
def allowing(*folders: Path) -> Iterator[None]:
    """Allow these folders for a while: what a person names at the terminal may be looked at."""
    with setting({"GRAFT_ALLOW": allowance(*folders)}):
        yield


@contextmanager
def setting(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a while, also of the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})


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


def mlflow_page() -> str | None:
    """Where browsers find MLflow: `GRAFT_MLFLOW_PAGE`, else its server's own address; None without a server."""
    uri = tracking_uri()
    return (os.environ.get("GRAFT_MLFLOW_PAGE") or uri).rstrip("/") if uri.startswith("http") else None


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
    """`GRAFT_PRECISION` (fp32, bf16, fp16); fp32 unless asked: `graft plan` times a recipe's steps in each."""
    wanted = os.environ.get("GRAFT_PRECISION", "fp32")
    if wanted not in get_args(Precision):
        raise GraftError(f"GRAFT_PRECISION={wanted!r} is unknown. Valid: {', '.join(get_args(Precision))}.")
    return cast(Precision, wanted)


def means() -> str:
    """`GRAFT_MEANS`: by which means training is made faster: all, none, or names with commas (see `tasks.speed`)."""
    return os.environ.get("GRAFT_MEANS") or "all"


def workers() -> int:
    """Processes that decode ahead of training (`GRAFT_WORKERS`); none where the cores are needed to train."""
    return int(os.environ.get("GRAFT_WORKERS") or max(0, min(4, (os.cpu_count() or 1) - 2)))


def checkpoint_seconds() -> float:
    """Seconds between two checkpoints within an epoch (`GRAFT_CHECKPOINT_SECONDS`)."""
    return float(os.environ.get("GRAFT_CHECKPOINT_SECONDS", "60"))
