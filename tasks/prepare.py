"""Rows made ready: checked, brought into an order of their own, carved into splits, kept as parquet."""

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import track

from tasks import runtime
from tasks.datasets import DatasetSpec, Source, target_of
from tasks.frozen import GraftError
from tasks.results import Prepared, Target
from tasks.screen import console
from tasks.steps import step
from tasks.tables import LABEL, ROW

KEY = "key"  # content hash of a row's inputs: decides order and splits, so that the source's order cannot
INPUTS = ("text", "text_pair", "image")


@step
def prepare(name: str, dataset: DatasetSpec, seed: int) -> Prepared:
    """Read, check and split a data set; the same content gives the same splits in the same order.

    Validation rows are carved from train, never from test. Rows with the same inputs never lie on both sides:
    where the source itself has an input in train and in test (STS-B has six), it is left out of train.

    Raises:
        GraftError: the source is missing, or holds rows that cannot be trained or scored on.
    """
    source = dataset.read()
    if source.train.empty:
        raise GraftError(f"{source.origin} holds no training row.")
    target = target_of(dataset, source)
    _check_target(dataset, target)
    train = _ready(source.train, target, "train")
    if source.test is None:
        train, test = carve(train, dataset.test, "test", target)  # no seed: all runs share their test rows
    else:
        test = _ready(source.test, target, "test")
        train = train[~train[KEY].isin(test[KEY])].reset_index(drop=True)
    if dataset.limit:
        train = _limited(train, dataset.limit, seed, target)
    train, validation = carve(train, dataset.validation, f"validation:{seed}", target)
    splits = {"train": train, "validation": validation, "test": test}
    _check_splits(splits, target)
    return _keep(name, dataset, source, target, splits)


def _check_target(dataset: DatasetSpec, target: Target) -> None:
    if target.labels is not None and len(target.labels) < 2:
        raise GraftError(
            f"The training rows hold one class only ({', '.join(target.labels)}). At least two are needed."
        )
    if "f1" in dataset.scored and target.outputs != 2:
        raise GraftError(f"Metric 'f1' is for two classes; here are {target.outputs}. Use macro_f1.")


def _ready(rows: pd.DataFrame, target: Target, split: str) -> pd.DataFrame:
    """Rows with labels as numbers, in the order of their content's hash."""
    rows = rows.assign(**{LABEL: _labels(rows, target)})
    inputs = [name for name in INPUTS if name in rows]
    for name in inputs:
        check = _check_image if name == "image" else _check_text
        shown = rows[name] if name != "image" or len(rows) < 1000 else _shown(rows[name], f"checking {split} images")
        for row, value in zip(rows[ROW], shown, strict=True):
            check(row, name, value)
    rows[KEY] = [_hash(*values) for values in zip(*(rows[name] for name in inputs), strict=True)]
    return rows.sort_values([KEY, LABEL], kind="stable", ignore_index=True)


def _shown(values: Any, what: str) -> Any:
    return track(values, what, console=console, transient=True)


def _labels(rows: pd.DataFrame, target: Target) -> list[float] | list[int]:
    if missing := rows[ROW][rows[LABEL].str.len() == 0].tolist():
        more = f" ({len(missing) - 1} more rows have none)" if missing[1:] else ""
        raise GraftError(f"Row {missing[0]} has no label{more}. Label it or leave the row out.")
    if target.labels is None:
        numbers = pd.to_numeric(rows[LABEL], errors="coerce")
        bad = rows[~np.isfinite(numbers)]
        if len(bad):
            raise GraftError(
                f"Row {bad[ROW].iloc[0]}: label {bad[LABEL].iloc[0]!r} is no number, and target is number."
            )
        return [float(number) for number in numbers]
    index = {raw: place for place, raw in enumerate(target.raw)}
    strange = rows[~rows[LABEL].isin(index)]
    if len(strange):
        row, label = strange[ROW].iloc[0], strange[LABEL].iloc[0]
        raise GraftError(f"Row {row}: label {label!r} is outside the classes. Valid: {', '.join(target.raw)}.")
    return [index[raw] for raw in rows[LABEL]]


def _check_text(row: str, column: str, text: str) -> None:
    if not text.strip():
        raise GraftError(f"Row {row}: {column} is empty. Fill it or leave the row out.")


def _check_image(row: str, column: str, file: bytes) -> None:
    from PIL import Image, UnidentifiedImageError

    try:
        Image.open(io.BytesIO(file)).load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "no known format" if isinstance(error, UnidentifiedImageError) else error
        raise GraftError(
            f"Row {row}: the {column} cannot be read ({reason}). Replace the file or take it out."
        ) from error


def _hash(*values: str | bytes) -> str:
    digest = hashlib.sha256()
    for value in values:
        content = value.encode() if isinstance(value, str) else value
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:32]


def carve(rows: pd.DataFrame, size: float, salt: str, target: Target) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split off a share (below 1) or a number of rows: stratified, drawn by the salt, rows of one content together.

    Returns:
        the rest and the carved rows, both in their old order.
    """
    if size >= 1 and size >= len(rows):
        split = salt.partition(":")[0]
        raise GraftError(
            f"{size:.0f} rows cannot be carved for {split}: there are {len(rows)} rows. Set dataset.{split} lower, "
            "or give more rows (dataset.limit counts the validation rows too)."
        )
    share = size if size < 1 else size / len(rows)
    chosen = _draw(rows, share, salt, target)
    return rows[~chosen].reset_index(drop=True), rows[chosen].reset_index(drop=True)


def _limited(rows: pd.DataFrame, limit: int, seed: int, target: Target) -> pd.DataFrame:
    if limit >= len(rows):
        return rows
    return rows[_draw(rows, limit / len(rows), f"limit:{seed}", target)].reset_index(drop=True)


def _draw(rows: pd.DataFrame, share: float, salt: str, target: Target) -> "pd.Series[bool]":
    """Marks a share of every class (of every tenth of a number's range), by a salted hash of the content."""
    first = rows.drop_duplicates(KEY)
    strata = first[LABEL] if target.labels else pd.qcut(first[LABEL].rank(method="first"), min(10, len(first)))
    order = first[KEY].map(lambda key: _hash(salt, key))
    taken: set[str] = set()
    for members, count in _quotas(order.groupby(strata, observed=True), share):
        taken.update(first[KEY][members.sort_values().index[:count]])
    return rows[KEY].isin(taken)


def _quotas(groups: Any, share: float) -> list[tuple["pd.Series[str]", int]]:
    """Largest-remainder shares of each group, so that the sum is the rounded share of the whole."""
    members = [group for _, group in groups]
    exact = [len(group) * share for group in members]
    counts = [int(number) for number in exact]
    spare = round(sum(exact)) - sum(counts)
    for index in sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))[:spare]:
        counts[index] += 1
    return list(zip(members, counts, strict=True))


def _check_splits(splits: dict[str, pd.DataFrame], target: Target) -> None:
    for split, rows in splits.items():
        if rows.empty:
            raise GraftError(f"No row is left for {split}. Give more rows, or set dataset.validation or dataset.limit.")
    for index, label in enumerate(target.labels or ()):
        if not (splits["train"][LABEL] == index).any():
            raise GraftError(f"Class {label!r} has no training row left. Give more rows of it, or raise dataset.limit.")
    if target.labels and splits["train"][LABEL].nunique() < 2:
        raise GraftError("The training rows hold one class only. At least two are needed.")


def _keep(name: str, dataset: DatasetSpec, source: Source, target: Target, splits: dict[str, pd.DataFrame]) -> Prepared:
    hashes = {split: _content(rows, target) for split, rows in splits.items()}
    identity = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    folder = runtime.home() / "prepared" / f"{name}-{identity[:8]}"
    _write(folder, lambda place: [rows.to_parquet(place / f"{split}.parquet") for split, rows in splits.items()])
    return Prepared(
        folder=folder,
        origin=source.origin,
        accepts=dataset.accepts,
        target=target,
        rows={split: len(rows) for split, rows in splits.items()},
        hashes=hashes,
    )


def _content(rows: pd.DataFrame, target: Target) -> str:
    lines = [f"{key} {label}" for key, label in zip(rows[KEY], rows[LABEL], strict=True)]
    return _hash("\n".join([*(target.labels or ("number",)), *lines]))


def _write(folder: Path, write: Callable[[Path], Any]) -> None:
    """Fill a folder beside its place and move it there at once: other runs see all of it or nothing."""
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        write(made)
        made.rename(folder)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        if not folder.exists():
            raise GraftError(f"{folder} cannot be written: {error.strerror}. Free space or set GRAFT_HOME.") from error


def rows_of(data: Prepared, split: str) -> pd.DataFrame:
    """A split's rows: `row_id`, `label`, `key` and the inputs."""
    return pd.read_parquet(data.file(split))


def inputs_of(rows: pd.DataFrame) -> dict[str, list[Any]]:
    """The input columns alone, as a backbone takes them."""
    return {name: rows[name].tolist() for name in INPUTS if name in rows}
