"""A LoRA adapter and its base: merged into one network, or apart in PEFT's own files."""

from pathlib import Path
from typing import Any

from tasks.backbones.weights import HubWeights
from tasks.saved import Model

BASE = "base"  # the folder of the base in the adapter's own


def whole(model: Model) -> Any:
    """The network in its library's own class, an adapter merged into it."""
    module: Any = model.network.module
    return module.merge_and_unload() if model.recipe.method.kind == "lora" else module


def on_hub(model: Model) -> HubWeights | None:
    """The pinned repository of a transformers base, which an adapter names; any other base lies beside the adapter.

    A timm base always does: its config also says the labels and how pictures are treated.
    """
    backbone = model.recipe.backbone
    if backbone.library == "transformers" and isinstance(backbone.weights, HubWeights):
        return backbone.weights
    return None


def split(model: Model, folder: Path) -> Any:
    """Write the adapter and the head to a folder; returns the network without the adapter, to be saved as its base.

    The head is in PEFT's `modules_to_save`. The base is named by its repository and commit, or as `base`.
    """
    module: Any = model.network.module
    config, hub = module.peft_config["default"], on_hub(model)
    config.base_model_name_or_path = hub.id if hub else BASE
    config.revision = hub.revision if hub else None
    module.save_pretrained(folder, save_embedding_layers=False)  # else it asks the hub whether the vocabulary grew
    return module.unload()
