"""Another run's adapter as the start: what is taken over, what is refused, and that nothing of it is needed later."""

import json
import os
import shutil
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from small import TARGET, Bench, differing
from test_resume import kill_when, reached, weights_of

from flows.finetune import Result, finetune, run, started
from tasks import saved, tracking
from tasks.compose import load
from tasks.frozen import GraftError
from tasks.methods import in_head
from tasks.recipe import Recipe
from tasks.registry import load_model, model_folder, run_of
from tasks.results import Prepared
from tasks.train import Training, train

pytest_plugins = ["small"]

LORA = {"kind": "lora", "rank": 4, "learning_rate": 0.01}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "LoRA on an encoder": ("encoder", LORA),
    "LoRA on a decoder": ("gpt2", LORA),
    "LoRA on a vision transformer": ("vit", LORA),
    "all of a CNN, its batch-norm statistics too": ("cnn", {"kind": "full", "learning_rate": 0.01}),
    "LoRA on a CNN": ("cnn", LORA),
    "the biases of an encoder": ("encoder", {"kind": "bitfit"}),
}


def trained(bench: Bench, name: str, method: dict[str, Any], **schedule: Any) -> Path:
    """The folder of a model that was trained for a while."""
    return train(*_place(bench, bench.recipe(name, method, seed=5, **schedule))).folder


def _place(bench: Bench, recipe: Recipe) -> tuple[Recipe, Prepared, Path, str]:
    return recipe, *bench.start(recipe)


@pytest.mark.parametrize("case", CASES)
def test_at_step_0_all_that_trained_is_the_sources_but_the_head(case: str, bench: Bench) -> None:
    name, method = CASES[case]
    source = load_file(trained(bench, name, method) / "trained.safetensors")
    place = _place(bench, bench.recipe(name, method))
    fresh = saved.trained_state(Training(*place).network)
    training = Training(*place, start=trained(bench, name, method))
    state, head = saved.trained_state(training.network), training.network.head

    outside = {key for key in source if not in_head(key, head)}
    assert not differing(state, source, outside)
    assert differing(state, fresh, outside), "the source had moved"
    inside = source.keys() - outside
    assert not differing(state, fresh, inside), "the head is the new one"
    assert differing(state, source, inside)
    if "statistics" in case:
        assert any("running_mean" in key for key in differing(state, fresh, outside))


def test_the_new_head_may_have_another_width_and_another_target(bench: Bench) -> None:
    source = trained(bench, "encoder", LORA)
    rows = (bench.zoo / "rows.csv").read_text().splitlines()[1:]
    file = bench.home / "numbers.csv"
    file.write_text("text,label\n" + "".join(f"{row.rsplit(',', 1)[0]},{n / 7}\n" for n, row in enumerate(rows)))
    table = {"kind": "table", "path": str(file), "target": "number", "validation": 0.2}
    recipe = Recipe.model_validate(bench.recipe("encoder", LORA).model_dump() | {"dataset": table})
    state = saved.trained_state(Training(*_place(bench, recipe), start=source).network)
    taken = load_file(source / "trained.safetensors")

    (head,) = (key for key in state if key.endswith("default.weight") and "classifier" in key)
    assert (len(state[head]), len(taken[head])) == (1, 2)
    assert not differing(state, taken, {key for key in state if "lora" in key})


UNFIT: dict[str, tuple[str, dict[str, Any], str]] = {
    "another rank": ("encoder", LORA | {"rank": 8}, "has method.rank=4, but this recipe has method.rank=8"),
    "another scale": (
        "encoder",
        LORA | {"alpha": 64.0},
        "has method.alpha=32.0, but this recipe has method.alpha=64.0",
    ),
    "other layers": ("encoder", LORA | {"layers": 1}, "has method.layers=None, but this recipe has method.layers=1"),
    "another method": ("encoder", {"kind": "full"}, "has method.kind=lora"),
    "another backbone": ("gpt2", LORA, "has backbone.weights="),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_recipe_that_does_not_fit_is_told_what_differs(case: str, bench: Bench) -> None:
    name, method, told = UNFIT[case]
    recipe = bench.recipe(name, method).model_copy(update={"start_from": "tiny/1"})
    with pytest.raises(GraftError) as caught:
        saved.check_start(recipe, trained(bench, "encoder", LORA))
    assert "start_from 'tiny/1' (tiny)" in str(caught.value)
    assert told in str(caught.value)


def test_another_rate_dropout_or_description_fits(bench: Bench) -> None:
    other = {"learning_rate": 0.5, "dropout": 0.5, "about": "other"}
    saved.check_start(bench.recipe("encoder", LORA | other), trained(bench, "encoder", LORA))


@pytest.mark.parametrize(
    ("name", "method"), [("encoder", LORA | {"rank": 8}), ("encoder", {"kind": "full"}), ("vit", LORA)]
)
def test_weights_of_other_names_or_shapes_are_never_put_in(bench: Bench, name: str, method: dict[str, Any]) -> None:
    folder = trained(bench, "encoder", LORA)
    recipe = bench.recipe(name, method)
    with pytest.raises(GraftError, match=r"do not fit this network: \d+ differ in name or shape, the first is"):
        saved.begin(bench.home / "model", recipe, TARGET, {"text": ["a film"]}, folder)
    assert not (bench.home / "model").exists()


def test_an_adapter_of_other_frozen_weights_is_refused(bench: Bench) -> None:
    folder = trained(bench, "encoder", LORA)
    frozen = load_file(folder / "frozen.safetensors")
    (key,) = (name for name in frozen if name.endswith("word_embeddings.weight"))
    save_file(frozen | {key: frozen[key] + 1e-6}, folder / "frozen.safetensors")
    with pytest.raises(GraftError, match="trained on other weights of the same backbone: .*word_embeddings.weight"):
        saved.begin(bench.home / "model", bench.recipe("encoder", LORA), TARGET, {"text": ["a film"]}, folder)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("method=linear_probe", "method 'linear_probe' has no use for"),
        ("method=scratch", "method 'scratch' has no use for"),
        ("start_from=a b/1", "start_from"),
        ("start_from=name/one", "start_from"),
        ("start_from=it's/1", "start_from"),
    ],
)
def test_a_recipe_whose_start_makes_no_sense_is_refused_when_it_is_read(override: str, told: str) -> None:
    with pytest.raises(GraftError, match=told):
        load("tickets_lora", ["start_from=mnli/1", override])


def test_the_start_is_part_of_the_fingerprint_and_survives_json() -> None:
    plain, one, two = (load("tickets_lora", words) for words in ([], ["start_from=mnli/1"], ["start_from=mnli/2"]))
    assert len({recipe.fingerprint for recipe in (plain, one, two)}) == 3
    assert Recipe.model_validate_json(one.model_dump_json()) == one
    with pytest.raises(ValidationError):
        Recipe.model_validate(one.model_dump() | {"start_from": 3})


# Killed.


def begin_from(order: str) -> None:
    """Train in a process of its own, as `small.train_as_ordered` does, from a start."""
    recipe, data, work, run_id, start, environment = json.loads(Path(order).read_text())
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    train(
        Recipe.model_validate_json(recipe), Prepared.model_validate_json(data), Path(work), run_id,
        Path(start) if start else None,
    )  # fmt: skip


def _begin(forks: ForkServerContext, place: tuple[Recipe, Prepared, Path, str], start: Path) -> Any:
    recipe, data, work, run_id = place
    told = [recipe.model_dump_json(), data.model_dump_json(), str(work), run_id, str(start), dict(os.environ)]
    (work / "order.json").write_text(json.dumps(told))
    process = forks.Process(target=begin_from, args=(str(work / "order.json"),))
    process.start()
    return process


def test_killed_before_and_after_its_first_checkpoint_it_ends_with_the_bits_of_one_that_was_not(
    bench: Bench, forks: ForkServerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", "0")
    source = trained(bench, "encoder", LORA)
    recipe = bench.recipe("encoder", LORA | {"dropout": 0.3}, epochs=3)
    data, work, run_id = bench.start(recipe)
    straight = bench.home / "straight"
    straight.mkdir()
    whole = _begin(forks, (recipe, data, straight, tracking.begin(recipe, data, straight / "run_id")), source)
    whole.join(timeout=120)
    assert whole.exitcode == 0

    for step in (0, 4):
        kill_when(_begin(forks, (recipe, data, work, run_id), source), reached(work, step))
    shutil.rmtree(source)
    last = _begin(forks, (recipe, data, work, run_id), source)
    last.join(timeout=120)
    assert last.exitcode == 0, "after a checkpoint the source is not read again"
    assert weights_of(work) == weights_of(straight)


# The whole road.


def _recipe(bench: Bench, model: str, **changes: Any) -> Recipe:
    return bench.recipe("encoder", LORA, epochs=2).model_copy(update={"model": model, "name": model} | changes)


@pytest.fixture(scope="module")
def both(zoo: Path, tracking_db: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Result, Result]]:
    """A model, and one that started from it by name and version."""
    home = tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"GRAFT_HOME": str(home), "MLFLOW_TRACKING_URI": tracking_db, "GRAFT_WORKERS": "0"}.items():
            patch.setenv(name, value)
        patch.delenv("PREFECT_API_URL", raising=False)
        bench = Bench(zoo, home)
        source = run(_recipe(bench, "source"))
        yield source, run(_recipe(bench, "taught", start_from="source/1"))


def test_a_fine_tune_records_the_run_that_it_started_from(both: tuple[Result, Result], bench: Bench) -> None:
    source, taught = both
    wanted = source.registered.run_id
    run_data = tracking.client().get_run(taught.registered.run_id).data

    assert taught.recipe.start_from == wanted
    assert run_data.tags["graft.start_from"] == run_data.params["start_from"] == wanted
    by_name, by_run = (started(_recipe(bench, "taught", start_from=ref))[0] for ref in ("source/1", wanted))
    assert by_name.fingerprint == by_run.fingerprint == run_data.tags["graft.fingerprint"]
    (version,) = tracking.client().search_model_versions("name = 'taught'")
    assert f"- Start: what run {wanted} trained outside its head." in version.description


def test_its_model_answers_without_the_run_it_started_from(both: tuple[Result, Result], bench: Bench) -> None:
    import pandas as pd

    rows = pd.DataFrame({"text": ["the film was great", "a poor play"]})
    before = load_model("taught").predict(rows)
    folder = model_folder("source/1")
    away = folder.rename(folder.with_name("away"))
    try:
        assert load_model("taught").predict(rows).equals(before)
    finally:
        away.rename(folder)


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("source", "'source' names no version, and a champion moves. Give name/version"),
        ("source/9", "'source/9' is no version"),
        ("nothing", "Versions of 'nothing' in .*: none"),
        ("0" * 32, "no run with one in"),
    ],
)
def test_a_start_that_is_not_there_is_refused_before_the_data_are_read(
    both: tuple[Result, Result], bench: Bench, ref: str, told: str
) -> None:
    with pytest.raises(GraftError, match=told):
        finetune.fn(_recipe(bench, "never", start_from=ref))
    assert not (bench.home / "prepared").exists()
    assert tracking.client().get_experiment_by_name("never") is None
    if "names no version" in told:
        with pytest.raises(GraftError, match="Versions of 'source' in .*: source/1"):
            run_of(ref)


def test_a_start_of_another_rank_is_refused_before_the_data_are_read(both: tuple[Result, Result], bench: Bench) -> None:
    unfit = bench.recipe("encoder", LORA | {"rank": 2}).model_copy(update={"start_from": "source/1", "model": "never"})
    with pytest.raises(GraftError, match=r"has method.rank=4, but this recipe has method.rank=2"):
        finetune.fn(unfit)
    assert not (bench.home / "prepared").exists()
