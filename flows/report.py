"""What a person or a program sees at the end of a fine-tune."""

import json
import sys

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from flows.finetune import Result
from tasks.results import Verdict

OVERLAP = {
    "yes": "[yellow]the trunk's pretraining saw this data: the score shows that the machinery works, not transfer[/]",
    "no": "none known between this data and what the trunk was pretrained on",
    "unknown": "it is not known whether the trunk's pretraining saw this data (part_of, pretrained_on)",
}


def as_object(result: Result) -> dict[str, object]:
    """The result as one JSON object."""
    trained = result.trained
    return {
        "experiment": result.recipe.name,
        "run_id": result.registered.run_id,
        "model": result.registered.name,
        "version": result.registered.version,
        "model_uri": result.registered.uri,
        "verdict": verdict_object(result.verdict),
        "metrics": {name: measured.model_dump() for name, measured in result.card.metrics.items()},
        "calibration_error": result.card.calibration_error,
        "raw_calibration_error": result.card.raw_calibration_error,
        "temperature": trained.target.temperature,
        "thresholds": trained.target.thresholds,
        "untuned": result.card.untuned,
        "pretraining_overlap": result.card.pretraining_overlap,
        "seconds": {stage: round(seconds, 2) for stage, seconds in result.seconds.items()},
        "trained_weights": {"adapter": trained.adapter_weights, "head": trained.head_weights},
        "total_weights": trained.total_weights,
    }


def verdict_object(verdict: Verdict) -> dict[str, object]:
    """A verdict as one JSON object."""
    return {
        "decision": verdict.decision,
        "passed": verdict.passed,
        "reasons": list(verdict.reasons),
    } | verdict.model_dump()


def told(verdict: Verdict) -> str:
    """A verdict in colour, with its reasons."""
    color = {"PROMOTE": "green", "HOLD": "yellow", "REJECT": "red"}[verdict.decision]
    return f"[{color}]{verdict}[/]: {escape(' '.join(verdict.reasons))}"


def show(result: Result, as_json: bool) -> None:
    """The closing panel, and the JSON object if asked for."""
    Console(stderr=as_json).print(panel(result))
    if as_json:
        sys.stdout.write(json.dumps(as_object(result)) + "\n")


def panel(result: Result) -> Panel:
    """Score with interval, what was trained, seconds, version, and the next command."""
    trained, card, registered = result.trained, result.card, result.registered
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column()
    scores = ", ".join(f"{name} {measured}" for name, measured in card.metrics.items())
    rows.add_row("score", f"[bold]{scores}[/] (95 % over {card.rows} test rows)")
    if told_of := confidence(result):
        rows.add_row("confidence", told_of)
    rows.add_row("overlap", OVERLAP[card.pretraining_overlap])
    share = trained.trained_weights / trained.total_weights
    rows.add_row(
        "trained",
        f"{trained.adapter_weights:,} weights outside the head + {trained.head_weights:,} in it "
        f"({share:.1%} of {trained.total_weights:,}), kept epoch {trained.best_epoch} of {trained.epochs}",
    )
    took = ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in result.seconds.items())
    rows.add_row("seconds", f"{took} ({trained.rows_per_second:.0f} rows/s in training)")
    rows.add_row("verdict", told(result.verdict))
    rows.add_row("model", f"[bold]{registered.uri}[/] (run {registered.run_id}), loaded and checked in a fresh process")
    rows.add_row("next", f"[bold]{next_command(result)}[/]")
    return Panel(rows, title=f"{result.recipe.name}, seed {result.recipe.seed}", title_align="left")


def confidence(result: Result) -> str:
    """How true its confidences are, and what its thresholds changed; empty where there is neither."""
    card, target = result.card, result.trained.target
    found = []
    if card.calibration_error is not None:
        before = f", {card.raw_calibration_error:.3f} without its temperature {target.temperature:.2f}"
        found.append(f"calibration error {card.calibration_error:.3f}{before if target.temperature != 1 else ''}")
    if card.untuned is not None:
        found.append(f"{card.headline} {card.untuned:.3f} without its thresholds")
    return "; ".join(found)


def next_command(result: Result) -> str:
    """A command that asks the model just made."""
    version = "" if result.verdict.passed else f" --version {result.registered.version}"
    samples = {"text": '--text "it never came"', "text_pair": '--pair "the other"', "image": "--image picture.png"}
    inputs = " ".join(samples[name] for name in result.recipe.dataset.inputs)
    return f"graft predict {result.registered.name} {inputs}{version}"
