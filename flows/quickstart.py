"""The main job on the embedded data: what transfer gives where labels are few. No network needed."""

from rich.console import Console
from rich.table import Table

from flows.finetune import Result, run
from tasks import plots, runtime
from tasks.compose import load
from tasks.recipe import Recipe

FEW = {"tickets": 320, "digits": 20}  # training rows, validation included


def recipes() -> list[Recipe]:
    """Tickets and digits, from scratch and by LoRA."""
    return [
        load(f"{data}_{method}", [f"dataset.limit={rows}"])
        for data, rows in FEW.items()
        for method in ("scratch", "lora")
    ]


def main() -> None:
    """Run them all, then one table, one picture and where to look further."""
    results = []
    for recipe in recipes():
        results.append(run(recipe))
        Console().print(f"[bold]{recipe.name}[/] {results[-1].card.score} -> {results[-1].registered.uri}")
    picture = runtime.home() / "quickstart.png"
    plots.bars(
        [result.recipe.name for result in results],
        [result.card.score.value for result in results],
        [(result.card.score.low, result.card.score.high) for result in results],
        picture,
    )
    screen = Console()
    screen.print(_table(results))
    screen.print(f"Picture: {picture}")
    screen.print("Look further:")
    screen.print('  [bold].venv/bin/graft predict tickets --text "my parcel never came"[/]')
    screen.print("  [bold].venv/bin/graft up[/]   (all runs, curves and models in a browser, a form, schedules)")


def _table(results: list[Result]) -> Table:
    headline = results[0].card.headline
    columns = ("experiment", "rows", f"{headline} ± 95 %", "seen", "trained", "seconds", "model")
    table = Table(
        *columns,
        title="Few labels: what transfer gives (seen: was the data in the trunk's pretraining?)",
        box=None,
        header_style="dim",
        title_justify="left",
    )
    for result in results:
        trained, registered = result.trained, result.registered
        table.add_row(
            result.recipe.name,
            str(FEW[result.recipe.model]),
            str(result.card.score),
            result.card.pretraining_overlap,
            f"{trained.trained_weights:,}",
            f"{result.seconds['total']:.0f}",
            f"{registered.name}/{registered.version}" + (" champion" if result.verdict.passed else ""),
        )
    return table
