"""The command `compare`; what it runs is imported inside."""

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def compare(
    experiment: Annotated[str, typer.Argument(help="a name from `graft list`, or a path that ends in .yaml")],
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
    json: Annotated[
        bool, typer.Option("--json", help="end stdout with one JSON object; all else goes to stderr")
    ] = False,
) -> None:
    """Compare methods on one experiment: a ranked table, a page with pictures, and an answer in plain words.

    Scores with intervals over seeds and rows, paired differences, weights, seconds, memory, disk, milliseconds. No
    champion is replaced. What is done is not done again: the same command goes on with what is missing. Exit code 1
    if a run failed.
    """
    from flows.quiet import hush_bars
    from tasks.comparison.asked import asked

    compared = asked(experiment, methods, seeds, limits, margin, overrides or [])
    hush_bars()
    from flows import compare as running

    raise SystemExit(running.main(compared, json))
