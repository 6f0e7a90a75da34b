"""Real runs on real data, end to end (make test-real): scores that a broken road would not reach.

The thresholds lie below what the runs in the experiments' headers gave, by more than their range over seeds.
"""

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from flows.finetune import Result, finetune
from tasks import runtime
from tasks.backbones.text import TransformersBackbone
from tasks.compose import load
from tasks.results import Target

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]


@pytest.fixture(autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, data_folder: Path) -> None:
    """One home for all runs of this file, so that MLflow's database is made once; the real data."""
    home = Path(tmp_path_factory.getbasetemp()) / "real_home"
    monkeypatch.setenv("GRAFT_HOME", str(home))
    monkeypatch.setenv("GRAFT_DATA", str(data_folder))


def run(experiment: str, *overrides: str) -> Result:
    """A fine-tune without a Prefect server."""
    result: Result = finetune.fn(load(experiment, overrides))
    return result


def test_lora_on_minilm_learns_sst2_from_4000_rows() -> None:
    assert run("sst2_lora", "dataset.limit=4000", "schedule.epochs=2").card.score.value >= 0.79


def test_lora_on_a_cnn_learns_ten_imagenet_classes() -> None:
    assert run("imagenet10_lora").card.score.value >= 0.95


def test_a_decoder_unpacked_from_its_4_bit_file_still_knows_what_it_knew() -> None:
    backbone = load("sst2_smollm2_lora").backbone
    assert isinstance(backbone, TransformersBackbone)
    backbone.load(Target(labels=("negative", "positive")), {"text": ["unpacked at the first load"]})
    (folder,) = (runtime.home() / "weights").iterdir()
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    words = model.generate(
        **tokenizer("The capital of France is", return_tensors="pt"), max_new_tokens=4, do_sample=False
    )
    assert "Paris" in tokenizer.decode(words[0])


def test_where_labels_are_few_transfer_beats_training_from_scratch() -> None:
    scratch = run("tickets_scratch", "dataset.limit=320")
    lora = run("tickets_lora", "dataset.limit=320")
    assert lora.card.score.low > scratch.card.score.high
    assert lora.verdict.passed, "the gate compares it with the run from scratch, on the same rows"
    assert f"{scratch.card.score.value:.4f}" in " ".join(lora.verdict.reasons)
