"""Rows taken in from a source: each is checked by its id, hashed, and put on the shelves."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.datasets.spec import GROUP, LABEL, ROW, SLICE, DatasetSpec, Source
from tasks.frozen import GraftError
from tasks.near import picture_hash
from tasks.pictures import check_picture
from tasks.results import Target
from tasks.screen import counting
from tasks.shelves import SHELVES, Shelves

MOST_CLASSES = 10_000
KINDS = {"text": pa.string(), "text_pair": pa.string(), "image": pa.large_binary(), "look": pa.binary()}


@dataclass
class Intake:
    """A split on its shelves, and the labels seen in it, each with the id of the first row that has it."""

    shelves: Shelves
    columns: list[str]
    seen: dict[str, str] = field(default_factory=dict)
    rows: int = 0


def take_in(spec: DatasetSpec, source: Source, split: str, folder: Path) -> Intake:
    """Read a split, check every row, and put it on shelves in `folder`.

    Raises:
        GraftError: a row has no label or no input, or an input that cannot be read; the error gives its id.
    """
    intake: Intake | None = None
    with counting(f"read {split}") as shown:
        for chunk, last in _with_end(source.splits[split]()):
            if intake is None:
                schema = _schema(spec, chunk)
                intake = Intake(Shelves(folder, schema, 1 if last else SHELVES), schema.names)
            _check_labels(spec, chunk, intake.seen)
            intake.shelves.add(_hashed(spec, chunk))
            intake.rows += len(chunk)
            shown.advance(steps=len(chunk))
    if intake is None or not intake.rows:
        raise GraftError(f"{source.origin} holds no {'training row' if split == 'train' else f'row for {split}'}.")
    intake.shelves.close()
    return intake


def _with_end(chunks: Iterable[pd.DataFrame]) -> Iterator[tuple[pd.DataFrame, bool]]:
    """Every chunk that has rows, and whether it is the last."""
    waiting = None
    for chunk in chunks:
        if len(chunk):
            if waiting is not None:
                yield waiting, False
            waiting = chunk
    if waiting is not None:
        yield waiting, True


def _schema(spec: DatasetSpec, chunk: pd.DataFrame) -> pa.Schema:
    label = pa.list_(pa.string()) if spec.target == "multilabel" else pa.string()
    fields = {ROW: pa.string(), "key": pa.binary(16), LABEL: label}
    fields |= {name: KINDS[name] for name in spec.inputs}
    fields |= {"look": KINDS["look"]} if "image" in spec.inputs else {}
    fields |= {name: pa.string() for name in chunk if name == GROUP or name.startswith(SLICE)}
    return pa.schema(list(fields.items()))


def _check_labels(spec: DatasetSpec, rows: pd.DataFrame, seen: dict[str, str]) -> None:
    cells: Iterable[tuple[str, str]]
    if spec.target == "multilabel":
        cells = ((row, label) for row, labels in zip(rows[ROW], rows[LABEL], strict=True) for label in labels)
    else:
        if missing := rows[ROW][rows[LABEL].str.len() == 0].tolist():
            more = f" ({len(missing) - 1} more rows have none)" if missing[1:] else ""
            raise GraftError(f"Row {missing[0]} has no label{more}. Label it or leave the row out.")
        if spec.target == "number":
            return _check_numbers(rows)
        first = rows.drop_duplicates(LABEL)
        cells = zip(first[ROW], first[LABEL], strict=True)
    for row, label in cells:
        seen.setdefault(label, row)
    if len(seen) > MOST_CLASSES:
        raise GraftError(
            f"The labels have more than {MOST_CLASSES:,} different values. Is it the right column? "
            "Set `columns: {label: ...}`, or target: number."
        )
    return None


def _check_numbers(rows: pd.DataFrame) -> None:
    bad = rows[~np.isfinite(pd.to_numeric(rows[LABEL], errors="coerce"))]
    if len(bad):
        raise GraftError(f"Row {bad[ROW].iloc[0]}: label {bad[LABEL].iloc[0]!r} is no number, and target is number.")


def check_seen(seen: dict[str, str], target: Target) -> None:
    """Raise a GraftError that gives the row if a label is outside the classes."""
    for label, row in seen.items() if target.labels else ():
        if label not in target.raw:
            raise GraftError(f"Row {row}: label {label!r} is outside the classes. Valid: {', '.join(target.raw)}.")


def _hashed(spec: DatasetSpec, rows: pd.DataFrame) -> pa.Table:
    """The chunk with every row's key: 16 bytes of SHA-256 over its inputs, each led by its length."""
    columns: dict[str, Any] = {name: rows[name] for name in rows}
    if "image" in spec.inputs:
        columns["look"] = [picture_hash(_picture(*cells)) for cells in zip(rows[ROW], rows["image"], strict=True)]
    keys = [hashlib.sha256() for _ in range(len(rows))]
    for name in spec.inputs:
        for key, row, value in zip(keys, rows[ROW], rows[name], strict=True):
            content = value if isinstance(value, bytes) else _text(row, name, value)
            key.update(len(content).to_bytes(8, "big") + content)
    columns["key"] = [key.digest()[:16] for key in keys]
    schema = _schema(spec, rows)
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in schema})


def _text(row: str, column: str, text: str) -> bytes:
    if not text.strip():
        raise GraftError(f"Row {row}: {column} is empty. Fill it or leave the row out.")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise GraftError(f"Row {row}: {column} holds half a character ({error.reason}). Mend the file.") from error


def _picture(row: str, file: bytes) -> Any:
    try:
        return check_picture(file)
    except GraftError as error:
        raise GraftError(f"Row {row}: {error}") from error


def coded(labels: pa.ChunkedArray, target: Target) -> NDArray[Any]:
    """[N] class indices or numbers, or [N, K] of 0 and 1, of labels as the source writes them."""
    if target.kind == "number":
        numbers: NDArray[Any] = pd.to_numeric(labels.to_pandas()).to_numpy(float)
        return numbers
    if target.kind == "class":
        found: NDArray[Any] = pc.index_in(labels, pa.array(target.raw)).to_numpy().astype(np.int64)
        return found
    index = {raw: place for place, raw in enumerate(target.raw)}
    marks = np.zeros((len(labels), target.outputs), np.int8)
    for row, own in enumerate(labels.to_pylist()):
        marks[row, [index[label] for label in own]] = 1
    return marks
