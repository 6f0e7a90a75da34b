"""Forecasts held against real runs: `make plan-table` (about a quarter of an hour on a quiet machine of two cores).

For each experiment `graft plan` and then `graft finetune` run as fresh processes in a home of their own. Seconds are
from the command to its end, and memory is the most that the fine-tune's process had, as the system says at its end.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RUNS = (
    ("tickets_scratch", "dataset.limit=320"),
    ("tickets_lora", "dataset.limit=320", "schedule.epochs=4"),
    ("digits_lora", "dataset.limit=400", "schedule.epochs=3"),
    ("imagenet10_scratch", "dataset.limit=400", "schedule.epochs=6"),
    ("sst2_lora", "dataset.limit=2000", "schedule.epochs=1"),
)
COLUMNS = ("command", "s planned (range)", "s real", "error", "MB planned", "MB real", "error")


def graft(home: str, command: str, *words: str) -> tuple[dict[str, Any], float, float]:
    """The command's JSON object, its seconds, and the peak of its process in MB.

    This process has no large library in it: a child's peak would start at what its parent has.
    """
    environment = os.environ | {"GRAFT_HOME": home, "PYTHONPATH": str(Path(__file__).parents[1])}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryFile("w+") as told:
        began = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-m", "flows", command, *words, "--json"], env=environment, stdout=told
        )
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
        if status:
            sys.exit(f"graft {command} {' '.join(words)} failed")
        told.seek(0)
        answer = told.read().splitlines()[-1]
    return json.loads(answer), seconds, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def row(words: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """One experiment as a line of the table, and its stages beside the real ones."""
    with tempfile.TemporaryDirectory() as home:
        plan, _, _ = graft(home, "plan", *words)
        made, seconds, memory = graft(home, "finetune", *words)
    total, peak = plan["seconds"]["total"], plan["peak"] / 1e6
    line = (
        f"| `{' '.join(words)}` | {total['seconds']:.0f} ({total['low']:.0f} to {total['high']:.0f}) | {seconds:.0f} "
        f"| {total['seconds'] / seconds - 1:+.0%} | {peak:,.0f} | {memory:,.0f} | {peak / memory - 1:+.0%} |"
    )
    planned = {stage: round(took["seconds"], 1) for stage, took in plan["seconds"].items()}
    return line, {"planned": planned, "real": made["seconds"]}


if __name__ == "__main__":
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
    for run in [tuple(sys.argv[1:])] if sys.argv[1:] else RUNS:
        table, stages = row(run)
        print(table, flush=True)
        print(json.dumps(stages), file=sys.stderr, flush=True)
