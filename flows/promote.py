"""A version before the gate by a person's wish, the way back, and the ledger of both."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows import live, report
from tasks import champion, compose, ledger, registry, runtime, tracking
from tasks.evaluate import evaluate
from tasks.frozen import GraftError
from tasks.gates import Gate
from tasks.judge import judge
from tasks.ledger import Entry
from tasks.prepare import prepare
from tasks.recipe import Recipe
from tasks.results import Registered, Verdict


def promote(name: str, version: int, because: str, gate: str = "", override: bool = False) -> Verdict:
    """Judge a version again, on the rows of its recipe, and make it the champion if the gate lets it pass.

    Args:
        name: the registered model.
        version: which of its versions.
        because: a person's reason, for the ledger.
        gate: a gate from `graft list` instead of the recipe's own.
        override: do not ask the gate; the ledger says so.

    Raises:
        GraftError: there is no such version, it is the champion already, or its rows are no longer there.
    """
    because = ledger.reason(because)
    wanted, held = registry.version(name, version), registry.champion(name)
    if held and held.version == version:
        raise GraftError(
            f"Version {version} is the champion of {name!r} already. `graft ledger {name}` tells since when."
        )
    if override:
        verdict = champion.overrule(wanted, held.version if held else None, because)
    else:
        verdict = champion.settle(wanted, _judged(wanted, gate), because)
    live.pointed(wanted.run_id)
    live.judged(verdict, f"{name}/{version}")
    return verdict


def _judged(wanted: Registered, gate: str) -> Verdict:
    """The gate's verdict on a version and the champion, both scored now on the rows of the version's recipe."""
    folder = registry.folder_of(wanted)
    recipe = Recipe.model_validate_json((folder / "recipe.json").read_text())
    recipe = recipe.model_copy(update={"model": wanted.name} | ({"gate": _gate(gate, recipe)} if gate else {}))
    data = prepare(recipe.model, recipe.dataset, recipe.seed)
    recipe.gate.check_rows(data.hashes["test"])
    if tracking.hashes_of(data) != tracking.tags(wanted.run_id).get("graft.hashes"):
        raise GraftError(
            f"The rows of {recipe.name!r} are no longer those of version {wanted.version}: it may have been trained on "
            "what is a test row now. Train again on the rows that are there now, or give --override."
        )
    work = Path(tempfile.mkdtemp(dir=runtime.home()))
    try:
        card = evaluate(folder, data, recipe.dataset, work / "candidate")
        return judge(recipe, data, card, folder, work)
    finally:
        shutil.rmtree(work)


def _gate(name: str, recipe: Recipe) -> Gate:
    found = compose.gate(name)
    try:
        found.check_fit(recipe.dataset.target, recipe.dataset.accepts, recipe.dataset.sliced_by)
    except ValueError as error:
        raise GraftError(f"The gate {name!r} does not fit {recipe.name!r}: {error}.") from error
    return found


def rollback(name: str, to: int = 0, because: str = "") -> Entry:
    """Make the version champion again that was it before, or another one.

    Args:
        name: the registered model.
        to: the version; 0: the one that the ledger has before the present champion.
        because: a person's reason, for the ledger.

    Raises:
        GraftError: there is no champion, no such version, or none before.
    """
    held = registry.champion(name)
    wanted = registry.version(name, to or champion.previous(name))
    if held and held.version == wanted.version:
        raise GraftError(f"Version {wanted.version} is the champion of {name!r} already.")
    told = ledger.reason(because) if because else "Rolled back."
    entry = champion.move(wanted, held.version if held else None, "rolled back", told)
    if held:
        registry.describe(held, {"graft.rolled_back": f"to version {wanted.version}: {told}"})
    return entry


def ask(name: str, version: int, because: str, gate: str, override: bool, as_json: bool) -> int:
    """Run `promote` and show its verdict; the exit code, 1 if the version did not become the champion."""
    verdict = promote(name, version, because, gate, override)
    screen = Console(stderr=as_json)
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    rows = live.reasons(verdict)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(escape, row.values()))
    screen.print(table)
    screen.print(f"{name}/{version} {report.told(verdict)}", highlight=False)
    if as_json:
        sys.stdout.write(json.dumps(report.verdict_object(verdict)) + "\n")
    elif not verdict.passed:
        again = f'graft promote {name} {version} --because "..." --override'
        screen.print(f"The champion stays. To promote it all the same: {again}", markup=False, highlight=False)
    return 0 if verdict.passed else 1


def back(name: str, to: int, because: str) -> None:
    """Run `rollback` and say what it did."""
    entry = rollback(name, to, because)
    console = Console(stderr=True)
    console.print(
        f"[green]{name}/{entry.champion}[/] is the champion again, instead of {entry.before}.", highlight=False
    )


def show(name: str, as_json: bool) -> None:
    """The ledger, the oldest first.

    Raises:
        GraftError: it is not whole, or its last word is not the champion that the registry has.
    """
    found = ledger.whole(name)
    held = registry.champion(name)
    own = held.version if held else None
    if as_json:
        sys.stdout.write(json.dumps([entry.model_dump() for entry in found]) + "\n")
    elif found:
        Console().print(_table(found))
    else:
        Console(stderr=True).print(f"The ledger of {name} is empty; its champion is {own or 'none'}.", markup=False)
    if found and found[-1].champion != own:
        raise GraftError(
            f"The champion of {name!r} is {own or 'none'}, but the ledger's last word is "
            f"{found[-1].champion or 'none'}: the alias was moved by other means, or a change was cut off. "
            f"`graft rollback {name} --to VERSION` sets it."
        )


def _table(found: list[Entry]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("", "when (UTC)", "who", "version", "became", "champion", "why"):
        table.add_column(column, overflow="fold", no_wrap=column in {"when (UTC)", "version", "champion"})
    for entry in found:
        when = entry.when[:16].replace("T", " ")
        moved = " -> ".join(str(one or "none") for one in dict.fromkeys((entry.before, entry.champion)))
        cells = (entry.number, when, entry.who, entry.version, entry.action, moved, entry.why)
        table.add_row(*(escape(str(cell)) for cell in cells))
    return table
