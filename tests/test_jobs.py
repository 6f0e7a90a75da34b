"""What the forms' fields become, without a server: a recipe, or an error that says which field is wrong."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from flows.jobs import OWN, below_data, recipe_of
from tasks.compose import load
from tasks.frozen import GraftError

FORM: dict[str, Any] = {"experiment": "tickets_scratch", "method": OWN, "seed": 0, "epochs": 0, "limit": 0}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"schedule.epoch": 3}, "schedule.epoch"),
        ({"dataset": "/somewhere/else.yaml"}, "dataset='/somewhere/else.yaml' is a path"),
        ({"schedule.epochs": "many"}, "schedule.epochs"),
    ],
)
def test_overrides_that_are_no_fields_are_refused(overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(GraftError, match=re.escape(said)):
        recipe_of(**FORM, overrides=overrides)


def test_fields_and_overrides_of_the_form_reach_the_recipe() -> None:
    given = FORM | {"experiment": "tickets_lora", "method": "full", "seed": 3, "epochs": 2, "limit": 100}
    recipe = recipe_of(**given, overrides={"schedule.batch_size": 8})
    expected = ["method=full", "seed=3", "schedule.epochs=2", "dataset.limit=100", "schedule.batch_size=8"]
    assert recipe == load("tickets_lora", expected)
    assert recipe_of(**FORM, overrides={}) == load("tickets_scratch")


@pytest.mark.parametrize("given", ["../..", "/etc", "nothing", "inside/../.."])
def test_a_data_folder_that_is_not_below_the_data_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    (tmp_path / "inside").mkdir()
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    with pytest.raises(GraftError, match="is no folder below GRAFT_DATA"):
        below_data(given)
    below_data("inside")
    assert os.environ["GRAFT_DATA"] == str(tmp_path / "inside")
