"""What a comparison is asked: refused before anything runs, or composed into children that share their rows."""

from pathlib import Path
from typing import Any

import pytest

from tasks import compose
from tasks.comparison.asked import Compared, asked, composed, prepared, same_test, trained_on
from tasks.frozen import GraftError

FIVE = "scratch,linear_probe,bitfit,lora,full"


def said(**changes: Any) -> Compared:
    words: dict[str, Any] = {"experiment": "tickets_lora", "methods": "scratch,lora", "seeds": "0,1", "limits": None}
    return asked(**(words | {"margin": 2.0, "overrides": []} | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"methods": "scratch,lorra"}, "There is no 'lorra' in configs/methods. Did you mean lora"),
        ({"methods": "lora"}, "--methods 'lora' are not two or more different methods"),
        ({"methods": "lora,lora"}, "Valid: bitfit, full, linear_probe, lora"),
        ({"seeds": "0,one"}, "--seeds '0,one' are not different whole numbers"),
        ({"seeds": "1,01"}, "--seeds '1,01' are not different"),
        ({"limits": "50,many"}, "--limits '50,many' are not different numbers of rows"),
        ({"limits": "1,50"}, "2 or more, or all"),
        ({"limits": "50,50"}, "--limits '50,50'"),
        ({"margin": 0.0}, "--margin 0 is not above 0"),
        ({"jobs": 0}, "--jobs 0 is not 1 or more"),
        ({"jobs": -2}, "--jobs -2 is not 1 or more"),
        ({"margin": float("nan")}, "--margin nan is not above 0"),
        ({"overrides": ["seed=3"]}, "Use --seeds"),
        ({"overrides": ["method=full"]}, "Use --methods"),
        ({"overrides": ["model=mine"]}, "Override model= is what a comparison sets itself"),
        ({"limits": "50,all", "overrides": ["dataset.limit=20"]}, "says what --limits says too"),
    ],
)
def test_words_that_make_no_comparison_are_explained(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(GraftError, match=told):
        said(**changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"experiment": "tickets_scratch"}, "method 'lora' needs pretrained weights"),
        ({"experiment": "tickets_lorra"}, "Did you mean tickets_lora"),
        ({"overrides": ["method.rank=4"]}, "method.rank is unknown|rank"),
    ],
)
def test_a_method_or_an_override_that_does_not_fit_is_refused_when_the_recipes_are_made(
    changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(GraftError, match=told):
        composed(said(**changes))


@pytest.mark.parametrize("experiment", ["tickets_lora", "imagenet10_lora"])
def test_all_five_methods_fit_texts_and_pictures_and_none_of_them_can_be_crowned(experiment: str) -> None:
    children = composed(said(experiment=experiment, methods=FIVE))
    own = compose.load(experiment)

    assert [child.method for child in children[::2]] == FIVE.split(",")
    assert [child.recipe.seed for child in children[:2]] == [0, 1]
    assert {child.recipe.method.kind for child in children} == {*FIVE.split(",")}
    assert {child.recipe.model for child in children} == {f"{own.model}-compare"}
    assert not any(child.recipe.crown for child in children)
    assert all(child.recipe.backbone == own.backbone for child in children), "scratch too: the same architecture"


def test_a_method_that_is_the_experiments_own_keeps_the_experiments_settings() -> None:
    lora = composed(said(methods="full,lora"))[-1].recipe
    top = composed(said(methods="lora_top3,full"))[0].recipe

    assert lora.method == compose.load("tickets_lora").method
    assert lora.fingerprint == compose.load("tickets_lora", ["seed=1"]).fingerprint
    assert top.method == compose.load("tickets_lora", ["method=lora_top3"]).method


def test_limits_come_ascending_and_reach_the_recipes(tmp_path: Path) -> None:
    compared = said(limits="all,200,50")
    children = composed(compared)

    assert compared.limits == (50, 200, None)
    assert [child.recipe.dataset.limit for child in children[::4]] == [50, 200, None]
    assert children[0].recipe.name == "tickets_lora-scratch-50"
    assert len({(child.recipe.fingerprint, child.recipe.model) for child in children}) == 12


def test_the_command_that_is_told_makes_the_same_comparison() -> None:
    compared = said(limits="50,all", margin=1.5, overrides=["schedule.epochs=1"])
    words = compared.command.split()
    options = dict(zip(words[3::2], words[4::2], strict=False))

    assert words[:3] == ["graft", "compare", "tickets_lora"]
    assert compared == asked(
        words[2], options["--methods"], options["--seeds"], options["--limits"], float(options["--margin"]), words[-1:]
    )


def test_all_children_share_their_test_rows_and_methods_their_training_rows(home: Path) -> None:
    data = prepared(composed(said(limits="50,200")))

    assert [*data] == [(50, 0), (50, 1), (200, 0), (200, 1)]
    assert len({one.hashes["test"] for one in data.values()}) == 1
    assert [trained_on(one) for one in data.values()] == [50, 50, 200, 200]


def test_limits_that_are_the_same_rows_are_refused(home: Path) -> None:
    with pytest.raises(GraftError, match="--limits 5000 and all are the same 962 training rows: there are no more"):
        prepared(composed(said(limits="5000,all")))


def test_too_few_rows_for_the_classes_are_refused_before_any_run(home: Path) -> None:
    with pytest.raises(GraftError, match="No row is left|has no training row left"):
        prepared(composed(said(limits="4,all")))
    assert not (home / "mlflow.db").exists()


def test_other_test_rows_are_refused(home: Path) -> None:
    data = prepared(composed(said(limits="50,200", seeds="0")))
    (one, other) = data.values()
    moved = other.model_copy(update={"hashes": other.hashes | {"test": "0" * 32}})

    with pytest.raises(GraftError, match="The test rows of 50 rows with seed 0 and 200 rows with seed 0 differ"):
        same_test({(50, 0): one, (200, 0): moved})
