"""What the keeper does, as functions of what is seen: no server, no process, no clock."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from prefect.client.schemas.objects import StateType

STARTING = 60.0  # seconds that a pending run has to show a process
TRIES = 3  # starts without a new checkpoint before a crashed run is left as it is
GAVE_UP = f"Started {TRIES} times without a new checkpoint: it is left as it is."
BUSY = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)

Action = Literal["none", "crash", "resume", "give_up", "cancel"]


@dataclass(frozen=True)
class Seen:
    """What is seen of a run: its state and the seconds since it changed, and what there is of it on this machine.

    `here`: it has run in this home. `deployed`: a worker can start it again. `tries`: starts since its last progress.
    `given_up`: it was said that it is left as it is.
    """

    state: StateType
    seconds: float
    alive: bool
    here: bool
    deployed: bool
    tries: int
    given_up: bool = False


def decide(seen: Seen) -> Action:
    """What is to be done with a run."""
    if seen.state is StateType.SCHEDULED:
        return "none"
    if seen.state is StateType.CANCELLING:
        return "cancel" if seen.here or seen.deployed else "none"
    if seen.alive:
        return "none"
    if seen.state is StateType.CRASHED:
        if not seen.deployed or seen.given_up:
            return "none"
        return "resume" if seen.tries < TRIES else "give_up"
    if seen.state is StateType.PENDING:
        return "crash" if seen.deployed and seen.seconds > STARTING else "none"
    return "crash" if seen.here or seen.deployed else "none"


@dataclass(frozen=True)
class Waiting:
    """A deployment's run that has not ended: what it trains, with which parameters, and when it was to begin.

    `scheduled`: a schedule made it and it was not begun yet. `skips`: it is not to wait for another.
    """

    run: UUID
    experiment: str
    parameters: str
    at: datetime | None
    scheduled: bool
    state: StateType
    skips: bool


def crowd(runs: Sequence[Waiting], now: datetime | None = None) -> Iterator[tuple[UUID, str]]:
    """The scheduled runs to be skipped, and why.

    Of one schedule at most one waits, the newest; and none that skips, while its experiment is trained.
    """
    now = now or datetime.now(UTC)
    due = [run for run in runs if run.state is StateType.SCHEDULED and run.scheduled and run.at and run.at <= now]
    going = (run for run in runs if run.state in BUSY or (run.state is StateType.SCHEDULED and not run.scheduled))
    begun = {run.experiment for run in going}
    newest: dict[str, UUID] = {}
    for run in sorted(due, key=lambda run: run.at or now):
        if run.skips and run.experiment in begun:
            yield run.run, f"Another run trains {run.experiment} now."
            continue
        if run.parameters in newest:
            yield newest[run.parameters], "A newer one of the same schedule waits."
        newest[run.parameters] = run.run
