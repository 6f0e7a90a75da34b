"""The processes of a platform and of its runs, found by what stands in their environment from their birth on."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from flows.platform.place import MARK

RUN = "PREFECT__FLOW_RUN_ID"


def of_platform(folder: Path) -> list[psutil.Process]:
    """Every living process of the platform in this folder, its runs' among them; never this one."""
    return [process for process, environment in _all() if environment.get(MARK) == str(folder)]


def of_runs(folder: Path) -> dict[str, list[psutil.Process]]:
    """The living processes of each flow run of a platform, by the flow run's id."""
    found: dict[str, list[psutil.Process]] = {}
    for process, environment in _all():
        if environment.get(MARK) == str(folder) and environment.get(RUN):
            found.setdefault(environment[RUN], []).append(process)
    return found


def below(process: psutil.Process, top: int) -> bool:
    """Whether a process descends from the one with this pid."""
    try:
        return any(parent.pid == top for parent in process.parents())
    except psutil.Error:
        return False


def end(processes: Iterable[psutil.Process], grace: float) -> None:
    """Ask processes to end, and kill those that are still there after `grace` seconds."""
    asked = list(processes)
    for process in asked:
        _send(process, kill=grace <= 0)
    _, left = psutil.wait_procs(asked, timeout=max(grace, 0.1))
    for process in left:
        _send(process, kill=True)
    psutil.wait_procs(left, timeout=5)


def _send(process: psutil.Process, kill: bool) -> None:
    with suppress(psutil.Error):
        process.kill() if kill else process.terminate()


def memory(processes: Iterable[psutil.Process]) -> int:
    """Bytes of processes together; what they share counts once (Linux), else each one's resident set."""
    total = 0
    for process in processes:
        try:
            found = process.memory_full_info()
            total += getattr(found, "pss", found.rss)
        except psutil.Error:
            continue
    return total


def age(process: psutil.Process) -> float:
    """Seconds since a process began; 0 if it is gone."""
    try:
        return max(0.0, time.time() - process.create_time())
    except psutil.Error:
        return 0.0


def _all() -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                yield process, process.environ()
        except (psutil.Error, OSError):
            continue  # another user's, or gone meanwhile
