"""A flow run as its Prefect page shows it while it goes on: progress, the lines that matter, links, scores.

Nothing here may hold up or stop a training: what moves is sent by a thread of its own, and a server that does not
answer is asked again with the next figures.
"""

import logging
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_UI_URL
from prefect.states import Completed

from flows.platform import underway
from tasks import plots, screen, tracking
from tasks.results import Scorecard, Verdict

if TYPE_CHECKING:
    from flows.finetune import Result

EVERY = 3.0  # seconds between two movements of the progress
SPOKEN = 15.0  # seconds between two log lines of a stage that takes long

TROUBLE = (httpx.HTTPError, PrefectException, OSError)


class Moved(NamedTuple):
    """How far a stage is: done of total, and a line of figures."""

    done: int
    total: int
    figures: str

    def __str__(self) -> str:
        return f"{self.done:,} of {self.total:,}  {self.figures}"


@contextmanager
def shown() -> Iterator[None]:
    """The body's stages as progress and log lines of the flow run; nothing where there is none."""
    own = _under_way()
    if own is None:
        yield
        return
    underway.note(str(own.id))
    watch = _Watch(get_run_logger())
    with screen.watched(watch):
        try:
            yield
        finally:
            watch.close()


class _Watch:
    """Takes what the bars say, as often as they say it; the thread sends the last of each stage."""

    def __init__(self, logger: Any) -> None:
        self._logger: logging.Logger = logger
        self._spoke: dict[str, float] = {}
        self._artifacts: dict[str, UUID] = {}
        self._last: dict[str, Moved] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=copy_context().run, args=(self._send,), daemon=True)
        self._thread.start()

    def moved(self, stage: str, done: int, total: int | None, figures: str) -> None:
        if total:
            self._last[stage] = moved = Moved(done, total, figures)
            now = time.monotonic()
            if now - self._spoke.setdefault(stage, now) > SPOKEN:
                self._spoke[stage] = now
                self._logger.info("%s: %s", stage, moved)

    def said(self, text: str) -> None:
        self._logger.info(text)

    def _send(self) -> None:
        sent: dict[str, Moved] = {}
        over = False
        while not over:
            over = self._over.wait(EVERY)
            for stage, moved in self._last.copy().items():
                if moved != sent.get(stage):
                    with suppress(*TROUBLE):
                        self._show(stage, moved)
                        sent[stage] = moved

    def _show(self, stage: str, moved: Moved) -> None:
        """One progress artifact for each stage."""
        told = f"{stage}: {moved}"
        share = 100.0 * moved.done / moved.total
        if stage in self._artifacts:
            update_progress_artifact(self._artifacts[stage], progress=share, description=told)
        else:
            key = f"progress-{stage.replace(' ', '-')}"
            self._artifacts[stage] = cast(UUID, create_progress_artifact(progress=share, key=key, description=told))

    def close(self) -> None:
        self._over.set()
        self._thread.join(timeout=10)


def linked(run_id: str, work: Path) -> None:
    """Links both ways between the flow run and its MLflow run, and the note that says where its work lies."""
    own = _under_way()
    if own is None:
        return
    underway.note(str(own.id), work, run_id)
    url = f"{PREFECT_UI_URL.value()}/runs/flow-run/{own.id}"
    tracking.tag(run_id, {"prefect.flow_run": str(own.id), "prefect.url": url})
    _tag(own, f"mlflow:{run_id}")
    pointed(run_id)


def pointed(run_id: str) -> None:
    """A link from the flow run to an MLflow run; nothing where there is no flow run."""
    if _under_way() is None:
        return
    page = tracking.page(run_id)
    get_run_logger().info("MLflow run %s  %s", run_id, page or "")
    if page:
        with suppress(*TROUBLE):
            create_link_artifact(link=page, link_text="the run in MLflow", key="mlflow", description="curves, files")


def _under_way() -> FlowRun | None:
    context = FlowRunContext.get()
    return context.flow_run if context else None


def _tag(flow_run: FlowRun, tag: str) -> None:
    with suppress(*TROUBLE), get_client(sync_client=True) as client:
        tags = {*client.read_flow_run(flow_run.id).tags, tag}
        client.update_flow_run(flow_run.id, tags=sorted(tags))


def ended(became: str, told: str) -> State[None]:
    """The last state of the flow run under way: what became of it is its tag, and the state's message.

    The state has Prefect's own name, since its page lists and counts runs by the names that it knows.
    """
    if own := _under_way():
        _tag(own, became)
    return Completed(message=told)


def done_before() -> State[None] | None:
    """How this very flow run has ended once already, if the page's Retry began it again."""
    own = _under_way()
    if own is None or own.run_count < 2:
        return None
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(own.id)
    told = [state.message or "" for state in states if state.type is StateType.COMPLETED]
    return Completed(message=told[0]) if told else None


def scored(result: "Result") -> None:
    """The results as a table of the flow run, and a picture of the scores."""
    if _under_way() is None:
        return
    card = result.card
    why = f"**{result.verdict}**: {' '.join(result.verdict.reasons)}"
    get_run_logger().info("%s %s, %s", card.headline, card.score, why.replace("*", ""))
    judged(result.verdict, f"{result.registered.name}/{result.registered.version}")
    with suppress(*TROUBLE):
        create_table_artifact(key="results", table=results(result), description=why)
        create_image_artifact(
            key="scores", image_url=_picture(card), description=f"95 % intervals over {card.rows} test rows"
        )


def judged(verdict: Verdict, version: str) -> None:
    """The gate's reasons as sentences and a table of the flow run; nothing where there is none."""
    if _under_way() is None:
        return
    told = "".join(f"\n- {reason}" for reason in verdict.reasons)
    with suppress(*TROUBLE):
        create_table_artifact(
            key="verdict", table=reasons(verdict), description=f"**{version}: {verdict.decision}**\n{told}"
        )


def reasons(verdict: Verdict) -> list[dict[str, str]]:
    """Every reason in a line: the figures of both, and the bounds of the difference."""

    def figure(value: float | None, sign: str = "") -> str:
        return "" if value is None else f"{value:{sign}.4f}"

    return [
        {
            "what": one.about,
            "outcome": one.outcome,
            "candidate": figure(one.candidate),
            "champion": figure(one.champion),
            "difference above": figure(one.low, "+"),
            "and below": figure(one.high, "+"),
        }
        for one in verdict.judged
    ]


def results(result: "Result") -> list[dict[str, str]]:
    """What a person wants to know at the end, in two columns."""
    card, trained = result.card, result.trained
    told = {name: f"{one.value:.4f} ({one.low:.4f} to {one.high:.4f})" for name, one in card.metrics.items()}
    told |= {
        "model": f"{result.registered.name} version {result.registered.version}",
        "trained weights": f"{trained.adapter_weights:,} + {trained.head_weights:,} in the head",
        "kept epoch": f"{trained.best_epoch} of {trained.epochs}",
        "seconds": ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in result.seconds.items()),
        "seen in pretraining": card.pretraining_overlap,
    }
    return [{"what": name, "value": value} for name, value in told.items()]


def _picture(card: Scorecard) -> str:
    """The scores with their intervals as a data URL: no other server is asked when the page shows it."""
    drawn = BytesIO()
    scores = list(card.metrics.values())
    intervals = [(score.low, score.high) for score in scores]
    plots.bars(list(card.metrics), [score.value for score in scores], intervals, drawn)
    return f"data:image/png;base64,{b64encode(drawn.getvalue()).decode()}"
