"""Text classifiers as transformers and peft load them."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tasks.backbones.network import Rows
from tasks.export.adapter import BASE, on_hub, split, whole
from tasks.saved import Model

BATCH = 16


def merged(model: Model, folder: Path) -> None:
    """Fill a folder for `pipeline("text-classification", model=folder)`."""
    whole(model).save_pretrained(folder)
    _keep_tokenizer(model, folder)


def adapter(model: Model, folder: Path) -> None:
    """Fill a folder for `PeftModel.from_pretrained(base, folder)`; the base lies in it without a head, or on the hub.

    For a base on the hub the folder has the configuration that gives its head the right shape.
    """
    base = split(model, folder)
    if on_hub(model):
        base.config.save_pretrained(folder)
    else:
        getattr(base, base.base_model_prefix).save_pretrained(folder / BASE)
    _keep_tokenizer(model, folder)


def _keep_tokenizer(model: Model, folder: Path) -> None:
    network: Any = model.network
    network.tokenizer.model_max_length = network.max_length
    network.tokenizer.save_pretrained(folder)


def ask_merged(folder: Path, rows: Rows) -> tuple[Tensor, tuple[str, ...]]:
    """[N, K] logits by a plain pipeline, and the outputs' names."""
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(folder), truncation=True)
    texts = [dict(zip(rows, cells, strict=True)) for cells in zip(*rows.values(), strict=True)]
    answers = classify(texts, top_k=None, function_to_apply="none", batch_size=BATCH)
    names = _names(classify.model.config)
    scores = [{said["label"]: said["score"] for said in answer} for answer in answers]
    return torch.tensor([[own[name] for name in names] for own in scores]), names


@torch.no_grad()
def ask_adapter(folder: Path, rows: Rows) -> tuple[Tensor, tuple[str, ...]]:
    """[N, K] logits by plain peft, and the outputs' names."""
    from peft import PeftConfig, PeftModel
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    said = PeftConfig.from_pretrained(folder)
    own = {"revision": said.revision, "config": AutoConfig.from_pretrained(folder)} if said.revision else {}
    place = said.base_model_name_or_path if said.revision else folder / BASE
    base = AutoModelForSequenceClassification.from_pretrained(place, **own)
    network = PeftModel.from_pretrained(base, folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found, columns = [], [list(column) for column in rows.values()]
    for start in range(0, len(columns[0]), BATCH):
        part = [column[start : start + BATCH] for column in columns]
        found.append(network(**tokenizer(*part, truncation=True, padding=True, return_tensors="pt")).logits)
    return torch.cat(found), _names(base.config)


def _names(config: Any) -> tuple[str, ...]:
    return tuple(name for _, name in sorted(config.id2label.items()))


def loading(model: Model, form: str, name: str) -> str:
    """The Python lines that load the folder `name`."""
    if form == "merged":
        return (
            "from transformers import pipeline\n\n"
            f"classify = pipeline('text-classification', model={name!r}, truncation=True)"
        )
    base, also = repr(f"{name}/{BASE}"), ""
    if hub := on_hub(model):
        also = "AutoConfig, "
        base = f"{hub.id!r}, revision={hub.revision!r}, config=AutoConfig.from_pretrained({name!r})"
    return (
        "from peft import PeftModel\n"
        f"from transformers import {also}AutoModelForSequenceClassification, AutoTokenizer\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({name!r})\n"
        f"base = AutoModelForSequenceClassification.from_pretrained({base})\n"
        f"model = PeftModel.from_pretrained(base, {name!r}).eval()"
    )


def treatment(model: Model) -> str:
    """How a row becomes the network's input."""
    network: Any = model.network
    pair = ", both texts of a pair together" if "text_pair" in model.recipe.dataset.inputs else ""
    return f"The folder's tokenizer, cut at {network.max_length} tokens{pair}: `truncation=True`."
