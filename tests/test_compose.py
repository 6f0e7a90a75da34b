"""Config files to recipes, and every way to get one wrong: what was given, and what is valid, in one line."""

from pathlib import Path

import pytest

from tasks.compose import CONFIGS, check, find, load, names, read
from tasks.datasets import Dataset
from tasks.frozen import GraftError
from tasks.methods import Full, Lora

RECIPE = "name, about, model, dataset, backbone, method, schedule, decision, gate, crown, seed, start_from"
LORA = "about, learning_rate, kind, rank, alpha, dropout, targets, layers, dora, rslora"
METHODS = "bitfit, full, linear_probe, lora, lora_top3, scratch"
EXPERIMENT = "experiments/tickets_lora.yaml: "
HUB = "backbone.weights={kind: hub, id: a/b"
COMMIT = "'^[0-9a-f]{40}$' (the full commit id: a branch moves, and the weights with it)."


def refusal(experiment: str, *overrides: str) -> str:
    """The error's text, with paths below configs/."""
    with pytest.raises(GraftError) as caught:
        load(experiment, overrides)
    return str(caught.value).replace(f"{CONFIGS}/", "")


def written(folder: Path, content: str | bytes) -> str:
    file = folder / "mine.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(file)


# What a recipe is composed of.


def test_a_string_names_a_file_and_a_mapping_is_the_thing_itself(tmp_path: Path) -> None:
    whole = "\n".join(f"  {line}" for line in (CONFIGS / "methods/lora_top3.yaml").read_text().splitlines())
    named = load(written(tmp_path, "dataset: tickets\nbackbone: minilm\nmethod: lora_top3\n"))
    itself = load(written(tmp_path, f"dataset: tickets\nbackbone: minilm\nmethod:\n{whole}\n"))
    assert isinstance(named.method, Lora)
    assert named == itself
    assert named.method.layers == 3


def test_a_recipe_is_named_after_its_file_and_its_model_after_the_data_sets(tmp_path: Path) -> None:
    recipe = load(written(tmp_path, "dataset: sst2\nbackbone: minilm\nmethod: full\n"))
    assert (recipe.name, recipe.model) == ("mine", "sst2")


def test_the_model_is_named_after_the_experiment_where_the_data_set_has_no_file(tmp_path: Path) -> None:
    recipe = load(written(tmp_path, "dataset: {kind: digits}\nbackbone: cnn\nmethod: scratch\n"))
    assert recipe.model == "mine"


def test_a_name_and_a_model_that_are_given_are_kept(tmp_path: Path) -> None:
    recipe = load("tickets_lora", ["name=mine", "model=ours", "dataset=sst2"])
    assert (recipe.name, recipe.model) == ("mine", "ours")


def test_a_data_sets_own_file_may_lie_anywhere(tmp_path: Path) -> None:
    data = tmp_path / "rows.yaml"
    data.write_text("kind: table\npath: rows.csv\n")
    recipe = load(written(tmp_path, f"dataset: {data}\nbackbone: minilm\nmethod: full\n"))
    assert (recipe.model, recipe.dataset.kind) == ("rows", "table")


def test_a_dotted_override_changes_one_field_and_a_plain_one_the_whole() -> None:
    before, after = (
        load("tickets_lora"),
        load("tickets_lora", ["method.rank=4", "schedule.epochs=2", "seed=7"]),
    )
    assert isinstance(before.method, Lora)
    assert after == before.model_copy(
        update={
            "method": before.method.model_copy(update={"rank": 4}),
            "schedule": before.schedule.model_copy(update={"epochs": 2}),
            "seed": 7,
        }
    )
    assert isinstance(load("tickets_lora", ["method=full"]).method, Full)


def test_a_dotted_override_applies_to_the_file_that_a_plain_one_names_in_either_order() -> None:
    pair = ["method.learning_rate=3e-4", "method=full"]
    assert load("tickets_lora", pair) == load("tickets_lora", pair[::-1])
    assert load("tickets_lora", pair).method.learning_rate == 3e-4


def test_overrides_hold_lists_mappings_and_nothing() -> None:
    recipe = load("tickets_lora", ["method.targets=[query, value]", "schedule={epochs: 2}", "schedule.patience=null"])
    assert isinstance(recipe.method, Lora)
    assert recipe.method.targets == ("query", "value")
    assert (recipe.schedule.epochs, recipe.schedule.batch_size, recipe.schedule.patience) == (2, 32, None)


def test_a_file_is_read_anew_so_that_overrides_never_reach_the_next_recipe() -> None:
    before = load("tickets_lora")
    load("tickets_lora", ["method.rank=2", "dataset.columns.text=other"])
    assert load("tickets_lora") == before


# What is wrong with it.


@pytest.mark.parametrize(
    ("override", "told"),
    [
        # A key that there is not, at every depth.
        ("rnk=4", f"override: unknown key 'rnk'. Valid: {RECIPE}."),
        ("sede=4", f"override: unknown key 'sede'. Did you mean 'seed'? Valid: {RECIPE}."),
        ("method.rnk=4", f"override: unknown key 'method.rnk'. Did you mean 'rank'? Valid: {LORA}."),
        ("schedule.epoch=1", "override: unknown key 'schedule.epoch'. Did you mean 'epochs'? Valid: epochs, batch"),
        ("backbone.weights.pth=x", "override: unknown key 'backbone.weights.pth'. Did you mean 'path'?"),
        ("backbone.weights.pth=x", " Valid: kind, package, path, file, sha256."),
        ("dataset.columns.txt=x", "override: unknown key 'dataset.columns.txt'. Did you mean 'text'?"),
        ("decision.threshold=auto", "override: unknown key 'decision.threshold'. Did you mean 'thresholds'? Valid:"),
        ("gate.flor=1", "override: unknown key 'gate.flor'. Did you mean 'floor'? Valid: about, test_rows, floor"),
        # A value of the wrong type, or out of bounds.
        ("seed=x", "override: seed is 'x': it should be a valid integer, unable to parse string as an integer."),
        ("schedule.epochs=0", "override: schedule.epochs is 0: it should be greater than or equal to 1."),
        ("schedule.epochs=1.5", "schedule.epochs is 1.5: it should be a valid integer, got a number with a fraction"),
        ("schedule.decay=cos", "schedule.decay is 'cos': it should be 'linear' or 'cosine'."),
        ("schedule=fast", "schedule is 'fast': it should be a mapping, `key: value`."),
        ("method=5", f"override: method is 5: it should be one of {METHODS}, or a mapping, `key: value`."),
        ("method=", f"override: method is None: it should be one of {METHODS}, or a mapping, `key: value`."),
        ("backbone.weights=5", "override: backbone.weights is 5: it should be a mapping, `key: value`."),
        ("dataset.metrics=accuracy", "dataset.metrics is 'accuracy': it should be a list, `[one, two]`."),
        ("gate.floor=.nan", "override: gate.floor is nan: it should be a finite number."),
        ("name=a/b", r"name is 'a/b': it should match pattern '^[A-Za-z0-9][\w.-]*$'."),
        ("model=../b", "model is '../b': it should match pattern "),
        # A kind that there is not.
        ("method.kind=lra", "method.kind is 'lra'. Valid: scratch, linear_probe, bitfit, lora, full."),
        ("backbone.library=tim", "library is 'tim'. Valid: transformers, timm, scratch_transformer, scratch_cnn."),
        ("backbone.weights.kind=web", "backbone.weights.kind is 'web'. Valid: hub, folder, package."),
        ("dataset.allow=[leakge]", "there is no check 'leakge'. Valid: empty, unreadable, encoding, long, truncation"),
        ("dataset.kind=tsv", "override: dataset.kind is 'tsv'. Valid: table, glue, image_folder, hub_images, digits."),
        ("method={rank: 4}", "method.kind is missing. Valid: scratch, linear_probe, bitfit, lora, full."),
        ("backbone.weights={}", "backbone.weights.kind is missing. Valid: hub, folder, package."),
        # A field that is missing, a metric that is unknown, a revision that moves.
        (f"{HUB}}}", "override: backbone.weights.revision is missing."),
        ("dataset.metrics=[acc]", "metric 'acc' is unknown for target 'class'. Valid: accuracy, f1, macro_f1, matt"),
        ("dataset.metrics=[pearson]", "datasets/tickets.yaml: dataset: metric 'pearson' is unknown for target 'class'"),
        (f"{HUB}, revision: main}}", f"backbone.weights.revision is 'main': it should match pattern {COMMIT}"),
        (f"{HUB}, revision: {'A' * 40}}}", f"it should match pattern {COMMIT}"),
        (f"{HUB}, revision: {'a' * 39}}}", f"it should match pattern {COMMIT}"),
        # What does not fit together.
        ("dataset=digits", f"{EXPERIMENT}backbone 'transformers' takes text, but data set kind 'digits' gives image."),
        ("backbone=transformer", "method 'lora' needs pretrained weights, but backbone 'scratch_transformer' has"),
        ("dataset.labels=[one]", "dataset: labels ['one'] must be at least two different names."),
        ("dataset.labels={a: x, b: x}", "dataset: labels ['x', 'x'] must be at least two different names."),
        # An override that is none.
        ("epochs", "Override 'epochs' is not of the form key=value, e.g. schedule.epochs=1 or method=full."),
        ("=1", "Override '=1' is not of the form key=value"),
        ("method..rank=1", "Override 'method..rank=1' is not of the form key=value"),
        ("seed=[1", "Override 'seed=[1': '[1' is no valid value."),
        ("seed.x=1", "Override seed.x: 'seed' holds 0, which has no fields of its own."),
        ("schedule.epochs.x=1", "Override schedule.epochs.x: 'epochs' holds 15, which has no fields of its own."),
        # A name that there is not.
        ("method=lra", "There is no 'lra' in configs/methods. Did you mean lora or lora_top3 or scratch?"),
        ("gate=zzz", f"There is no 'zzz' in configs/gates. Valid: {', '.join(names('gates'))}. `graft list`"),
        ("dataset=mine.yaml", "There is no file 'mine.yaml'. Give a path from here, or one of configs/datasets"),
    ],
)  # fmt: skip
def test_each_fault_is_told_in_one_line_with_what_was_given_and_what_is_valid(override: str, told: str) -> None:
    message = refusal("tickets_lora", *(["seed=0", override] if override.startswith("seed.") else [override]))
    assert told in message
    assert message.count("\n") == 0
    assert message.endswith(".")
    assert "Input should" not in message
    assert ".." not in message.removesuffix(".").replace("'../b'", "").replace("'method..rank=1'", "")


def test_an_unknown_experiment_is_told_with_the_nearest_or_all_names() -> None:
    assert refusal("tickets_lor").startswith(
        "There is no 'tickets_lor' in configs/experiments. Did you mean tickets_lora or "
    )
    assert refusal("qqq") == (
        f"There is no 'qqq' in configs/experiments. Valid: {', '.join(names('experiments'))}. `graft list` shows all."
    )


def test_every_fault_is_told_and_each_on_its_own_line() -> None:
    lines = refusal("tickets_lora", "schedule.epochs=0", "method.rnk=1", "seed=x").split("\n")
    assert [line.partition(":")[0] for line in lines] == ["override"] * 3
    assert all(word in line for word, line in zip(("'method.rnk'", "epochs is 0", "seed is 'x'"), lines, strict=True))


def test_an_experiment_with_nothing_in_it_is_told_what_each_missing_field_may_be(tmp_path: Path) -> None:
    lines = refusal(written(tmp_path, "")).split("\n")
    fields = {"dataset": "datasets", "backbone": "backbones", "method": "methods"}
    expected = [f"{field} is missing. Valid: {', '.join(names(folder))}." for field, folder in fields.items()]
    assert lines == [f"{tmp_path / 'mine.yaml'}: {line}" for line in expected]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("seed: [1", "is no valid YAML in line 1: expected ',' or ']', but got '<stream end>'."),
        (
            "seed: 1\n\tname: x",
            "is no valid YAML in line 2: found character '\\t' that cannot start any token.",
        ),
        (b"name: caf\xe9", "is no valid YAML: it holds characters that are not UTF-8 text."),
        ("name: \x00", "is no valid YAML: it holds characters that are not UTF-8 text."),
        ("- a\n- b", "must hold `key: value` lines, not list."),
        ("[]", "must hold `key: value` lines, not list."),
        ("hello", "must hold `key: value` lines, not str."),
        ("false", "must hold `key: value` lines, not bool."),
    ],
)
def test_a_file_that_is_no_yaml_mapping_is_told_in_one_line(tmp_path: Path, content: str | bytes, told: str) -> None:
    file = written(tmp_path, content)
    assert refusal(file) == f"{file} {told}"
    with pytest.raises(GraftError):
        read(Path(file))


def test_a_catalogue_file_is_checked_by_itself_with_the_same_words() -> None:
    with pytest.raises(GraftError, match=r"^f\.yaml: unknown key 'pth'\. Did you mean 'path'\? Valid: about, target"):
        check(Dataset, {"kind": "table", "path": "x", "pth": "y"}, "f.yaml")
    with pytest.raises(
        GraftError, match=r"^f\.yaml: kind is missing\. Valid: table, glue, image_folder, hub_images, digits\.$"
    ):
        check(Dataset, {}, "f.yaml")


def test_a_name_is_found_in_its_folder_alone() -> None:
    assert find("methods", "lora") == CONFIGS / "methods" / "lora.yaml"
    with pytest.raises(GraftError, match="There is no 'lora' in configs/gates"):
        find("gates", "lora")
