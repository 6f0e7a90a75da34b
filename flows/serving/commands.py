"""The command `serve`."""

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
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
    from flows.quiet import hush_bars

    hush_bars()
    from flows import serve as serving

    serving.serve(serving.refs(names, version), host, port, batch, wait_ms, most_megabytes, reload_seconds)
