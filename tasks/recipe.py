"""A recipe: data set, backbone, method, schedule, gate and seed. One immutable value, the run's identity."""

import hashlib
import json
import math
from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.backbones import Backbone
from tasks.datasets import Dataset
from tasks.decision import Decision
from tasks.frozen import Frozen
from tasks.gates import Gate
from tasks.methods import Method

# Fields of a data set or a backbone that say something about it, or what is accepted, but change no weight.
UNTRAINED = {"allow", "allow_other_counts", "board", "counts", "slices", "show_examples", "part_of", "pretrained_on"}

HEAD_ONLY = {"scratch", "linear_probe"}  # methods that take nothing from another run: they begin at random weights


class Schedule(Frozen):
    """How long and in what steps to train."""

    epochs: int = Field(3, ge=1)
    batch_size: int = Field(32, ge=1)
    warmup: float = Field(0.06, ge=0, le=1, description="share of the steps in which the learning rate rises")
    decay: Literal["linear", "cosine"] = "linear"
    draws: int | None = Field(
        None,
        ge=0,
        description="pictures: how often each is drawn by the augmentation, epochs take turns; 0: never, as it is; "
        "if not given: anew in each epoch, so that no frozen layer's output can be kept",
    )
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, gt=0, description="the gradient's norm is cut at this")
    class_weights: Literal["auto"] | None = Field(None, description="auto: rare classes weigh more, inversely to rows")
    keep: Literal["best", "last"] = Field(
        "best", description="the epoch whose weights are the model: best on validation, or the last (for few rows)"
    )
    patience: int | None = Field(None, ge=1, description="stop after so many epochs without a better validation score")

    @model_validator(mode="after")
    def _stops_at_the_best(self) -> Self:
        if self.patience and self.keep == "last":
            raise ValueError("patience stops after the best epoch, but keep is 'last'. Use keep: best, or no patience")
        return self

    def rate(self, step: int, steps: int) -> float:
        """The share of the learning rate in force at a step (0 .. steps-1): never 0, so that every step learns."""
        rising = max(1, math.ceil(self.warmup * steps))
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(1, steps - rising)
        return 0.5 * (1 + math.cos(math.pi * done)) if self.decay == "cosine" else 1 - done


class Recipe(Frozen):
    """All that decides what is trained and how it is judged."""

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$")
    about: str = ""
    model: str = Field(
        "", pattern=r"^([A-Za-z0-9][\w.-]*)?$", description="name in the registry; the data set's if not given"
    )
    dataset: Dataset
    backbone: Backbone
    method: Method
    schedule: Schedule = Schedule()
    decision: Decision = Decision()
    gate: Gate = Gate()
    crown: bool = Field(True, description="false: registered as ever, but judged by no gate and never the champion")
    seed: int = Field(0, ge=0, lt=2**31)
    start_from: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][\w.-]*(/\d+)?$",
        description="a trained model to start from, its head apart: an MLflow run's id, or name/version",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.dataset.accepts != self.backbone.accepts:
            raise ValueError(
                f"backbone {self.backbone.library!r} takes {self.backbone.accepts}, "
                f"but data set kind {self.dataset.kind!r} gives {self.dataset.accepts}. Choose another backbone"
            )
        self.gate.check_fit(self.dataset.target, self.dataset.accepts, self.dataset.sliced_by)
        if self.method.pretrained and not self.backbone.pretrained:
            raise ValueError(
                f"method {self.method.kind!r} needs pretrained weights, but backbone {self.backbone.library!r} "
                "has none. Use method=scratch, or a pretrained backbone"
            )
        self.decision.check_fit(self.dataset.target)
        if self.schedule.class_weights and self.dataset.target == "number":
            raise ValueError("schedule.class_weights is for classes, but the data set's target is a number")
        if self.start_from and self.method.kind in HEAD_ONLY:
            raise ValueError(
                f"start_from brings what another run trained outside its head, which method {self.method.kind!r} has "
                "no use for. Use method=lora, bitfit or full, the one of that run, or leave start_from out"
            )
        return self

    @property
    def fingerprint(self) -> str:
        """16 hex digits of all that decides what is trained; names, descriptions and the gate do not.

        `start_from` counts as it is written. A fine-tune turns name/version into the id of the run that made it first,
        so that what it records is the same for both.
        """
        told = {"about"}
        identity = self.model_dump(
            mode="json",
            exclude={
                "name": True, "model": True, "about": True, "gate": True, "crown": True,
                "dataset": UNTRAINED | told, "backbone": UNTRAINED | told, "method": told,
            },
        )  # fmt: skip
        if self.dataset.labels:
            identity["dataset"]["labels"] = list(self.dataset.labels.items())  # their order numbers the classes
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
