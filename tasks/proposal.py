"""The data set's file and the experiment's file for what a survey saw, and the proof that they work."""

import math
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tasks.backbones import Backbone
from tasks.backbones.weights import HubWeights
from tasks.compose import CONFIGS, check, load, read
from tasks.datasets.spec import INPUTS, LABEL, ROW
from tasks.frozen import Frozen, GraftError
from tasks.pictures import check_picture
from tasks.recipe import Recipe
from tasks.survey.seen import Survey

LONGEST = 256  # tokens that a row is given at most
RARE = 10  # classes are unbalanced where the commonest has more than so many times the rows of the rarest
SMALL = 96  # pixels: pictures up to this size need no larger network input
HEAD = 20  # rows that are read to prove the files

# Training rows up to which a schedule is taken, its epochs and its batch size; as in configs/experiments where a run
# showed them to work (tickets_lora, mrpc_lora, sst2_lora; imagenet10_lora; the scratch ones).
SCHEDULES = {
    "text lora": ((500, 15, 16), (2_000, 8, 16), (6_000, 6, 16), (50_000, 3, 32), (math.inf, 2, 32)),
    "image lora": ((300, 15, 16), (5_000, 3, 32), (math.inf, 2, 32)),
    "text scratch": ((5_000, 30, 16), (50_000, 6, 32), (math.inf, 3, 64)),
    "image scratch": ((10_000, 30, 32), (math.inf, 10, 64)),
}
RATES = {"image lora": 0.001, "text scratch": 0.0005, "image scratch": 0.001}
WEIGHTED = {"class": ["macro_f1", "accuracy"], "multilabel": ["macro_f1", "micro_f1", "exact_match"]}


class Proposal(Frozen):
    """Both files: their names, their contents, and why these are so, a sentence each.

    Without a `folder` they go to `configs/`.
    """

    name: str
    experiment: str
    folder: Path | None
    dataset_text: str
    experiment_text: str
    reasons: tuple[str, ...]

    @property
    def files(self) -> dict[str, Path]:
        """Where `dataset` and `experiment` go."""
        return {
            "dataset": (self.folder or CONFIGS / "datasets") / f"{self.name}.yaml",
            "experiment": (self.folder or CONFIGS / "experiments") / f"{self.experiment}.yaml",
        }

    @property
    def commands(self) -> tuple[str, ...]:
        """What to run next: the checks, the plan, the run."""
        return (
            f"graft check {_given(self.name, self.folder)}",
            f"graft plan {_given(self.experiment, self.folder)}",
            f"graft finetune {_given(self.experiment, self.folder)}",
        )


def name_of(given: str) -> str:
    """A recipe's name from a file's: letters, digits and hyphens, so that `_` can stand before the method."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", given).strip("-").lower()
    if not name:
        raise GraftError(f"{given!r} gives no name: it holds no letter and no digit. Give one with --name.")
    return name


def propose(survey: Survey, name: str, folder: Path | None) -> Proposal:
    """Write what was seen as two files. In one `folder` the experiment names the data set's file by its path."""
    backbone, reasons = _backbone(survey)
    own = check(Backbone, backbone if isinstance(backbone, dict) else read(_file(backbone)), str(backbone))
    road = f"{'image' if survey.image else 'text'} {'lora' if own.pretrained else 'scratch'}"
    schedule = _schedule(survey, road)
    reasons.append(f"{schedule['epochs']} epochs of batches of {schedule['batch_size']}: {_amount(survey)} to train on")
    fields = {
        "about": _about(survey, road),
        "dataset": f"{name}.yaml" if folder else name,
        "backbone": backbone,
        "method": _method(survey, road),
        "gate": "default",
        "schedule": schedule,
    }
    experiment = f"{name}_{road.split()[1]}"
    head = (
        f"# graft finetune {_given(experiment, folder)}\n"
        "# Made from a look at the data. No score was measured yet: put it here after a run.\n"
    )
    if uneven(survey):
        reasons.append(
            f"classes are weighted: the rarest has {survey.smallest:,} rows, the commonest {survey.largest:,}"
        )
    return Proposal(
        name=name,
        experiment=experiment,
        folder=folder,
        dataset_text=_dataset(survey),
        experiment_text=head + _yaml(fields),
        reasons=tuple(reasons),
    )


def uneven(survey: Survey) -> bool:
    """Whether the rarest class has less than a tenth of the commonest one's rows."""
    return 0 < survey.smallest * RARE < survey.largest


def prove(proposal: Proposal, survey: Survey) -> Recipe:
    """Load both files as a recipe from a folder of their own, and read the first rows of every split.

    Raises:
        GraftError: they do not work.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{proposal.name}.yaml").write_text(proposal.dataset_text, "utf-8")
        experiment = Path(folder) / f"{proposal.experiment}.yaml"
        experiment.write_text(proposal.experiment_text, "utf-8")
        recipe = load(str(experiment), [f"dataset={proposal.name}.yaml"])
    source = recipe.dataset.read()
    for split in source.splits:
        rows = next((chunk for chunk in source.splits[split]() if len(chunk)), None)
        if rows is None:
            raise GraftError(f"{source.origin} holds no row for {split}.")
        for row in rows.head(HEAD).to_dict("records"):
            _check_row(row, survey)
    return recipe


def _check_row(row: dict[Any, Any], survey: Survey) -> None:
    where = f"Row {row[ROW]}"
    for name in (name for name in INPUTS if name in row):
        if not row[name]:
            raise GraftError(f"{where}: {name} is empty. Fill it or leave the row out.")
        if name == "image":
            check_picture(row[name])
    if survey.target == "class" and survey.labels and row[LABEL] not in survey.labels:
        raise GraftError(f"{where}: label {row[LABEL]!r} is outside the classes. Valid: {', '.join(survey.labels)}.")


def _given(name: str, folder: Path | None) -> str:
    """A file as commands take it."""
    return shlex.quote(str(folder / f"{name}.yaml")) if folder else name


def _file(backbone: str) -> Path:
    return CONFIGS / "backbones" / f"{backbone}.yaml"


def _backbone(survey: Survey) -> tuple[str | dict[str, Any], list[str]]:
    """The pretrained backbone if it is installed, else the one from nothing; and why."""
    small = survey.image and survey.side <= SMALL
    first, last = ("efficientnet_lite0", "cnn_large") if survey.image else ("minilm", "transformer")
    first += "_small" if small else ""
    found = check(Backbone, read(_file(first)), first)
    try:
        found.check()
    except GraftError as error:
        return last, [f"backbone {last}, from nothing: {error}"]
    if survey.image:
        return first, [
            f"backbone {first}: it is installed, and the pictures have {survey.side} pixels on their longer side"
        ]
    needed = _tokens(survey, found)
    why = f"backbone {first}: it is installed; 99 of 100 rows fit into {needed} tokens"
    if needed <= found.max_length:
        return first, [f"{why}, and {found.max_length} are kept"]
    longer = min(LONGEST, needed)
    return read(_file(first)) | {"max_length": longer}, [f"{why}, and {longer} are kept ({LONGEST} at most)"]


def _tokens(survey: Survey, backbone: Any) -> int:
    """The tokens into which 99 % of the sampled rows fit, rounded up to a multiple of 32; 0 where it is not known."""
    from tokenizers import Tokenizer

    if isinstance(backbone.weights, HubWeights) or not survey.sample:
        return 0
    tokenizer = Tokenizer.from_file(str(backbone.weights.folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rows = [tuple(text[:10_000] for text in row) for row in survey.sample]
    lengths = sorted(len(found) for found in tokenizer.encode_batch([row if row[1:] else row[0] for row in rows]))
    return 32 * math.ceil(lengths[min(len(lengths) - 1, int(0.99 * len(lengths)))] / 32)


def _schedule(survey: Survey, road: str) -> dict[str, Any]:
    rows = survey.train_rows if survey.whole else math.inf
    _, epochs, batch = next(step for step in SCHEDULES[road] if rows <= step[0])
    schedule: dict[str, Any] = {"epochs": epochs, "batch_size": batch}
    schedule |= {"keep": "last"} if rows < 100 else {}  # too few validation rows to choose an epoch by
    return schedule | ({"class_weights": "auto"} if uneven(survey) else {})


def _method(survey: Survey, road: str) -> dict[str, Any]:
    kind = road.split()[1]
    pair_or_number = survey.target == "number" or "text_pair" in survey.fields.get("columns", {})
    few = survey.whole and survey.train_rows <= 10_000
    rate = (0.0003 if pair_or_number else 0.001 if few else 0.0005) if road == "text lora" else RATES[road]
    return {"kind": kind} | ({"layers": 3} if road == "image lora" else {}) | {"learning_rate": rate}


def _amount(survey: Survey) -> str:
    return f"about {survey.train_rows:,} rows" if survey.whole else f"more than {survey.train_rows:,} rows"


def _about(survey: Survey, road: str) -> str:
    what = "pictures" if survey.image else "pairs" if "text_pair" in survey.fields["columns"] else "texts"
    target = {"class": "one class each", "multilabel": "any number of labels each", "number": "a number each"}
    how = "adapted by LoRA" if road.endswith("lora") else "a network from nothing"
    return f"{what}, {target[survey.target]}; {how}"


def _dataset(survey: Survey) -> str:
    """The data set's file; a group is proposed in a comment, never switched on."""
    rows = f"all {survey.rows:,}" if survey.whole else f"the first {survey.rows:,}"
    fields: dict[str, Any] = {"about": f"made by graft init from {rows} rows", "kind": survey.kind}
    fields |= survey.fields
    fields |= {"target": survey.target} if survey.kind == "table" else {}
    if survey.labels:
        plain = all(raw == name for raw, name in survey.labels.items())
        fields["labels"] = list(survey.labels) if plain else survey.labels
    if uneven(survey):
        fields["metrics"] = WEIGHTED[survey.target]
    text = _yaml(fields)
    if survey.group:
        line = yaml.safe_dump({"group": survey.group}, allow_unicode=True).strip()
        text += "# Many rows share a value in one column. To keep them on one side of every split, add to columns:\n"
        text += f"#   {line}\n"
    return text


def _yaml(fields: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return text
