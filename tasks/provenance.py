"""Where a run comes from: its recipe, the content of its weights and rows, the code, the packages, the machine."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from tasks import runtime
from tasks.frozen import Frozen
from tasks.recipe import Recipe
from tasks.results import Prepared

ROOT = Path(__file__).parents[1]
MATTER = (  # packages whose version may change a number, the most likely first
    "torch", "transformers", "timm", "peft", "accelerate", "tokenizers", "torchvision", "numpy", "pillow", "datasets",
    "pandas", "pyarrow", "scikit-learn", "scipy", "safetensors",
)  # fmt: skip


class Machine(Frozen):
    """What computes: `instructions` are the widest vectors that torch uses, `threads` are torch's."""

    device: str
    precision: str
    means: str = "none"  # a run that does not tell was made before there were any
    instructions: str
    threads: int
    processor: str
    cores: int
    python: str
    system: str


class Provenance(Frozen):
    """All that decides, or may disturb, what a run ends with. The seed is in the recipe."""

    recipe: Recipe
    weights: str
    origin: str
    revision: str
    rows: dict[str, int]
    hashes: dict[str, str]
    packages: dict[str, str]
    installed: str  # 16 hex digits of the names and versions of all packages
    code: str  # 16 hex digits of the files in tasks/
    commit: str
    machine: Machine

    @property
    def tags(self) -> dict[str, str]:
        """What runs can be filtered by in MLflow."""
        found = {"weights": self.weights, "installed": self.installed, "commit": self.commit}
        found |= {name: str(getattr(self.machine, name)) for name in ("device", "precision", "threads", "processor")}
        return {f"graft.{name}": value for name, value in found.items()}


class Compared(Frozen):
    """One thing then and now; what `decides` makes another run of it, while the rest may disturb a number."""

    what: str
    then: str
    now: str
    decides: bool = False

    @property
    def same(self) -> bool:
        """Whether nothing has changed."""
        return self.then == self.now

    def __str__(self) -> str:
        return f"{self.what} {self.then} then, {self.now} now"


def gathered(recipe: Recipe, data: Prepared) -> Provenance:
    """What a run of this recipe on these rows would come from, here and now.

    Raises:
        GraftError: the weights are not there.
    """
    return Provenance(
        recipe=recipe,
        weights=recipe.backbone.content(),
        origin=data.origin,
        revision=data.revision,
        rows=data.rows,
        hashes=data.hashes,
        packages={name: installed()[name] for name in MATTER if name in installed()},
        installed=_digest(*(f"{name} {version}" for name, version in installed().items())),
        code=_code(),
        commit=commit(),
        machine=_machine(),
    )


def compared(then: Provenance, now: Provenance) -> tuple[Compared, ...]:
    """Each thing that a run comes from, then and now: first what decides, then what most likely disturbs."""
    rows = [Compared(what="weights", then=then.weights, now=now.weights, decides=True)]
    for split in {**then.rows, **now.rows}:
        rows.append(Compared(what=f"{split} rows", then=_rows(then, split), now=_rows(now, split), decides=True))
    for name in {**then.packages, **now.packages}:
        versions = (one.packages.get(name, "none") for one in (then, now))
        rows.append(Compared(what=name, then=next(versions), now=next(versions)))
    rows.append(Compared(what="code", then=then.code, now=now.code))
    rows += _machines(then.machine, now.machine)
    rows.append(Compared(what="commit", then=then.commit, now=now.commit))
    rows.append(Compared(what="all packages", then=then.installed, now=now.installed))
    return tuple(rows)


@contextmanager
def settings_of(machine: Machine) -> Iterator[tuple[Compared, ...]]:
    """Compute with the threads, precision and means of a run, and on the CPU if it did, while the body runs.

    Gives what that changes: `now` is what would be used without it.
    """
    import torch

    usual, wanted = _machine(), {"GRAFT_PRECISION": machine.precision, "GRAFT_MEANS": machine.means}
    wanted |= {"GRAFT_DEVICE": "cpu"} if machine.device == "cpu" else {}
    torch.set_num_threads(machine.threads)
    try:
        with runtime.setting(wanted):
            yield tuple(row for row in _machines(_machine(), usual) if not row.same)
    finally:
        torch.set_num_threads(usual.threads)


@cache
def installed() -> dict[str, str]:
    """The versions of all installed packages, by name."""
    places = reversed([*distributions()])  # of two in a name, the first is the one that is imported
    found = {one.name.lower().replace("_", "-"): one.version for one in places if one.name}
    return dict(sorted(found.items()))


def _machines(then: Machine, now: Machine) -> list[Compared]:
    there, here = then.model_dump(), now.model_dump()
    return [Compared(what=name, then=str(there[name]), now=str(here[name])) for name in here]


def _rows(source: Provenance, split: str) -> str:
    return f"{source.rows[split]:,} ({source.hashes[split][:8]})" if split in source.rows else "none"


def _machine() -> Machine:
    import torch

    device = runtime.device()
    return Machine(
        device=f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}" if device == "cuda" else device,
        precision=runtime.precision(),
        means=runtime.means(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        processor=processor(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        system=platform.platform(terse=True),
    )


def processor() -> str:
    """The model's name; Linux tells it in a file alone."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@cache
def _code() -> str:
    files = sorted((ROOT / "tasks").rglob("*.py"))
    return _digest(*(f"{file.relative_to(ROOT)} {file.read_text('utf-8')}" for file in files))


@cache
def commit() -> str:
    """The commit of the checkout, `-dirty` if it has changes; where it is none, the package's version."""
    if (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:  # no git on this machine
            return f"version {installed().get('graft', 'unknown')}"
        if done.returncode == 0:
            return done.stdout.strip()
    return f"version {installed().get('graft', 'unknown')}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
