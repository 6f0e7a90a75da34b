"""What the keeper does with a run, for everything that can be seen of one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import StateType

from flows.platform.decide import STARTING, TRIES, Seen, Waiting, crowd, decide

TRAINING = Seen(StateType.RUNNING, seconds=600, alive=True, here=True, deployed=True, tries=0)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        (TRAINING, "none"),
        (replace(TRAINING, alive=False), "crash"),
        (replace(TRAINING, alive=False, deployed=False), "crash"),  # by a command, which was killed
        (replace(TRAINING, alive=False, deployed=False, here=False), "none"),  # another machine's
        (replace(TRAINING, state=StateType.CANCELLING), "cancel"),
        (replace(TRAINING, state=StateType.CANCELLING, alive=False), "cancel"),
        (replace(TRAINING, state=StateType.CANCELLING, here=False, deployed=False), "none"),
        (replace(TRAINING, state=StateType.PENDING, alive=False, here=False, seconds=STARTING / 2), "none"),
        (replace(TRAINING, state=StateType.PENDING, alive=False, here=False, seconds=STARTING * 2), "crash"),
        (replace(TRAINING, state=StateType.SCHEDULED, alive=False), "none"),
        (replace(TRAINING, state=StateType.CRASHED, alive=False), "resume"),
        (replace(TRAINING, state=StateType.CRASHED, alive=True), "none"),  # it ends first
        (replace(TRAINING, state=StateType.CRASHED, alive=False, deployed=False), "none"),
        (replace(TRAINING, state=StateType.CRASHED, alive=False, tries=TRIES), "give_up"),
        (replace(TRAINING, state=StateType.CRASHED, alive=False, tries=TRIES, given_up=True), "none"),
    ],
)
def test_what_is_done_follows_from_what_is_seen(seen: Seen, action: str) -> None:
    assert decide(seen) == action


def due(minutes: int, experiment: str = "a", seed: int = 0, **changed: object) -> Waiting:
    """A run that a schedule wanted to begin so many minutes ago."""
    made = Waiting(
        run=uuid4(), experiment=experiment, parameters=f"{experiment} {seed}", at=NOW - timedelta(minutes=minutes),
        scheduled=True, state=StateType.SCHEDULED, skips=False,
    )  # fmt: skip
    return replace(made, **changed)  # type: ignore[arg-type]


def skipped(*runs: Waiting) -> set[UUID]:
    return {run for run, _ in crowd(runs, NOW)}


def test_of_a_schedule_that_fired_often_the_newest_run_waits() -> None:
    old, newer, newest = due(180), due(120), due(60)
    assert skipped(newest, old, newer) == {old.run, newer.run}


def test_other_experiments_and_other_parameters_wait_beside_it() -> None:
    assert skipped(due(180), due(120, "b"), due(60, seed=1)) == set()


def test_what_is_not_due_yet_is_left_alone() -> None:
    assert skipped(due(10), due(-10), due(-20)) == set()


@pytest.mark.parametrize("state", [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
def test_a_run_that_skips_is_skipped_while_its_experiment_is_trained(state: StateType) -> None:
    going = due(60, seed=1, state=state)
    assert skipped(going, late := due(10, skips=True)) == {late.run}
    assert skipped(going, due(10)) == set()
    assert skipped(going, due(10, "b", skips=True)) == set()


def test_a_run_that_is_to_go_on_is_not_skipped_but_is_one_that_is_trained() -> None:
    resuming, late = due(60, scheduled=False), due(10, skips=True)
    assert skipped(resuming, late) == {late.run}
