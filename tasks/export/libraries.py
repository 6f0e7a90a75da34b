"""Which libraries an exported model can be loaded by, and what each of them does."""

from pathlib import Path
from typing import Literal, Protocol

from torch import Tensor

from tasks.backbones.network import Rows
from tasks.export import image, text
from tasks.frozen import GraftError
from tasks.recipe import Recipe
from tasks.saved import Model

Form = Literal["adapter", "merged"]


class Library(Protocol):
    """What a module for one library has. `ask_...` loads a folder by the library alone, as its page says."""

    def merged(self, model: Model, folder: Path) -> None:
        """Fill a folder with the whole network."""

    def adapter(self, model: Model, folder: Path) -> None:
        """Fill a folder with the adapter, and the base where it is not on the hub."""

    def ask_merged(self, folder: Path, rows: Rows) -> tuple[Tensor, tuple[str, ...]]:
        """[N, K] logits of a filled folder, and the outputs' names."""

    def ask_adapter(self, folder: Path, rows: Rows) -> tuple[Tensor, tuple[str, ...]]:
        """[N, K] logits of a filled folder, and the outputs' names."""

    def loading(self, model: Model, form: str, name: str) -> str:
        """The Python lines that load the folder `name`."""

    def treatment(self, model: Model) -> str:
        """How a row becomes the network's input."""


LIBRARIES: dict[str, Library] = {"transformers": text, "timm": image}


def library_of(recipe: Recipe, form: Form) -> Library:
    """The library that loads a recipe's model.

    Raises:
        GraftError: none does, or the form is `adapter` and there is no adapter.
    """
    if recipe.backbone.library not in LIBRARIES:
        raise GraftError(
            f"The network of {recipe.model!r} is Graft's own ({recipe.backbone.library}), which neither "
            f"{' nor '.join(LIBRARIES)} loads. Serve it with `mlflow models serve`, or train a backbone of theirs "
            "(`graft list`)."
        )
    if form == "adapter" and recipe.method.kind != "lora":
        raise GraftError(
            f"{recipe.model!r} was trained by method {recipe.method.kind!r}, which leaves no adapter: only lora does. "
            "Give --form merged."
        )
    return LIBRARIES[recipe.backbone.library]
