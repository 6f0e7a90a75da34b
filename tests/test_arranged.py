"""Which rows are alike is found once for the same rows: every later seed gets what an empty home would give."""

from pathlib import Path

import pandas as pd
import pytest

from tasks import runtime
from tasks.datasets.images import Digits
from tasks.datasets.spec import DatasetSpec
from tasks.datasets.table import Table
from tasks.prepare import prepare


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetSpec:
    """200 texts, of which every two are nearly the same."""
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    rows = [
        f"the long report of customer {'abcdefghij'[n // 20] * 7} {'klmnopqrst'[n // 2 % 10] * 9}" for n in range(200)
    ]
    ends = ["", " again"]
    frame = pd.DataFrame({"text": [text + ends[n % 2] for n, text in enumerate(rows)], "label": list("ab") * 100})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    return Table(kind="table", path="rows.csv")


def kept() -> Path:
    (file,) = (runtime.home() / "prepared" / "alike").iterdir()
    return file


@pytest.mark.parametrize("kind", ["texts", "pictures"])
@pytest.mark.parametrize("damage", [False, True])
def test_another_seed_gets_what_an_empty_home_gives(
    texts: DatasetSpec, kind: str, damage: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = texts if kind == "texts" else Digits(kind="digits")
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "one"))
    first = prepare("mine", dataset, 0)
    if damage:
        kept().write_bytes(kept().read_bytes()[:-4])
    noted = kept().stat()

    second = prepare("mine", dataset, 1)

    assert (kept().stat().st_mtime_ns == noted.st_mtime_ns) is not damage
    assert kept().stat().st_size == 4 * (first.rows["train"] + first.rows["validation"] + first.rows["test"])
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "two"))
    assert prepare("mine", dataset, 1).hashes == second.hashes != first.hashes


def test_other_rows_are_looked_at_anew(texts: DatasetSpec, tmp_path: Path, home: Path) -> None:
    prepare("mine", texts, 0)
    rows = pd.read_csv(tmp_path / "rows.csv")
    rows.loc[0, "text"] = "something else"
    rows.to_csv(tmp_path / "rows.csv", index=False)

    prepare("mine", texts, 0)

    assert len(list((home / "prepared" / "alike").iterdir())) == 2
