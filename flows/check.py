"""The rows of a run looked through: findings as a table for the terminal, for Prefect, and for a program."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks import compose, tracking
from tasks.check import check
from tasks.checks.refused import Usable, refused
from tasks.datasets import Dataset
from tasks.findings import Checked
from tasks.frozen import GraftError
from tasks.prepare import prepare
from tasks.recipe import Recipe
from tasks.registry import champion_data
from tasks.results import Prepared

COLORS = {"error": "red", "warning": "yellow", "note": "cyan", "ok": "green", "skipped": "dim"}
USUAL = {  # the backbone and the method that look at a data set given alone, the first that is installed
    "text": (("minilm", "linear_probe"), ("transformer", "scratch")),
    "image": (("efficientnet_lite0", "linear_probe"), ("cnn", "scratch")),
}


def passed(data: Prepared, recipe: Recipe, run_id: str) -> Checked:
    """The checks as a flow's first task after `prepare`, their table in Prefect and MLflow, and the data let pass.

    Raises:
        GraftError: there are errors that the data set does not allow.
    """
    checked = check(data, recipe, champion_data(recipe.model))
    artifact(checked)
    tracking.add_table(run_id, "checks", rows(checked))
    tracking.keep(run_id, tracking.SUMMARY, checked.summary)
    checked.require()
    return checked


def artifact(checked: Checked) -> None:
    """The findings as a table of the flow run, if there is one."""
    from prefect.artifacts import create_table_artifact
    from prefect.context import FlowRunContext

    if FlowRunContext.get() is not None:
        create_table_artifact(key="checks", table=rows(checked), description=f"Checks of {checked.origin}")


def rows(checked: Checked) -> list[dict[str, Any]]:
    """A flat row for each check, as tables take them."""
    return [
        {
            "check": found.check,
            "severity": _severity(found.severity, found.allowed),
            "count": found.count,
            "examples": ", ".join(found.examples),
            "about": found.about,
            "next": found.next_step,
        }
        for found in checked.findings
    ]


def looked(recipe: Recipe) -> Checked:
    """The findings on a recipe's data, rows that `prepare` would refuse among them.

    Raises:
        GraftError: the data cannot be read at all, or cannot be trained on for a reason that is not in single rows.
    """
    try:
        return check(prepare(recipe.model, recipe.dataset, recipe.seed), recipe)
    except GraftError:
        if not (gone := refused(recipe.dataset)):
            raise
    usable: Any = Usable(recipe.dataset, gone)
    return check(prepare(recipe.model, usable, recipe.seed), recipe, refused=gone.findings)


def recipe_of(name: str, overrides: Sequence[str]) -> Recipe:
    """The recipe of a data set (a name, or a path ending in .yaml) with the usual backbone, or of an experiment.

    Raises:
        GraftError: there is neither, or the file is at fault.
    """
    if name.endswith(".yaml") and "dataset" in compose.read(compose.find("datasets", name)):
        return compose.load(name, overrides)
    if not name.endswith(".yaml") and name not in compose.names("datasets"):
        if name in compose.names("experiments"):
            return compose.load(name, overrides)
        raise GraftError(
            f"There is no data set and no experiment {name!r}. Valid: {', '.join(compose.names('datasets'))}, "
            "an experiment of `graft list`, or the path of a data set's file."
        )
    file = compose.find("datasets", name)
    dataset = compose.check(Dataset, compose.read(file), str(file))
    for backbone, method in USUAL[dataset.accepts]:
        given = {"dataset": str(file.absolute()), "backbone": backbone, "method": method}
        recipe = compose.load_given(file.stem, given, overrides)
        try:
            recipe.backbone.check()
        except GraftError:
            continue
        break
    return recipe


def main(name: str, overrides: Sequence[str], as_json: bool) -> int:
    """Show the findings; returns the exit code, 1 if an error is not allowed."""
    checked = looked(recipe_of(name, overrides))
    Console(stderr=as_json).print(table(checked))
    if as_json:
        sys.stdout.write(json.dumps(checked.model_dump(mode="json")) + "\n")
    return 1 if checked.errors else 0


def table(checked: Checked) -> Table:
    """A row for each check."""
    shown = Table(title=f"Checks of {escape(checked.origin)}", title_justify="left", show_lines=False)
    for column in ("check", "severity"):
        shown.add_column(column, no_wrap=True)
    shown.add_column("count", justify="right")
    shown.add_column("what was found, and what to do", ratio=1)
    for found in checked.findings:
        color = COLORS["note" if found.allowed else found.severity]
        told = [escape(found.about), f"[bold]{escape(found.next_step)}[/]" if found.next_step else ""]
        told.append(f"[dim]{escape(', '.join(found.examples))}[/]" if found.examples else "")
        told += [f"[dim]  {escape(text)}[/]" for text in found.texts]
        severity = f"[{color}]{_severity(found.severity, found.allowed)}[/]"
        shown.add_row(found.check, severity, f"{found.count:,}" if found.count else "", "\n".join(filter(None, told)))
    return shown


def _severity(severity: str, allowed: bool) -> str:
    return f"{severity}, allowed" if allowed else severity
