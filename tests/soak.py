"""Kills a platform's training at random moments and holds what comes of it against a run that nothing happened to.

`make soak` does it twenty times and prints the table; `make test-real` once for each fault.
"""

import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from faults import DEATHS, Ended, Fault, seen, to_its_end
from rich.console import Console
from rich.progress import track
from rich.table import Table
from running import EXPERIMENT, Home, until


class Outcome(NamedTuple):
    """A fault, the seconds of the run at which it came, the step reached, and what came of it.

    `held` is True, or says what did not. `seen` and `went_on` are seconds after the fault (after `graft up`, where
    that is a part of it) until Prefect said so, and until a new process ran.
    """

    fault: str
    after: float
    step: int
    seen: float
    went_on: float
    held: bool | str


def soak(home: Home, straight: Ended, faults: Sequence[Fault]) -> list[Outcome]:
    """A run for each fault, which comes at a moment drawn from all of the run's life."""
    whole = _seconds_of_a_run(home)
    told = track(faults, "soak", console=Console(stderr=True))
    return [_outcome(home, straight, fault, random.uniform(0, whole)) for fault in told]


def _seconds_of_a_run(home: Home) -> float:
    wanted = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}, "sort": "START_TIME_ASC", "limit": 1}
    (first,) = home.ask("POST", "/flow_runs/filter", wanted)
    return float(first["total_run_time"])


def _outcome(home: Home, straight: Ended, fault: Fault, after: float) -> Outcome:
    run = home.begin(**EXPERIMENT)
    until(lambda: home.state(run) == "RUNNING", "it runs")
    time.sleep(after)
    step = home.step(run)
    old = home.bodies(run)
    began = time.time()
    fault(home, run)
    done = time.time()
    if home.state(run) == "COMPLETED":
        noticed = went_on = 0.0  # the fault came after its end
    else:
        noticed = max(0.0, began + seen(home, run, began) - done)
        until(lambda: home.state(run) == "COMPLETED" or bool(set(home.bodies(run)) - set(old)), "it goes on")
        went_on = time.time() - done
    try:
        ended = to_its_end(home, run)
        held: bool | str = ended[1:] == straight[1:] or f"another end: {len(ended.steps)} steps, {ended.weights[:8]}"
    except AssertionError as error:
        held = str(error).partition("\n")[0]
    return Outcome(fault.__name__, after, step, noticed, went_on, held)


def table(outcomes: list[Outcome]) -> Table:
    """One row a moment."""
    made = Table("fault", "after, s", "step", "seen, s", "went on, s", "ended as if nothing had been")
    for one in outcomes:
        held = "yes" if one.held is True else str(one.held)
        made.add_row(one.fault, f"{one.after:.1f}", str(one.step), f"{one.seen:.1f}", f"{one.went_on:.1f}", held)
    return made


def summary(outcomes: list[Outcome]) -> Table:
    """One row a fault: how often, and the longest times."""
    made = Table("fault", "moments", "at step", "seen after, s", "went on after, s", "ended as if nothing had been")
    for name in dict.fromkeys(one.fault for one in outcomes):
        own = [one for one in outcomes if one.fault == name]
        steps, held = sorted(one.step for one in own), sum(one.held is True for one in own)
        made.add_row(
            name, str(len(own)), f"{steps[0]} to {steps[-1]}", f"{max(one.seen for one in own):.0f}",
            f"{max(one.went_on for one in own):.0f}", f"{held} of {len(own)}",
        )  # fmt: skip
    return made


def main(moments: int) -> int:
    """Soak a platform of its own; exit code 1 if a moment was not survived."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        home.up()
        try:
            straight = to_its_end(home, home.begin(**EXPERIMENT))
            outcomes = soak(home, straight, [DEATHS[turn % len(DEATHS)] for turn in range(moments)])
        finally:
            home.graft("down", code=None)
    screen = Console(width=120)
    screen.print(table(outcomes))
    screen.print(summary(outcomes))
    return 0 if all(one.held is True for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
