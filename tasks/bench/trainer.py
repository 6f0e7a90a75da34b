"""What users of transformers run: its Trainer with peft, and its pipeline. None of Graft's own training is used."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    pipeline,
    set_seed,
)

from tasks import memory, runtime
from tasks.backbones.text import TransformersBackbone
from tasks.backbones.weights import HubWeights
from tasks.bench.orders import Order, Taken, answered, digest
from tasks.bench.works import Settings
from tasks.frozen import GraftError
from tasks.methods import Lora
from tasks.prepare import rows_of
from tasks.recipe import Recipe
from tasks.rows import Rows

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
ANSWERED = 64  # rows in a batch that is only answered
WARM = 256  # rows that are answered before the clock runs


def train(order: Order) -> tuple[Taken, NDArray[np.float32] | None]:
    """Train by Trainer, then answer all test rows if it saw all training rows.

    Raises:
        GraftError: the recipe is not for transformers' weights in a folder.
    """
    recipe, settings, entered = order.recipe, order.settings, time.perf_counter()
    place = _folder(recipe)
    backbone = cast(TransformersBackbone, recipe.backbone)
    tokenizer = AutoTokenizer.from_pretrained(place)
    rows = rows_of(order.data, "train")
    count = order.rows or len(rows)
    texts, labels = rows["text"][:count], rows.labels[:count].tolist()
    tokens = _tokens(tokenizer, texts, labels, backbone.max_length, settings.padded)
    set_seed(recipe.seed)  # as run_glue.py does: else each run has another head and other adapters
    model = _model(place, order, settings)
    epochs = order.epochs or recipe.schedule.epochs
    trainer = Trainer(
        model=model,
        args=_arguments(recipe, settings, order.out, len(tokens), epochs),
        train_dataset=tokens,
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
    )
    began = time.perf_counter()
    done = trainer.train()
    seconds = time.perf_counter() - began
    taken = Taken(
        seconds=seconds,
        ready=began - entered,
        rows=len(tokens),
        epochs=epochs,
        steps=done.global_step,
        trained=sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        peak=memory.device_peak() or memory.peak(),
        seen=digest(texts, labels),
    )
    whole = order.rows is None and order.epochs is None
    return taken, _answers(trainer, tokenizer, rows_of(order.data, "test"), backbone.max_length) if whole else None


def _folder(recipe: Recipe) -> Path:
    if recipe.backbone.library != "transformers" or isinstance(recipe.backbone.weights, HubWeights):
        raise GraftError(
            f"Backbone {recipe.backbone.library!r} has no transformers' weights in a folder to bench with."
        )
    return recipe.backbone.weights.folder()


def _model(place: Path, order: Order, settings: Settings) -> Any:
    """The pretrained network with a new head; for LoRA with adapters on every linear map but the head's."""
    from peft import LoraConfig, get_peft_model

    method = order.recipe.method
    model = AutoModelForSequenceClassification.from_pretrained(
        place, num_labels=order.data.target.outputs, **({} if settings.dropout else NO_DROPOUT)
    )
    if not isinstance(method, Lora):
        return model
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=method.rank,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        target_modules="all-linear",
    )
    return get_peft_model(model, config)


def _tokens(tokenizer: Any, texts: Sequence[str], labels: Sequence[int], longest: int, padded: bool) -> Any:
    """The rows as dicts in a list, which the loader reads faster than an Arrow table."""
    found = tokenizer(list(texts), truncation=True, max_length=longest, padding="max_length" if padded else False)
    names = list(found)
    columns = [*(found[name] for name in names), labels]
    return [dict(zip([*names, "labels"], cells, strict=True)) for cells in zip(*columns, strict=True)]


def _arguments(recipe: Recipe, settings: Settings, out: Path, rows: int, epochs: int) -> TrainingArguments:
    """The recipe's schedule in Trainer's words; what costs time and teaches nothing is off."""
    schedule = recipe.schedule
    steps = math.ceil(rows / schedule.batch_size) * epochs
    return TrainingArguments(
        output_dir=str(out / "trainer"),
        per_device_train_batch_size=schedule.batch_size,
        per_device_eval_batch_size=ANSWERED,
        num_train_epochs=epochs,
        learning_rate=recipe.method.learning_rate,
        lr_scheduler_type=schedule.decay,
        warmup_steps=max(1, math.ceil(schedule.warmup * steps)),
        weight_decay=schedule.weight_decay,
        max_grad_norm=schedule.clip,
        seed=recipe.seed,
        optim="adamw_torch_fused",
        train_sampling_strategy="random" if settings.padded else "group_by_length",
        bf16=settings.bf16,
        use_cpu=runtime.device() == "cpu",
        dataloader_num_workers=0,
        dataloader_pin_memory=runtime.device() == "cuda",
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def _answers(trainer: Any, tokenizer: Any, rows: Rows, longest: int) -> NDArray[np.float32]:
    """[N, K] logits of rows in their order; sorted by length while they are asked, to pad little."""
    tokens = _tokens(tokenizer, list(rows["text"]), rows.labels.tolist(), longest, padded=False)
    order = np.argsort([len(row["input_ids"]) for row in tokens], kind="stable")
    trainer.args.train_sampling_strategy = "random"  # grouped, rows to answer are shuffled too, answers with them
    logits: NDArray[np.float32] = trainer.predict([tokens[index] for index in order]).predictions
    return logits[np.argsort(order)]


def predict(order: Order) -> tuple[Taken, NDArray[np.float32]]:
    """Answer all test rows by a pipeline on the exported model: raw texts in, probabilities out."""
    entered = time.perf_counter()
    rows = rows_of(order.data, "test")
    texts = list(rows["text"])
    classify = pipeline(
        "text-classification",
        model=str(order.model),
        device=runtime.device(),
        truncation=True,
        top_k=None,
        batch_size=ANSWERED,
    )
    classify(texts[:WARM])
    began = time.perf_counter()
    told = classify(texts)
    seconds = time.perf_counter() - began
    taken = answered(texts, rows.labels, began - entered, seconds)
    shares = [{one["label"]: one["score"] for one in row} for row in told]
    return taken, np.array([[row[name] for name in order.data.target.names] for row in shares], np.float32)
