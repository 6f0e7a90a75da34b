"""What grows: every curve with the recipe of each of its sizes. One table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pandas as pd

from tasks.backbones.text import TextNetwork
from tasks.bench.growth.made import joined, multiplied, shorten
from tasks.bench.orders import Taken
from tasks.bench.works import chosen, turns_of
from tasks.compose import load
from tasks.datasets.spec import LABEL
from tasks.frozen import Frozen
from tasks.recipe import Recipe
from tasks.results import Prepared, Target

TWO = Target(labels=("0", "1"), raw=("0", "1"))  # a network is loaded for these where its head does not matter


class Curve(Frozen):
    """A training at several sizes, of which one thing grows.

    Attributes:
        about: what is trained.
        axis: what grows, in a reader's words.
        sizes: in the order in which they are measured; each as an override gives it to `field`.
        few: the sizes with --quick.
        field: of the recipe.
        changes: to the experiment's recipe at every size.
        quick: further ones with --quick.
        of_row: time is that of a row, in ms; else that of the training, in s.
        named: the sizes have names of their own, which the table shows.
    """

    name: str
    about: str
    axis: str
    experiment: str
    sizes: tuple[str, ...]
    few: tuple[str, ...]
    field: str
    changes: tuple[str, ...] = ("schedule.epochs=1",)
    quick: tuple[str, ...] = ()
    of_row: bool = True
    named: bool = False

    def chosen(self, quick: bool) -> tuple[str, ...]:
        """The sizes that are measured."""
        return self.few if quick else self.sizes

    def recipe(self, size: str, quick: bool, folder: Path) -> Recipe:
        """The recipe of a size; what must be made for it lies in the folder.

        Raises:
            GraftError: the experiment does not load, or its data or weights are not there.
        """
        return load(self.experiment, [*self._changes(quick), f"{self.field}={size}"])

    def _changes(self, quick: bool) -> tuple[str, ...]:
        return self.changes + (self.quick if quick else ())

    def place(self, size: str, recipe: Recipe, data: Prepared) -> float:
        """Where a size stands on the axis."""
        return float(size)

    def time(self, taken: Taken) -> float:
        """What is drawn: ms of a row, or s of the training."""
        return 1000 / taken.rate if self.of_row else taken.seconds

    @property
    def unit(self) -> str:
        """Of the time, with what it is the time of."""
        return "ms a row" if self.of_row else "s of training"


class Rows(Curve):
    """More rows of the same kind."""

    def place(self, size: str, recipe: Recipe, data: Prepared) -> float:
        return float(data.rows["train"])  # the size has the validation rows in it


class Lengths(Curve):
    """As many rows of more tokens.

    `rows`: how many are made, a fifth of them for validation and test; the second with --quick.
    """

    rows: tuple[int, int]

    def recipe(self, size: str, quick: bool, folder: Path) -> Recipe:
        recipe = super().recipe(size, quick, folder)
        network = cast(TextNetwork, recipe.backbone.load(TWO, {}))
        source = recipe.dataset.read().table("train")
        rows = joined(network, source["text"].tolist(), source[LABEL].tolist(), self.rows[quick])
        file = folder / f"tokens-{size}.csv"
        pd.DataFrame(rows, columns=["text", LABEL]).to_csv(file, index=False)
        told = {"kind": "table", "path": str(file), "validation": 0.1, "test": 0.1}
        return load(self.experiment, [*self._changes(quick), f"{self.field}={size}", f"dataset={json.dumps(told)}"])


class Networks(Curve):
    """Larger networks on the same rows: a backbone's name, perhaps with how many of its blocks are kept (`name:2`)."""

    def recipe(self, size: str, quick: bool, folder: Path) -> Recipe:
        name, _, blocks = size.partition(":")
        whole = super().recipe(name, quick, folder)
        if not blocks:
            return whole
        made = folder / size.replace(":", "-")
        shorten(cast(TextNetwork, whole.backbone.load(TWO, {})), int(blocks), made)
        weights = json.dumps({"kind": "folder", "path": str(made)})
        return load(self.experiment, [*self._changes(quick), f"{self.field}={name}", f"{self.field}.weights={weights}"])

    def place(self, size: str, recipe: Recipe, data: Prepared) -> float:
        return float(multiplied(recipe.backbone.load(data.target, {})))


CURVES: tuple[Curve, ...] = (
    Rows(
        name="rows", about="LoRA on sentences of SST-2, MiniLM", axis="rows", experiment="sst2_lora", of_row=False,
        field="dataset.limit", sizes=("1000", "4000", "16000", "64000"), few=("100", "200", "400"),
    ),
    Lengths(
        name="length", about="LoRA on sentences of SST-2 joined to rows of one length, MiniLM", axis="tokens a row",
        experiment="sst2_lora", field="backbone.max_length", sizes=("16", "32", "64", "128", "256", "512"),
        few=("16", "64"), rows=(400, 60),
    ),
    Curve(
        name="image", about="LoRA on ten ImageNet classes, EfficientNet-Lite0", axis="pixels a side",
        experiment="imagenet10_lora", field="backbone.image_size",
        sizes=("96", "128", "160", "192", "224", "256", "288"), few=("96", "128"), quick=("dataset.limit=60",),
    ),
    Networks(
        name="model", about="LoRA on sentences of SST-2, whole networks and their first blocks alone",
        axis="weights outside embeddings", experiment="sst2_lora", field="backbone", named=True,
        sizes=("minilm:2", "minilm", "smollm2:10", "smollm2"), few=("minilm:2", "minilm"),
        changes=("schedule.epochs=1", "dataset.limit=1000"), quick=("dataset.limit=60",),
    ),
)  # fmt: skip


class Asked(Frozen):
    """Curves as they were asked for.

    `repeats`: turns, in each of which every size runs once.
    """

    curves: tuple[Curve, ...]
    repeats: int
    quick: bool


def asked(growth: str, repeats: int | None, quick: bool) -> Asked:
    """What the options mean; `growth` are names of curves with commas, or `all`.

    Raises:
        GraftError: an unknown curve, or no turn.
    """
    names = [curve.name for curve in CURVES]
    wanted = chosen("--growth", growth, [*names, "all"])
    curves = [curve for curve in CURVES if "all" in wanted or curve.name in wanted]
    return Asked(curves=tuple(curves), repeats=turns_of(repeats, quick), quick=quick)


class Point(Frozen):
    """A size made ready: where it stands on its curve's axis, and what is trained."""

    curve: str
    size: str
    place: float
    recipe: Recipe
    data: Prepared

    @property
    def key(self) -> tuple[str, str]:
        """The curve's name and the size."""
        return self.curve, self.size


def foreseen(
    points: Sequence[Point], ran: Mapping[tuple[str, str], tuple[float, float]]
) -> dict[tuple[str, str], list[float]]:
    """Seconds of the whole process for every point of which a neighbour on the curve ran: as if time were linear.

    Args:
        points: of all curves.
        ran: seconds of the whole process, and of the training in it, of those that ran.
    """
    found = {}
    for point in points:
        nearest = [one for one in points if one.curve == point.curve and one.key in ran]
        if nearest:
            near = min(nearest, key=lambda one: abs(one.place - point.place))
            wall, training = ran[near.key]
            found[point.key] = [wall + training * (point.place / near.place - 1)]
    return found
