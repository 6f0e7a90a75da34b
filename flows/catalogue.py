"""What there is to run, and what a recipe says in full."""

import yaml
from rich.console import Console
from rich.table import Table

from tasks.compose import CATALOGUES, CONFIGS, load, names, read

screen = Console()


def show_all() -> None:
    """A table a folder of `configs/`."""
    for folder in ("experiments", *(folder for folder, _ in CATALOGUES.values())):
        table = Table("name", "about", title=folder, title_justify="left", box=None, header_style="dim", pad_edge=False)
        for name in names(folder):
            table.add_row(f"[bold]{name}[/]", str(read(CONFIGS / folder / f"{name}.yaml").get("about", "")))
        screen.print(table)
        screen.print()
    screen.print("Next: [bold]graft show EXPERIMENT[/] or [bold]graft finetune EXPERIMENT[/]")


def show_recipe(experiment: str, overrides: list[str]) -> None:
    """The resolved recipe as YAML, and its fingerprint."""
    recipe = load(experiment, overrides)
    print(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True), end="")
    print(f"# fingerprint {recipe.fingerprint}")
