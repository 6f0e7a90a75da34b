"""Exported folders of tiny models: every form on every library answers as the saved model, or is not there."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
from hub import Hub, files_of
from plain import check_plain
from safetensors.torch import load_file, save
from small import Bench, sentences

from tasks import saved, verify
from tasks.backbones.network import logits_of
from tasks.decision import Decision
from tasks.export.folder import export, fill, free_place
from tasks.export.libraries import Form, library_of
from tasks.export.proof import TOLERANCE, prove
from tasks.frozen import GraftError
from tasks.recipe import Recipe
from tasks.results import Registered, Target
from tasks.rounding import apart
from tasks.rows import inputs_of

pytest_plugins = ["small"]

SOURCE = Registered(name="tiny", version=3, uri="models:/tiny/3", run_id="f" * 32)
LORA = {"kind": "lora"}
SEVERAL = Target(kind="multilabel", labels=("red", "green", "blue"))
NUMBER = Target(labels=None)
CASES: list[tuple[str, dict[str, Any], Form]] = [
    *((name, LORA, form) for name in ("encoder", "gpt2", "llama", "cnn", "vit") for form in ("adapter", "merged")),
    ("encoder", LORA | {"dora": True, "rslora": True, "layers": 2}, "adapter"),
    ("encoder", LORA | {"dora": True, "rslora": True, "layers": 2}, "merged"),
    ("encoder", {"kind": "bitfit"}, "merged"),
    ("gpt2", {"kind": "full"}, "merged"),
    ("llama", {"kind": "scratch"}, "merged"),
    ("cnn", {"kind": "full"}, "merged"),
    ("vit", {"kind": "linear_probe"}, "merged"),
]


def trained(bench: Bench, name: str, method: Mapping[str, Any]) -> Path:
    """The folder of a model after three steps, large ones."""
    recipe = bench.recipe(name, {"learning_rate": 0.02, **method})
    recipe = recipe.model_copy(update={"decision": Decision(temperature=None)})  # it would make noise look unsure
    return bench.training(recipe).run().folder


def untrained(bench: Bench, name: str, target: Target) -> saved.Model:
    """A model with a random head for another target than the zoo's rows have."""
    return saved.begin(bench.home / "untrained", bench.recipe(name, LORA), target, {})


def rows_for(bench: Bench, recipe: Recipe) -> pd.DataFrame:
    """Texts of 3 to 40 words, of which 16 tokens are read, or pictures, grey ones among them."""
    if recipe.backbone.accepts == "text":
        return pd.DataFrame({"text": [*(text for text, _ in sentences(20)), "the film was so very great " * 6]})
    return pd.DataFrame({"image": [file.read_bytes() for file in sorted((bench.zoo / "pictures").rglob("*.png"))]})


@pytest.mark.parametrize(("name", "method", "form"), CASES)
def test_a_form_answers_as_the_saved_model_and_holds_plain_data(
    bench: Bench, tmp_path: Path, name: str, method: dict[str, Any], form: Form
) -> None:
    model = saved.load(trained(bench, name, method))
    rows = inputs_of(rows_for(bench, model.recipe))
    wanted = logits_of(model.network, rows)
    fill(tmp_path / "out", model, SOURCE, form, 20)
    got, names = getattr(library_of(model.recipe, form), f"ask_{form}")(tmp_path / "out", rows)

    assert names == ("bad", "good")
    assert wanted.std(0).min() > 10 * TOLERANCE[form]
    assert apart(wanted, got).max() <= TOLERANCE[form]
    for file in (tmp_path / "out").rglob("*"):
        if file.is_file():
            check_plain(file)
            assert str(bench.home).encode() not in file.read_bytes(), file


def test_an_adapter_and_its_base_are_two_things(bench: Bench, tmp_path: Path) -> None:
    fill(tmp_path / "out", saved.load(trained(bench, "encoder", LORA)), SOURCE, "adapter", 20)
    adapter = load_file(tmp_path / "out" / "adapter_model.safetensors")
    base = load_file(tmp_path / "out" / "base" / "model.safetensors")

    assert all("lora_" in name or "classifier" in name for name in adapter)
    assert {"base_model.model.classifier.weight", "base_model.model.classifier.bias"} <= adapter.keys()
    assert base.keys() == load_file(bench.zoo / "bert" / "model.safetensors").keys()


@pytest.mark.parametrize("form", get_args(Form))
@pytest.mark.parametrize("name", ["encoder", "gpt2"])
def test_pairs_of_texts_are_read_as_pairs(bench: Bench, tmp_path: Path, name: str, form: Form) -> None:
    model = saved.load(trained(bench, name, LORA))
    texts = [text for text, _ in sentences(40)]
    ones, twos = texts[:20], texts[20:]
    wanted = logits_of(model.network, {"text": ones, "text_pair": twos})
    alone = logits_of(model.network, {"text": ones})
    fill(tmp_path / "out", model, SOURCE, form, 20)
    ask = getattr(library_of(model.recipe, form), f"ask_{form}")
    got, _ = ask(tmp_path / "out", {"text": ones, "text_pair": twos})

    assert (wanted - alone).abs().max() > 0.01
    assert apart(wanted, got).max() <= TOLERANCE[form]


@pytest.mark.parametrize("target", [SEVERAL, NUMBER])
@pytest.mark.parametrize("name", ["encoder", "cnn"])
def test_several_labels_and_a_number_are_taken_along(bench: Bench, tmp_path: Path, name: str, target: Target) -> None:
    model = untrained(bench, name, target)
    model.network.module.eval()
    rows = inputs_of(rows_for(bench, model.recipe))
    wanted = logits_of(model.network, rows)
    fill(tmp_path / "out", model, SOURCE, "merged", 20)
    got, names = library_of(model.recipe, "merged").ask_merged(tmp_path / "out", rows)

    assert apart(wanted, got).max() <= TOLERANCE["merged"]
    assert names == (target.labels or ("score",))
    meaning = {"multilabel": "a logit's sigmoid is the label's probability", "number": "One number a row"}
    assert meaning[target.kind] in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("target", [SEVERAL, NUMBER])
def test_a_pipeline_knows_what_its_outputs_mean(bench: Bench, tmp_path: Path, target: Target) -> None:
    from transformers import pipeline

    model = untrained(bench, "encoder", target)
    wanted = logits_of(model.network, {"text": ["a great film"]})[0]
    fill(tmp_path / "out", model, SOURCE, "merged", 20)
    [said] = pipeline("text-classification", model=str(tmp_path / "out"), truncation=True)(["a great film"], top_k=None)

    meant = wanted.sigmoid() if target.labels else wanted
    assert {own["label"]: own["score"] for own in said} == pytest.approx(
        dict(zip(target.names, meant.tolist(), strict=True)), abs=1e-4
    )


def test_an_export_is_whole_and_as_readable_as_any_new_file(bench: Bench, tmp_path: Path) -> None:
    folder, to = trained(bench, "vit", LORA), tmp_path / "new" / "my model"
    to.mkdir(parents=True)
    rows = rows_for(bench, saved.reopen(folder).recipe)
    export(folder, SOURCE, "merged", rows, free_place(to))
    (tmp_path / "ordinary").write_text("")

    assert {file.name for file in to.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert [file.name for file in to.parent.iterdir()] == ["my model"]
    assert {file.stat().st_mode for file in to.iterdir()} == {(tmp_path / "ordinary").stat().st_mode}
    assert "create_model('local-dir:my model', pretrained=True)" in (to / "README.md").read_text()
    with pytest.raises(GraftError, match="cannot be written: .*[.] Free space, or give another folder with --to"):
        export(folder, SOURCE, "merged", rows, tmp_path / "ordinary" / "out")


@pytest.fixture
def on_hub(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Hub, Path]]:
    """A hub with the base of a trained model, whose recipe names it by its commit; and the model's folder."""
    folder = trained(bench, "encoder", LORA)
    with Hub(tmp_path / "served") as hub:
        commit = hub.add("model", "acme/text", files_of(bench.zoo / "bert"))
        told = json.loads((folder / "recipe.json").read_text())
        told["backbone"]["weights"] = {"kind": "hub", "id": "acme/text", "revision": commit}
        (folder / "recipe.json").write_text(json.dumps(told))
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield hub, folder


def test_a_base_on_the_hub_is_named_by_its_commit(bench: Bench, tmp_path: Path, on_hub: tuple[Hub, Path]) -> None:
    hub, folder = on_hub
    model = saved.reopen(folder)
    export(folder, SOURCE, "adapter", rows_for(bench, model.recipe), tmp_path / "out")
    commit = json.loads((folder / "recipe.json").read_text())["backbone"]["weights"]["revision"]
    page = (tmp_path / "out" / "README.md").read_text()

    assert any(commit in request and "model.safetensors" in request for request in hub.requests)
    assert not (tmp_path / "out" / "base").exists()
    assert f"from_pretrained('acme/text', revision='{commit}', config=AutoConfig.from_pretrained('out'))" in page


def test_what_fails_its_proof_leaves_nothing(bench: Bench, tmp_path: Path, on_hub: tuple[Hub, Path]) -> None:
    hub, folder = on_hub
    model = saved.reopen(folder)
    weights = load_file(bench.zoo / "bert" / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] *= 2
    other = hub.add("model", "acme/text", files_of(bench.zoo / "bert") | {"model.safetensors": save(weights)})
    told = (folder / "recipe.json").read_text()
    (folder / "recipe.json").write_text(re.sub("[0-9a-f]{40}", other, told))
    with pytest.raises(GraftError, match="failed its check and is not kept: its logits differ by"):
        export(folder, SOURCE, "adapter", rows_for(bench, model.recipe), tmp_path / "made" / "out")

    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("bad", "great"), r"its label names are \('bad', 'good'\), those of the data \('bad', 'great'\)"),
        (("bad", "good"), r"its logits differ by 0\.001 from those of the model \(allowed 0\.0001\)"),
    ],
)
def test_a_folder_that_says_something_else_fails_its_proof(
    bench: Bench, tmp_path: Path, labels: tuple[str, ...], said: str
) -> None:
    model = saved.load(trained(bench, "encoder", {"kind": "bitfit"}))
    rows = rows_for(bench, model.recipe)
    verify.keep(tmp_path, rows, logits_of(model.network, inputs_of(rows)) + 0.001)
    fill(tmp_path / "out", model, SOURCE, "merged", 20)
    with pytest.raises(GraftError, match=f"The exported folder failed its check and is not kept: {said}"):
        prove(tmp_path / "out", "transformers", "merged", Target(labels=labels), tmp_path, hub=False)


@pytest.mark.parametrize(("name", "library"), [("scratch transformer", "transformer"), ("scratch cnn", "cnn")])
def test_a_network_of_grafts_own_is_refused(bench: Bench, name: str, library: str) -> None:
    recipe = bench.recipe(name, {"kind": "scratch"})
    with pytest.raises(GraftError, match=f"is Graft's own .scratch_{library}., which neither transformers nor timm"):
        library_of(recipe, "merged")


@pytest.mark.parametrize("kind", ["scratch", "linear_probe", "bitfit", "full"])
def test_a_method_without_an_adapter_is_refused(bench: Bench, kind: str) -> None:
    with pytest.raises(GraftError, match=f"'tiny' was trained by method '{kind}', which leaves no adapter"):
        library_of(bench.recipe("encoder", {"kind": kind}), "adapter")


def test_a_place_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GraftError, match="is not empty, and nothing is written over. Give a new folder"):
        free_place(tmp_path)
    with pytest.raises(GraftError, match="file is a file. Give a new folder"):
        free_place(tmp_path / "file")
