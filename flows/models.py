"""The commands about registered models: `promote`, `rollback`, `ledger`, `reproduce`, `export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="end stdout with one JSON object; all else goes to stderr")]


@app.command(rich_help_panel="Models")
def promote(
    name: Annotated[str, typer.Argument(help="a registered model, e.g. tickets")],
    version: Annotated[int, typer.Argument(min=1, help="the version that shall become its champion")],
    because: Annotated[str, typer.Option(help="your reason, for the ledger")],
    gate: Annotated[
        str, typer.Option(help="a gate from `graft list`; the one of the version's recipe if not given")
    ] = "",
    override: Annotated[bool, typer.Option("--override", help="do not ask the gate; the ledger says so")] = False,
    json: Json = False,
) -> None:
    """Judge a version against the champion, now and on the same rows; crown it if the gate lets it pass.

    Exit code 1 if it does not. Every reason is shown, and kept with the version and in the ledger.
    """
    from flows.quiet import hush_bars

    hush_bars()
    from flows import promote as judging

    raise SystemExit(judging.ask(name, version, because, gate, override, json))


@app.command(rich_help_panel="Models")
def rollback(
    name: Annotated[str, typer.Argument(help="a registered model, e.g. tickets")],
    to: Annotated[int, typer.Option(min=0, help="a version; 0: the champion before the present one")] = 0,
    because: Annotated[str, typer.Option(help="your reason, for the ledger")] = "",
) -> None:
    """Make the version the champion again that was it before. Given again, it goes one further back."""
    from flows import promote as judging

    judging.back(name, to, because)


@app.command(rich_help_panel="Models")
def ledger(
    name: Annotated[str, typer.Argument(help="a registered model, e.g. tickets")],
    json: Json = False,
) -> None:
    """Who promoted, held, refused or rolled back which version, when and why."""
    from flows import promote as judging

    judging.show(name, json)


@app.command(rich_help_panel="Models")
def reproduce(
    run: Annotated[str, typer.Argument(help="an MLflow run's id, or name/version of what it registered")],
    json: Json = False,
) -> None:
    """Train a finished run again from what it recorded: equal, within seed noise, or different (exit code 1), and why.

    Nothing is registered and no alias moves. Stopped at any moment, the same command goes on where it was.
    """
    from flows.quiet import hush_bars

    hush_bars()
    from flows import reproduce as again

    raise SystemExit(again.main(run, json))


@app.command(rich_help_panel="Models")
def export(
    name: Annotated[str, typer.Argument(help="a registered model (its champion), name/version, or an MLflow run's id")],
    to: Annotated[Path, typer.Option(help="the folder to write, new or empty")],
    version: Annotated[str | None, typer.Option(help="a version by number; the champion if not given")] = None,
    form: Annotated[
        Literal["adapter", "merged"],
        typer.Option(help="`merged`: the whole network; `adapter`: a LoRA adapter with its head, for peft"),
    ] = "merged",
) -> None:
    """Write a registered model to a folder that transformers, timm or peft load without Graft.

    It is there only after a fresh process loaded it by these libraries and it answered as the model does.
    """
    from flows.quiet import hush_bars

    hush_bars()
    from flows import export as writing

    writing.export(name, version, form, to)
