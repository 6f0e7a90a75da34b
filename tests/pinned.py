"""Two processes on the hub's stand-in, one online and then one offline: `python pinned.py FOLDER`."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision  # noqa: F401  # slow to import, and knows nothing of the hub: once for both
from pydantic import TypeAdapter

from tasks.backbones import Backbone
from tasks.frozen import GraftError
from tasks.results import Target

ADAPTER: TypeAdapter[Any] = TypeAdapter(Backbone)


def opened(spec: dict[str, Any]) -> list[float]:
    """The sums of a network's tensors, its head drawn from a seed: they tell one from another."""
    torch.manual_seed(0)
    found = ADAPTER.validate_python(spec).load(Target(labels=("bad", "good")), {})
    return [float(tensor.double().sum()) for tensor in found.module.state_dict().values()]


def failure(attempt: Callable[..., object], *given: Any) -> str:
    """The text of the GraftError that an attempt raises."""
    try:
        attempt(*given)
    except GraftError as error:
        return str(error)
    return "nothing raised"


def answers(specs: dict[str, Any], offline: bool) -> dict[str, Any]:
    """What one backbone gives and says, by the place of its weights."""
    check = {place: ADAPTER.validate_python(spec).check for place, spec in specs.items()}
    check["hub"]()
    found: dict[str, Any] = {place: opened(specs[place]) for place in ("hub", "folder")}
    found["no revision"] = [failure(check["no revision"]), failure(opened, specs["no revision"])]
    found["no repository"] = failure(check["no repository"])
    if offline:
        found["not cached"] = [failure(check["kept"]), failure(opened, specs["kept"])]
    return found


def main(folder: Path) -> None:
    """Each phase is forked before anything of the hub is imported, and imports it with its own settings."""
    plan = json.loads((folder / "plan.json").read_text())
    for phase in ("online", "offline"):
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            if status:
                sys.exit(f"{phase} failed")
            continue
        if phase == "offline":
            os.environ["HF_HUB_OFFLINE"] = "1"
        found = {name: answers(specs, phase == "offline") for name, specs in plan.items()}
        (folder / f"{phase}.json").write_text(json.dumps(found))
        os._exit(0)


if __name__ == "__main__":
    assert "huggingface_hub" not in sys.modules
    main(Path(sys.argv[1]))
