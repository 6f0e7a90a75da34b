"""`graft plan`: a run tried out in a fresh process, and the forecast as tables or as one JSON object."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.finetune import started
from flows.rehearsal import Order
from tasks import runtime, tracking
from tasks.check import check
from tasks.frozen import GraftError
from tasks.planning.forecast import Plan, Tried, plan
from tasks.prepare import prepare
from tasks.recipe import Recipe
from tasks.registry import champion

PAYS = 1.1  # times as fast: less is lost in a machine's own drift
CACHES = ("prepared", "tokens", "checks", "weights")  # of the real home: what is made in them stays


def planned(recipe: Recipe) -> Plan:
    """The forecast of a run. Nothing is left of it but prepared rows, tokens and the checks' findings.

    Raises:
        GraftError: what the run itself would raise: data that do not pass their checks, weights that are not there,
            a method that does not fit, a database that does not answer.
    """
    recipe.backbone.check()
    recipe, saved = started(recipe)
    data = prepare(recipe.model, recipe.dataset, recipe.seed)
    began = time.perf_counter()
    checked = check(data, recipe)
    checked.require()
    looked = time.perf_counter() - began
    champion, opened = _champion(recipe.model)
    tried = _try(recipe, saved, database=opened > 0)
    seconds = tried.seconds | {"begin": tried.seconds["begin"] + opened}
    seconds |= {"champion": seconds["scoring"]} if champion else {}  # it is scored again on the same rows
    tried = tried.model_copy(update={"seconds": seconds})
    return plan(recipe, data, tried, looked, checked.finding("truncation").count)


def _champion(model: str) -> tuple[bool, float]:
    """Whether there is one, and the seconds to open the database; 0 where the run would have to make it."""
    uri = runtime.tracking_uri()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return False, 0.0
    began = time.perf_counter()
    with tracking.explained():
        return champion(model) is not None, time.perf_counter() - began


def _try(recipe: Recipe, saved: Path | None, database: bool) -> Tried:
    """Walk through the run in a process of its own: memory and seconds are those of a run that starts there."""
    with _home() as home:
        order = Order(
            recipe=recipe.model_dump_json(),
            saved=saved,
            database=database,
            answer=home / "answer.json",
        )
        settings = {"GRAFT_HOME": str(home), "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}"}
        settings["GRAFT_ALLOW"] = runtime.allowance(runtime.home())  # data may lie in the real one
        code = subprocess.run(
            [sys.executable, "-m", "flows.rehearsal"],
            input=order.model_dump_json(),
            text=True,
            env=os.environ | settings | {"PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.DEVNULL,
            check=False,
        ).returncode
        ended = time.time()
        told = order.answer.read_text() if order.answer.exists() else ""
    if code:
        raise GraftError(told or f"The rehearsal of {recipe.name} failed with exit code {code}; its error is above.")
    tried = Tried.model_validate_json(told)
    start = tried.seconds["start"] + ended - tried.ended  # a process takes a while to end, too
    return tried.model_copy(update={"seconds": tried.seconds | {"start": start}})


@contextmanager
def _home() -> Iterator[Path]:
    """A home to be thrown away, inside the real one; its caches are the real ones."""
    real = runtime.home()
    made = Path(tempfile.mkdtemp(prefix="plan-", dir=real))
    try:
        (real / "tokens").mkdir(exist_ok=True)
        for name in CACHES:
            if (real / name).exists():
                (made / name).symlink_to(real / name)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def show(found: Plan, as_json: bool) -> None:
    """The tables, and the JSON object if asked for."""
    screen = Console(stderr=as_json)
    screen.print(_seconds(found))
    screen.print(_facts(found))
    screen.print(_blocks(found))
    if found.disk.needed > found.disk.free:
        screen.print(
            f"[red]The disk has {size(found.disk.free)} free, but the run needs {size(found.disk.needed)}.[/] "
            "Free some, or set GRAFT_HOME to a larger disk."
        )
    if as_json:
        sys.stdout.write(json.dumps(found.model_dump(mode="json")) + "\n")


def size(count: float) -> str:
    """Bytes as people read them."""
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


STAGES = {
    "start": "start the command (imports) and end it",
    "prepare": "read and split the rows, or find those that lie ready",
    "begin": "look up the checks, open MLflow, load the network",
    "training": "all steps, and the validation of every epoch",
    "checkpoints": "write them, and send the metrics",
    "scoring": "score the rows that the gate looks at, draw the pictures",
    "registration": "save the model, and compare it in a fresh process",
    "champion": "score the champion on the same rows",
    "total": "from the command to its end",
}


def _seconds(found: Plan) -> Table:
    title = f"{found.experiment} ({found.method}): {found.rehearsed.steps:,} steps, epochs: {found.epochs}"
    shown = Table(title=escape(title), title_justify="left")
    shown.add_column("stage")
    for name in ("seconds", "range"):
        shown.add_column(name, justify="right")
    shown.add_column("what", style="dim")
    for stage, took in found.seconds.items():
        style = "bold" if stage == "total" else ""
        shown.add_row(stage, f"{took.seconds:,.1f}", f"{took.low:,.0f} to {took.high:,.0f}", STAGES[stage], style=style)
    return shown


def _facts(found: Plan) -> Table:
    """Everything that is one line."""
    tried, disk, still = found.rehearsed, found.disk, found.rehearsed.still
    device = f"; {size(found.device_peak)} on the GPU" if found.device_peak is not None else ""
    rows = ", ".join(f"{count:,} {split}" for split, count in found.rows.items())
    shown = Table.grid(padding=(0, 2))
    shown.add_column(style="dim")
    shown.add_column()
    shown.add_row("rows", f"{rows}; {found.truncated:,} cut at the longest input")
    shown.add_row("checks", f"passed in {found.checked:.1f} s, just now; kept, so that the run does not do them again")
    shown.add_row("timed", f"{tried.step.timed} steps, {tried.forward.timed} evaluation batches")
    shown.add_row("precision", _precisions(found))
    shown.add_row("memory", f"{size(found.peak)} at most{device}")
    shown.add_row(
        "batch size",
        f"{found.batch_size} now; up to {found.largest_batch:,} of the longest rows fit: {size(tried.free)} are free, "
        f"a row takes {size(tried.row)} in a step",
    )
    shown.add_row("padding", f"{tried.padding:.1%} of all positions")
    shown.add_row(
        "disk",
        f"{size(disk.needed)} needed (while it trains {size(disk.features)} features of frozen layers and "
        f"{size(disk.checkpoints)} checkpoints; then {size(disk.model)} model, {size(disk.registered)} registered), "
        f"{size(disk.free)} free; "
        f"there already: {size(disk.rows)} rows, {size(disk.tokens)} tokens",
    )
    shown.add_row(
        "standing still",
        f"{still.norms[0]} of {still.norms[1]} batch norms keep their statistics, "
        f"{still.dropouts[0]} of {still.dropouts[1]} dropouts are off",
    )
    return shown


def _precisions(found: Plan) -> str:
    """How a step goes in the others, and what to do if one is faster."""
    now = found.precisions.get(found.precision, 1.0)
    others = {kind: speed / now for kind, speed in found.precisions.items() if kind != found.precision}
    told = ", ".join(f"in {kind} a step goes {speed:.2f} times as fast" for kind, speed in others.items())
    best = max(others, key=lambda kind: others[kind])
    step = f". GRAFT_PRECISION={best} would pay; it changes more than rounding" if others[best] > PAYS else ""
    return f"{found.precision} now; {told}{step}"


def _blocks(found: Plan) -> Table:
    shown = Table(title="What trains", title_justify="left")
    shown.add_column("block")
    for name in ("trains", "frozen"):
        shown.add_column(name, justify="right")
    shown.add_column("adapters (rank)", ratio=1)
    parts = found.rehearsed.blocks
    for part in parts:
        ranks = [f"{name.removeprefix(part.name + '.')} {rank}" for name, rank in part.ranks.items()]
        shown.add_row(escape(part.name), f"{part.trained:,}", f"{part.frozen:,}", escape(", ".join(ranks)))
    trained, frozen = sum(part.trained for part in parts), sum(part.frozen for part in parts)
    shown.add_section()
    shown.add_row("all", f"{trained:,}", f"{frozen:,}", f"{trained / (trained + frozen):.1%} of the weights train")
    return shown
