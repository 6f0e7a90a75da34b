"""Whole commands, timed by wall clock: what is run in each turn, and what was measured of it."""

from collections.abc import Mapping
from typing import Literal

from tasks.bench.works import turns_of
from tasks.comparison import asked as comparison
from tasks.compose import load
from tasks.frozen import Frozen
from tasks.recipe import Recipe

HELP, FINETUNE, COMPARE, LOOP = "graft --help", "graft finetune", "graft compare", "the bare loop"  # sides
Kind = Literal["help", "finetune", "compare"]


class Step(Frozen):
    """One process of a turn: a command of `graft`, or the bare loop, which has no words."""

    side: str
    words: tuple[str, ...] = ()


class Work(Frozen):
    """What is run in each turn.

    Attributes:
        kind: its sides: the help; a fine-tune and its bare loop; a comparison and its runs one by one.
        changes: to the experiment.
        methods, seeds: of a comparison, with commas.
        quick: what of these is another with --quick.
    """

    name: str
    about: str
    kind: Kind
    experiment: str = ""
    changes: tuple[str, ...] = ()
    methods: str = "scratch,linear_probe,bitfit,lora,full"
    seeds: str = "0,1,2"
    quick: Mapping[str, tuple[str, ...] | str] = {}

    def sized(self, quick: bool) -> "Work":
        """The same, shrunk with `quick`."""
        return self.model_copy(update=dict(self.quick)) if quick else self

    def recipe(self) -> Recipe:
        """What a fine-tune trains.

        Raises:
            GraftError: the experiment does not load.
        """
        return load(self.experiment, self.changes)

    def before(self) -> tuple[Step, ...]:
        """What runs once before the first turn, so that files lie ready."""
        return () if self.kind == "compare" else self.steps()[:1]

    def steps(self) -> tuple[Step, ...]:
        """The processes of a turn in their order.

        Raises:
            GraftError: the experiment does not load, or its weights are not there.
        """
        if self.kind == "help":
            return (Step(side=HELP, words=("--help",)),)
        if self.kind == "finetune":
            self.recipe().backbone.check()
            return Step(side=FINETUNE, words=("finetune", self.experiment, *self.changes, "--json")), Step(side=LOOP)
        told = ("--methods", self.methods, "--seeds", self.seeds)
        whole = comparison.asked(self.experiment, self.methods, self.seeds, None, 2.0, self.changes)
        each = [("finetune", self.experiment, *child.words) for child in comparison.composed(whole)]
        first = Step(side=COMPARE, words=("compare", self.experiment, *self.changes, *told))
        return first, *(Step(side=FINETUNE, words=words) for words in each)


SMALL: dict[str, tuple[str, ...] | str] = {"methods": "scratch,linear_probe", "seeds": "0"}
FEW = ("dataset.limit=60", "schedule.epochs=1")

WORKS: tuple[Work, ...] = (
    Work(name="help", about="`graft --help`", kind="help"),
    Work(
        name="finetune", about="`graft finetune sst2_lora` on 4,000 sentences, 2 epochs, and its bare loop",
        kind="finetune", experiment="sst2_lora", changes=("dataset.limit=4000",), quick={"changes": FEW},
    ),
    Work(
        name="compare-images", about="`graft compare digits_lora`: 5 methods x 3 seeds on 200 digits, 2 epochs, and "
        "the same 15 runs by `graft finetune`",
        kind="compare", experiment="digits_lora", changes=("dataset.limit=200", "schedule.epochs=2"),
        quick={**SMALL, "changes": FEW},
    ),
    Work(
        name="compare-text", about="`graft compare sst2_lora`: 5 methods x 3 seeds on 1,000 sentences, 1 epoch, and "
        "the same 15 runs by `graft finetune`",
        kind="compare", experiment="sst2_lora", changes=("dataset.limit=1000", "schedule.epochs=1"),
        quick={**SMALL, "changes": FEW},
    ),
)  # fmt: skip


class Asked(Frozen):
    """The works, each of whose processes runs once in a turn."""

    works: tuple[Work, ...]
    repeats: int
    quick: bool


class Timed(Frozen):
    """One process of one turn, or why there is nothing of it; the seconds of the whole process, and what it told.

    `turn`: 0 is what ran before the first; `training`: of the bare loop; `first`: until the first step was over.
    """

    work: str
    turn: int
    side: str
    command: str = ""
    wall: float = 0.0
    training: float | None = None
    first: float | None = None
    failed: str = ""

    def columns(self) -> dict[str, object]:
        """A line of the CSV."""
        told = {"wall_seconds": self.wall, "training_seconds": self.training, "first_step_seconds": self.first}
        seconds = {name: None if own is None else round(own, 3) for name, own in told.items()}
        named = {"work": self.work, "turn": self.turn, "side": self.side, "command": self.command}
        return {**named, **seconds, "failed": self.failed}


def asked(repeats: int | None, quick: bool) -> Asked:
    """All works.

    Raises:
        GraftError: no turn.
    """
    return Asked(works=tuple(work.sized(quick) for work in WORKS), repeats=turns_of(repeats, quick), quick=quick)
