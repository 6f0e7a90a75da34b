"""The C library's heap, told to keep what is freed.

By default it gives every tensor of more than a few megabytes back to the system, which clears its pages when they are
asked for again: for the maps of a convolution that takes longer than the arithmetic.
"""

import ctypes
import sys

from torch import nn

from tasks import runtime
from tasks.speed.means import wanted

TRIM, MMAP_MAX = -1, -4  # options of glibc's mallopt, by its malloc.h
MOST = 2**31 - 1  # the largest number that it takes


def keep(module: nn.Module) -> None:
    """From now on this process keeps up to 2 GB that it has freed, if the module has convolutions that run on a CPU.

    Without effect where `GRAFT_MEANS` leaves it out, or the C library is not glibc.
    """
    wanting = "kept_heap" in wanted() and runtime.device() == "cpu" and sys.platform == "linux"
    if wanting and any(isinstance(child, nn.Conv2d) for child in module.modules()):
        option = getattr(ctypes.CDLL(None), "mallopt", None)
        if option is not None:
            option(MMAP_MAX, 0)
            option(TRIM, MOST)
