"""The command line as a person and as a program meets it: answers, errors that teach, exit codes."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from made import SOON, TEXT, Graft, Told
from PIL import Image

from flows import doctor
from tasks import tracking
from tasks.compose import load, names

pytest_plugins = ["made"]

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "list": ["Experiments"],
    "show": ["experiment", "schedule.epochs=1"],
    "init": ["--label", "--text", "--pair", "--image", "--target", "--to", "--force", "ready to run"],
    "check": ["overrides", "--json", "exit code 1", "Duplicates"],
    "plan": ["experiment", "--json", "seconds, memory, disk"],
    "finetune": ["experiment", "method=full", "--json", "goes on where it was"],
    "reproduce": ["run", "--json", "name/version", "exit code 1", "goes on where it was"],
    "glue": ["--tasks", "--method", "--seeds", "--start-from-mnli", "goes on with what is missing"],
    "compare": ["experiment", "--methods", "--seeds", "--limits", "--margin", "--json", "champion"],
    "bench": ["--against", "--only", "--quick", "--repeats", "--to", "--readme", "--json", "bench.csv", "exit code 1"],
    "submission": ["--out", "--fill", "leaderboard"],
    "predict": ["name", "--text", "--pair", "--image", "--file", "--out", "--version", "--json"],
    "export": ["name", "--to", "--version", "--form", "adapter", "merged"],
    "serve": ["names", "--version", "--host", "--port", "--batch", "--wait-ms", "--reload-seconds", "GRAFT_AUTH"],
    "explain": ["name", "--text", "--image", "--worst", "--against", "--out", "--json"],
    "promote": ["name", "version", "--because", "--gate", "--override", "--json", "Exit code 1"],
    "rollback": ["name", "--to", "--because", "one further back"],
    "ledger": ["name", "--json", "when and why"],
    "quickstart": ["No network"],
    "doctor": ["next step"],
}


def process(home: Path, *words: str) -> Told:
    """The same in a process of its own, without a network."""
    environment = os.environ | {"GRAFT_HOME": str(home), "HF_HUB_OFFLINE": "1", "HF_HOME": str(home / "empty")}
    command = [sys.executable, "-m", "flows", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    return Told(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_teaches(command: str, graft: Graft) -> None:
    told = graft(command, "--help")

    assert told.code == 0
    for word in COMMANDS[command]:
        assert word in told.out


def test_the_help_names_every_command_and_the_folders(graft: Graft) -> None:
    told = graft("--help")

    assert told.code == 0
    for word in (*COMMANDS, "GRAFT_HOME", "GRAFT_DATA", "GRAFT_ALLOW"):
        assert word in told.out


def test_list_shows_all_that_there_is(graft: Graft) -> None:
    told = graft("list")

    assert told.code == 0
    for folder in ("experiments", "datasets", "backbones", "methods", "gates"):
        for name in names(folder):
            assert f"\n{name} " in told.out


def test_show_prints_every_default_and_the_fingerprint(graft: Graft) -> None:
    told = graft("show", "tickets_lora", "seed=3")
    recipe = load("tickets_lora", ["seed=3"])

    assert told.code == 0
    assert yaml.safe_load(told.out) == recipe.model_dump(mode="json")
    assert "dropout: 0.0" in told.out, "a default that no file names"
    assert f"# fingerprint {recipe.fingerprint}" in told.out


EXPERIMENT = """
dataset: {kind: table, path: rows.csv, labels: [good, bad]}
backbone: transformer
method: scratch
"""
PICTURES = "dataset: {kind: image_folder, path: pictures}\nbackbone: cnn\nmethod: scratch\n"
GOOD = [f"text {index},{('good', 'bad')[index % 2]}" for index in range(40)]
BAD_ROWS = {
    "a missing label": ([*GOOD, "no label,"], "Row row:41 has no label"),
    "a label outside the classes": ([*GOOD, "odd,ugly"], "Row row:41: label 'ugly' is outside the classes"),
    "an empty text": ([*GOOD, " ,good"], "Row row:41: text is empty"),
    "one class only": ([row for row in GOOD if "good" in row], "Class 'bad' has no training row"),
    "no row at all": ([], "holds no training row"),
}
BAD_WORDS = {
    "an unknown experiment": (["tickets_lorra"], "Did you mean tickets_lora"),
    "a misspelt key": (["tickets_lora", "schedule.epoch=3"], "Did you mean 'epochs'? Valid: epochs, batch_size"),
    "a wrong type": (["tickets_lora", "schedule.epochs=many"], "schedule.epochs is 'many'"),
    "no key": (["tickets_lora", "epochs"], "is not of the form key=value"),
    "an unknown method": (["tickets_lora", "method=lorra"], "Did you mean lora"),
    "a missing file": (["tickets_lora", "dataset.path=none.csv"], "none.csv does not exist"),
    "text for an image network": (["tickets_lora", "backbone=efficientnet_lite0"], "Choose another backbone"),
    "an unknown metric": (["tickets_lora", "dataset.metrics=[accurate]"], "Valid: accuracy, f1, macro_f1, matthews"),
    "no pretrained weights": (["tickets_scratch", "method=lora"], "needs pretrained weights"),
}


def _refused(told: Told, message: str, home: Path) -> None:
    assert told.code == 2
    assert told.out == ""
    assert told.err.startswith("Error: ")
    assert message in told.err
    assert "Traceback" not in told.err
    assert not (home / "mlflow.db").exists(), "a run was begun"


@pytest.mark.parametrize("what", BAD_WORDS)
def test_a_command_that_cannot_be_used_is_explained_before_any_run(what: str, graft: Graft, home: Path) -> None:
    words, message = BAD_WORDS[what]
    _refused(graft("finetune", *words, "--json"), message, home)


@pytest.mark.parametrize("what", BAD_ROWS)
def test_rows_that_cannot_be_used_are_named_before_any_run(
    what: str, graft: Graft, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, message = BAD_ROWS[what]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]))
    (tmp_path / "mine.yaml").write_text(EXPERIMENT)
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))

    _refused(graft("finetune", tmp_path / "mine.yaml"), message, home)


def test_a_corrupt_picture_is_named_before_any_run(
    graft: Graft, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("cat", "dog"):
        folder = tmp_path / "pictures" / "train" / label
        folder.mkdir(parents=True)
        for shade in range(6):
            Image.new("L", (8, 8), shade * 40).save(folder / f"{shade}.png")
    (folder / "4.png").write_bytes(b"not a picture")
    (tmp_path / "mine.yaml").write_text(PICTURES)
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))

    _refused(graft("finetune", tmp_path / "mine.yaml"), "Row train/dog/4.png: the picture has no known format", home)


def test_a_home_that_cannot_be_made_is_explained(graft: Graft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "file" / "home"))

    _refused(graft("finetune", "tickets_scratch"), "set GRAFT_HOME to another folder", tmp_path)


def test_weights_neither_cached_nor_within_reach_are_explained(tmp_path: Path) -> None:
    told = process(tmp_path, "finetune", "tickets_lora", "backbone=bert_base")
    _refused(told, "'google-bert/bert-base-uncased' is not in the local cache and HF_HUB_OFFLINE is set", tmp_path)


def test_lora_targets_that_match_nothing_fail_the_run_and_register_nothing(graft: Graft, at_home: Path) -> None:
    told = graft("finetune", "tickets_lora", *SOON, "method.targets=[nothing]", "model=unfit")

    assert told.code == 2
    assert "LoRA target 'nothing' matches no module that can be adapted. Valid here: dense" in told.err
    assert "Traceback" not in told.err
    found = tracking.client().get_experiment_by_name("unfit")
    assert [run.info.status for run in tracking.client().search_runs([found.experiment_id])] == ["FAILED"]
    assert tracking.client().search_model_versions("name = 'unfit'") == []


def test_a_full_disk_registers_nothing_and_the_same_command_goes_on_and_ends_in_json(
    graft: Graft, at_home: Path
) -> None:
    words = ["finetune", "tickets_scratch", *TEXT, "model=full", "--json"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)  # Python ignores SIGXFSZ: a write fails as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, limits[1]))
    try:
        told = graft(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert (told.code, told.out) == (2, "")
    assert "cannot be written: File too large. Free space" in told.err
    assert "Traceback" not in told.err
    assert tracking.client().search_model_versions("name = 'full'") == []
    experiment = tracking.client().get_experiment_by_name("full")
    (run,) = tracking.client().search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"

    told = graft(*words)
    assert told.code == 0, told.err
    answer = json.loads(told.out)
    assert {"experiment", "model", "model_uri", "metrics", "seconds"} <= answer.keys()
    assert answer["run_id"] == run.info.run_id, "the same run goes on"
    assert (answer["version"], answer["verdict"]["passed"]) == (1, True)
    assert answer["trained_weights"]["head"] == 128 * 8 + 8
    assert answer["trained_weights"]["adapter"] > 100_000
    assert "graft predict full --text" in told.err


def test_doctor_finds_no_fault_offline_and_names_a_next_step_for_every_note(
    graft: Graft, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path / "none"))
    told = graft("doctor")
    found = {finding.what: finding for finding in doctor.findings()}

    assert told.code == 0
    assert "\nfault " not in told.out
    assert found["hub"].state == found["data"].state == "note"
    for name, finding in found.items():
        assert name in told.out
        assert finding.step or finding.state == "ok", name
