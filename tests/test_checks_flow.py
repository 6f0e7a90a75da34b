"""The checks as a flow's first task: what they stop, what is kept of them, and the drift against a champion."""

import json
from pathlib import Path

import pytest
from made import Graft
from test_checks_text import Row, clean, plant

from tasks import tracking

pytest_plugins = ["made"]


@pytest.fixture(autouse=True)
def _place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))


def experiment(place: Path, rows: list[Row]) -> Path:
    """The rows in a file, and a short training of a tiny network."""
    lines = ["\t".join(row) for row in [Row("text", "label", "split"), *rows]]
    (place / "rows.tsv").write_text("\n".join(lines) + "\n")
    (place / "quick.yaml").write_text(
        "dataset: {kind: table, path: rows.tsv, split_column: split}\n"
        "backbone: {library: scratch_transformer, vocabulary: 300, max_length: 32, width: 16, heads: 2, layers: 1}\n"
        "method: scratch\nschedule: {epochs: 1}\nmodel: quick\n"
    )
    return place / "quick.yaml"


def runs() -> list[str]:
    """The ids of all runs of the model, the newest first."""
    found = tracking.client().get_experiment_by_name("quick")
    return [run.info.run_id for run in tracking.client().search_runs([found.experiment_id])] if found else []


def table(run_id: str, out: Path) -> dict[str, dict[str, object]]:
    """The checks that a run keeps, by name."""
    file = Path(tracking.client().download_artifacts(run_id, "checks.json", str(out)))
    told = json.loads(file.read_text())
    return {row[0]: dict(zip(told["columns"], row, strict=True)) for row in told["data"]}


def test_a_leak_stops_the_flow_before_training_and_is_kept_as_a_table(tmp_path: Path, graft: Graft) -> None:
    file = experiment(tmp_path, plant(clean(), "leakage")[0])
    told = graft("finetune", file)

    assert told.code == 2
    assert "leakage: Equal inputs on both sides" in told.err
    assert "allow: [leakage]" in told.err
    assert "Traceback" not in told.err
    (run,) = runs()
    assert tracking.client().get_run(run).info.status == "FAILED"
    assert not list((tmp_path / "home" / "runs").glob("*/checkpoints"))
    assert tracking.client().search_registered_models() == []
    leak = table(run, tmp_path)["leakage"]
    assert (leak["severity"], leak["count"]) == ("error", 7)


def test_what_is_allowed_runs_in_the_same_mlflow_run_and_is_still_told(tmp_path: Path, graft: Graft) -> None:
    file = experiment(tmp_path, plant(clean(), "leakage")[0])
    graft("finetune", file)
    told = graft("finetune", file, "dataset.allow=[leakage]", "--json")

    assert told.code == 0, told.err
    (run,) = runs()
    assert json.loads(told.out)["run_id"] == run
    assert tracking.client().get_run(run).info.status == "FINISHED"
    assert table(run, tmp_path)["leakage"]["severity"] == "error, allowed"
    tags = tracking.client().get_run(run).data.tags
    assert json.loads(tags["mlflow.loggedArtifacts"]) == [{"path": "checks.json", "type": "table"}]


def test_rows_unlike_those_of_the_champion_are_a_warning_of_the_next_run(tmp_path: Path, graft: Graft) -> None:
    assert graft("finetune", experiment(tmp_path, clean())).code == 0
    food = [row for row in clean() if row.label == "food" and row.split == "train"]
    fewer = [row for row in clean() if row not in food[30:]]
    told = graft("finetune", experiment(tmp_path, fewer))

    assert told.code == 0, told.err
    newest, first = runs()
    assert table(first, tmp_path)["drift"]["severity"] == "skipped"
    drift = table(newest, tmp_path)["drift"]
    assert drift["severity"] == "warning"
    assert "'food' had 33.3% of the rows" in str(drift["about"])


def test_no_text_of_a_row_reaches_mlflow_or_the_logs(tmp_path: Path, graft: Graft) -> None:
    rows = [row._replace(text=f"{row.text} swordfish") for row in plant(clean(), "exact_duplicates")[0]]
    told = graft("finetune", experiment(tmp_path, rows))

    assert told.code == 0, told.err
    assert "swordfish" not in told.out + told.err
    kept = [tmp_path / "home" / "mlflow.db", *(tmp_path / "home" / "artifacts").rglob("*")]
    holding = {file.name for file in kept if file.is_file() and b"swordfish" in file.read_bytes()}
    assert holding <= {"tokenizer.json", "vocab.txt"}, "a tokenizer made from the rows knows their words, no more"
