"""The machine on which a benchmark ran, and the most arithmetic that it does in one matrix product."""

import os
import platform
import time
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from typing import Any

import psutil
import torch
from torch import Tensor

from tasks import runtime
from tasks.frozen import Frozen
from tasks.provenance import commit, processor

SIZES = (512, 1024, 2048)  # sides of the square matrices that are tried, each twice the one before
SECONDS = 0.4  # for each of them, by each product
Product = Callable[[Tensor, Tensor], Tensor]
LIBRARIES = ("torch", "transformers", "peft", "timm", "accelerate", "graft")


class Described(Frozen):
    """What a figure must be read with.

    Attributes:
        cores: of the processor; None where the system does not tell.
        hardware_threads: that the system offers.
        threads: that torch computes with.
        memory: bytes.
        gflops: the highest rate of a matrix product, in 10^9 floating-point operations a second, by precision.
        date: of the run, local, with its distance to UTC.
        commit: of Graft's checkout, or its version.
    """

    cpu: str
    cores: int | None
    hardware_threads: int
    threads: int
    memory: int
    gpu: str | None
    device: str
    system: str
    python: str
    libraries: dict[str, str]
    gflops: dict[str, float]
    settings: dict[str, str]
    date: str
    commit: str


def described(seconds: float = SECONDS) -> Described:
    """This machine now, its products timed for so many seconds each."""
    cuda = torch.cuda.is_available()
    return Described(
        cpu=processor(),
        cores=psutil.cpu_count(logical=False),
        hardware_threads=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory=psutil.virtual_memory().total,
        gpu=torch.cuda.get_device_name() if cuda else None,
        device=runtime.device(),
        system=platform.platform(terse=True),
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES},
        gflops={"fp32": peak(torch.float32, seconds) / 1e9, "bf16": peak(torch.bfloat16, seconds) / 1e9},
        settings={name: value for name, value in os.environ.items() if name.startswith(("GRAFT_DEV", "OMP_", "MKL_"))},
        date=datetime.now().astimezone().isoformat(timespec="minutes"),
        commit=commit(),
    )


def again(machine: Described, seconds: float = SECONDS) -> Described:
    """The same with its products timed once more, and the faster of both: other programs may have come or gone."""
    now = described(seconds).gflops
    return machine.model_copy(update={"gflops": {kind: max(old, now[kind]) for kind, old in machine.gflops.items()}})


def peak(kind: torch.dtype, seconds: float = SECONDS) -> float:
    """FLOP/s of the fastest single product of square matrices on the device in force: torch's own, or oneDNN's.

    A size of which one product would outlast the seconds is left out: some processors take a minute for one in bf16.
    """
    products: list[Product] = [torch.mm]
    if runtime.device() == "cpu" and _has_onednn(kind):
        products.append(_onednn)
    best = 0.0
    for product in products:
        for size in SIZES:
            speed = _speed(product, size, kind, seconds)
            best = max(best, speed)
            if 2 * (2 * size) ** 3 / speed > seconds:  # the next size is twice as large
                break
    return best


def _onednn(left: Tensor, right: Tensor) -> Tensor:
    """oneDNN's product of two matrices, which torch itself takes for fewer bits than 32 alone."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
    return out


def _has_onednn(kind: torch.dtype) -> bool:
    """Whether this torch has it, and this processor can do it in fp32 or bf16, as asked."""
    built: Any = torch.backends.mkldnn
    there = bool(built.is_available()) and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return there and (kind is torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))


def _speed(product: Product, size: int, kind: torch.dtype, seconds: float) -> float:
    """FLOP/s of the fastest of all products of two [size, size] matrices within the time, after one to warm up."""
    device = runtime.device()
    left, right = (torch.rand(size, size, dtype=kind, device=device) for _ in range(2))
    product(left, right)
    best, started = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - started < seconds:
        _settled(device)
        began = time.perf_counter()
        product(left, right)
        _settled(device)
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def _settled(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
