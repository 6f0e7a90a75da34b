"""Whether pretraining saw the data: said by the files alone, on every scorecard and wherever a score is shown."""

import json
from pathlib import Path

import pytest
from made import Made

from tasks import tracking
from tasks.compose import load
from tasks.overlap import pretraining_overlap

pytest_plugins = ["made"]


@pytest.mark.parametrize(
    ("experiment", "overrides", "told"),
    [
        ("imagenet10_lora", [], "yes"),
        ("imagenet10_lora", ["dataset=imagenette"], "yes"),
        ("imagenet10_lora", ["dataset=flowers"], "no"),
        ("imagenet10_lora", ["method=scratch"], "no"),
        ("imagenet10_scratch", [], "no"),
        ("imagenet10_lora", ["dataset.part_of=null"], "unknown"),
        ("imagenet10_lora", ["backbone.pretrained_on=null"], "unknown"),
        ("sst2_lora", ["dataset=mnli"], "yes"),
        ("sst2_lora", ["dataset=qqp"], "yes"),
        ("sst2_lora", [], "no"),
        ("sst2_smollm2_lora", [], "unknown"),
    ],
)
def test_the_overlap_is_what_the_two_files_share(experiment: str, overrides: list[str], told: str) -> None:
    recipe = load(experiment, overrides)
    assert pretraining_overlap(recipe.backbone, recipe.dataset, recipe.method.pretrained) == told


def test_every_scorecard_says_it_and_so_do_the_card_the_tag_and_the_file(
    at_home: Path, tickets: Made, adapted: Made
) -> None:
    for made, told in ((tickets, "no"), (adapted, "no")):
        assert made.result.card.pretraining_overlap == told
        assert json.loads((made.results / "scorecard.json").read_text())["pretraining_overlap"] == told
        assert f"pretraining see this data? {told.capitalize()}." in (made.results / "model_card.md").read_text()
        tags = tracking.client().get_run(made.result.registered.run_id).data.tags
        assert tags["graft.pretraining_overlap"] == told
