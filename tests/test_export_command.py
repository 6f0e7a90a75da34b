"""`graft export`: the lines of the folder's page, run as they stand and without Graft, answer as was recorded."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import Graft, Made, make
from plain import check_plain

from tasks.prepare import rows_of
from tasks.registry import model_folder, registered
from tasks.rounding import TOLERANCE, apart

pytest_plugins = ["made"]

BEGIN = "import json, sys\nrows = json.loads(sys.argv[1])\n"
END = "\nassert 'tasks' not in sys.modules\nprint(json.dumps([names, logits]))\n"
ASK = {
    ("text", "merged"): """
said = classify(rows, top_k=None, function_to_apply="none")
names = [name for _, name in sorted(classify.model.config.id2label.items())]
logits = [[{one["label"]: one["score"] for one in own}[name] for name in names] for own in said]
assert [own["label"] for own in classify(rows)] == [max(own, key=lambda one: one["score"])["label"] for own in said]
""",
    ("text", "adapter"): """
names = [name for _, name in sorted(base.config.id2label.items())]
logits = [model(**tokenizer(text, truncation=True, return_tensors="pt")).logits[0].tolist() for text in rows]
""",
    ("image", "merged"): """
from PIL import Image
names = model.pretrained_cfg["label_names"]
logits = [model(transform(Image.open(file).convert("RGB"))[None])[0].tolist() for file in rows]
""",
    ("image", "adapter"): """
from PIL import Image
names = base.pretrained_cfg["label_names"]
logits = [model(transform(Image.open(file).convert("RGB"))[None])[0].tolist() for file in rows]
""",
}


def check(graft: Graft, made: Made, form: str, place: Path, count: int = 12) -> None:
    """Export a version, run the page's lines in a fresh process beside the folder, compare with predictions.parquet."""
    version, accepts = made.result.registered, made.data.accepts
    before = contents(model_folder(version.name))
    told = graft("export", version.name, "--version", version.version, "--to", place / form, "--form", form)
    assert (told.code, told.out) == (0, ""), told.err
    assert contents(model_folder(version.name)) == before
    for file, content in contents(place / form).items():
        check_plain(file)
        assert str(place).encode() not in content
    page = (place / form / "README.md").read_text()
    assert f"`{version.uri}` (MLflow run {version.run_id})" in page
    names, logits = loaded(page, accepts, form, list(rows_of(made.data, "test")[accepts][:count]), place)
    recorded = made.predictions.head(count)
    assert tuple(names) == made.data.target.labels
    assert [names[index] for index in np.argmax(logits, 1)] == recorded["prediction"].tolist()
    assert apart(np.stack(list(recorded["logits"])), logits).max() <= {"adapter": TOLERANCE, "merged": 1e-4}[form]


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def loaded(page: str, accepts: str, form: str, rows: list[Any], place: Path) -> tuple[list[str], list[list[float]]]:
    """The outputs' names and [N, K] logits, by the page's own lines; pictures are asked for by their files."""
    if accepts == "image":
        for index, content in enumerate(rows):
            (place / f"{index}.png").write_bytes(content)
        rows = [f"{index}.png" for index in range(len(rows))]
    (lines,) = re.findall(r"```python\n(.+?)```", page, re.DOTALL)
    code = BEGIN + lines + ASK[accepts, form] + END
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(rows)], cwd=place, capture_output=True, text=True, check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "empty"), "PYTHONPATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names, logits = json.loads(done.stdout)
    return names, logits


def test_the_pages_lines_load_texts(graft: Graft, at_home: Path, adapted: Made, tmp_path: Path) -> None:
    check(graft, adapted, "merged", tmp_path)


@pytest.mark.real
def test_the_pages_lines_load_an_adapter(graft: Graft, at_home: Path, adapted: Made, tmp_path: Path) -> None:
    check(graft, adapted, "adapter", tmp_path)


@pytest.mark.real
@pytest.mark.parametrize(
    ("experiment", "overrides", "forms"),
    [
        ("digits_lora", ["dataset.limit=60"], ["adapter", "merged"]),
        ("tickets_lora", ["dataset.limit=80", "method=linear_probe"], ["merged"]),
        ("tickets_lora", ["dataset.limit=80", "method=bitfit"], ["merged"]),
        ("tickets_lora", ["dataset.limit=80", "method=full"], ["merged"]),
    ],
)
def test_the_pages_lines_load_what_every_method_trained(
    graft: Graft, home: Path, tmp_path: Path, experiment: str, overrides: list[str], forms: list[str]
) -> None:
    made = make(tmp_path / "results", experiment, *overrides, "schedule.epochs=1", "model=exported")
    for form in forms:
        check(graft, made, form, tmp_path)


def test_a_version_is_found_by_name_number_and_run(at_home: Path, adapted: Made) -> None:
    version = adapted.result.registered
    for ref in ("adapted", "adapted/1", version.run_id):
        assert registered(ref) == version.model_copy(update={"seconds": 0.0})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none"], "'none' is no registered model with a champion"),
        (["adapted", "--version", "9"], "'adapted/9' is no registered model with a champion"),
        (["adapted/1", "--version", "1"], "'adapted/1' names a version already. Leave --version out."),
        (["tickets"], "The network of 'tickets' is Graft's own (scratch_transformer), which neither transformers nor"),
        (["digits", "--form", "adapter"], "The network of 'digits' is Graft's own (scratch_cnn)"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_no_folder(
    graft: Graft, request: pytest.FixtureRequest, at_home: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    for name in ("adapted", "tickets", "digits"):
        request.getfixturevalue(name)
    told = graft("export", *words, "--to", tmp_path / "out")

    assert (told.code, told.out) == (2, "")
    assert message in told.err
    assert "Traceback" not in told.err
    assert list(tmp_path.iterdir()) == []


def test_a_taken_place_is_told_before_anything_else(graft: Graft, at_home: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    told = graft("export", "whatever", "--to", tmp_path)

    assert told.code == 2
    assert "is not empty, and nothing is written over" in told.err
    assert (tmp_path / "mine").read_text() == "kept"
