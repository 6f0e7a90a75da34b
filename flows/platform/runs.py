"""Runs and schedules of a platform, asked for from the command line."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import FlowRunFilter, LogFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import FlowRunSort, LogSort
from prefect.exceptions import ObjectNotFound
from prefect.server.schemas.schedules import CronSchedule as Times
from prefect.states import Cancelling

from flows.platform import underway
from flows.platform.supervise import POOL
from tasks.frozen import GraftError

PAGE = 200  # log lines in one answer of the server
NEWEST = 200  # runs among which one is found by its name
AGAIN = 2.0  # seconds until a followed run's lines are asked for again
SHORT = 8  # characters of an id that are enough


def find(client: SyncPrefectClient, run: str) -> FlowRun:
    """A flow run by its id or the last 8 characters of it, its name (the newest), or its MLflow run's id.

    Raises:
        GraftError: there is none; the error gives the last runs.
    """
    if note := underway.by_mlflow(run):
        run = note.flow_run
    try:
        return client.read_flow_run(UUID(run))
    except (ValueError, ObjectNotFound):
        pass
    newest = client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=NEWEST)
    found = [one for one in newest if one.name == run or (len(run) >= SHORT and str(one.id).endswith(run))]
    if found:
        return found[0]
    known = ", ".join(one.name for one in newest[:5]) or "there are none yet"
    raise GraftError(f"There is no run {run!r}. The last ones: {known}. `graft status` gives their ids.")


def logs(run: str, follow: bool = False) -> Iterator[str]:
    """The log lines of a run, oldest first, those of its tasks with their names; with `follow` until it has ended."""
    with get_client(sync_client=True) as client:
        own = find(client, run).id
        of_lines = LogFilter.model_validate({"flow_run_id": {"any_": [own]}})
        done = 0
        while True:
            state = client.read_flow_run(own).state
            ended = not follow or (state is not None and state.is_final())
            while page := client.read_logs(log_filter=of_lines, sort=LogSort.TIMESTAMP_ASC, limit=PAGE, offset=done):
                done += len(page)
                names = _names(client, own)
                for one in page:
                    task = f"{names[one.task_run_id]}: " if one.task_run_id in names else ""
                    yield f"{one.timestamp.astimezone():%H:%M:%S} {task}{one.message}"
            if ended:
                return
            time.sleep(AGAIN)


def _names(client: SyncPrefectClient, run: UUID) -> dict[UUID | None, str]:
    """The names of a run's tasks."""
    of_run = FlowRunFilter.model_validate({"id": {"any_": [run]}})
    return {one.id: one.name for one in client.read_task_runs(flow_run_filter=of_run)}


def cancel(run: str) -> FlowRun:
    """Ask for the end of a run: the keeper ends its processes.

    Raises:
        GraftError: it has ended already.
    """
    with get_client(sync_client=True) as client:
        found = find(client, run)
        if found.state is not None and found.state.is_final():
            raise GraftError(f"{found.name} has ended already: {found.state_name}.")
        client.set_flow_run_state(found.id, Cancelling(message="Asked for by `graft cancel`."), force=True)
        return found


def resume(run: str) -> FlowRun:
    """Let an ended run go on from its last checkpoint, as a new flow run with its parameters.

    The old one stays as it ended: for a minute after a cancellation Prefect's worker may still write its state.

    Raises:
        GraftError: it runs, it is complete, or it was started by a command, which goes on when given again.
    """
    with get_client(sync_client=True) as client:
        found = find(client, run)
        if found.state is None or not found.state.is_final():
            raise GraftError(f"{found.name} is {found.state_name}: there is nothing to resume.")
        if found.state.is_completed():
            raise GraftError(f"{found.name} is complete. A new run of it: `prefect deployment run`, or the page.")
        if found.deployment_id is None:
            raise GraftError(f"{found.name} was started by a command. Give the same command again: it goes on.")
        return client.create_flow_run_from_deployment(
            found.deployment_id, parameters=found.parameters, name=found.name, tags=found.tags
        )


def schedule(experiment: str, cron: str, zone: str, parameters: Mapping[str, Any]) -> Sequence[datetime]:
    """Let an experiment be retrained again and again; returns the next times. The same again replaces it.

    Raises:
        GraftError: the cron line or the zone is not valid, or the deployment is not there.
    """
    try:
        when = CronSchedule(cron=cron, timezone=zone)
        times = asyncio.run(Times(cron=cron, timezone=zone).get_dates(3))
    except ValueError as error:
        raise GraftError(
            f"--cron {cron!r} with --zone {zone!r} is not valid: minute hour day month weekday, e.g. '0 3 * * 1', "
            "and a zone such as Europe/Berlin."
        ) from error
    given = {"experiment": experiment, **parameters}
    with get_client(sync_client=True) as client:
        own = _unscheduled(client, experiment)[0]
        made = DeploymentScheduleCreate(schedule=when, slug=_slug(experiment), parameters=given)
        client.create_deployment_schedules(own, [made])
    return times


def unschedule(experiment: str) -> bool:
    """Take an experiment's schedule away; False where it had none.

    Raises:
        GraftError: the deployment is not there.
    """
    with get_client(sync_client=True) as client:
        return _unscheduled(client, experiment)[1]


def _unscheduled(client: SyncPrefectClient, experiment: str) -> tuple[UUID, bool]:
    """The deployment's id, now without this schedule, and whether it had it."""
    try:
        found = client.read_deployment_by_name(f"retrain/{POOL}")
    except ObjectNotFound as error:
        raise GraftError(f"The deployment retrain/{POOL} is not on the server. `graft up` makes it.") from error
    old = [one for one in found.schedules if one.slug == _slug(experiment)]
    for one in old:
        client.delete_deployment_schedule(found.id, one.id)
    return found.id, bool(old)


def _slug(experiment: str) -> str:
    return f"graft-{experiment}"
