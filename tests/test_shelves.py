"""Rows on disk: sorted shelf by shelf as if all had been sorted at once, and read back one by one."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tasks.rows import Column, Rows, inputs_of
from tasks.shelves import Shelves, key_order, keys_of

RNG = np.random.default_rng(0)
KEYS = [bytes(RNG.integers(0, 256, 16, dtype=np.uint8)) for _ in range(500)]
KEYS[100:120] = KEYS[:20]
KEYS[7] = bytes(16)  # keys that end in zeros are whole keys


def table(keys: list[bytes]) -> pa.Table:
    return pa.table({"key": pa.array(keys, pa.binary(16)), "n": list(range(len(keys)))})


@pytest.mark.parametrize("count", [1, 64])
def test_shelves_sorted_one_by_one_are_the_whole_sorted(tmp_path: Path, count: int) -> None:
    shelves = Shelves(tmp_path / "shelves", table(KEYS).schema, count)
    for start in range(0, 500, 90):
        shelves.add(table(KEYS).slice(start, 90))
    shelves.close()
    found = []
    for rows in shelves:
        order = key_order(keys_of(rows), np.asarray(rows["n"]))
        found += list(zip(rows.take(order)["key"].to_pylist(), rows.take(order)["n"].to_pylist(), strict=True))
    assert found == sorted(zip(KEYS, range(500), strict=True))


def test_keys_are_read_where_a_part_of_a_table_begins(tmp_path: Path) -> None:
    part = table(KEYS).slice(33, 40)
    assert [bytes(key) for key in keys_of(part)] == KEYS[33:73]


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    made = pa.table(
        {"row_id": [f"r{n}" for n in range(25)], "text": [f"t{n}" for n in range(25)], "label": list(range(25))}
    )
    with pa.ipc.new_file(tmp_path / "train.arrow", made.schema) as writer:
        writer.write_table(made, max_chunksize=4)
    return Rows(tmp_path / "train.arrow")


def test_a_column_is_a_sequence_over_all_its_parts(rows: Rows) -> None:
    texts = rows["text"]
    assert len(rows) == len(texts) == 25
    assert [texts[row] for row in range(25)] == list(texts) == [f"t{n}" for n in range(25)]
    assert texts[3:6] == ["t3", "t4", "t5"]
    for outside in (25, -1):
        with pytest.raises(IndexError):
            texts[outside]


def test_a_worker_receives_a_columns_place_and_not_its_content(rows: Rows) -> None:
    sent = pickle.dumps(rows["text"])
    copy = pickle.loads(sent)  # noqa: S301
    assert isinstance(copy, Column)
    assert list(copy) == list(rows["text"])
    assert b"t13" not in sent


def test_labels_are_numbers_or_a_row_of_marks(tmp_path: Path, rows: Rows) -> None:
    assert rows.labels.tolist() == list(range(25))
    marks = (RNG.random((30, 3)) < 0.5).astype(np.int8)
    made = pa.table({"row_id": [str(n) for n in range(30)], "label": pa.array(list(marks), pa.list_(pa.int8()))})
    with pa.ipc.new_file(tmp_path / "marks.arrow", made.schema) as writer:
        writer.write_table(made, max_chunksize=7)
    assert np.array_equal(Rows(tmp_path / "marks.arrow").labels, marks)


def test_chosen_rows_come_as_a_table(rows: Rows) -> None:
    expected = pd.DataFrame({"row_id": ["r9", "r2"], "text": ["t9", "t2"], "label": [9, 2]})
    pd.testing.assert_frame_equal(rows.table([9, 2]), expected, check_dtype=False)
    assert list(inputs_of(rows)) == list(inputs_of(rows.table())) == ["text"]
