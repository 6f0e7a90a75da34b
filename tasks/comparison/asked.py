"""What is compared: methods, seeds and numbers of training rows as recipes, all checked before any training."""

from collections.abc import Sequence
from pathlib import Path

from tasks import compose
from tasks.frozen import Frozen, GraftError
from tasks.prepare import prepare
from tasks.recipe import Recipe
from tasks.results import Prepared

ALL = "all"
TAKEN = {key: f"is for one recipe. Use {option}." for key, option in (("seed", "--seeds"), ("method", "--methods"))}
TAKEN |= dict.fromkeys(("name", "model", "crown"), "is what a comparison sets itself. Leave it out.")
TWICE = "says what --limits says too. Leave one of them out."
FEWEST = 2  # as `dataset.limit` has it


class Compared(Frozen):
    """What to compare on one experiment, and within how many points two methods count as equally good.

    `methods` are names of `configs/methods` or paths of such files; `limits` are numbers of training rows, validation
    among them (None: all), and () leaves them as the experiment and the overrides have them. `jobs` children train at
    once (None: as many as fit this machine), which is no part of what is compared.
    """

    experiment: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    limits: tuple[int | None, ...] = ()
    margin: float = 2.0
    overrides: tuple[str, ...] = ()
    jobs: int | None = None

    @property
    def name(self) -> str:
        """The experiment's own."""
        return Path(self.experiment).stem if self.experiment.endswith(".yaml") else self.experiment

    @property
    def title(self) -> str:
        """All that a reader must know of the settings."""
        told = f"{self.name}: {', '.join(map(called, self.methods))}; seeds {', '.join(map(str, self.seeds))}"
        told += f"; rows {', '.join(map(_limit, self.limits))}" if self.limits else ""
        return told + (f"; CHANGED: {' '.join(self.overrides)}" if self.overrides else "")

    @property
    def command(self) -> str:
        """The words that make it again."""
        words = [f"graft compare {self.experiment} --methods {','.join(self.methods)}"]
        words.append(f"--seeds {','.join(map(str, self.seeds))}")
        words += [f"--limits {','.join(map(_limit, self.limits))}"] if self.limits else []
        words += [f"--margin {self.margin:g}"] if self.margin != Compared.model_fields["margin"].default else []
        return " ".join([*words, *self.overrides])


class Child(Frozen):
    """One run of a comparison. Its model's name is one of its own, and the recipe says that it is never crowned.

    `words`: with which `graft finetune` and the experiment give the same run.
    """

    method: str
    limit: int | None
    words: tuple[str, ...]
    recipe: Recipe


Shared = dict[tuple[int | None, int], Prepared]  # rows by limit and seed


def called(method: str) -> str:
    """A method as the table calls it: a name as it is, a path by its file's."""
    return Path(method).stem if method.endswith(".yaml") else method


def asked(
    experiment: str, methods: str, seeds: str, limits: str | None, margin: float, overrides: Sequence[str],
    jobs: int | None = None,
) -> Compared:  # fmt: skip
    """The comparison that the command line's words mean.

    Raises:
        GraftError: there are not two different methods, seeds or limits are no different numbers, the margin is not
            above 0 and below 100 points, there are no jobs, or an override is what an option is for.
    """
    names = [name.strip() for name in methods.split(",")]
    if len(names) < 2 or len({*map(called, names)}) < len(names):
        valid = ", ".join(compose.names("methods"))
        raise GraftError(f"--methods {methods!r} are not two or more different methods with commas. Valid: {valid}.")
    for name in names:
        compose.find("methods", name)
    if not 0 < margin < 100:
        raise GraftError(f"--margin {margin:g} is not above 0 and below 100 points. Give one such as 2.")
    if jobs is not None and jobs < 1:
        raise GraftError(f"--jobs {jobs} is not 1 or more. Give how many children train at once, or leave it out.")
    compose.refuse(overrides, TAKEN | ({"dataset.limit": TWICE} if limits is not None else {}))
    return Compared(
        experiment=experiment, methods=tuple(names), seeds=compose.seeds(seeds),
        limits=_limits(limits) if limits else (), margin=margin, overrides=tuple(overrides), jobs=jobs,
    )  # fmt: skip


def _limits(words: str) -> tuple[int | None, ...]:
    """Ascending, all rows last."""
    parts = [part.strip() for part in words.split(",")]
    fit = all(part == ALL or (part.isdecimal() and int(part) >= FEWEST) for part in parts)
    found = {None if part == ALL else int(part) for part in parts} if fit else set()
    if len(found) < len(parts):
        raise GraftError(
            f"--limits {words!r} are not different numbers of rows ({FEWEST} or more, or {ALL}) with commas, "
            f"such as 50,200,{ALL}."
        )
    return tuple(sorted(found, key=lambda limit: (limit is None, limit)))


def _limit(limit: int | None) -> str:
    return ALL if limit is None else str(limit)


def composed(compared: Compared) -> list[Child]:
    """A child for each method, number of rows and seed, in the order in which they run.

    A method that is the experiment's own keeps the experiment's settings of it; the others are as their files say.

    Raises:
        GraftError: a method or an override does not fit the experiment.
    """
    own = compose.load(compared.experiment, compared.overrides)
    given = compose.read(compose.find("experiments", compared.experiment)).get("method")
    kept = given if isinstance(given, str) else own.method.kind
    children = [
        _child(compared, method, kept, f"{own.model}-compare", limit, seed)
        for limit in compared.limits or (own.dataset.limit,)
        for method in compared.methods
        for seed in compared.seeds
    ]
    children[0].recipe.backbone.check()
    return children


def _child(compared: Compared, method: str, kept: str, model: str, limit: int | None, seed: int) -> Child:
    name = f"{compared.name}-{called(method)}" + (f"-{_limit(limit)}" if compared.limits else "")
    words = [*compared.overrides, f"name={name}", f"model={model}", "crown=false", f"seed={seed}"]
    words += [] if method == kept else [f"method={method}"]
    words += [f"dataset.limit={'null' if limit is None else limit}"] if compared.limits else []
    recipe = compose.load(compared.experiment, words)
    return Child(method=called(method), limit=limit, words=tuple(words), recipe=recipe)


def prepared(children: Sequence[Child]) -> Shared:
    """The rows of every number of rows and seed, which all methods share.

    Raises:
        GraftError: the data cannot be used, two limits are the same rows, or the test rows differ.
    """
    found: Shared = {}
    for child in children:
        recipe = child.recipe
        if (child.limit, recipe.seed) not in found:
            found[child.limit, recipe.seed] = prepare(recipe.model, recipe.dataset, recipe.seed)
    _different_rows(found)
    same_test(found)
    return found


def _different_rows(found: Shared) -> None:
    seen: dict[tuple[str, int], int | None] = {}
    for (limit, seed), data in found.items():
        if (key := (data.hashes["train"], seed)) in seen:
            there = trained_on(data)
            raise GraftError(
                f"--limits {_limit(seen[key])} and {_limit(limit)} are the same {there} training rows: there are no "
                "more. Leave one of them out."
            )
        seen[key] = limit


def trained_on(data: Prepared) -> int:
    """Rows that a training had, those for validation among them."""
    return data.rows["train"] + data.rows["validation"]


def same_test(data: Shared) -> None:
    """Refuse children that would be scored on different rows.

    Raises:
        GraftError: names two that differ.
    """
    (first, one), *others = data.items()
    for key, other in others:
        if other.hashes["test"] != one.hashes["test"]:
            told = " and ".join(f"{_limit(limit)} rows with seed {seed}" for limit, seed in (first, key))
            raise GraftError(
                f"The test rows of {told} differ ({one.hashes['test'][:8]} and {other.hashes['test'][:8]}), so the "
                "methods cannot be compared. Give the data set test rows of its own."
            )
