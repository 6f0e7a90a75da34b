"""The platform's commands: `up`, `down`, `status`, `schedule`, `logs`, `cancel`, `resume`."""

import os
import sys
from typing import Annotated, Literal

import typer

from tasks.frozen import GraftError

app = typer.Typer()

Run = Annotated[str, typer.Argument(help="a flow run's name or id, or its MLflow run's id; `graft status` shows them")]
Json = Annotated[bool, typer.Option("--json", help="end stdout with one JSON object; all else goes to stderr")]


@app.command(rich_help_panel="The platform")
def up(
    host: Annotated[
        str, typer.Option(help="the address to listen on; another one needs GRAFT_AUTH=user:password")
    ] = "127.0.0.1",
    prefect_port: Annotated[int | None, typer.Option(help="of the Prefect page; 4200 or the next free one")] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="of the MLflow page; 5000 or the next free one")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="give the terminal back; `graft down` stops it")] = False,
    worker: Annotated[
        bool,
        typer.Option("--worker", help="no servers: a worker for those of PREFECT_API_URL and MLFLOW_TRACKING_URI"),
    ] = False,
) -> None:
    """Start everything: Prefect, MLflow, a worker and its keeper. Ctrl-C or `graft down` stops it.

    What was interrupted goes on. State lies in GRAFT_HOME; with GRAFT_AUTH=user:password both pages ask for it.
    """
    from flows.platform import up as starting
    from flows.platform.place import needed

    made = starting.up_worker() if worker else starting.up(host, prefect_port, mlflow_port)
    shown = made or needed()
    typer.echo(f"Prefect  {shown.prefect_page}   start, watch and schedule runs")
    typer.echo(f"MLflow   {shown.mlflow_page}/#/experiments?workflowType=machine_learning   compare runs and models")
    if made is None:
        typer.echo("It is up already. `graft status` tells more, `graft down` stops it.")
    elif not detach:
        typer.echo("Ctrl-C stops it.")
        starting.hold(made)


@app.command(rich_help_panel="The platform")
def down() -> None:
    """Stop the platform of this home; interrupted runs go on with the next `graft up`."""
    from flows.platform import up as stopping

    typer.echo("Stopped." if stopping.down() else "Nothing was running.")


@app.command(rich_help_panel="The platform")
def status(json: Json = False) -> None:
    """What runs, since when, with how much memory; the last runs, and the next ones. Exit code 1 if it is down."""
    from flows.platform.place import needed

    os.environ.update(needed().clients())  # before Prefect is imported: it looks once
    from flows.platform import status as looking

    found = looking.look()
    if json:
        sys.stdout.write(found.model_dump_json() + "\n")
    else:
        looking.show(found)
    raise SystemExit(0 if found.running else 1)


@app.command(rich_help_panel="The platform")
def schedule(
    experiment: Annotated[str, typer.Argument(help="a name from `graft list`")],
    cron: Annotated[
        str | None, typer.Option(help="minute hour day month weekday, e.g. '0 3 * * 1': Mondays at three")
    ] = None,
    zone: Annotated[str, typer.Option(help="the time zone, e.g. Europe/Berlin")] = "UTC",
    method: Annotated[
        str | None, typer.Option(help="a method from `graft list`; the experiment's if not given")
    ] = None,
    only_if_data_changed: Annotated[
        bool, typer.Option("--only-if-data-changed", help="stop at once where the champion has seen these very rows")
    ] = False,
    when_busy: Annotated[Literal["skip", "wait"], typer.Option(help="while another run trains this model")] = "skip",
    remove: Annotated[bool, typer.Option("--remove", help="take its schedule away")] = False,
) -> None:
    """Retrain an experiment again and again. The same command with another time replaces the schedule."""
    from tasks import compose

    if remove == (cron is not None):
        raise GraftError("Give --cron '0 3 * * 1' (here: Mondays at three), or --remove to take the schedule away.")
    compose.load(experiment, [f"method={method}"] if method else [])
    _reach()
    from flows.platform import runs

    if cron is None:
        typer.echo(f"{experiment} {'is no longer retrained' if runs.unschedule(experiment) else 'had no schedule'}.")
        return
    given = {"method": method, "only_if_data_changed": only_if_data_changed, "when_busy": when_busy}
    times = runs.schedule(experiment, cron, zone, {name: value for name, value in given.items() if value is not None})
    typer.echo(f"{experiment} is retrained at {', '.join(f'{time:%a %Y-%m-%d %H:%M %Z}' for time in times)}, ...")


@app.command(rich_help_panel="The platform")
def logs(
    run: Run, follow: Annotated[bool, typer.Option("--follow", "-f", help="until the run has ended")] = False
) -> None:
    """The log lines of a run."""
    _reach()
    from flows.platform import runs

    for line in runs.logs(run, follow):
        typer.echo(line)


@app.command(rich_help_panel="The platform")
def cancel(run: Run) -> None:
    """End a run with all its processes within seconds; its last checkpoint is kept."""
    _reach()
    from flows.platform import runs

    typer.echo(f"{runs.cancel(run).name} is being cancelled. `graft resume {run}` goes on from its last checkpoint.")


@app.command(rich_help_panel="The platform")
def resume(run: Run) -> None:
    """Let a cancelled, crashed or failed run go on from its last checkpoint, as a new run with its parameters."""
    _reach()
    from flows.platform import runs

    made = runs.resume(run)
    typer.echo(f"{made.name} goes on as {made.id}.")


def _reach() -> None:
    """Point this process at the platform of this home, before Prefect is imported: it looks once.

    A user who has set PREFECT_API_URL points it elsewhere.

    Raises:
        GraftError: the platform is down, or asks for a password that is not given.
    """
    from flows.platform.place import needed
    from flows.platform.supervise import Supervisor

    if "PREFECT_API_URL" in os.environ:
        return
    platform = needed()
    if not Supervisor(platform).alive:
        raise GraftError("The platform is not running. `graft up` starts it.")
    os.environ.update(platform.clients())
