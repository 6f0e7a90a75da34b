"""Prepared rows are taken again only where nothing has changed: not a file, not a setting, not Graft's own code."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small import pictures

from tasks import files, unchanged
from tasks.checks.refused import Usable, refused
from tasks.datasets.images import ImageFolder
from tasks.datasets.spec import DatasetSpec, Source
from tasks.datasets.table import Table
from tasks.prepare import prepare, rows_of

pytest_plugins = ["small"]


@pytest.fixture(autouse=True)
def place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """GRAFT_DATA; its files count as settled as soon as they are written."""
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    monkeypatch.setattr(files, "SETTLED", 0)
    return tmp_path


def table(place: Path, rows: int = 60, **options: Any) -> Table:
    texts = pd.DataFrame({"text": [f"row {n} says {n * n}" for n in range(rows)], "label": ["a", "b"] * (rows // 2)})
    texts.to_csv(place / "rows.csv", index=False)
    return Table(kind="table", path="rows.csv", **options)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of the sources that were read, in order."""
    found: list[str] = []
    for kind in (Table, ImageFolder):
        real = kind.read

        def read(self: DatasetSpec, real: Any = real) -> Source:
            found.append(type(self).__name__)
            source: Source = real(self)
            return source

        monkeypatch.setattr(kind, "read", read)
    return found


def test_a_source_that_did_not_change_is_not_read_again(place: Path, reads: list[str]) -> None:
    first = prepare("mine", table(place), 0)
    again = prepare("mine", Table(kind="table", path="rows.csv"), 0)
    assert again == first
    assert reads == ["Table"]


def test_another_row_of_the_same_size_and_time_is_seen(place: Path, reads: list[str]) -> None:
    spec = table(place)
    first = prepare("mine", spec, 0)
    before = (place / "rows.csv").stat()
    (place / "rows.csv").write_text((place / "rows.csv").read_text().replace("row 3 says", "row 3 sayz"))
    os.utime(place / "rows.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (place / "rows.csv").stat().st_size == before.st_size
    again = prepare("mine", spec, 0)
    assert again.hashes != first.hashes
    assert any("row 3 sayz" in text for split in again.rows for text in rows_of(again, split)["text"])
    assert len(reads) == 2


@pytest.mark.parametrize("change", ["seed", "limit", "validation", "name"])
def test_another_seed_or_setting_is_prepared_anew(place: Path, reads: list[str], change: str) -> None:
    prepare("mine", table(place), 0)
    options: dict[str, Any] = {change: {"limit": 40, "validation": 0.2}[change]} if change in "limit validation" else {}
    prepare("other" if change == "name" else "mine", Table(kind="table", path="rows.csv", **options), change == "seed")
    assert len(reads) == 2


def test_a_picture_that_is_new_gone_or_changed_is_seen(place: Path, reads: list[str]) -> None:
    pictures(place / "set")
    spec = ImageFolder(kind="image_folder", path="set")
    first = prepare("mine", spec, 0)
    assert prepare("mine", spec, 0) == first
    assert len(reads) == 1
    own = place / "set" / "train" / "bad" / "1.png"
    shutil.copy(own, place / "set" / "train" / "bad" / "99.png")
    assert sum(prepare("mine", spec, 0).rows.values()) == sum(first.rows.values()) + 1
    (place / "set" / "train" / "bad" / "99.png").unlink()
    assert prepare("mine", spec, 0) == first
    assert len(reads) == 2, "the very files of the first time"


def test_prepared_files_that_are_gone_or_a_damaged_note_are_made_again(place: Path, home: Path) -> None:
    spec = table(place)
    first = prepare("mine", spec, 0)
    first.file("test").unlink()
    shutil.rmtree(first.folder)
    assert prepare("mine", spec, 0).file("test").exists()
    (note,) = (home / "prepared" / "known").iterdir()
    note.write_text("{")
    assert prepare("mine", spec, 0) == first


def test_a_file_that_has_just_changed_is_read_each_time(
    place: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLED", 2_000_000_000)
    spec = table(place)
    prepare("mine", spec, 0)
    prepare("mine", spec, 0)
    assert len(reads) == 2
    time.sleep(2.1)
    prepare("mine", spec, 0)
    prepare("mine", spec, 0)
    assert len(reads) == 3


def test_other_code_prepares_anew(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = table(place)
    mark = unchanged.mark_of("mine", spec, 0)
    monkeypatch.setattr(unchanged, "CODE", ("splits",))
    assert mark != unchanged.mark_of("mine", spec, 0) is not None


def test_rows_that_a_look_left_out_are_never_taken_for_the_whole_set(place: Path) -> None:
    spec = table(place)
    with (place / "rows.csv").open("a") as file:
        file.write(" ,a\n")
    gone = refused(spec)
    assert gone.ids == {"row:61"}
    usable: Any = Usable(spec, gone)
    prepare("mine", usable, 0)
    with pytest.raises(Exception, match="row:61: text is empty"):
        prepare("mine", spec, 0)


def test_a_table_of_picture_paths_is_always_read(place: Path) -> None:
    spec = Table.model_validate({"kind": "table", "path": "rows.csv", "columns": {"image": "file"}})
    assert unchanged.mark_of("mine", spec, 0) is None
