"""Image classifiers as timm and peft load them; `config.json` has the labels' names and how pictures are treated."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tasks.backbones.network import Rows
from tasks.export.adapter import BASE, split, whole
from tasks.pictures import open_picture
from tasks.saved import Model

BATCH = 16


def merged(model: Model, folder: Path) -> None:
    """Fill a folder for `timm.create_model("local-dir:FOLDER", pretrained=True)`."""
    _save(model, whole(model), folder)


def adapter(model: Model, folder: Path) -> None:
    """Fill a folder for `PeftModel.from_pretrained(base, folder)`; the base lies in it without a head."""
    base = split(model, folder)
    base.reset_classifier(0)
    _save(model, base, folder / BASE)


def _save(model: Model, module: Any, folder: Path) -> None:
    from timm.models import save_for_hf

    network: Any = model.network
    names = {"label_names": list(model.target.names)}
    save_for_hf(module, str(folder), names, safe_serialization=True, data_config=network.data_config)


def ask_merged(folder: Path, rows: Rows) -> tuple[Tensor, tuple[str, ...]]:
    """[N, K] logits by plain timm, and the outputs' names."""
    import timm

    network = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return _ask(network, network, rows)


def ask_adapter(folder: Path, rows: Rows) -> tuple[Tensor, tuple[str, ...]]:
    """[N, K] logits by plain timm and peft, and the outputs' names."""
    import timm
    from peft import PeftModel

    names = json.loads((folder / BASE / "config.json").read_text())["label_names"]
    base = timm.create_model(f"local-dir:{folder / BASE}", pretrained=True, num_classes=len(names))
    return _ask(PeftModel.from_pretrained(base, folder), base, rows)


@torch.no_grad()
def _ask(network: Any, base: Any, rows: Rows) -> tuple[Tensor, tuple[str, ...]]:
    from timm.data import create_transform, resolve_model_data_config

    network.eval()
    data = resolve_model_data_config(base)
    transform = create_transform(**data)
    files = rows["image"]
    found = []
    for start in range(0, len(files), BATCH):
        images = [open_picture(file, data["input_size"][0]) for file in files[start : start + BATCH]]
        found.append(network(torch.stack([transform(image) for image in images])))
    return torch.cat(found), tuple(base.pretrained_cfg["label_names"])


def loading(model: Model, form: str, name: str) -> str:
    """The Python lines that load the folder `name`."""
    if form == "merged":
        first, base = "import timm\n\n", f"model = timm.create_model({f'local-dir:{name}'!r}, pretrained=True).eval()"
        source = "model"
    else:
        first, source = "import timm\nfrom peft import PeftModel\n\n", "base"
        width = model.target.outputs
        base = (
            f"base = timm.create_model({f'local-dir:{name}/{BASE}'!r}, pretrained=True, num_classes={width})\n"
            f"model = PeftModel.from_pretrained(base, {name!r}).eval()"
        )
    return f"{first}{base}\ntransform = timm.data.create_transform(**timm.data.resolve_model_data_config({source}))"


def treatment(model: Model) -> str:
    """How a row becomes the network's input."""
    network: Any = model.network
    told = ", ".join(f"{key} {value}" for key, value in network.data_config.items())
    return f"The picture upright, in 8-bit RGB, white where it is transparent; then `transform` ({told})."
