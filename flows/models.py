"""The commands about registered models, from `predict` to `serve`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="end stdout with one JSON object; all else goes to stderr")]


@app.command(rich_help_panel="Models")
def predict(
    name: Annotated[str, typer.Argument(help="a registered model, e.g. tickets")],
    text: Annotated[list[str] | None, typer.Option(help="a text; may be given several times")] = None,
    pair: Annotated[list[str] | None, typer.Option(help="the second text of a pair, one for each --text")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="a picture's file; may be given several times")] = None,
    file: Annotated[
        Path | None, typer.Option(help="a CSV with the columns text (and text_pair) or image (paths)")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write the answers to this CSV instead of the terminal")] = None,
    version: Annotated[str | None, typer.Option(help="a version by number; the champion if not given")] = None,
    json: Json = False,
) -> None:
    """Ask a registered model: the champion, or a version."""
    from flows import predict as asking

    asking.predict(name, asking.table(text, pair, image, file), out, version, json)


@app.command(rich_help_panel="Models")
def explain(
    name: Annotated[str, typer.Argument(help="a registered model, e.g. tickets")],
    version: Annotated[int, typer.Option(min=0, help="a version by number; 0: the champion")] = 0,
    text: Annotated[str | None, typer.Option(help="a text: which words speak for the answer")] = None,
    pair: Annotated[str | None, typer.Option(help="the second text of a pair")] = None,
    image: Annotated[Path | None, typer.Option(help="a picture's file: which places speak for the answer")] = None,
    label: Annotated[str | None, typer.Option(help="explain this label instead of the answer")] = None,
    worst: Annotated[int, typer.Option(min=0, help="so many of the surest errors on the test rows")] = 0,
    against: Annotated[int, typer.Option(min=0, help="with --worst: the version to compare; 0: the champion")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="the folder for what is written; reports/ in GRAFT_HOME if not given")
    ] = None,
    json: Json = False,
) -> None:
    """Why a model answers so: the words of a text, the places of a picture, or its worst errors.

    Texts and pictures of rows go to the terminal and the folder alone.
    """
    from flows import explain as explaining

    explaining.main(name, version, text, pair, image, label, worst, against, out, json)


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
    from flows import reproduce as again

    raise SystemExit(again.main(run, json))


@app.command(rich_help_panel="Models")
def export(
    name: Annotated[str, typer.Argument(help="a registered model (its champion), name/version, or an MLflow run's id")],
    to: Annotated[Path, typer.Option(help="the folder to write, new or empty")],
    version: Annotated[str | None, typer.Option(help="a version by number; the champion if not given")] = None,
    form: Annotated[
        Literal["adapter", "merged"],
        typer.Option(help="for peft, or the whole network"),
    ] = "merged",
) -> None:
    """Write a registered model to a folder that transformers, timm or peft load without Graft.

    It is there only after a fresh process loaded it by these libraries and it answered as the model does.
    """
    from flows import export as writing

    writing.export(name, version, form, to)


@app.command(rich_help_panel="Models")
def serve(
    names: Annotated[
        list[str], typer.Argument(help="registered models: tickets for its champion, mails/3 for a version")
    ],
    version: Annotated[int, typer.Option(min=0, help="of the one model named; 0: its champion, followed")] = 0,
    host: Annotated[
        str, typer.Option(help="the address to listen on; another one needs GRAFT_AUTH=user:password")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free")] = 8000,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="rows that go through a network at once, at most")] = 32,
    wait_ms: Annotated[float, typer.Option(min=0, max=1000, help="how long a row waits for others")] = 5,
    most_megabytes: Annotated[float, typer.Option(min=0.001, max=1024, help="of a request's body")] = 16,
    reload_seconds: Annotated[float, typer.Option(min=0.1, help="between two looks at the champions")] = 5,
) -> None:
    """Answer over HTTP: registered models, with /health and /metrics; a new champion takes over without a pause.

    With GRAFT_AUTH=user:password callers are asked for it. Ctrl-C answers what was asked, then ends.
    """
    from flows import serve as serving

    serving.serve(serving.refs(names, version), host, port, batch, wait_ms, most_megabytes, reload_seconds)
