"""Files and folders that are whole or absent: what a crash or a full disk leaves is never half of one."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.frozen import GraftError

SETTLED = 2_000_000_000  # ns: a file that changed later than that before now can change again within one tick


def write_folder(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files and their hashes to a new folder at once: after a crash it is whole or not there.

    Args:
        files: names with contents, each asked for when the one before it is written.

    Raises:
        GraftError: the disk is full or the place not writable; what was there before is untouched.
    """
    made = folder.with_name(f"{folder.name}.writing")
    try:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        hashes = {}
        for name, content in files:
            hashes[name] = hashlib.sha256(content).hexdigest()
            _write(made / name, content)
        _write(made / "sha256.json", json.dumps(hashes).encode())
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


def stamp(file: Path) -> str | None:
    """What changes whenever a file's content might: its path, size, inode and times; None if it changed just now.

    No program can set the second of the times (ctime).

    Raises:
        OSError: there is no such file.
    """
    info = file.stat()
    if time.time_ns() - max(info.st_mtime_ns, info.st_ctime_ns) < SETTLED:
        return None
    return f"{file} {info.st_size} {info.st_ino} {info.st_mtime_ns} {info.st_ctime_ns}"


@contextmanager
def locked(file: Path, wait: bool = False) -> Iterator[bool]:
    """Whether this process has the lock `file` while the body runs; with `wait` it waits for it.

    The system takes it back from a process that dies.
    """
    try:
        with FileLock(file, timeout=-1 if wait else 0):
            yield True
    except Timeout:
        yield False


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
