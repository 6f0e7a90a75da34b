"""How much memory this process takes, has taken, and could still take. All in bytes."""

import gc
import resource
import sys
import threading
from pathlib import Path
from typing import Self

import psutil
import torch

from tasks import runtime

EVERY = 0.002  # seconds between two looks
LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


def peak() -> int:
    """The most that this process has had at once.

    Linux says it of the program alone; `ru_maxrss` would count what the parent had when it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def device_peak() -> int | None:
    """The most that tensors have had at once on a GPU; None where the training runs on CPU."""
    return torch.cuda.max_memory_allocated() if runtime.device() == "cuda" else None


def free() -> int:
    """What can still be had where the training runs: on the GPU, or on the machine (its container, if that is less)."""
    if runtime.device() == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return min([psutil.virtual_memory().available, *left_in_container(Path("/sys/fs/cgroup"))])


def left_in_container(root: Path) -> list[int]:
    """The limit of the control group whose files lie in `root` less its use, where there is a limit."""
    pairs = [(root / limit, root / used) for limit, used in LIMITS if (root / limit).exists()]
    told = [(limit.read_text().strip(), used.read_text().strip()) for limit, used in pairs]
    return [int(limit) - int(used) for limit, used in told if limit != "max"]


def tidy() -> None:
    """Give back what earlier work in this process has left, so that the next peak is that of what follows."""
    gc.collect()
    if hasattr(psutil, "heap_trim"):  # not everywhere
        psutil.heap_trim()
    if runtime.device() == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


class Watch:
    """Looks at this process's memory again and again while its body runs; `most` is the highest that it saw.

    `every`: seconds between two looks.
    """

    def __init__(self, every: float = EVERY) -> None:
        self._process, self._done, self._every = psutil.Process(), threading.Event(), every
        self.before = self.most = self._now()

    def _now(self) -> int:
        return int(self._process.memory_info().rss)

    def _look(self) -> None:
        while not self._done.wait(self._every):
            self.most = max(self.most, self._now())

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.most = max(self.most, self._now())

    @property
    def grown(self) -> int:
        """How far it rose above where it was before the body."""
        return self.most - self.before
