"""Every file in `configs/`: it loads, says what it is, and is named as the others are."""

import re
from pathlib import Path

import pytest

from flows.quickstart import recipes
from tasks.compose import CATALOGUES, CONFIGS, check, load, names, read

EXPERIMENTS = names("experiments")
FRESH = "# Made from a look at the data. No score was measured yet"  # by `graft init`, on a user's own data
MEASURED = [name for name in EXPERIMENTS if FRESH not in (CONFIGS / "experiments" / f"{name}.yaml").read_text()]
ENTRIES = [(field, name) for field, (folder, _) in CATALOGUES.items() for name in names(folder)]


HEADER = re.compile(
    r"# (graft finetune (\S+)(?: dataset\.limit=\d+)?) seed=.*\n"
    r"# cost: (\d+) s of training, .*\n"
    r"# score: (\w+ \S+ ± \S+) \(95 % over the test rows\)(?:, (\S+ to \S+) over seeds 0, 1, 2| \(one seed\))"
)


def header(name: str) -> tuple[str, ...]:
    """Command, experiment, seconds, score and range (or None) from the top of an experiment's file."""
    found = HEADER.match((CONFIGS / "experiments" / f"{name}.yaml").read_text())
    assert found, f"{name}: the header does not give command, cost and score"
    return found.groups()


def entry(field: str, name: str) -> tuple[Path, object]:
    folder, kind = CATALOGUES[field]
    file = CONFIGS / folder / f"{name}.yaml"
    return file, check(kind, read(file), str(file))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_loads_under_its_own_name_for_its_data_sets_model(name: str) -> None:
    recipe = load(name)
    assert recipe.name == name
    assert recipe.model == read(CONFIGS / "experiments" / f"{name}.yaml")["dataset"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_named_data_set_first_and_method_last(name: str) -> None:
    recipe = load(name)
    dataset, _, rest = name.partition("_")
    assert dataset == recipe.model
    assert rest.split("_")[-1] == recipe.method.kind


@pytest.mark.parametrize("name", MEASURED)
def test_readmes_table_says_what_the_experiments_header_says(name: str) -> None:
    command, experiment, seconds, score, seeds = header(name)
    assert experiment == name
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (row,) = (line for line in readme.splitlines() if line.startswith(f"| `{command}` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert [cells[1], cells[2], cells[4]] == [score, f"{seeds} (3)" if seeds else "(1)", seconds]


def test_the_quickstart_runs_what_its_experiments_headers_report() -> None:
    for recipe in recipes():
        assert header(recipe.name)[0] == f"graft finetune {recipe.name} dataset.limit={recipe.dataset.limit}"


@pytest.mark.parametrize(("field", "name"), ENTRIES)
def test_every_catalogue_entry_is_valid_and_says_in_one_line_what_it_is(field: str, name: str) -> None:
    file, found = entry(field, name)
    about = getattr(found, "about", "")
    assert about, file
    assert about.count("\n") == 0
    assert len(about) <= 120, file


@pytest.mark.parametrize("method", names("methods"))
def test_every_method_goes_with_an_experiment(method: str) -> None:
    assert load("tickets_lora", [f"method={method}"]).method.about


@pytest.mark.parametrize("backbone", names("backbones"))
def test_every_backbone_goes_with_a_data_set_that_it_accepts(backbone: str) -> None:
    _, found = entry("backbone", backbone)
    dataset = "tickets" if getattr(found, "accepts", "") == "text" else "digits"
    recipe = load("tickets_lora", [f"dataset={dataset}", f"backbone={backbone}", "method=scratch"])
    assert recipe.backbone == found


@pytest.mark.parametrize("dataset", names("datasets"))
def test_every_data_set_goes_with_an_experiment(dataset: str) -> None:
    _, found = entry("dataset", dataset)
    experiment = "tickets_lora" if getattr(found, "accepts", "") == "text" else "imagenet10_lora"
    recipe = load(experiment, [f"dataset={dataset}"])
    assert (recipe.dataset, recipe.model) == (found, dataset)


def test_there_is_no_file_that_nothing_reads() -> None:
    folders = {"experiments", *(folder for folder, _ in CATALOGUES.values())}
    found = {file.relative_to(CONFIGS).parent.as_posix() for file in CONFIGS.rglob("*.y*ml")}
    assert found == folders
    assert all(file.suffix == ".yaml" for file in CONFIGS.rglob("*.y*ml"))


def test_two_experiments_never_train_the_same_thing() -> None:
    marks = [load(name).fingerprint for name in EXPERIMENTS]
    assert len(set(marks)) == len(marks)
