"""The command line: `graft`, also `python -m flows`. Heavy imports happen inside the commands."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from flows import models, timing
from flows.platform import commands
from flows.quiet import hush
from tasks.frozen import GraftError

app = typer.Typer(
    name="graft",
    help="Fine-tune text and image classifiers as workflows: verified, resumable, gated.\n\n"
    "Start with `graft list`, then `graft finetune tickets_lora`. State lies in GRAFT_HOME (default .graft); "
    "relative data paths start at GRAFT_DATA (default data). Paths in configs must lie below these two, the current "
    "folder, or a folder of GRAFT_ALLOW (several with `:`). Exit code 2 means that the input could not be used.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

Experiment = Annotated[str, typer.Argument(help="a name from `graft list`, or a path that ends in .yaml")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="changes to the recipe, such as `method=full seed=3 schedule.epochs=1 dataset.limit=200`; "
        "`graft show` prints every field"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="end stdout with one JSON object; all else goes to stderr")]


@app.command("list")
def list_() -> None:
    """Experiments, datasets, backbones, methods and gates, with one line each."""
    from flows import catalogue

    catalogue.show_all()


@app.command()
def show(experiment: Experiment, overrides: Overrides = None) -> None:
    """The recipe with every default filled in, and its fingerprint."""
    from flows import catalogue

    catalogue.show_recipe(experiment, overrides or [])


@app.command()
def init(
    data: Annotated[str, typer.Argument(help="a CSV, TSV, JSONL or Parquet file, a saved folder, or one of pictures")],
    label: Annotated[list[str] | None, typer.Option(help="the label's column; several for columns of 0 and 1")] = None,
    text: Annotated[str | None, typer.Option(help="the column of texts")] = None,
    pair: Annotated[str | None, typer.Option(help="the column of second texts")] = None,
    image: Annotated[str | None, typer.Option(help="the column of pictures, or of their paths")] = None,
    target: Annotated[
        Literal["class", "multilabel", "number"] | None, typer.Option(help="what the label is, if it is not seen right")
    ] = None,
    test: Annotated[str | None, typer.Option(help="a table of its own with the test rows")] = None,
    encoding: Annotated[str | None, typer.Option(help="of a text file, if it is not seen right")] = None,
    name: Annotated[str | None, typer.Option(help="of the data set; the file's if not given")] = None,
    to: Annotated[Path | None, typer.Option(help="the folder for both files; configs/ if not given")] = None,
    force: Annotated[bool, typer.Option("--force", help="write over files that exist")] = False,
    json: Json = False,
) -> None:
    """Look at your data and write its data set file and an experiment, ready to run.

    What cannot be seen is an error that names the flag which decides. The first 100,000 rows are looked at.
    """
    from flows import init as looking
    from tasks.survey.roles import Wanted

    wanted = Wanted(text=text, pair=pair, image=image, label=tuple(label or ()), target=target)
    looking.main(data, wanted, test, encoding, name, to, force, json)


@app.command()
def check(
    data: Annotated[str, typer.Argument(help="a data set or an experiment by name, or a path that ends in .yaml")],
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Look through a data set before training; exit code 1 if it has errors that its file does not allow.

    Duplicates, leaks, label conflicts and noise, balance, encoding, length, pictures, drift; each with the next step.
    """
    from flows import check as looking

    raise SystemExit(looking.main(data, overrides or [], json))


@app.command()
def finetune(experiment: Experiment, overrides: Overrides = None, json: Json = False) -> None:
    """Train, score, verify and register; crown the result if the gate lets it pass.

    Stopped at any moment, the same command goes on where it was.
    """
    from flows.imports import uncollected

    with uncollected():
        from tasks.compose import load

        recipe = load(experiment, overrides or [])
        from flows import report
        from flows.finetune import run

    report.show(run(recipe), as_json=json)


@app.command()
def plan(experiment: Experiment, overrides: Overrides = None, json: Json = False) -> None:
    """Try a run out and tell what it will take: seconds, memory, disk, which batch size fits, precision, what trains.

    Some real steps, evaluation batches and a registration, all thrown away; rows, tokens and checks are kept.
    """
    from tasks.compose import load

    recipe = load(experiment, overrides or [])
    from flows import plan as planning

    planning.show(planning.planned(recipe), as_json=json)


@app.command()
def glue(
    tasks: Annotated[
        str, typer.Option(help="all, or names with commas: cola,sst2,mrpc,stsb,qqp,mnli,qnli,rte,wnli")
    ] = "all",
    method: Annotated[str, typer.Option(help="a method from `graft list`")] = "lora",
    backbone: Annotated[str, typer.Option(help="a backbone from `graft list`, or a path ending in .yaml")] = "minilm",
    seeds: Annotated[str, typer.Option(help="whole numbers with commas")] = "0,1,2",
    overrides: Overrides = None,
    start_from_mnli: Annotated[
        bool, typer.Option("--start-from-mnli", help="rte, mrpc and stsb start from what mnli's run trained")
    ] = False,
    json: Json = False,
) -> None:
    """Fine-tune on GLUE's tasks, each with every seed; one table with the average. Exit code 1 if a run failed.

    What is done is not done again: the same command goes on with what is missing.
    """
    from tasks.glue.suite import asked

    suite = asked(tasks, method, backbone, seeds, overrides or [], start_from_mnli)
    from flows import glue as running

    raise SystemExit(running.main(suite, json))


@app.command()
def compare(
    experiment: Experiment,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="changes to every recipe, such as `schedule.epochs=1 dataset.limit=200`")
    ] = None,
    methods: Annotated[
        str, typer.Option(help="names from `graft list` with commas, or paths ending in .yaml")
    ] = "scratch,linear_probe,bitfit,lora,full",
    seeds: Annotated[str, typer.Option(help="whole numbers with commas")] = "0,1,2",
    limits: Annotated[
        str | None, typer.Option(help="numbers of training rows with commas, such as 50,200,1000,all")
    ] = None,
    margin: Annotated[float, typer.Option(help="points within which two methods count as equally good")] = 2.0,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="children that train at once, each with its share of the cores; by cores and memory if not given"
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Compare methods on one experiment: a ranked table, a page with pictures, and an answer in plain words.

    Scores with intervals over seeds and rows, paired differences, weights, seconds, memory, disk, milliseconds. No
    champion is replaced. What is done is not done again: the same command goes on with what is missing. Exit code 1
    if a run failed.
    """
    from tasks.comparison.asked import asked

    compared = asked(experiment, methods, seeds, limits, margin, overrides or [], jobs)
    from flows import compare as running

    raise SystemExit(running.main(compared, json))


@app.command()
def submission(
    runs: Annotated[
        list[str],
        typer.Argument(help="one model for each task: its name (the champion), name/version, or an MLflow run's id"),
    ],
    out: Annotated[Path, typer.Option(help="the zip's path; a note lies beside it")] = Path("submission.zip"),
    fill: Annotated[bool, typer.Option("--fill", help="files that no run answers say one constant")] = False,
) -> None:
    """Answer GLUE's unlabelled test sets and write the zip that its leaderboard takes."""
    from flows import submission as answering

    answering.submission(runs, out, fill)


@app.command()
def quickstart() -> None:
    """Tickets and digits, from scratch and by LoRA, with few labels; ends with one table and a plot. No network."""
    from flows.quickstart import main as start

    start()


@app.command()
def doctor() -> None:
    """Look at versions, device, precision, disk, hub and ports; each fault with the next step."""
    from flows import doctor as looking

    raise SystemExit(looking.main())


app.registered_commands += (
    models.app.registered_commands + timing.app.registered_commands + commands.app.registered_commands
)


def main() -> None:
    """Run a command; what the user can mend is one line on stderr and exit code 2."""
    hush()
    try:
        app()
    except GraftError as error:
        typer.secho("Error", fg="red", bold=True, err=True, nl=False)
        typer.echo(f": {error}", err=True)
        sys.exit(2)
    except SystemExit as end:
        if end.code == 130 and isinstance(end.__context__, typer.Exit):  # typer's answer to Ctrl-C, not a command's own
            typer.echo("\nStopped. The same command goes on from the last checkpoint.", err=True)
        raise


if __name__ == "__main__":
    main()
