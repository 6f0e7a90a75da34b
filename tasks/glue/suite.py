"""What a GLUE suite is asked to run: tasks, method, backbone and seeds as recipes, checked before any training."""

from collections.abc import Sequence

from tasks import compose, runtime
from tasks.datasets.glue import Glue
from tasks.frozen import Frozen, GraftError
from tasks.glue.standings import APART, TASKS
from tasks.recipe import HEAD_ONLY, Recipe
from tasks.saved import check_fit

TEACHER, TAUGHT = "mnli", ("rte", "mrpc", "stsb")
OPTIONS = {"seed": "--seeds", "method": "--method", "backbone": "--backbone", "dataset": "--tasks"}
TAKEN = {key: f"is for one recipe. Use {option}." for key, option in OPTIONS.items()}
TAKEN |= dict.fromkeys(("name", "model", "start_from"), "would be the same for every task. Leave it out.")
DEFAULTS = "defaults"


class Suite(Frozen):
    """What to run: tasks in GLUE's order, one method and backbone, seeds, and overrides for every child."""

    tasks: tuple[str, ...]
    method: str
    backbone: str
    seeds: tuple[int, ...]
    overrides: tuple[str, ...] = ()
    start_from_mnli: bool = False

    @property
    def title(self) -> str:
        """All that a reader must know of the settings."""
        told = f"GLUE dev: {self.backbone}, {self.method}, seeds {', '.join(map(str, self.seeds))}"
        taught = [task for task in TAUGHT if task in self.tasks]
        told += f"; {', '.join(taught)} start from mnli's" if self.start_from_mnli and taught else ""
        return told + (f"; CHANGED: {' '.join(self.overrides)}" if self.overrides else "")


def asked(tasks: str, method: str, backbone: str, seeds: str, overrides: Sequence[str], start_from_mnli: bool) -> Suite:
    """The suite that the command line's words mean.

    Raises:
        GraftError: a task is unknown, seeds are no numbers, or an override is what an option is for.
    """
    names = list(TASKS) if tasks == "all" else [name.strip() for name in tasks.split(",")]
    if odd := [name for name in names if name not in TASKS]:
        told = " ax is scored with mnli." if "ax" in odd else ""
        raise GraftError(f"There is no GLUE task {odd[0]!r}.{told} Valid in --tasks: all, or {','.join(TASKS)}.")
    numbers = compose.seeds(seeds)
    compose.refuse(overrides, TAKEN)
    if start_from_mnli and TEACHER not in names:
        raise GraftError(f"--start-from-mnli needs mnli among the tasks, but --tasks is {tasks!r}. Add mnli.")
    if start_from_mnli and method in HEAD_ONLY:
        raise GraftError(f"--start-from-mnli needs --method lora, bitfit or full, but it is {method!r}.")
    compose.find("methods", method)
    compose.find("backbones", backbone)
    return Suite(
        tasks=tuple(task for task in TASKS if task in names), method=method, backbone=backbone,
        seeds=numbers, overrides=tuple(overrides), start_from_mnli=start_from_mnli,
    )  # fmt: skip


def settings(suite: Suite, task: str) -> str:
    """The experiment whose settings are a task's, or `DEFAULTS` where none has this method and backbone."""
    name = f"{task}_{suite.method}"
    known = name in compose.names("experiments")
    return name if known and compose.read(compose.find("experiments", name))["backbone"] == suite.backbone else DEFAULTS


def composed(suite: Suite) -> list[Recipe]:
    """A recipe for each task and seed, in the order in which they run.

    Raises:
        GraftError: an override does not fit, or mnli's adapter would not fit a task that starts from it.
    """
    order = sorted(suite.tasks, key=lambda task: suite.start_from_mnli and task != TEACHER)
    recipes = [_recipe(suite, task, seed) for task in order for seed in suite.seeds]
    for recipe in recipes if suite.start_from_mnli else ():
        if recipe.model in TAUGHT:
            check_fit(recipe.model_copy(update={"start_from": TEACHER}), recipes[0])
    recipes[0].backbone.check()
    return recipes


def _recipe(suite: Suite, task: str, seed: int) -> Recipe:
    words = [*suite.overrides, f"seed={seed}"]
    known = settings(suite, task)
    if known != DEFAULTS:
        return compose.load(known, words)
    given = {"dataset": task, "backbone": suite.backbone, "method": suite.method, "gate": "default"}
    return compose.load_given(f"{task}_{suite.method}", given, words)


def check_data(recipes: Sequence[Recipe]) -> None:
    """Open every task's data, so that nothing is trained before what is missing is known.

    Raises:
        GraftError: names every task whose data are not there, and the tasks that could run; or a folder is not allowed.
    """
    faults = {}
    for task, recipe in {recipe.model: recipe for recipe in recipes}.items():
        place = runtime.data_path(recipe.dataset.folder) if isinstance(recipe.dataset, Glue) else "GRAFT_DATA"
        try:
            _open(recipe)
        except GraftError as error:
            faults[task] = f"{str(error).splitlines()[0]} The official files belong in {place}."
    if faults:
        able = [recipe.model for recipe in recipes if recipe.model not in faults]
        hint = f"These could run: --tasks {','.join(dict.fromkeys(able))}" if able else "No task could run."
        raise GraftError("\n".join([*(f"{task}: {told}" for task, told in faults.items()), hint]))


def _open(recipe: Recipe) -> None:
    source = recipe.dataset.read()
    needed = [split for split in recipe.dataset.all_scored if f"{split}/" != APART]
    for split in ("train", *needed):
        if split not in source.splits:
            raise GraftError(f"{source.origin} has no {split}, which GLUE's average needs.")
        next(iter(source.splits[split]()), None)
