"""What is measured: every work with what Graft runs, what stands beside it, and the goal. One table."""

from collections.abc import Mapping, Sequence
from typing import Literal

from tasks.compose import load
from tasks.frozen import Frozen, GraftError
from tasks.recipe import Recipe

Peer = Literal["trainer", "timm"]
Kind = Literal["train", "probe", "predict"]
PEERS: tuple[Peer, ...] = ("trainer", "timm")


class Settings(Frozen):
    """How a side is set up, where that is not the recipe's.

    Attributes:
        padded: every row to the recipe's `max_length`, in random order; else each batch to its longest row, and rows
            of similar length together.
        dropout: as the model's own configuration has it; else none.
        bf16: mixed precision; else fp32.
    """

    padded: bool = False
    dropout: bool = False
    bf16: bool = False


class Work(Frozen):
    """One comparison.

    Attributes:
        about: what Graft runs.
        against: what stands beside it, in a reader's words.
        peer: whose users run that; `--against` chooses by it.
        kind: a training, the training of a head alone, or answers by a trained model.
        ours: changes to the experiment's recipe.
        theirs: changes for the other side's rate and schedule; `ours` if not given. The rows are always the same.
        goal: how many times as many rows a second.
        within: by how much the score may be lower, from 0 to 1; None: as far as its paired interval reaches.
        settings: of the other side.
        tries: whether the other side's settings are tried on a few rows first, and the fastest in fp32 taken.
        bf16: whether ours runs in bf16 too, where the other side does not try it.
        peer_rows: rows in the other side's one epoch, where a row costs the same in any of them; then it has no score.
        quick: changes to both recipes with --quick.
    """

    name: str
    about: str
    against: str
    peer: Peer
    goal: float
    experiment: str
    kind: Kind = "train"
    ours: tuple[str, ...] = ()
    theirs: tuple[str, ...] | None = None
    within: float | None = None
    settings: Settings = Settings()
    tries: bool = False
    bf16: bool = False
    peer_rows: int | None = None
    quick: tuple[str, ...]

    def recipes(self, quick: bool) -> tuple[Recipe, Recipe]:
        """Ours and theirs, on the same rows.

        Raises:
            GraftError: the experiment does not load.
        """
        small = self.quick if quick else ()
        theirs = self.ours if self.theirs is None else self.theirs
        return load(self.experiment, [*self.ours, *small]), load(self.experiment, [*theirs, *small])


FEW, FEW_PICTURES = ("dataset.limit=240", "schedule.epochs=1"), ("dataset.limit=100", "schedule.epochs=1")
TEXT = ("dataset.limit=4000",)
BEST = "HF Trainer + peft at its best: padded by batch, grouped by length, fused AdamW, no dropout, logs or checkpoints"

WORKS: tuple[Work, ...] = (
    Work(
        name="text-padded", about="LoRA on 4,000 sentences of SST-2, 2 epochs", peer="trainer", goal=15.0,
        against="HF Trainer + peft as run_glue.py ships: each row padded to 128, in random order, with dropout; "
        "timed on 512 rows in one epoch, for a padded row costs the same in any",
        experiment="sst2_lora", ours=TEXT, settings=Settings(padded=True, dropout=True), bf16=True, peer_rows=512,
        quick=FEW,
    ),
    Work(
        name="text", about="LoRA on 4,000 sentences of SST-2, 2 epochs", peer="trainer", goal=1.6, against=BEST,
        experiment="sst2_lora", ours=TEXT, tries=True, quick=FEW,
    ),
    Work(
        name="text-top3", about="the same, LoRA on the three upper blocks", peer="trainer", goal=2.5,
        against=f"{BEST}; all blocks", experiment="sst2_lora", ours=(*TEXT, "method=lora_top3"), theirs=TEXT,
        tries=True, quick=FEW,
    ),
    Work(
        name="text-full", about="the same, all weights, without dropout", peer="trainer", goal=1.5,
        against=f"{BEST}; all weights",
        experiment="sst2_lora", ours=(*TEXT, "method=full", "method.dropout=false"), tries=True, quick=FEW,
    ),
    Work(
        name="images", about="LoRA on ten ImageNet classes, 3 epochs, each picture drawn once", peer="timm", goal=6.0,
        within=0.01,
        against="timm, all weights: its loader and train transform, AdamW, label smoothing 0.1",
        experiment="imagenet10_lora", ours=("schedule.draws=1",), theirs=("method=full",), quick=FEW_PICTURES,
    ),
    Work(
        name="probe", about="a head on a frozen trunk, ten ImageNet classes, 5 epochs, each picture drawn once",
        peer="timm", goal=4.0,
        against="a plain loop: timm's loader, the frozen trunk asked anew in every epoch, the head trained",
        experiment="imagenet10_lora", kind="probe",
        ours=("method=linear_probe", "schedule.epochs=5", "schedule.draws=1"),
        theirs=("method=linear_probe", "schedule.epochs=5"), quick=FEW_PICTURES,
    ),
    Work(
        name="predict", goal=3.0, peer="trainer",
        about="answers of the model of `text` to all of SST-2's dev rows, once both have answered 256 of them",
        against="transformers.pipeline, batch_size=64, on the same model exported; the same answers",
        experiment="sst2_lora", kind="predict", ours=TEXT, quick=FEW,
    ),
)  # fmt: skip


class Asked(Frozen):
    """A benchmark as it was asked for.

    `repeats`: turns, in each of which every side runs once.
    """

    works: tuple[Work, ...]
    repeats: int
    quick: bool


def asked(against: str | None, repeats: int | None, quick: bool, only: str | None = None) -> Asked:
    """What the options mean; `against` are peers (None: all) and `only` names of works, with commas.

    Raises:
        GraftError: an unknown peer or work, or no turn.
    """
    peers = PEERS if against is None else chosen("--against", against, PEERS)
    works = [work for work in WORKS if work.peer in peers]
    if only is not None:
        few = chosen("--only", only, [work.name for work in works])
        works = [work for work in works if work.name in few]
    return Asked(works=tuple(works), repeats=turns_of(repeats, quick), quick=quick)


def turns_of(repeats: int | None, quick: bool) -> int:
    """How many turns are meant: 3 if nothing is said, 1 with `quick`.

    Raises:
        GraftError: none.
    """
    turns = repeats if repeats is not None else 1 if quick else 3
    if turns < 1:
        raise GraftError(f"--repeats {turns} is no number of turns. Give 1 or more; 3 shows a range.")
    return turns


def kind_of(kinds: Mapping[str, bool], others: Mapping[str, object]) -> str | None:
    """The option that asks for another kind of benchmark, if one does.

    Args:
        kinds: such options, and whether they are given.
        others: options that choose what stands beside Graft; None where not given.

    Raises:
        GraftError: two kinds at once, or one with an option that means nothing to it.
    """
    asked_for = [name for name, given in kinds.items() if given]
    if len(asked_for) > 1:
        raise GraftError(
            f"{' and '.join(asked_for)} are benchmarks of their own, with a table each. Ask one at a time."
        )
    for name, given in others.items():
        if asked_for and given is not None:
            raise GraftError(
                f"{name} chooses what stands beside Graft, and {asked_for[0]} has only Graft itself. Leave one out."
            )
    return asked_for[0] if asked_for else None


def chosen(option: str, given: str, valid: Sequence[str]) -> list[str]:
    """The names that an option gives with commas.

    Raises:
        GraftError: there is none, or one is not valid.
    """
    names = [name.strip() for name in given.split(",") if name.strip()]
    if not names or (unknown := set(names) - {*valid}):
        odd = f"{sorted(unknown)[0]!r} is unknown" if names else "no name is given"
        raise GraftError(f"{option} {given!r}: {odd}. Valid, with commas: {', '.join(valid)}.")
    return names
