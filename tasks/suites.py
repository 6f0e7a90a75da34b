"""A suite's run in MLflow and its children's. What is done stands there and nowhere else: a deleted run is not done."""

from pydantic import Field

from tasks import tracking
from tasks.frozen import Frozen
from tasks.recipe import Recipe

PARENT = "mlflow.parentRunId"
PREFIX = "test/"
JOBS, THREADS = "graft.jobs", "graft.threads"
COSTS = ("weights/", "seconds/", "memory/", "size/")


class Done(Frozen):
    """A finished fine-tune: its run's id, and its metrics on the test rows by name, 0 to 1 (and `rows`).

    `costs`: weights, seconds, and bytes of memory and disk, by their names in MLflow. `jobs`: so many trained at once,
    itself among them, each with so many `threads` (0: not recorded).
    """

    run_id: str
    metrics: dict[str, float]
    costs: dict[str, float] = Field(default_factory=dict)
    jobs: int = 1
    threads: int = 0


def begin(suite: str, mark: str, title: str) -> str:
    """The id of the suite's run in the experiment `suite`: the one that has this mark, or a new one."""
    with tracking.explained():
        place = tracking.experiment(suite)
        found = tracking.client().search_runs([place], f"tags.`graft.suite` = '{mark}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = {"graft.suite": mark, "mlflow.note.content": title}
        return str(tracking.client().create_run(place, run_name=title, tags=tags).info.run_id)


def finished(recipe: Recipe) -> dict[str, Done]:
    """What is finished of a recipe under its model's name, whatever its gate, by the hash of its rows; newest first."""
    with tracking.explained():
        place = tracking.client().get_experiment_by_name(recipe.model)
        if place is None:
            return {}
        wanted = f"attributes.status = 'FINISHED' and tags.`graft.fingerprint` = '{recipe.fingerprint}'"
        runs = tracking.client().search_runs([place.experiment_id], wanted, order_by=["attributes.start_time ASC"])
    return {run.data.tags.get("graft.hashes", ""): _done(run) for run in runs if "graft.verdict" in run.data.tags}


def done(run_id: str, jobs: int = 1) -> Done:
    """A finished run, read back; noted on it is that so many trained at once."""
    with tracking.explained():
        if jobs > 1:
            tracking.client().set_tag(run_id, JOBS, str(jobs))
        return _done(tracking.client().get_run(run_id))


def link(run_id: str, parent: str) -> None:
    """Make a run the child of a suite's: of the last one that asked for it."""
    with tracking.explained():
        tracking.client().set_tag(run_id, PARENT, parent)


def curve(run_id: str, name: str) -> tuple[float, ...]:
    """A metric's values in the order of their steps."""
    with tracking.explained():
        found = tracking.client().get_metric_history(run_id, name)
    return tuple(one.value for one in sorted(found, key=lambda one: one.step))


def first_noted(run_id: str, name: str) -> float:
    """When the first value of a metric was noted, in seconds since 1970; to the millisecond."""
    with tracking.explained():
        found = tracking.client().get_metric_history(run_id, name)
    return min(float(one.timestamp) for one in found) / 1000


def _done(run: object) -> Done:
    info, data = run.info, run.data  # type: ignore[attr-defined]
    metrics = {name.removeprefix(PREFIX): value for name, value in data.metrics.items() if name.startswith(PREFIX)}
    costs = {name: value for name, value in data.metrics.items() if name.startswith(COSTS)}
    jobs, threads = (int(data.tags.get(tag, usual)) for tag, usual in ((JOBS, 1), (THREADS, 0)))
    return Done(run_id=info.run_id, metrics=metrics, costs=costs, jobs=jobs, threads=threads)
