"""Fine-tunes made once a session and asked by many tests; they share one home, and so one MLflow.

A plugin of fixtures, PYTEST_DONT_REWRITE: it asserts nothing.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from flows.__main__ import main
from flows.finetune import Result, run
from flows.quiet import hush
from tasks import tracking
from tasks.compose import load
from tasks.prepare import prepare
from tasks.results import Prepared

TEXT = ("dataset.limit=160", "schedule.epochs=2")
IMAGE = ("dataset.limit=60", "schedule.epochs=2")
SOON = ("dataset.limit=80", "schedule.epochs=1")


@dataclass(frozen=True)
class Made:
    """A finished fine-tune, and what it left behind: `results` are the MLflow run's artifacts."""

    result: Result
    data: Prepared
    results: Path
    aliases: dict[str, int]  # as they were right after it

    @property
    def predictions(self) -> pd.DataFrame:
        return pd.read_parquet(self.results / "predictions.parquet")


def aliases(name: str) -> dict[str, int]:
    """A registered model's aliases and their versions."""
    return {alias: int(version) for alias, version in tracking.client().get_registered_model(name).aliases.items()}


def make(place: Path, experiment: str, *overrides: str) -> Made:
    """Run the whole flow, then fetch what it left."""
    recipe = load(experiment, overrides)
    result = run(recipe)
    place.mkdir()
    fetched = tracking.client().download_artifacts(result.registered.run_id, "", str(place))
    return Made(result, prepare(recipe.model, recipe.dataset, recipe.seed), Path(fetched), aliases(recipe.model))


def number_table(folder: Path) -> Path:
    """An experiment of text pairs whose target is how many words they share; returns its file."""
    words = ["red", "green", "blue", "cyan", "pink", "grey", "teal", "gold", "lime", "navy"]
    with (folder / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["one", "two", "shared"])
        for index in range(96):
            one = [words[(index + place) % 10] for place in range(3)]
            two = [words[(index * 7 + place) % 10] for place in range(4)]
            table.writerow([f"{' '.join(one)} {index}", " ".join(two), len({*one} & {*two})])
    (folder / "pairs.yaml").write_text(
        "dataset: {kind: table, path: pairs.csv, target: number, columns: {text: one, text_pair: two, label: shared}}\n"
        "backbone: transformer\nmethod: scratch\nschedule: {epochs: 2, batch_size: 16}\n"
    )
    return folder / "pairs.yaml"


def label_table(folder: Path) -> Path:
    """An experiment whose rows have any number of labels: the colours that they name; returns its file."""
    colours, lines = ["red", "green", "blue"], []
    for index in range(160):
        own = [colour for place, colour in enumerate(colours) if index >> place & 1]
        lines.append({"text": f"number {index} is {' and '.join(own) or 'plain'} as can be", "label": own})
    (folder / "colours.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "colours.yaml").write_text(
        "dataset: {kind: table, path: colours.jsonl, target: multilabel, labels: [red, green, blue]}\n"
        "backbone: transformer\nmethod: {kind: scratch, learning_rate: 0.002}\n"
        "schedule: {epochs: 6, batch_size: 16, class_weights: auto}\n"
    )
    return folder / "colours.yaml"


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
            patch.delenv(name, raising=False)
        hush()
        yield folder


@pytest.fixture
def at_home(shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """GRAFT_HOME, where the fine-tunes of the session are."""
    monkeypatch.setenv("GRAFT_HOME", str(shared_home))
    return shared_home


def _made(home: Path, experiment: str, *overrides: str) -> Made:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(home))
        patch.setenv("GRAFT_DATA", str(home))
        return make(home / f"results-{Path(experiment).stem}", experiment, *overrides)


@pytest.fixture(scope="session")
def tickets(shared_home: Path) -> Made:
    """Texts, from scratch."""
    return _made(shared_home, "tickets_scratch", *TEXT)


@pytest.fixture(scope="session")
def digits(shared_home: Path) -> Made:
    """Pictures, from scratch."""
    return _made(shared_home, "digits_scratch", *IMAGE)


@pytest.fixture(scope="session")
def adapted(shared_home: Path) -> Made:
    """Texts, a pretrained trunk with LoRA; a model name of its own."""
    return _made(shared_home, "tickets_lora", *SOON, "model=adapted")


@pytest.fixture(scope="session")
def numbers(shared_home: Path) -> Made:
    """Text pairs and a number."""
    return _made(shared_home, str(number_table(shared_home)))


@pytest.fixture(scope="session")
def colours(shared_home: Path) -> Made:
    """Texts with any number of labels."""
    return _made(shared_home, str(label_table(shared_home)))


class Told(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


Graft = Callable[..., Told]


@pytest.fixture
def graft(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Graft:
    """`graft` with these words, in this process: its real entry point."""

    def call(*words: object) -> Told:
        monkeypatch.setattr(sys, "argv", ["graft", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "120")
        capfd.readouterr()
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        return Told(int(code), *capfd.readouterr())

    return call
