"""GLUE: official files row by row with all their oddities, the hub's rows equal to them, counts, and metrics."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hub import Hub
from official import FOLDERS, LABELS, ODD, TASKS, TEXTS, TOLD, columns, config, glue, row, write, write_task
from pydantic import ValidationError

from tasks.datasets import tables
from tasks.datasets.glue import Glue
from tasks.frozen import GraftError
from tasks.metrics import interval, score
from tasks.prepare import prepare

PUBLISHED = {  # rows of train, dev, and of every file of the leaderboard; the metrics, the headline first
    "cola": (8_551, 1_043, {"CoLA": 1_063}, ["matthews"]),
    "sst2": (67_349, 872, {"SST-2": 1_821}, ["accuracy"]),
    "mrpc": (3_668, 408, {"MRPC": 1_725}, ["f1", "accuracy"]),
    "stsb": (5_749, 1_500, {"STS-B": 1_379}, ["pearson", "spearman"]),
    "qqp": (363_846, 40_430, {"QQP": 390_965}, ["f1", "accuracy"]),
    "mnli": (392_702, 9_815, {"MNLI-m": 9_796, "MNLI-mm": 9_847, "AX": 1_104}, ["accuracy"]),
    "qnli": (104_743, 5_463, {"QNLI": 5_463}, ["accuracy"]),
    "rte": (2_490, 277, {"RTE": 3_000}, ["accuracy"]),
    "wnli": (635, 71, {"WNLI": 146}, ["accuracy"]),
}
SETS = {"train": "train", "test": "dev"}
MNLI = {"train": "train", "test": "dev_matched", "mismatched": "dev_mismatched", "ax": "diagnostic-full"}
BOARD = {"MNLI-m": "test_matched", "MNLI-mm": "test_mismatched", "AX": "diagnostic"}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """GRAFT_DATA, empty; every file in it is read in parts."""
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tables, "CHUNK", 5)
    return tmp_path


def wanted(task: str, stem: str, rows: int = 12) -> list[list[str]]:
    """Row id, texts and label of a file's rows, straight from their cells."""
    names = columns(task, stem)
    kept = [place for place, name in enumerate(names) if name in TEXTS]
    kept += [place for place, name in enumerate(names) if name in TOLD]
    made = [row(task, stem, number) for number in range(rows)]
    return [[f"{stem}:{number}", *(cells[place].strip() for place in kept)] for number, cells in enumerate(made, 1)]


def found(rows: pd.DataFrame, last: str) -> list[list[str]]:
    names = [name for name in ("row_id", "text", "text_pair", last) if name in rows]
    cells: list[list[str]] = rows[names].to_numpy().tolist()
    return cells


def read_all(dataset: Glue) -> dict[str, pd.DataFrame]:
    source = dataset.read()
    return {split: source.table(split) for split in source.splits}


# The official files.


@pytest.mark.parametrize(("end", "bom"), [("\n", ""), ("\r\n", "\ufeff")])
@pytest.mark.parametrize("task", TASKS)
def test_every_row_of_the_official_files_is_read_as_it_stands(task: str, end: str, bom: str, data: Path) -> None:
    write_task(data, task, {}, end, bom)
    source = glue(task).read()
    sets = MNLI if task == "mnli" else SETS
    assert set(source.splits) == set(sets)
    assert source.origin == f"glue/{FOLDERS[task]} (official TSV)"
    for split, stem in sets.items():
        assert found(source.table(split), "label") == wanted(task, stem), split
    assert any('"' in text for text in source.table("train")["text"])


@pytest.mark.parametrize("task", TASKS)
def test_test_files_give_index_and_inputs_and_no_label(task: str, data: Path) -> None:
    write_task(data, task, {}, "\r\n", "\ufeff")
    stems = BOARD if task == "mnli" else {FOLDERS[task]: "test"}
    sets = glue(task).unlabelled()
    assert set(sets) == set(stems) == set(PUBLISHED[task][2])
    for name, stem in stems.items():
        rows = pd.concat(sets[name](), ignore_index=True)
        assert set(rows) == {"row_id", "index", *glue(task).inputs}
        assert found(rows, "index") == [[*cells, str(number)] for number, cells in enumerate(wanted(task, stem))]
        assert not set(LABELS[task]) & set(rows["text"])


def test_labels_in_a_test_file_are_not_read(data: Path) -> None:
    folder = write_task(data, "mrpc", {})
    named = ["index", "#1 ID", "#2 ID", "#1 String", "#2 String", "Quality"]
    rows = [["7", "a", "b", "one", "two", "1"], ["9", "c", "d", "three", "four", "0"]]
    write(folder / "test.tsv", rows, named)
    (table,) = glue("mrpc").unlabelled()["MRPC"]()
    assert table.to_dict("list") == {
        "row_id": ["test:1", "test:2"], "text": ["one", "three"], "text_pair": ["two", "four"], "index": ["7", "9"],
    }  # fmt: skip


def test_a_test_file_whose_first_column_is_no_number_is_refused(data: Path) -> None:
    folder = write_task(data, "sst2", {})
    write(folder / "test.tsv", [["0", "fine"], ["good", "film"]], ["index", "sentence"])
    with pytest.raises(GraftError, match=r"test.tsv: row test:2 has the index 'good', which is no number"):
        list(glue("sst2").unlabelled()["SST-2"]())


@pytest.mark.parametrize("place", ["MNLI", "diagnostic", "AX"])
def test_the_diagnostic_set_may_lie_in_a_folder_of_its_own(place: str, data: Path) -> None:
    folder = write_task(data, "mnli", {})
    (folder.parent / place).mkdir(exist_ok=True)
    for name in ("diagnostic.tsv", "diagnostic-full.tsv"):
        (folder / name).rename(folder.parent / place / name)
    assert found(glue("mnli").read().table("ax"), "label") == wanted("mnli", "diagnostic-full")
    assert len(pd.concat(glue("mnli").unlabelled()["AX"]())) == 12


def test_a_set_that_is_not_there_is_left_out_and_said(data: Path) -> None:
    folder = write_task(data, "mnli", {})
    (folder / "diagnostic-full.tsv").unlink()
    source = glue("mnli").read()
    assert set(source.splits) == {"train", "test", "mismatched"}
    assert source.origin == "glue/MNLI (official TSV, without ax, which needs diagnostic-full.tsv)"
    assert set(glue("mnli").unlabelled()) == {"MNLI-m", "MNLI-mm", "AX"}  # the file without labels is still there
    (folder / "diagnostic.tsv").unlink()
    assert set(glue("mnli").unlabelled()) == {"MNLI-m", "MNLI-mm"}
    assert glue("mnli").more_scored == {"mismatched": ("accuracy",), "ax": ("matthews",)}


@pytest.mark.parametrize("task", TASKS)
def test_a_row_broken_at_any_cell_of_any_row_is_refused_and_never_shifted(task: str, data: Path) -> None:
    folder = write_task(data, task, {})
    sets = MNLI if task == "mnli" else SETS
    for split, stem in sets.items():
        header = None if task == "cola" else columns(task, stem)
        rows = [row(task, stem, number) for number in range(3)]
        for place in [(n, c) for n in range(3) for c in range(len(rows[0])) if len(rows[n][c]) > 1]:
            broken = [list(cells) for cells in rows]
            cell = broken[place[0]][place[1]]
            broken[place[0]][place[1]] = f"{cell[:1]}\n{cell[1:]}"
            write(folder / f"{stem}.tsv", broken, header)
            with pytest.raises(GraftError, match=f"{stem}.tsv"):
                glue(task, broken="refuse").read().table(split)
    for name, stem in (BOARD if task == "mnli" else {FOLDERS[task]: "test"}).items():
        rows = [row(task, stem, number, "some words") for number in range(3)]
        rows[1][-1] = "some\nwords"
        write(folder / f"{stem}.tsv", rows, columns(task, stem))
        with pytest.raises(GraftError, match=rf"{stem}.tsv, line 4 has fewer cells than line 1 \(of such lines.* 1\)"):
            list(glue(task).unlabelled()[name]())


def test_a_cut_row_is_refused_with_its_line_whatever_lies_above(data: Path) -> None:
    folder = data / "glue" / "RTE"
    write_task(data, "rte", {})
    content = "index\tsentence1\tsentence2\tlabel\r\n\n   \n0\ta\u2028b\tc\rd\tentailment\r\n1\ta\tb\r\n2\ta\tb\r\n"
    (folder / "train.tsv").write_bytes(content.encode())
    with pytest.raises(GraftError) as caught:
        glue("rte").read().table("train")
    assert str(caught.value) == (
        f"{folder}/train.tsv, line 5 has fewer cells than line 1 (of such lines there are 2): a row is cut, or broken "
        "over lines. Join its pieces, or get the file again."
    )


def test_a_row_with_more_cells_is_refused(data: Path) -> None:
    folder = write_task(data, "rte", {})
    rows = [row("rte", "train", number) for number in range(9)]
    rows[7].insert(1, "more")
    write(folder / "train.tsv", rows, columns("rte", "train"))
    with pytest.raises(GraftError, match=r"train.tsv cannot be read as a table: .* Expected 4 fields in line 9, saw 5"):
        glue("rte").read().table("train")


def test_pieces_of_broken_rows_are_left_out_of_qqp_wherever_they_lie(
    data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, named = write_task(data, "qqp", {}), columns("qqp", "train")
    rows = [row("qqp", "train", number) for number in range(40)]
    pieces = [
        ["97", "1", "2", '"Did Muhammad exist?'],
        ['"', "Was he real?", "0"],
        ["alone"],
        ["8", "1", "2", "a", "b"],
    ]
    rng = np.random.default_rng(4)
    for _ in range(5):
        lines = rows + pieces
        order = rng.permutation(len(lines))
        write(folder / "train.tsv", [lines[place] for place in order], named, "\r\n")
        found = glue("qqp", counts={"train": 40}).read().table("train")
        kept = [(line, place) for line, place in enumerate(order, 1) if place < 40]
        assert found["row_id"].tolist() == [f"train:{line}" for line, _ in kept]
        assert found["text_pair"].tolist() == [rows[place][4].strip() for _, place in kept]
        assert found["label"].tolist() == [rows[place][5] for _, place in kept]
    assert "train.tsv: 4 pieces of broken rows are left out." in capfd.readouterr().err.replace("\n", "")
    with pytest.raises(GraftError, match="line .* has fewer cells"):
        glue("qqp", broken="refuse").read().table("train")


def test_pieces_that_are_left_out_cannot_hide_that_rows_are_lost(data: Path) -> None:
    folder = write_task(data, "qqp", {})
    rows = [row("qqp", "train", number) for number in range(40)]
    rows[11] = rows[11][:4]
    write(folder / "train.tsv", rows, columns("qqp", "train"))
    with pytest.raises(GraftError, match=r"train.tsv has 39 rows, but 40 were published\."):
        glue("qqp", counts={"train": 40}).read().table("train")


def test_qqp_trains_without_the_rows_whose_question_is_empty_but_is_scored_on_all(
    data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, named = write_task(data, "qqp", {}), columns("qqp", "train")
    for stem in ("train", "dev"):
        rows = [row("qqp", stem, number) for number in range(12)]
        rows[3][4] = " "
        write(folder / f"{stem}.tsv", rows, named)
    source = glue("qqp", counts={"train": 12, "test": 12}).read()
    assert source.table("train")["row_id"].tolist() == [f"train:{n}" for n in range(1, 13) if n != 4]
    assert len(source.table("test")) == 12
    assert "1 training rows with an empty text are left out." in capfd.readouterr().err.replace("\n", "")
    with pytest.raises(GraftError, match=r"Row dev:4: text_pair is empty\."):
        prepare("qqp", glue("qqp"), 0)


# The number of rows.


def test_the_configs_hold_the_published_counts_metrics_and_names() -> None:
    for task, (train, dev, board, metrics) in PUBLISHED.items():
        dataset = Glue.model_validate(config(task))
        more = {"mismatched": 9_832, "ax": 1_104} if task == "mnli" else {}
        assert dataset.counts == {"train": train, "test": dev} | more | board
        assert (set(dataset.board), set(dataset.more), list(dataset.scored)) == (set(board), set(more), metrics)
        assert dataset.hub.revision == "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
        assert (dataset.hub.config, dataset.folder) == (task, f"glue/{FOLDERS[task]}")
        assert all(part.fill in LABELS[task] for part in dataset.board.values()) or task == "stsb"
        assert list(dataset.labels or {}) == ([] if task == "stsb" else LABELS[task])
        assert not any(name.isdigit() for name in (dataset.labels or {}).values())


@pytest.mark.parametrize("task", TASKS)
def test_another_number_of_rows_is_an_error_with_both_numbers_after_the_last_row(task: str, data: Path) -> None:
    write_task(data, task, {})
    names = {"train", "test", *Glue.model_validate(config(task)).board, *config(task).get("more", {})}
    assert set(config(task)["counts"]) == names
    exact, off = dict.fromkeys(names, 12), dict.fromkeys(names, 13_000)
    for split, rows in read_all(glue(task, counts=exact)).items():
        assert len(rows) == 12, split
    for allowed in (False, True):
        dataset = glue(task, counts=off, allow_other_counts=allowed)
        for name, chunks in {**dataset.read().splits, **dataset.unlabelled()}.items():
            parts: list[int] = []
            told = ""
            try:
                parts.extend(map(len, chunks()))
            except GraftError as error:
                told = str(error)
            assert sum(parts) == 12 and len(parts) > 1, name
            assert bool(told) is not allowed
            assert allowed or "has 12 rows, but 13,000 were published." in told
            assert allowed or told.endswith("dataset.allow_other_counts=true.")


def test_a_copy_that_lost_a_row_never_reaches_training(data: Path) -> None:
    write_task(data, "mrpc", {"train": 39})
    counts = {"train": 40, "test": 12}
    with pytest.raises(GraftError, match=r"MRPC/train.tsv has 39 rows, but 40 were published"):
        prepare("mrpc", glue("mrpc", counts=counts), 0)
    assert not list((data / "home" / "prepared").iterdir())
    taken = prepare("mrpc", glue("mrpc", counts=counts, allow_other_counts=True), 0)
    assert taken.rows["train"] + taken.rows["validation"] + taken.left_out == 39


def test_the_real_files_have_the_published_rows_and_their_constants(data_folder: Path) -> None:
    for task in ("sst2", "mrpc", "stsb"):
        dataset = Glue.model_validate(config(task))
        (name,) = dataset.board
        rows = pd.concat(dataset.unlabelled()[name]())
        assert rows["index"].tolist() == [str(n) for n in range(PUBLISHED[task][2][name])]
        labels = dataset.read().table("train")["label"]
        commonest = f"{labels.astype(float).mean():.3f}" if task == "stsb" else labels.mode()[0]
        assert dataset.board[name].fill == commonest


def test_a_real_copy_of_mrpc_that_lost_its_last_row_is_refused(data_folder: Path, data: Path) -> None:
    folder = data / "glue" / "MRPC"
    folder.mkdir(parents=True)
    for stem in ("train", "dev", "test"):
        lines = (data_folder / "glue" / "MRPC" / f"{stem}.tsv").read_bytes().splitlines(keepends=True)
        (folder / f"{stem}.tsv").write_bytes(b"".join(lines[:-1]))
    dataset = Glue.model_validate(config("mrpc") | {"folder": str(folder)})
    for split, have, published in (("train", "3,667", "3,668"), ("test", "407", "408")):
        with pytest.raises(GraftError, match=f"has {have} rows, but {published} were published"):
            dataset.read().table(split)
    with pytest.raises(GraftError, match="has 1,724 rows, but 1,725 were published"):
        list(dataset.unlabelled()["MRPC"]())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"counts": {"dev": 9}}, "'dev' names no set of this task. Valid in counts: AX, MNLI-m"),
        ({"more": {"train": {"tsv": ["x"], "metrics": ["f1"]}}, "counts": {}}, "'train' names no set of this task"),
        ({"more": {"ax": {"tsv": ["x"], "metrics": ["pearson"]}}, "counts": {}}, "metric 'pearson' is unknown"),
    ],
)
def test_a_config_that_names_what_is_not_there_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Glue.model_validate(config("mnli") | changes)
    assert told in str(caught.value)


# The hub.

NAMES = {  # the columns of the hub's tables
    "cola": ("sentence",), "stsb": ("sentence1", "sentence2"), "qqp": ("question1", "question2"),
    "mnli": ("premise", "hypothesis"), "rte": ("sentence1", "sentence2"),
}  # fmt: skip
HUB = {"train": "train", "dev": "validation", "test": "test"} | {
    f"{part}_{kind}": f"{full}_{kind}"
    for part, full in (("dev", "validation"), ("test", "test"))
    for kind in ("matched", "mismatched")
}


def parquet(task: str, stem: str, rows: int = 40) -> bytes:
    """The official rows as the hub keeps them: labels as class numbers, scores in 32 bits, -1 for none, `idx`."""
    from datasets import ClassLabel, Dataset, Features, Value

    cells = [row(task, stem, number) for number in range(rows)]
    names = columns(task, stem)
    texts = [place for place, name in enumerate(names) if name in TEXTS]
    labels = [cell[place] for cell in cells for place, name in enumerate(names) if name in TOLD]
    kind = Value("float32") if task == "stsb" else ClassLabel(names=LABELS[task])
    coded = list(map(float, labels)) if task == "stsb" else [LABELS[task].index(label) for label in labels]
    features = {name: Value("string") for name in NAMES[task]} | {"label": kind, "idx": Value("int32")}
    table: dict[str, list[Any]] = {
        name: [cell[place] for cell in cells] for name, place in zip(NAMES[task], texts, strict=True)
    }
    table |= {"label": coded or [-1] * rows, "idx": list(range(rows))}
    out = io.BytesIO()
    Dataset.from_dict(table, Features(features)).to_parquet(out)
    return out.getvalue()


def published() -> dict[str, bytes]:
    """The files of a small nyu-mll/glue."""
    files, card = {}, ["---", "configs:"]
    for task in NAMES:
        stems = ["train", "dev_matched", "dev_mismatched", "test_matched", "test_mismatched"]
        stems = stems if task == "mnli" else ["train", "dev", "test"]
        card += [f"- config_name: {task}", "  data_files:"]
        for stem in stems:
            card.append(f"  - {{split: {HUB[stem]}, path: {task}/{HUB[stem]}-*}}")
            files[f"{task}/{HUB[stem]}-00000-of-00001.parquet"] = parquet(task, stem)
    card += ["- config_name: ax", "  data_files:", "  - {split: test, path: ax/test-*}", "---", ""]
    files["ax/test-00000-of-00001.parquet"] = parquet("mnli", "diagnostic")
    return files | {"README.md": "\n".join(card).encode()}


def child(plan: dict[str, Any]) -> dict[str, Any]:
    """What reading and preparing the tasks from the hub gives, and the same from official files beside it."""
    told: dict[str, Any] = {}
    for task in NAMES:
        changes = {"hub": config(task)["hub"] | {"revision": plan["revision"]}}
        both = [glue(task, **changes, folder="nowhere"), glue(task, **changes)]
        told[task] = [
            {
                "origin": dataset.read().origin,
                "rows": {split: rows.to_dict("list") for split, rows in read_all(dataset).items()},
                "board": {name: pd.concat(c()).to_dict("list") for name, c in dataset.unlabelled().items()},
                "hashes": prepare(task, dataset, 0).hashes,
            }
            for dataset in both
        ]
    turned = glue("rte", **changes, folder="nowhere", labels=["not_entailment", "entailment"])
    short = glue("rte", **changes, folder="nowhere", counts={"train": 41})
    told["turned"] = turned.read().table("train")["label"].tolist()
    try:
        short.read().table("train")
    except GraftError as error:
        told["short"] = str(error)
    return told


def test_the_hub_gives_the_very_rows_and_labels_of_the_official_files(data: Path) -> None:
    for task in NAMES:
        folder = write_task(data, task, dict.fromkeys(("train", "dev", "test", *MNLI.values(), *BOARD.values()), 40))
    write_task(data, "mnli", dict.fromkeys((*MNLI.values(), *BOARD.values()), 40))
    (data / "glue" / "MNLI" / "diagnostic-full.tsv").unlink()  # the hub has no labels for it
    with Hub(data / "served") as hub:
        revision = hub.add("dataset", "nyu-mll/glue", published())
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        kept |= {"HF_HOME": str(data / "cache"), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
        kept |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        command = [sys.executable, __file__, json.dumps({"revision": revision})]
        done = subprocess.run(command, env=kept, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert folder.is_dir()
    for task in NAMES:
        hub_said, tsv_said = told[task]
        without = ", without ax, which has no labels there" if task == "mnli" else ""
        assert hub_said["origin"] == f"hub nyu-mll/glue@{revision}{without}"
        assert set(hub_said["rows"]) == ({"train", "test", "mismatched"} if task == "mnli" else {"train", "test"})
        for part, last in (("rows", "label"), ("board", "index")):
            assert set(hub_said[part]) == set(tsv_said[part])
            for name, rows in hub_said[part].items():
                other = tsv_said[part][name]
                assert rows["text"] == other["text"] and rows.get("text_pair") == other.get("text_pair"), (task, name)
                numbers = task == "stsb" and last == "label"
                assert (list(map(float, rows[last])) == list(map(float, other[last]))) if numbers else True
                assert numbers or rows[last] == other[last], (task, name)
                assert len(rows["text"]) == 40
        assert hub_said["hashes"] == tsv_said["hashes"]
    assert told["mnli"][0]["board"]["AX"]["index"] == [str(n) for n in range(40)]
    assert told["turned"] == ["entailment", "not_entailment"] * 20  # the config's order does not turn the hub's numbers
    assert told["short"].startswith("nyu-mll/glue train has 40 rows, but 41 were published.")


# The metrics.


def test_a_constant_answer_scores_what_is_published_for_it_on_mrpc(data_folder: Path) -> None:
    truth = Glue.model_validate(config("mrpc")).read().table("test")["label"].astype(int).to_numpy()
    same = np.ones_like(truth)
    assert score("accuracy", truth, same) == pytest.approx(0.684, abs=5e-4)
    assert score("f1", truth, same) == pytest.approx(0.812, abs=5e-4)
    assert score("matthews", truth, same) == 0.0
    assert interval("matthews", truth, same, draws=20) == (0.0, 0.0)


@pytest.mark.filterwarnings("ignore:A single label")
@pytest.mark.parametrize("task", TASKS)
def test_every_metric_of_every_task_is_1_for_the_truth_and_finite_for_any_constant(task: str) -> None:
    dataset = Glue.model_validate(config(task))
    numbers = task == "stsb"
    truth = np.linspace(0, 5, 60) if numbers else np.arange(60) % len(LABELS[task])
    for metrics in dataset.all_scored.values():
        for name in metrics:
            assert score(name, truth, truth) == pytest.approx(1.0)
            for constant in np.unique(truth):
                flat = np.full_like(truth, constant)
                assert 0.0 <= score(name, truth, flat) < 1.0
                assert 0.0 <= score(name, flat, truth) < 1.0
                assert np.isfinite(interval(name, truth, flat, draws=10)).all()
                if name in ("matthews", "pearson", "spearman"):
                    assert score(name, truth, flat) == score(name, flat, flat) == 0.0


def test_matthews_of_three_classes_by_hand() -> None:
    truth = np.arange(300) % 3
    assert score("matthews", truth, (truth + 1) % 3) == pytest.approx(-0.5)  # always the next class
    # Rows are the truth: [[4, 1, 0], [1, 2, 1], [0, 1, 2]]; trace 8 of 12, row sums 5, 4, 3, column sums 5, 4, 3.
    truth = np.repeat([0, 0, 1, 1, 1, 2, 2], [4, 1, 1, 2, 1, 1, 2])
    predicted = np.repeat([0, 1, 0, 1, 2, 1, 2], [4, 1, 1, 2, 1, 1, 2])
    assert score("matthews", truth, predicted) == pytest.approx((8 * 12 - 50) / (144 - 50))


def test_the_odd_characters_of_these_tests_are_really_in_them() -> None:
    assert {'"', "\u2028", "\x85", "\r"} <= set("".join(ODD))


if __name__ == "__main__":
    print(json.dumps(child(json.loads(sys.argv[1]))))
