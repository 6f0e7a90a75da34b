"""A model on disk, one form for every method: what trained, the frozen rest, and what rebuilds the network.

    recipe.json, target.json   the resolved recipe; the classes in their order, and how answers are told from logits
    backbone/                  configuration and tokenizer or transforms
    frozen.safetensors         the weights that did not train
    trained.safetensors        the weights that did, and all buffers (batch-norm statistics among them)

Nothing else is needed to load it: no network, no hub cache, no pickle.
"""

import filecmp
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tasks.backbones.network import Network, Rows
from tasks.checkpoint import pack
from tasks.frozen import GraftError
from tasks.methods import in_head
from tasks.recipe import UNTRAINED, Recipe
from tasks.results import Target

LOOSE = {"about", "learning_rate", "dropout"}  # of a method: what changes neither the shape nor the meaning of weights


@dataclass
class Model:
    """A network with the recipe that made it and the meaning of its outputs."""

    recipe: Recipe
    target: Target
    network: Network


def trained_state(network: Network) -> dict[str, Tensor]:
    """Trainable weights and all kept buffers: one rule for every method."""
    frozen = {name for name, weight in network.module.named_parameters() if not weight.requires_grad}
    return {name: tensor for name, tensor in network.module.state_dict().items() if name not in frozen}


def restore(network: Network, state: dict[str, Tensor], what: str) -> None:
    """Put back what `trained_state` (or its complement) gave.

    Raises:
        GraftError: a name is missing, unknown, or of another shape: the model would not be the one saved.
    """
    own = network.module.state_dict()
    trained = trained_state(network).keys()
    wanted = trained if what == "trained" else own.keys() - trained
    if wanted != state.keys():
        odd = sorted(wanted ^ state.keys())
        raise GraftError(f"The {what} weights do not fit this network: {len(odd)} names differ, the first is {odd[0]}.")
    for name, tensor in state.items():
        if own[name].shape != tensor.shape:
            raise GraftError(
                f"The {what} weight {name} has shape {list(tensor.shape)}, the network {list(own[name].shape)}."
            )
        own[name].copy_(tensor)


def begin(folder: Path, recipe: Recipe, target: Target, inputs: Rows, start: Path | None = None) -> Model:
    """Load the backbone, keep its description and frozen weights in a new folder, and adapt it.

    `start` is the folder of a saved model whose trained weights, its head's apart, are the first ones.

    Raises:
        GraftError: the weights cannot be had, the method or `start` does not fit, or the disk is full.
    """
    network = recipe.backbone.load(target, inputs, pretrained=recipe.method.pretrained)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        (made / "backbone").mkdir()
        network.describe(made / "backbone")
        recipe.method.adapt(network)
        if start:
            take_over(network, start)
        trained = trained_state(network)
        frozen = {name: tensor for name, tensor in network.module.state_dict().items() if name not in trained}
        (made / "frozen.safetensors").write_bytes(pack(frozen))
        (made / "recipe.json").write_text(recipe.model_dump_json(indent=1))
        (made / "target.json").write_text(target.model_dump_json(indent=1))
        made.rename(folder)
    except OSError as error:
        raise GraftError(f"{folder} cannot be written: {error.strerror}. Free space or set GRAFT_HOME.") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return Model(recipe, target, network)


def check_start(recipe: Recipe, folder: Path) -> None:
    """Compare a recipe with that of the saved model it starts from; quick, without any weights.

    Raises:
        GraftError: they do not fit (see `check_fit`).
    """
    check_fit(recipe, Recipe.model_validate_json((folder / "recipe.json").read_text()))


def check_fit(recipe: Recipe, source: Recipe) -> None:
    """Whether a recipe can start from what another one trained.

    Raises:
        GraftError: backbone or method differ in what gives the weights their shapes and their meaning.
    """
    for part, free in (("backbone", UNTRAINED | {"about"}), ("method", LOOSE)):
        own, other = (getattr(one, part).model_dump(mode="json", exclude=free) for one in (recipe, source))
        keys = [key for key in {**other, **own} if own.get(key) != other.get(key)]
        if keys:
            there, here = (", ".join(f"{part}.{key}={given.get(key)}" for key in keys) for given in (other, own))
            raise GraftError(
                f"start_from {recipe.start_from!r} ({source.name}) has {there}, but this recipe has {here}. "
                f"Take the same {part}, or start from another run."
            )


def take_over(network: Network, folder: Path) -> None:
    """Put a saved model's trained weights and buffers, its head's apart, into an adapted network.

    Raises:
        GraftError: names or shapes differ, or the frozen weights are not the same.
    """
    frozen, trained = _read(folder / "frozen.safetensors"), _read(folder / "trained.safetensors")
    own, moving = network.module.state_dict(), trained_state(network).keys()
    for what, state, names in (("frozen", frozen, own.keys() - moving), ("trained", trained, moving)):
        kept, wanted = ({name for name in all_ if not in_head(name, network.head)} for all_ in (state, names))
        odd = sorted((kept ^ wanted) | {name for name in kept & wanted if own[name].shape != state[name].shape})
        if odd:
            raise GraftError(
                f"The {what} weights of the model to start from do not fit this network: {len(odd)} differ in name or "
                f"shape, the first is {odd[0]}. Take the same backbone and method, or start from another run."
            )
        for name in sorted(kept):
            if what == "trained":
                own[name].copy_(state[name])
            elif not torch.equal(own[name], state[name]):
                raise GraftError(
                    f"The model to start from was trained on other weights of the same backbone: {name} differs. "
                    "Start from a run on the weights that are there now."
                )


def sizes(folder: Path) -> dict[str, int]:
    """Bytes on disk: of the whole `model`, and of its `trained` weights alone (with the buffers)."""
    whole = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {"model": whole, "trained": (folder / "trained.safetensors").stat().st_size}


def reopen(folder: Path) -> Model:
    """The adapted network from its folder with the frozen weights alone; `restore` brings the trained ones."""
    recipe = Recipe.model_validate_json((folder / "recipe.json").read_text())
    target = target_of(folder)
    network = recipe.backbone.rebuild(folder / "backbone", target)
    recipe.method.adapt(network)
    restore(network, _read(folder / "frozen.safetensors"), "frozen")
    return Model(recipe, target, network)


def target_of(folder: Path) -> Target:
    """What a saved model answers, with all that was fitted of it."""
    return Target.model_validate_json((folder / "target.json").read_text())


def load(folder: Path) -> Model:
    """The trained model, ready to answer.

    Raises:
        GraftError: a file is missing or damaged, or its weights do not fit.
    """
    model = reopen(folder)
    restore(model.network, _read(folder / "trained.safetensors"), "trained")
    model.network.module.eval()
    return model


def same_weights(one: Path, two: Path) -> bool:
    """Whether two saved models have the same weights bit for bit, those that trained and those that did not.

    Raises:
        GraftError: a file is missing.
    """
    files = ("trained.safetensors", "frozen.safetensors")
    try:
        return all(filecmp.cmp(one / name, two / name, shallow=False) for name in files)
    except OSError as error:
        raise GraftError(f"{error.filename} cannot be read: {error.strerror}.") from error


def _read(file: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = load_file(file)
        return state
    except (OSError, SafetensorError) as error:
        raise GraftError(f"{file} cannot be read: {error}.") from error
