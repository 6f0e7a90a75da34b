"""The errors of a registered version on its test rows, and where it and another version part."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from flows.asked import Asked, table
from tasks import recorded, registry, tracking
from tasks.explain import page
from tasks.explain.errors import Answers, partings
from tasks.explain.listing import Listing, listings
from tasks.files import write_file
from tasks.frozen import GraftError
from tasks.prepare import prepare, rows_of
from tasks.recipe import Recipe
from tasks.results import Prepared, Registered
from tasks.rows import Rows
from tasks.screen import console

LISTED = 60  # characters of a cell on the terminal


def worst(to: Asked, count: int, against: int) -> None:
    """The surest errors, the most confused classes and, beside another version, the rows on which the two part.

    All of it goes to the terminal and the folder: MLflow never gets a text of a row.

    Args:
        to: the version.
        count: how many lines of each are listed.
        against: the other version; 0: the champion, if it is another one.

    Raises:
        GraftError: the test rows are no longer those that the versions were scored on.
    """
    with console.status("looking for the rows"):
        recipe = Recipe.model_validate_json((registry.folder_of(to.version) / "recipe.json").read_text())
    data = prepare(recipe.model, recipe.dataset, recipe.seed)
    own, other = _answers(to.version, data), _other(to.version, against)
    theirs = _answers(other, data) if other else None
    found, lines = listings(rows_of(data, "test"), own, theirs, count), [_errors(to, own)]
    parted = Counter(one.right for one in partings(own, theirs)) if theirs else Counter()
    if other:
        lines.append(_parted(to.version, other, parted))
    _show(to, lines, found)
    told = {"rows": len(own.truth), "errors": int((~own.right).sum()), "against": other.version if other else None}
    tables = {one.name: one.frame.to_dict("records") for one in found}
    to.end({**told, "right": dict(parted), **tables}, *_write(to, lines, found, rows_of(data, "test")))


def _other(own: Registered, against: int) -> Registered | None:
    if against == own.version:
        raise GraftError(f"--against {against} is the version itself. Give another one.")
    other = registry.version(own.name, against) if against else registry.champion(own.name)
    return other if other and other.version != own.version else None


def _answers(version: Registered, data: Prepared) -> Answers:
    """What the version answered when it was evaluated; rows of the same hash stand in the same order.

    Raises:
        GraftError: it answered to other rows.
    """
    card = tracking.kept(version.run_id, "scorecard.json")
    if card is None or card["test_hash"] != data.hashes["test"]:
        raise GraftError(
            f"The test rows are not those that version {version.version} of {version.name!r} was scored on, so its "
            "errors cannot be told from them. Put the rows back, or train again on those that are there now."
        )
    said = recorded.answers_of(version.run_id, data.target)
    return Answers(data.target, rows_of(data, "test").labels, said.logits, said.predicted)


def _errors(to: Asked, own: Answers) -> str:
    if own.target.kind == "number":
        return f"{to.name} answered {len(own.truth)} test rows, {own.far.mean():.3f} beside the truth in the mean."
    return f"{to.name} is wrong on {(~own.right).sum()} of {len(own.truth)} test rows."


def _parted(own: Registered, other: Registered, parted: Counter[str]) -> str:
    return (
        f"It parts from version {other.version} on {parted.total()} rows: version {own.version} (this) is right on "
        f"{parted['this']}, version {other.version} (other) on {parted['other']}, neither on {parted['neither']}."
    )


def _show(to: Asked, lines: Sequence[str], found: Sequence[Listing]) -> None:
    screen = Console(stderr=to.as_json)
    for line in lines:
        screen.print(line, markup=False, highlight=False)
    for one in found:
        screen.print(f"\n{one.title}", style="bold")
        cells = [[" ".join(str(cell).split())[:LISTED] for cell in line] for line in one.frame.itertuples(index=False)]
        screen.print(table(tuple(one.frame), cells))


def _write(to: Asked, lines: Sequence[str], found: Sequence[Listing], rows: Rows) -> list[Path]:
    """The page and the CSVs; gives their paths."""
    whole = page.html(f"{to.name}: errors on its test rows", lines, tables=[one.table(rows) for one in found])
    files = {"errors.html": whole} | {f"{one.name}.csv": one.frame.to_csv(index=False).encode() for one in found}
    for name, content in files.items():
        write_file(to.out / name, content)
    return [to.out / name for name in files]
