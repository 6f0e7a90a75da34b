"""The leaderboard's zip: held against a validator that knows the format alone, and against the models' own answers."""

import io
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from made import Graft, Made, make
from official import LABELS, TASKS, columns, config, row, write, write_task
from safetensors.torch import load_file, save_file

from tasks import compose, saved, tracking
from tasks.backbones.network import logits_of
from tasks.evaluate import evaluate
from tasks.files import write_file
from tasks.frozen import GraftError
from tasks.glue.submission import submit
from tasks.prepare import prepare
from tasks.recipe import Recipe
from tasks.registry import load_model, model_folder
from tasks.results import Checkpoint, Prepared
from tasks.train import train

pytest_plugins = ["made", "small"]

# The format, as the leaderboard's FAQ, its sample submission and the official test files have it.

DIGITS, THREE, TWO = {"0", "1"}, {"entailment", "neutral", "contradiction"}, {"entailment", "not_entailment"}
FORMAT: dict[str, tuple[int, set[str] | None]] = {
    "CoLA.tsv": (1_063, DIGITS),
    "SST-2.tsv": (1_821, DIGITS),
    "MRPC.tsv": (1_725, DIGITS),
    "STS-B.tsv": (1_379, None),
    "QQP.tsv": (390_965, DIGITS),
    "MNLI-m.tsv": (9_796, THREE),
    "MNLI-mm.tsv": (9_847, THREE),
    "QNLI.tsv": (5_463, TWO),
    "RTE.tsv": (3_000, TWO),
    "WNLI.tsv": (146, DIGITS),
    "AX.tsv": (1_104, THREE),
}


def faults(content: bytes, qqp: int = 390_965) -> list[str]:
    """What the leaderboard would refuse a zip for."""
    found = []
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        if sorted(packed.namelist()) != sorted(FORMAT):
            found.append(f"files {sorted(packed.namelist())}")
        for name in set(packed.namelist()) & set(FORMAT):
            rows, answers = FORMAT[name] if name != "QQP.tsv" else (qqp, DIGITS)
            text = packed.read(name).decode("ascii")
            first, *lines = text.removesuffix("\n").split("\n")
            cells = [line.split("\t") for line in lines]
            if first != "index\tprediction" or not text.endswith("\n") or "\r" in text:
                found.append(f"{name}: header or line ends")
            elif {len(line) for line in cells} != {2}:
                found.append(f"{name}: cells")
            elif len(cells) != rows or {int(index) for index, _ in cells} != set(range(rows)):
                found.append(f"{name}: rows or indices")
            elif answers is not None and not {said for _, said in cells} <= answers:
                found.append(f"{name}: answers")
            elif answers is None and not all(re.fullmatch(r"\d\.\d{3}", s) and 0 <= float(s) <= 5 for _, s in cells):
                found.append(f"{name}: scores")
    return found


def said(content: bytes, name: str) -> list[str]:
    """A file's answers in their order."""
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        lines = packed.read(f"{name}.tsv").decode().splitlines()[1:]
    return [line.split("\t")[1] for line in lines]


# Nine tiny models, trained once, and their test files: QQP's is short, all others have as many rows as the real ones.

SIZES = {"CoLA": 1_063, "SST-2": 1_821, "MRPC": 1_725, "STS-B": 1_379, "QQP": 965, "QNLI": 5_463, "RTE": 3_000,
         "WNLI": 146}  # fmt: skip
MNLI = {"test_matched": 9_796, "test_mismatched": 9_847, "diagnostic": 1_104}

SHAPE = {"width": 16, "layers": 1, "dropout": 0.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GRAFT_DATA with small official folders."""
    root = tmp_path_factory.mktemp("official")
    for task in TASKS:
        stem = config(task)["folder"].removeprefix("glue/")
        write_task(root, task, {"train": 300, "test": SIZES.get(stem, 0)} | MNLI)
    return root


def recipe(task: str, **changes: Any) -> Recipe:
    dataset = config(task)
    own = {"allow_other_counts": True, "validation": 0.2}
    return Recipe.model_validate(
        {
            "name": task, "model": task, "dataset": dataset | own | changes,
            "backbone": {"library": "scratch_transformer", "vocabulary": 200, "max_length": 24, "hidden": 32, **SHAPE},
            "method": {"kind": "scratch", "learning_rate": 0.01}, "schedule": {"epochs": 10, "batch_size": 16},
        }
    )  # fmt: skip


def trained(given: Recipe, home: Path) -> tuple[Checkpoint, Prepared]:
    data = prepare(given.model, given.dataset, given.seed)
    work = home / given.fingerprint
    work.mkdir()
    return train(given, data, work, tracking.begin(given, data, work / "run_id")), data


@pytest.fixture(scope="module")
def models(place: Path, tracking_db: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of the saved models by task."""
    home = tmp_path_factory.mktemp("models")
    settings = {"GRAFT_HOME": home, "GRAFT_DATA": place, "MLFLOW_TRACKING_URI": tracking_db}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (settings | {"GRAFT_DEVICE": "cpu", "GRAFT_WORKERS": 0}).items():
            patch.setenv(name, str(value))
        return {task: trained(recipe(task), home)[0].folder for task in TASKS}


@pytest.fixture
def out(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the zip goes; GRAFT_DATA has the small official folders."""
    monkeypatch.setenv("GRAFT_DATA", str(place))
    monkeypatch.setenv("GRAFT_DEVICE", "cpu")
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "submission.zip"


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configs in which QQP's test set has 965 rows."""
    shutil.copytree(compose.CONFIGS, tmp_path / "configs")
    qqp = tmp_path / "configs" / "datasets" / "qqp.yaml"
    qqp.write_text(qqp.read_text().replace("390965", "965"))
    monkeypatch.setattr(compose, "CONFIGS", tmp_path / "configs")


@pytest.fixture
def changed(out: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder glue in a GRAFT_DATA of this test alone."""
    shutil.copytree(place, tmp_path / "data")
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "glue"


def without_weights(models: dict[str, Path], root: Path) -> dict[str, Path]:
    """Copies that say what they are but cannot compute: whoever tries to load one fails otherwise than expected."""
    for task, folder in models.items():
        shutil.copytree(folder, root / "weightless" / task)
        (root / "weightless" / task / "trained.safetensors").unlink()
    return {task: root / "weightless" / task for task in models}


def refused(folders: dict[str, Path], out: Path, fill: bool = False) -> str:
    """What `submit` says; nothing was written."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(GraftError) as caught:
        submit(folders, out, fill)
    assert sorted(out.parent.iterdir()) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is written.


def test_nine_models_make_a_zip_that_the_leaderboard_takes_with_the_right_answers(
    models: dict[str, Path], short: None, out: Path
) -> None:
    made = submit(models, out)
    content = out.read_bytes()
    assert faults(content, qqp=965) == []
    assert made.answered_by == {name.removesuffix(".tsv"): _task(name) for name in FORMAT}
    for name, task in made.answered_by.items():
        assert task
        given, labels = said(content, name), LABELS[task]
        truth = [labels[number % len(labels)] for number in range(len(given))]  # a word of each row tells it
        if task == "stsb":
            assert np.corrcoef(np.array(given, float), np.array(truth, float))[0, 1] > 0.9
        else:
            assert np.mean([one == other for one, other in zip(given, truth, strict=True)]) > 0.9, name


def _task(file: str) -> str:
    stem = file.removesuffix(".tsv")
    return {"MNLI-m": "mnli", "MNLI-mm": "mnli", "AX": "mnli", "STS-B": "stsb"}.get(stem, stem.lower().replace("-", ""))


def test_the_same_models_give_the_same_bytes(models: dict[str, Path], short: None, out: Path) -> None:
    few = {task: models[task] for task in ("wnli", "cola")}
    submit(few, out, fill=True)
    first = out.read_bytes()
    submit(dict(reversed(few.items())), out, fill=True)
    assert out.read_bytes() == first


def test_what_no_model_answers_is_a_constant_only_when_asked_for_and_is_said(
    models: dict[str, Path], out: Path
) -> None:
    few = {f"my-{task}/3": models[task] for task in ("rte", "wnli")}
    told = refused(few, out)
    assert told.startswith(
        "No model answers CoLA, MNLI-m, MNLI-mm, AX, MRPC, QNLI, QQP, SST-2, STS-B, and the leaderboard takes all 11"
    )
    assert "Give a run of cola, mnli, mrpc, qnli, qqp, sst2, stsb with" in told and "--fill" in told
    made = submit(few, out, fill=True)
    content = out.read_bytes()
    assert faults(content) == []
    constants = {"CoLA": "1", "MRPC": "1", "QNLI": "not_entailment", "QQP": "0", "SST-2": "1", "STS-B": "2.701"}
    constants |= dict.fromkeys(("MNLI-m", "MNLI-mm", "AX"), "contradiction")
    assert made.fills == constants
    assert {name: set(said(content, name)) for name in constants} == {n: {word} for n, word in constants.items()}
    assert len(set(said(content, "RTE"))) == 2
    note = (out.parent / "submission.README.txt").read_text()
    assert sorted(out.parent.iterdir()) == [out.with_suffix(".README.txt"), out]
    for name, (rows, _) in FORMAT.items():
        (line,) = (line for line in note.splitlines() if line.startswith(f"{name} "))
        stem = name.removesuffix(".tsv")
        ending = f"NO MODEL: every row says {constants[stem]!r}, a constant" if stem in constants else "answered by my-"
        assert f"{rows:,} rows, {ending}" in line
    assert sum("NO MODEL" in line for line in note.splitlines()) == len(constants)


def test_scores_are_cut_to_0_and_5(models: dict[str, Path], out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "steep"
    shutil.copytree(models["stsb"], folder)
    weights = load_file(folder / "trained.safetensors")
    weights["head.weight"] *= 20
    save_file(weights, folder / "trained.safetensors")
    submit({"stsb": folder}, out, fill=True)
    assert faults(out.read_bytes()) == []
    rows = [row("stsb", "test", number) for number in range(1_379)]
    texts = {"text": [cells[7].strip() for cells in rows], "text_pair": [cells[8].strip() for cells in rows]}
    wanted = np.clip(logits_of(saved.load(folder).network, texts, batch_size=33)[:, 0].numpy(), 0, 5)
    given = np.array(said(out.read_bytes(), "STS-B"), float)
    assert np.abs(wanted - given).max() <= 0.000_51
    assert {0.0, 5.0} <= set(given)


def test_indices_are_those_of_the_official_file_whatever_their_order(
    models: dict[str, Path], changed: Path, out: Path
) -> None:
    rows = [row("wnli", "test", number) for number in range(146)]
    submit({"wnli": models["wnli"]}, out, fill=True)
    straight = dict(enumerate(said(out.read_bytes(), "WNLI")))
    order = np.random.default_rng(0).permutation(146)
    write(changed / "WNLI" / "test.tsv", [rows[n] for n in order], columns("wnli", "test"))
    submit({"wnli": models["wnli"]}, out, fill=True)
    assert faults(out.read_bytes()) == []
    with zipfile.ZipFile(out) as packed:
        table = pd.read_csv(packed.open("WNLI.tsv"), sep="\t", dtype={"prediction": str})
    assert table["index"].tolist() == order.tolist()
    assert dict(zip(table["index"], table["prediction"], strict=True)) == straight


# What is refused, before anything is computed.


def test_models_that_make_no_submission_are_refused_before_any_is_loaded(
    models: dict[str, Path], out: Path, tmp_path: Path
) -> None:
    light = without_weights(models, tmp_path)
    assert refused({**light, "other-rte": light["rte"]}, out, fill=True) == (
        "'rte' and 'other-rte' both answer RTE.tsv. Give one run for each task."
    )
    file = light["rte"] / "target.json"
    file.write_text(file.read_text().replace("not_entailment", "neutral"))
    assert refused(light, out) == (
        "'rte' answers entailment, neutral, but RTE.tsv takes entailment, not_entailment. Give a run of rte."
    )
    for folder, kind in ((light["cola"], "stsb"), (light["stsb"], "cola")):
        shutil.copy(models[kind] / "target.json", folder / "target.json")
    assert refused({"mine": light["stsb"]}, out) == (
        "'mine' answers 0, 1, but STS-B.tsv takes a number. Give a run of stsb."
    )
    assert (
        refused({"mine": light["cola"]}, out) == "'mine' answers a number, but CoLA.tsv takes 0, 1. Give a run of cola."
    )


def test_a_model_of_other_data_is_refused(bench: Any, out: Path) -> None:
    given = bench.recipe("scratch transformer", {"kind": "scratch"})
    folder = train(given, *bench.start(given)).folder
    assert refused({"tickets/2": folder}, out, fill=True) == (
        "'tickets/2' is a model of 'tiny', which is no GLUE task. "
        "Give models of: cola, mnli, mrpc, qnli, qqp, rte, sst2, stsb, wnli."
    )


@pytest.mark.parametrize(
    ("task", "name", "spoil", "told"),
    [
        (
            "rte",
            "test",
            lambda rows: rows[:-1],
            "RTE has 2,999 rows with 2,999 different indices, .* has 3,000 of both",
        ),
        ("rte", "test", lambda rows: [*rows, rows[0]], "RTE has 3,001 rows with 3,000 different indices"),
        ("mnli", "diagnostic", lambda rows: [*rows[:-1], rows[0]], "AX has 1,104 rows with 1,103 different indices"),
    ],
)
def test_a_test_file_that_the_leaderboard_would_not_take_is_refused(
    task: str, name: str, spoil: Callable[[Any], Any], told: str,
    models: dict[str, Path], changed: Path, out: Path, tmp_path: Path,
) -> None:  # fmt: skip
    size = MNLI.get(name, SIZES.get(config(task)["folder"].removeprefix("glue/"), 0))
    rows = [row(task, name, number) for number in range(size)]
    write(changed.parent / config(task)["folder"] / f"{name}.tsv", spoil(rows), columns(task, name))
    own = {task: without_weights(models, tmp_path)[task]}
    assert re.search(f"The test set of {told}", refused(own, out, fill=True))


def test_a_test_file_that_is_missing_is_named_or_filled(models: dict[str, Path], changed: Path, out: Path) -> None:
    (changed / "MNLI" / "diagnostic.tsv").unlink()
    few = {"mnli": models["mnli"]}
    assert "No model answers AX, CoLA" in refused(few, out) or "AX" in refused(few, out)
    made = submit(few, out, fill=True)
    assert (made.answered_by["AX"], made.answered_by["MNLI-m"]) == (None, "mnli")
    assert faults(out.read_bytes()) == []


@pytest.mark.parametrize("name", ["none/submission.zip", "submission.tsv"])
def test_a_place_that_cannot_be_written_is_refused_at_once(name: str, out: Path, tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"cannot be written: give a path ending in .zip, in a folder that exists\."):
        submit({"no such": tmp_path}, out.parent / name)


def test_a_model_that_fails_half_way_leaves_the_old_zip_as_it_was(
    models: dict[str, Path], out: Path, tmp_path: Path
) -> None:
    write_file(out, b"the last one")
    folder = tmp_path / "damaged"
    shutil.copytree(models["wnli"], folder)
    (folder / "trained.safetensors").write_bytes(b"torn")
    told = refused({"cola": models["cola"], "wnli": folder}, out, fill=True)
    assert "trained.safetensors cannot be read" in told
    assert out.read_bytes() == b"the last one"


def test_a_model_that_gives_no_number_is_refused(models: dict[str, Path], out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nan"
    shutil.copytree(models["wnli"], folder)
    weights = load_file(folder / "trained.safetensors")
    save_file({name: tensor * float("nan") for name, tensor in weights.items()}, folder / "trained.safetensors")
    assert "'wnli' answers rows of WNLI with no number at all." in refused({"wnli": folder}, out, fill=True)


# The validator itself.


def _with(content: bytes, name: str, change: Callable[[str], str]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as packed, zipfile.ZipFile(made, "w") as new:
        for own in packed.namelist():
            text = packed.read(own).decode()
            new.writestr(own, change(text) if own == name else text)
    return made.getvalue()


def test_the_validator_of_these_tests_refuses_what_the_format_does_not_allow(
    models: dict[str, Path], short: None, out: Path
) -> None:
    submit({"wnli": models["wnli"]}, out, fill=True)
    content = out.read_bytes()
    spoilt = {
        "RTE.tsv: answers": ("RTE.tsv", lambda text: text.replace("entailment", "0")),
        "STS-B.tsv: scores": ("STS-B.tsv", lambda text: text.replace("2.701", "5.001", 1)),
        "WNLI.tsv: header or line ends": ("WNLI.tsv", lambda text: text.replace("index\t", "id\t")),
        "AX.tsv: rows or indices": ("AX.tsv", lambda text: text.rsplit("\n", 2)[0] + "\n"),
        "CoLA.tsv: rows or indices": ("CoLA.tsv", lambda text: text.replace("\n7\t", "\n8\t")),
        "QNLI.tsv: cells": ("QNLI.tsv", lambda text: text.replace("\tnot", "not", 3)),
    }
    assert faults(content, qqp=965) == []
    for told, (name, change) in spoilt.items():
        assert faults(_with(content, name, change), qqp=965) == [told]
    with zipfile.ZipFile(out, "a") as packed:
        packed.writestr("more/CoLA.tsv", "")
    assert faults(out.read_bytes(), qqp=965)[0].startswith("files")


# The whole road: a run of the flow, registered, and the command.


@pytest.fixture(scope="module")
def registered(shared_home: Path, place: Path) -> Made:
    """WNLI as a fine-tune leaves it."""
    content = recipe("wnli").model_dump(mode="json", exclude_defaults=True, exclude={"name", "model"})
    content["dataset"]["folder"] = str(place / content["dataset"]["folder"])
    (shared_home / "wnli.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(shared_home))
        return make(shared_home / "results-wnli", str(shared_home / "wnli.yaml"))


def test_the_command_takes_a_name_a_version_or_a_run_and_says_what_is_a_constant(
    registered: Made, graft: Graft, at_home: Path, tmp_path: Path
) -> None:
    name, run_id = registered.result.registered.name, registered.result.registered.run_id
    zips = []
    for number, ref in enumerate((name, f"{name}/1", run_id)):
        out = tmp_path / f"{number}.zip"
        told = graft("submission", ref, "--out", out, "--fill")
        assert (told.code, told.out) == (0, "")
        assert f"{number}.README.txt" in told.err.replace("\n", "")
        assert re.search(rf"WNLI.tsv +146 +{re.escape(ref)}", told.err)
        assert re.search(r"QQP.tsv +390,965 +no model: every row says '0'", told.err)
        assert "10 of 11 files are constants" in told.err
        zips.append(out.read_bytes())
    assert faults(zips[0]) == []
    assert zips[0] == zips[1] == zips[2]
    rows = [row("wnli", "test", number) for number in range(146)]
    asked = pd.DataFrame(
        {"text": [cells[1].strip() for cells in rows], "text_pair": [cells[2].strip() for cells in rows]}
    )
    served = load_model(name).predict(asked)["label"]
    assert served.map({"not_entailment": "0", "entailment": "1"}).tolist() == said(zips[0], "WNLI")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["wnli"], "No model answers AX, CoLA" ),
        (["wnli", "wnli", "--fill"], "'wnli' is given twice."),
        (["none", "--fill"], "'none' is no registered model with a champion"),
        (["wnli/99", "--fill"], "'wnli/99' is no registered model with a champion, no version of one (name/3)"),
        (["a" * 32, "--fill"], "and no run with one in"),
        (["wnli' or '1'='1", "--fill"], "is no registered model with a champion"),
    ],
)  # fmt: skip
def test_the_command_explains_what_it_cannot_answer(
    words: list[str], told: str, registered: Made, graft: Graft, at_home: Path, out: Path
) -> None:
    answer = graft("submission", *words, "--out", out)
    said = " ".join(answer.err.split())
    assert (answer.code, answer.out) == (2, "")
    assert told in said or told.replace("AX, CoLA", "") in said
    assert not list(out.parent.iterdir())
    assert "Traceback" not in answer.err


def test_a_run_is_found_by_any_of_its_names(registered: Made, at_home: Path) -> None:
    folders = [model_folder(ref) for ref in ("wnli", "wnli/1", registered.result.registered.run_id)]
    assert {(folder / "recipe.json").read_text() for folder in folders} == {(folders[0] / "recipe.json").read_text()}


# The further labelled sets.


def test_mnli_is_scored_on_its_mismatched_rows_and_on_the_diagnostic_ones(
    models: dict[str, Path], out: Path, home: Path
) -> None:
    given = recipe("mnli")
    data = prepare("mnli", given.dataset, given.seed)
    card = evaluate(models["mnli"], data, given.dataset, home)
    assert set(card.metrics) == {"accuracy", "mismatched/accuracy", "ax/matthews"}
    assert card.headline == "accuracy"
    assert data.rows["ax"] == data.rows["mismatched"] == data.rows["test"] == 12
