"""A saved model written in a form that other libraries load; the folder appears only after it was proven."""

import tempfile
from pathlib import Path

import pandas as pd
from safetensors import SafetensorError

from tasks import saved, verify
from tasks.backbones.network import logits_of
from tasks.export.adapter import on_hub
from tasks.export.libraries import Form, library_of
from tasks.export.page import page
from tasks.export.proof import prove
from tasks.frozen import GraftError
from tasks.results import Registered
from tasks.rows import inputs_of


def free_place(to: Path) -> Path:
    """The absolute path of a folder to be written, which is empty or not there yet.

    Raises:
        GraftError: something is there.
    """
    if to.is_dir() and any(to.iterdir()):
        raise GraftError(f"{to} is not empty, and nothing is written over. Give a new folder with --to.")
    if to.exists() and not to.is_dir():
        raise GraftError(f"{to} is a file. Give a new folder with --to.")
    return to.resolve()


def export(folder: Path, source: Registered, form: Form, rows: pd.DataFrame, to: Path) -> None:
    """Write a saved model to `to`, whole and proven or not at all.

    Args:
        folder: the saved model.
        source: the version that it is, named on the folder's page.
        form: `merged`, the whole network; `adapter`, a LoRA adapter with the head, and its base beside it.
        rows: some of its data, on which the folder must answer as the model does.
        to: a path from `free_place`.

    Raises:
        GraftError: no library loads it in this form, the proof failed, or the place cannot be written.
    """
    model = saved.load(folder)
    hub = form == "adapter" and on_hub(model) is not None
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".{to.name}.") as work:
            made = Path(work) / to.name
            verify.keep(Path(work), rows, logits_of(model.network, inputs_of(rows)))
            fill(made, model, source, form, len(rows))
            prove(made, model.recipe.backbone.library, form, model.target, Path(work), hub)
            made.rename(to)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GraftError(f"{to} cannot be written: {reason}. Free space, or give another folder with --to.") from error


def fill(folder: Path, model: saved.Model, source: Registered, form: Form, rows: int) -> None:
    """Write a new folder in a form, with its page, which says on how many rows it was proven.

    The model's network is taken apart by it.

    Raises:
        GraftError: no library loads the model in this form.
    """
    library = library_of(model.recipe, form)
    told = page(model, library, form, source, folder.name, rows)
    folder.mkdir()
    (library.merged if form == "merged" else library.adapter)(model, folder)
    (folder / "README.md").write_text(told)  # in place of PEFT's own, which names a folder of this machine
    rights = (folder / "README.md").stat().st_mode  # safetensors writes files that only their owner can read
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(rights)
