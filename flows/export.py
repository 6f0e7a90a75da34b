"""A registered model written to a folder that other programs load."""

from pathlib import Path

from tasks.export.folder import export as write
from tasks.export.folder import free_place
from tasks.export.libraries import Form, library_of
from tasks.frozen import GraftError
from tasks.prepare import prepare, rows_of
from tasks.recipe import Recipe
from tasks.registry import model_folder, registered
from tasks.screen import console
from tasks.verify import ROWS


def export(ref: str, version: str | None, form: Form, to: Path) -> None:
    """Write a version's folder, proven on rows of its data.

    Raises:
        GraftError: there is no such version, its data are not here, or it cannot be written in this form or there.
    """
    if version and "/" in ref:
        raise GraftError(f"{ref!r} names a version already. Leave --version out.")
    place = free_place(to)
    source = registered(f"{ref}/{version}" if version else ref)
    folder = model_folder(f"{source.name}/{source.version}")
    recipe = Recipe.model_validate_json((folder / "recipe.json").read_text())
    library_of(recipe, form)
    test = rows_of(prepare(recipe.model, recipe.dataset, recipe.seed), "test")
    with console.status(f"writing {source.name}/{source.version}, and loading it in a fresh process to compare"):
        write(folder, source, form, test.table(range(min(ROWS, len(test)))), place)
    console.print(f"{to} written; its README.md says how to load it.", markup=False)
