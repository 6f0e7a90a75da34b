"""Both sides of a work as they really run: the same rows, steps and trained weights, on a few embedded rows."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image
from small import Bench
from transformers import AutoTokenizer

from tasks.bench import own, side, timm_style, trainer
from tasks.bench.orders import Order, Taken, digest
from tasks.bench.table import check_same_answers, check_same_rows
from tasks.bench.works import WORKS, Kind, Settings
from tasks.compose import CONFIGS, load
from tasks.frozen import GraftError
from tasks.prepare import prepare, rows_of
from tasks.recipe import Recipe
from tasks.results import Prepared

pytest_plugins = ["small"]

TEXT = ("few_tickets",)
DIGITS = ("digits_lora", "dataset.limit=40", "dataset.test=0.05", "schedule.epochs=1")


def few_tickets(folder: Path) -> None:
    """An experiment of 64 training and validation and 32 test rows of the embedded messages, in all eight classes."""
    with (CONFIGS / "datasets" / "tickets.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (folder / "few.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        for split, count in (("train", 64), ("test", 32)):
            own = [row for row in rows if row["split"] == split]
            table.writerows(own[place * len(own) // count] for place in range(count))
    dataset = {"kind": "table", "path": str(folder / "few.csv"), "split_column": "split", "validation": 0.2}
    told = {"dataset": dataset, "backbone": "minilm", "method": {"kind": "lora", "learning_rate": 0.001}}
    (folder / "few.yaml").write_text(yaml.safe_dump(told | {"schedule": {"epochs": 1, "batch_size": 16}}))


@dataclass
class Sides:
    """Runs sides in this process, in a home of the module's."""

    home: Path

    def order(self, by: Any, words: Sequence[str], kind: Kind = "train", **changes: Any) -> Order:
        recipe, data = self.prepared(words)
        out = self.home / f"{by}-{len(list(self.home.iterdir()))}"
        out.mkdir()
        return Order(by=by, kind=kind, recipe=recipe, data=data, out=out, **changes)

    def prepared(self, words: Sequence[str]) -> tuple[Recipe, Prepared]:
        few = str(self.home / "few.yaml")
        recipe = load(few if words[0] == "few_tickets" else words[0], words[1:])
        return recipe, prepare(recipe.model, recipe.dataset, recipe.seed)

    def run(self, *given: Any, **changes: Any) -> tuple[Taken, NDArray[np.float32] | None]:
        return side.run(self.order(*given, **changes))


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory, tracking_db: str) -> Any:
    home = tmp_path_factory.mktemp("sides")
    few_tickets(home)
    settings = {"GRAFT_HOME": str(home / "home"), "MLFLOW_TRACKING_URI": tracking_db, "HF_HUB_OFFLINE": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (settings | {"GRAFT_DEVICE": "cpu", "GRAFT_WORKERS": "0"}).items():
            patch.setenv(name, value)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # so few rows gain nothing from more
        yield Sides(home)
        torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _tracking(tracking_db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_db)


@pytest.fixture(scope="module")
def model(sides: Sides) -> Path:
    return sides.home / "model"


@pytest.fixture(scope="module")
def text(sides: Sides, model: Path, tracking_db: str) -> list[tuple[Taken, NDArray[np.float32]]]:
    """Ours and theirs, trained on the same rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", tracking_db)
        found = [sides.run("graft", TEXT, keep=model), sides.run("trainer", TEXT)]
    return [(taken, answers) for taken, answers in found if answers is not None]


def test_both_sides_of_text_train_as_many_weights_on_the_same_rows_in_as_many_steps(
    sides: Sides, text: list[tuple[Taken, NDArray[np.float32]]]
) -> None:
    (ours, _), (theirs, _) = text
    _, data = sides.prepared(TEXT)

    check_same_rows(WORKS[1], ours, theirs)
    assert ours.seen == theirs.seen
    assert ours.rows == theirs.rows == data.rows["train"]
    assert ours.steps == theirs.steps == -(-data.rows["train"] // 16)
    assert ours.trained == theirs.trained > 600_000
    assert ours.seconds > 0 and theirs.seconds > 0 and ours.peak > 1e8 and theirs.peak > 1e8
    assert ours.flops and ours.flops > 1e9


def test_a_seed_decides_what_the_other_side_learns(sides: Sides, text: list[tuple[Taken, NDArray[np.float32]]]) -> None:
    same, other = (sides.order("trainer", TEXT) for _ in range(2))
    other = other.model_copy(update={"recipe": other.recipe.model_copy(update={"seed": 1})})
    (_, first), (_, again), (_, changed) = text[1], side.run(same), side.run(other)

    assert again is not None and changed is not None
    assert np.abs(again - first).max() < 1e-3 < np.abs(changed - first).max()


def test_both_sides_of_text_answer_all_test_rows(sides: Sides, text: list[tuple[Taken, NDArray[np.float32]]]) -> None:
    _, data = sides.prepared(TEXT)

    for _, answers in text:
        assert answers.shape == (data.rows["test"], data.target.outputs)
        assert np.isfinite(answers).all()


def test_the_pipeline_gives_the_very_answers_of_the_served_model(
    sides: Sides, model: Path, text: list[tuple[Taken, NDArray[np.float32]]]
) -> None:
    own.export(model, sides.home / "exported")
    ours, answers = sides.run("graft", TEXT, "predict", model=model)
    theirs, others = sides.run("trainer", TEXT, "predict", model=sides.home / "exported")

    assert answers is not None and others is not None
    check_same_answers(WORKS[-1], answers, others)
    check_same_rows(WORKS[-1], ours, theirs)
    assert (answers.argmax(1) == text[0][1].argmax(1)).all(), "it is the model that was trained"
    assert answers.sum(1) == pytest.approx(1)


def test_the_clock_of_ours_leaves_validation_and_checkpoints_out_and_nothing_else(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("tasks.bench.own.time.perf_counter", lambda: next(clock))
    timed: Any = own.Timed.__new__(own.Timed)
    timed.began, timed.ended = 10.0, 110.0
    with timed._beside():
        pass
    with timed._beside():
        pass

    assert timed.beside == 2
    assert timed.seconds == 98


def test_a_padded_side_on_few_rows_has_no_score_and_sees_the_first_rows(sides: Sides) -> None:
    settings = Settings(padded=True, dropout=True)
    taken, answers = sides.run("trainer", TEXT, settings=settings, rows=4, epochs=1)

    assert (taken.rows, taken.steps, answers) == (4, 1, None)


def test_padding_and_dropout_are_what_the_settings_say(sides: Sides) -> None:
    order = sides.order("trainer", TEXT)
    place = trainer._folder(order.recipe)
    tokenizer = AutoTokenizer.from_pretrained(place)
    lengths = [
        {len(row["input_ids"]) for row in trainer._tokens(tokenizer, ["a", "a longer one"], [0, 1], 128, padded)}
        for padded in (True, False)
    ]
    rates = [
        {module.p for module in trainer._model(place, order, settings).modules() if type(module).__name__ == "Dropout"}
        for settings in (Settings(dropout=True), Settings())
    ]

    assert lengths == [{128}, {3, 5}]
    assert rates == [{0.1}, {0.0}]


def test_trainer_follows_the_recipes_schedule(sides: Sides, tmp_path: Path) -> None:
    recipe = load("sst2_lora", ["schedule.decay=cosine"])
    told = trainer._arguments(recipe, Settings(), tmp_path, rows=100, epochs=2)

    assert (told.learning_rate, told.warmup_steps, told.weight_decay) == (5e-4, 1, 0.01)
    assert (told.lr_scheduler_type, told.train_sampling_strategy, told.bf16) == ("cosine", "group_by_length", False)
    assert trainer._arguments(recipe, Settings(padded=True), tmp_path, 100, 2).train_sampling_strategy == "random"


@pytest.mark.parametrize(
    ("kind", "method"), [("train", "method=full"), ("probe", "method=linear_probe")], ids=["images", "probe"]
)
def test_the_timm_side_sees_our_rows_in_our_steps_and_trains_its_weights(sides: Sides, kind: Kind, method: str) -> None:
    taken, answers = sides.run("timm", (*DIGITS, method), kind)
    recipe, data = sides.prepared((*DIGITS, method))
    rows = rows_of(data, "train")
    network = recipe.backbone.load(data.target, {})
    recipe.method.adapt(network)

    assert taken.seen == digest(rows["image"], rows.labels)
    assert (taken.rows, taken.steps) == (len(rows), -(-len(rows) // recipe.schedule.batch_size))
    assert taken.trained == sum(weight.numel() for weight in network.module.parameters() if weight.requires_grad)
    assert answers is not None and answers.shape == (data.rows["test"], 10)


def test_the_timm_side_starts_from_our_weights(sides: Sides) -> None:
    recipe, data = sides.prepared(DIGITS)
    theirs = timm_style._module(recipe, data.target.outputs).state_dict()
    ours = recipe.backbone.load(data.target, {}).module.state_dict()

    assert theirs.keys() == ours.keys()
    assert all((theirs[name] == ours[name]).all() for name in ours if not name.startswith("classifier"))


def test_the_probes_trunk_stands_still(sides: Sides) -> None:
    order = sides.order("timm", (*DIGITS, "method=linear_probe"), "probe", rows=8, epochs=1)
    kept: list[Any] = []
    plain = timm_style._module

    def module(recipe: Recipe, outputs: int) -> Any:
        kept.append(plain(recipe, outputs))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm_style, "_module", module)
        timm_style.probe(order)
    before, after = plain(order.recipe, 10).state_dict(), kept[0].state_dict()

    moved = {name for name in before if not (before[name] == after[name]).all()}
    assert moved == {"classifier.weight", "classifier.bias"}


def test_timms_pictures_are_ours(sides: Sides) -> None:
    rows = rows_of(sides.prepared(DIGITS)[1], "train")
    pictures = timm_style.Pictures(rows, 3)
    pictures.transform = lambda image: image

    assert len(pictures) == 3
    image, label = pictures[2]
    assert (image.mode, label) == ("RGB", rows.labels[2])
    assert np.array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(rows["image"][2])).convert("RGB")))


@pytest.mark.parametrize(("by", "words"), [("trainer", DIGITS), ("timm", TEXT)])
def test_a_backbone_that_the_other_side_cannot_load_is_told(sides: Sides, by: str, words: Sequence[str]) -> None:
    with pytest.raises(GraftError, match="to bench with"):
        sides.run(by, words)


def test_the_trainers_answers_are_in_the_order_of_the_rows(bench: Bench, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, Trainer

    recipe = bench.recipe("encoder", {"kind": "full"})
    rows, place = rows_of(prepare("tiny", recipe.dataset, 0), "train"), bench.zoo / "bert"
    tokenizer, model = AutoTokenizer.from_pretrained(place), AutoModelForSequenceClassification.from_pretrained(place)
    asked = Trainer(
        model=model.eval(),
        args=trainer._arguments(recipe, Settings(), tmp_path, len(rows), 1),
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    found = trainer._answers(asked, tokenizer, rows, 16)
    with torch.inference_mode():
        texts = list(rows["text"])
        alone = [model(**tokenizer(text, truncation=True, max_length=16, return_tensors="pt")).logits for text in texts]
    assert np.allclose(found, torch.cat(alone).numpy(), atol=1e-5)
    assert len(np.unique(found.round(4), axis=0)) > 1
