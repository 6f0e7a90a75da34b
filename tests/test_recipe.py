"""A recipe is the run's identity: what its fingerprint holds, what does not fit together, how the rate runs."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tasks.compose import load
from tasks.recipe import UNTRAINED, Recipe, Schedule

EXPERIMENTS = [
    "tickets_lora",
    "tickets_scratch",
    "stsb_lora",
    "sst2_lora",
    "digits_scratch",
    "imagenet10_lora",
]
TOLD = {"about", "name", "model", "gate", "crown", *UNTRAINED}  # what names, tells and judges, but does not train


def leaves(model: BaseModel, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every plain value in a model and the models below it."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name)


def other(value: Any) -> Any:
    """Another value of about the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case dict():
            return {key: f"{name}!" for key, name in value.items()} or {"given": "given"}
        case tuple():
            return value[::-1] if len(value) > 1 else (*value, "more")
        case None:
            return {"given": "given"}
    return f"{value}!"


def changed(model: Any, path: tuple[str, ...]) -> Any:
    """A copy of a model with one other value, whether it is valid or not."""
    inner = getattr(model, path[0])
    return model.model_copy(update={path[0]: changed(inner, path[1:]) if path[1:] else other(inner)})


def fingerprint(recipe: Recipe) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pydantic's, of values that are not valid
        return recipe.fingerprint


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_field_that_decides_what_is_trained_changes_the_fingerprint_and_no_other_does(
    experiment: str,
) -> None:
    recipe = load(experiment)
    seen = {recipe.fingerprint}
    for path in leaves(recipe):
        found = fingerprint(changed(recipe, path))
        if TOLD & {path[0], path[-1]} and path != ("backbone", "name"):
            assert found == recipe.fingerprint, path
        else:
            assert found not in seen, path
            seen.add(found)
    assert len(seen) > 20


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "model=other",
        "about=words",
        "gate.floor=0.9",
        "gate.about=words",
        "method.about=words",
        "backbone.about=words",
        "dataset.about=words",
        "method.rank=16",
        "schedule.decay=linear",
        "seed=0",
        "method.alpha=32.0",
        "dataset.validation=0.150",
    ],
)
def test_names_descriptions_gate_and_defaults_written_out_leave_the_fingerprint(override: str) -> None:
    assert load("tickets_lora", [override]).fingerprint == load("tickets_lora").fingerprint


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "method.rank=4",
        "method=full",
        "backbone.max_length=64",
        "schedule.epochs=1",
        "dataset.limit=100",
        "schedule.patience=2",
        "schedule.class_weights=auto",
        "method=scratch",
        "dataset=sst2",
    ],
)
def test_overrides_of_what_is_trained_change_the_fingerprint(override: str) -> None:
    assert load("tickets_lora", [override]).fingerprint != load("tickets_lora").fingerprint


def test_the_order_of_keys_leaves_the_fingerprint() -> None:
    def reordered(value: Any) -> Any:
        return {key: reordered(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    raw = load("tickets_lora").model_dump(mode="json")
    labels = raw["dataset"]["labels"]
    turned = reordered(raw)
    turned["dataset"]["labels"] = labels
    assert list(turned) == list(reversed(raw))
    assert Recipe.model_validate(turned).fingerprint == load("tickets_lora").fingerprint


def test_the_order_of_the_labels_numbers_the_classes_and_so_changes_the_fingerprint() -> None:
    turned = load("sst2_lora", ["dataset.labels={'1': positive, '0': negative}"])
    assert turned.dataset.labels == load("sst2_lora").dataset.labels
    assert turned.fingerprint != load("sst2_lora").fingerprint


def test_a_recipe_survives_json_with_its_fingerprint() -> None:
    for experiment in EXPERIMENTS:
        recipe = load(experiment)
        again = Recipe.model_validate_json(recipe.model_dump_json())
        assert (again, again.fingerprint) == (recipe, recipe.fingerprint)


def test_the_fingerprint_is_the_same_in_a_process_that_hashes_differently() -> None:
    code = "from tasks.compose import load; print(load('tickets_lora', ['schedule.patience=3']).fingerprint)"
    expected = load("tickets_lora", ["schedule.patience=3"]).fingerprint
    env = os.environ | {"PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
    assert len(expected) == 16


def test_a_recipe_cannot_be_changed() -> None:
    recipe = load("tickets_lora")
    with pytest.raises(ValidationError, match="frozen"):
        recipe.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        recipe.schedule.epochs = 3  # type: ignore[misc]


def refusal(experiment: str, field: str, source: str, name: str) -> str:
    """What a recipe says when one of its fields comes from another experiment."""
    raw = load(experiment).model_dump()
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate(raw | {field: getattr(load(source), name).model_dump()})
    return str(caught.value)


def test_text_for_an_image_backbone_is_refused_and_the_other_way_round() -> None:
    told = refusal("tickets_lora", "backbone", "imagenet10_lora", "backbone")
    assert "backbone 'timm' takes image, but data set kind 'table' gives text. Choose another backbone" in told
    told = refusal("tickets_lora", "dataset", "digits_lora", "dataset")
    assert "backbone 'transformers' takes text, but data set kind 'digits' gives image" in told


@pytest.mark.parametrize("method", ["lora", "full", "linear_probe", "bitfit"])
def test_a_method_that_needs_pretrained_weights_is_refused_on_a_scratch_backbone(method: str) -> None:
    raw = load("tickets_scratch").model_dump()
    with pytest.raises(ValidationError, match=f"method '{method}' needs pretrained weights, but backbone") as caught:
        Recipe.model_validate(raw | {"method": {"kind": method}})
    assert "'scratch_transformer' has none. Use method=scratch, or a pretrained backbone" in str(caught.value)


def test_scratch_on_a_pretrained_architecture_is_allowed() -> None:
    assert load("tickets_lora", ["method=scratch"]).method.kind == "scratch"


def test_class_weights_for_a_number_are_refused() -> None:
    raw = load("stsb_lora").model_dump()
    with pytest.raises(ValidationError, match=r"schedule\.class_weights is for classes"):
        Recipe.model_validate(raw | {"schedule": {"class_weights": "auto"}})


@pytest.mark.parametrize("decay", ["linear", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.06, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 1000])
def test_the_rate_is_never_zero_rises_to_one_and_then_decays(decay: str, warmup: float, steps: int) -> None:
    schedule = Schedule.model_validate({"decay": decay, "warmup": warmup})
    rates = [schedule.rate(step, steps) for step in range(steps)]
    top = rates.index(max(rates))
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[top] == 1
    assert all(low < high for low, high in pairwise(rates[: top + 1]))
    assert all(high >= low for high, low in pairwise(rates[top:]))
    assert top <= warmup * steps


def test_the_rate_follows_its_shape_by_hand() -> None:
    linear, cosine = Schedule(warmup=0.2), Schedule(warmup=0.2, decay="cosine")
    assert [linear.rate(step, 10) for step in range(10)] == pytest.approx([0.5, 1, *(1 - n / 8 for n in range(8))])
    assert cosine.rate(6, 10) == pytest.approx(0.5)  # half of the way down
    assert cosine.rate(4, 10) == pytest.approx(0.5 + 0.5**1.5)


def test_patience_and_the_last_epoch_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="patience stops after the best epoch, but keep is 'last'"):
        Schedule(keep="last", patience=2)
