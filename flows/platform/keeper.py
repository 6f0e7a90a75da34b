"""The keeper: looks every few seconds whether what Prefect says of this home's runs is true, and makes it so.

A run whose process is gone is Crashed, and goes on from its last checkpoint: Prefect's own retries never cover that.
A cancelled run's processes end within seconds, all of them. A run whose worker is gone is ended and goes on too.
Of what a schedule has started meanwhile, one waits at most. New files in `configs/` reach the forms.
"""

import json
import logging
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectException
from prefect.states import Cancelled, Crashed, Scheduled
from pydantic import BaseModel

from flows.platform import processes, underway
from flows.platform.decide import GAVE_UP, Seen, Waiting, crowd, decide
from flows.platform.deploy import offered
from flows.platform.marks import mark
from flows.platform.place import Platform, needed
from flows.platform.supervise import POOL, Supervisor
from tasks.files import write_file
from tasks.frozen import GraftError

EVERY = 3.0  # seconds between two looks
GRACE = 5.0  # seconds that a cancelled run's processes have to end by themselves
WATCHED = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING, StateType.CRASHED, StateType.SCHEDULED]
NEWEST = 200  # runs in one answer of the server

log = logging.getLogger("graft.keeper")


class Book(BaseModel):
    """What the keeper has to remember, in a file of the platform's folder.

    `tries`: of each flow run the progress at its last start and the starts since that changed. `owed`: of each flow
    run the MLflow run whose status is still to be told, and the status.
    """

    tries: dict[str, tuple[str, int]] = {}
    owed: dict[str, tuple[str, str]] = {}

    @classmethod
    def opened(cls, file: Path) -> "Book":
        """The book in a file, or an empty one."""
        return cls.model_validate_json(file.read_text()) if file.exists() else cls()


class Keeper:
    """The looks of one process."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self._file = platform.folder / "keeper.json"
        self._book = Book.opened(self._file)
        self._forms = offered()
        self._deploying: subprocess.Popen[bytes] | None = None

    def look(self, client: SyncPrefectClient) -> None:
        """One look at all runs."""
        self._end_orphans()
        living = processes.of_runs(self.platform.folder)
        due = {"state": {"type": {"any_": WATCHED}}, "expected_start_time": {"before_": datetime.now(UTC)}}
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(due), sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=NEWEST
        )
        for run in runs:
            note = underway.of(str(run.id))
            own = living.get(str(run.id), []) + (note.processes() if note else [])
            action = decide(self._seen(run, note, bool(own)))
            if action != "none":
                log.info("%s (%s) is %s: %s", run.name, run.id, run.state_name, action)
                getattr(self, f"_{action}")(client, run, own)
        self._thin(client, runs)
        self._pay(living)
        self._redeploy()

    def _seen(self, run: FlowRun, note: underway.Underway | None, alive: bool) -> Seen:
        assert run.state is not None
        assert run.state.timestamp is not None
        return Seen(
            state=run.state.type,
            seconds=time.time() - run.state.timestamp.timestamp(),
            alive=alive,
            here=note is not None,
            deployed=run.work_pool_name == POOL,
            tries=self._book.tries.get(str(run.id), ("", 0))[1],
            given_up=GAVE_UP in (run.state.message or ""),
        )

    def _end_orphans(self) -> None:
        """End the processes of runs that no worker of this platform watches any more."""
        top = Supervisor(self.platform).pid
        for run, own in processes.of_runs(self.platform.folder).items():
            if not any(processes.below(process, top) for process in own):
                log.info("%s is trained by processes without a worker: they are ended", run)
                processes.end(own, grace=0)

    def _crash(self, client: SyncPrefectClient, run: FlowRun, own: list[psutil.Process]) -> None:
        told = "Its process is gone." + ("" if run.deployment_id else " Give the same command again: it goes on.")
        client.set_flow_run_state(run.id, Crashed(message=told), force=True)
        self._owe(run, "FAILED")

    def _resume(self, client: SyncPrefectClient, run: FlowRun, own: list[psutil.Process]) -> None:
        note = underway.of(str(run.id))
        progress = note.progress if note else ""
        before, tries = self._book.tries.get(str(run.id), (progress, 0))
        self._book.tries[str(run.id)] = (progress, tries + 1 if before == progress else 1)
        self._keep()
        told = "It goes on from where it was."
        client.set_flow_run_state(run.id, Scheduled(name="Resuming", message=told), force=True)

    def _give_up(self, client: SyncPrefectClient, run: FlowRun, own: list[psutil.Process]) -> None:
        why = (run.state.message if run.state else "") or ""
        told = f"{GAVE_UP} {why} `graft logs` tells what it said, `graft resume` tries again."
        client.set_flow_run_state(run.id, Crashed(message=told), force=True)
        self._owe(run, "FAILED")

    def _cancel(self, client: SyncPrefectClient, run: FlowRun, own: list[psutil.Process]) -> None:
        processes.end(own, GRACE)
        told = "Cancelled. `graft resume` goes on from its last checkpoint."
        client.set_flow_run_state(run.id, Cancelled(message=told), force=True)
        self._owe(run, "KILLED")

    def _thin(self, client: SyncPrefectClient, runs: list[FlowRun]) -> None:
        """Skip what a schedule has started too often."""
        for skipped, why in crowd([_waiting(run) for run in runs if run.deployment_id]):
            log.info("%s is skipped: %s", skipped, why)
            client.set_flow_run_state(skipped, State(type=StateType.CANCELLED, name="Skipped", message=why), force=True)

    def _owe(self, run: FlowRun, status: str) -> None:
        note = underway.of(str(run.id))
        if note and note.run_id:
            self._book.owed[str(run.id)] = (note.run_id, status)
            self._keep()

    def _pay(self, living: dict[str, list[psutil.Process]]) -> None:
        """Tell MLflow what became of runs, unless they go on already; asked again when it does not answer."""
        for flow_run, (run_id, status) in list(self._book.owed.items()):
            try:
                if flow_run not in living:
                    mark(self.platform.mlflow_url, run_id, status)
            except httpx.HTTPError as error:
                log.info("MLflow is not told yet that %s is %s: %s", run_id, status, error)
                continue
            del self._book.owed[flow_run]
            self._keep()

    def _keep(self) -> None:
        write_file(self._file, self._book.model_dump_json().encode())

    def _redeploy(self) -> None:
        """Bring the forms up to date when experiments or methods come or go."""
        if self._deploying is not None and self._deploying.poll() is None:
            return
        now = offered()
        if now != self._forms:
            log.info("configs/ has changed: the forms are brought up to date")
            self._forms = now
            self._deploying = subprocess.Popen([sys.executable, "-m", "flows.platform.deploy"], env=os.environ)


def _waiting(run: FlowRun) -> Waiting:
    assert run.state is not None
    return Waiting(
        run=run.id,
        experiment=str(run.parameters.get("experiment", "")),
        parameters=json.dumps([str(run.deployment_id), run.parameters], sort_keys=True),
        at=run.expected_start_time,
        scheduled=run.auto_scheduled and run.run_count == 0,
        state=run.state.type,
        skips=run.parameters.get("when_busy", "skip") == "skip",
    )


def main() -> None:
    """Look for ever."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    keeper = Keeper(needed())
    while True:
        try:
            with get_client(sync_client=True) as client:
                keeper.look(client)
        except (httpx.HTTPError, PrefectException, GraftError, OSError) as error:
            log.info("not now: %s", str(error).splitlines()[0] if str(error) else type(error).__name__)
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
