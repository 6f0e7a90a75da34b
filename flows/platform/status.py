"""`graft status`: what runs, since when, with how much memory; the last runs and the next ones."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import httpx
import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from rich.console import Console
from rich.table import Table

from flows.platform import processes
from flows.platform.place import needed
from flows.platform.supervise import Supervisor
from tasks.frozen import Frozen

LAST, NEXT = 8, 5  # runs that are shown
MANY = 100  # runs that are looked at, since skipped ones are not shown


class Program(Frozen):
    """A program of the platform: its state, the seconds since it began, and bytes of memory with all below it."""

    name: str
    state: str
    seconds: float
    memory: int


class Run(Frozen):
    """A flow run: its id, name, state with its message, and when it began or is to begin."""

    id: str
    name: str
    state: str
    message: str
    at: datetime | None


class Status(Frozen):
    """The platform as it is now; its runs are known only where Prefect answers."""

    prefect: str
    mlflow: str
    programs: tuple[Program, ...]
    answers: bool = True
    last: tuple[Run, ...] = ()
    scheduled: tuple[Run, ...] = ()

    @property
    def running(self) -> bool:
        """Whether the supervisor answers."""
        return bool(self.programs)


def look() -> Status:
    """The status of this home's platform.

    Raises:
        GraftError: none was ever started here.
    """
    platform = needed()
    supervisor = Supervisor(platform)
    if not supervisor.alive:
        return Status(prefect=platform.prefect_page, mlflow=platform.mlflow_page, programs=())
    programs = tuple(_programs(supervisor))
    found = Status(prefect=platform.prefect_page, mlflow=platform.mlflow_page, programs=programs)
    try:
        last, scheduled = _runs()
    except httpx.HTTPError:
        return found.model_copy(update={"answers": False})
    return found.model_copy(update={"last": last, "scheduled": scheduled})


def _programs(supervisor: Supervisor) -> Iterator[Program]:
    for name, found in supervisor.programs().items():
        own = _tree(found["pid"])
        seconds = time.time() - found["start"] if own else 0.0
        yield Program(name=name, state=found["statename"], seconds=seconds, memory=processes.memory(own))
    pid = supervisor.pid
    own = [psutil.Process(pid)]
    yield Program(name="supervisor", state="RUNNING", seconds=processes.age(own[0]), memory=processes.memory(own))


def _tree(pid: int) -> list[psutil.Process]:
    try:
        top = psutil.Process(pid) if pid else None
    except psutil.Error:
        top = None
    return [top, *top.children(recursive=True)] if top else []


def _runs() -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    """The last runs and the next ones."""
    begun = [state for state in StateType if state is not StateType.SCHEDULED]
    with get_client(sync_client=True) as client:
        last = client.read_flow_runs(flow_run_filter=_of(begun), sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=MANY)
        coming = client.read_flow_runs(
            flow_run_filter=_of([StateType.SCHEDULED]), sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=NEXT
        )
    last = [run for run in last if run.state_name != "Skipped"][:LAST]
    return tuple(map(_run, last)), tuple(map(_run, coming))


def _of(states: Sequence[StateType]) -> FlowRunFilter:
    return FlowRunFilter.model_validate({"state": {"type": {"any_": states}}})


def _run(found: FlowRun) -> Run:
    state: Any = found.state
    named = found.name if found.start_time else str(found.parameters.get("experiment", found.name))
    told = "" if state.name == "Scheduled" else state.message or ""
    return Run(
        id=str(found.id), name=named, state=str(found.state_name), message=told,
        at=found.start_time or found.expected_start_time,
    )  # fmt: skip


def show(found: Status) -> None:
    """The tables."""
    screen = Console()
    if not found.running:
        screen.print("The platform is not running. `graft up` starts it; interrupted runs go on then.")
        return
    screen.print(f"Prefect [bold]{found.prefect}[/]   MLflow [bold]{found.mlflow}[/]")
    programs = Table("program", "state", "since", "memory", box=None, header_style="dim")
    for one in found.programs:
        programs.add_row(one.name, one.state.lower(), _span(one.seconds), f"{one.memory / 1e6:,.0f} MB")
    total = sum(one.memory for one in found.programs)
    programs.add_row("all", "", "", f"{total / 1e6:,.0f} MB", style="bold")
    screen.print(programs)
    if not found.answers:
        screen.print("Prefect does not answer now: its runs are not known.")
    for title, runs in (("last runs", found.last), ("next", found.scheduled)):
        if runs:
            table = Table(title, "state", "when", "id", "", box=None, header_style="dim")
            for run in runs:
                why = run.message.partition("\n")[0]
                room = max(20, screen.width - 60)
                why = why if len(why) <= room else f"{why[: room - 3]}..."
                table.add_row(run.name, run.state, _when(run.at), run.id[-8:], why)
            screen.print(table)


def _span(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes} min" if hours < 2 else f"{hours} h"


def _when(at: datetime | None) -> str:
    return at.astimezone().strftime("%m-%d %H:%M") if at else "-"
