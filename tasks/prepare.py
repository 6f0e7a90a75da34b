"""Rows made ready: checked, brought into an order of their own, carved into splits, kept on disk.

All of it streams: memory holds the keys and labels of the rows, and a shelf of the rows themselves.
"""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks import runtime, unchanged
from tasks.arranged import in_order, pool_of
from tasks.datasets.spec import INPUTS, LABEL, ROW, SLICE, DatasetSpec, Source, target_of
from tasks.frozen import GraftError
from tasks.intake import Intake, check_seen, take_in
from tasks.results import Prepared, Target
from tasks.rows import Rows, inputs_of
from tasks.screen import counting
from tasks.splits import Pool, carve, draw
from tasks.steps import step

__all__ = ["inputs_of", "prepare", "rows_of"]

BATCH = 4096  # rows in a part of a prepared file


@step
def prepare(name: str, dataset: DatasetSpec, seed: int) -> Prepared:
    """Read, check and split a data set; the same content gives the same splits in the same order.

    Where the source's files are as they were, and nothing else has changed, what was prepared then is taken.
    Validation rows are carved from train, never from test; so are test rows where the source has none. Rows that are
    the same or nearly so, or share a group, never lie on both sides of such a cut. Where the source itself has an
    input in train and in a set that is scored (STS-B has six), it is left out of train.

    Raises:
        GraftError: the source is missing, or holds rows that cannot be trained or scored on.
    """
    mark = unchanged.mark_of(name, dataset, seed)
    if mark and (known := unchanged.recall(mark)):
        return known
    source = dataset.read()
    root = runtime.home() / "prepared"
    root.mkdir(exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=root))
    try:
        done = _prepared(name, dataset, source, seed, made)
        if mark:
            unchanged.note(mark, done)
        return done
    except OSError as error:
        place, reason = error.filename or root, error.strerror or error
        raise GraftError(f"{place} cannot be read or written: {reason}. Free space or set GRAFT_HOME.") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _prepared(name: str, dataset: DatasetSpec, source: Source, seed: int, made: Path) -> Prepared:
    intakes = {"train": take_in(dataset, source, "train", made / "shelves" / "train")}
    target = target_of(dataset, source, set(intakes["train"].seen))
    _check_target(dataset, target)
    for split in source.splits.keys() - {"train"}:
        intakes[split] = take_in(dataset, source, split, made / "shelves" / split)
    for intake in intakes.values():
        check_seen(intake.seen, target)
    pools = {split: pool_of(intake, target, grouped=split == "train") for split, intake in intakes.items()}
    marks = _marks(dataset, pools, seed)
    _check_splits(pools["train"].labels, marks, target)
    kept = {"train": marks == TRAIN, "validation": marks == VALIDATION}
    kept |= {} if "test" in pools else {"test": marks == TEST}
    files = {split: ("train", mask) for split, mask in kept.items()}
    files |= {split: (split, np.ones(len(pools[split]), bool)) for split in pools if split != "train"}
    order = ["train", "validation", "test", *sorted(files.keys() - {"train", "validation", "test"})]
    hashes = {}
    for split in order:
        origin, mask = files[split]
        hashes[split] = _keep(intakes[origin], mask, target, made / f"{split}.arrow", split)
    return Prepared(
        folder=_settle(made, runtime.home() / "prepared", name, hashes | _sliced(made / "test.arrow")),
        origin=source.origin,
        revision=source.revision,
        accepts=dataset.accepts,
        target=target,
        rows={split: int(files[split][1].sum()) for split in order},
        hashes=hashes,
        left_out=int((marks == LEFT_OUT).sum()),
    )


UNUSED, TRAIN, VALIDATION, TEST, LEFT_OUT = range(5)


def _marks(dataset: DatasetSpec, pools: dict[str, Pool], seed: int) -> NDArray[np.int8]:
    """What becomes of every row of the source's train split."""
    pool = pools["train"]
    marks = np.full(len(pool), TRAIN, np.int8)
    scored = [pools[split].keys for split in pools if split != "train"]
    if scored:
        marks[_within(pool.keys, np.concatenate(scored))] = LEFT_OUT
    if "test" not in pools:  # no seed: all runs share their test rows
        _move(marks, pool, lambda rest: carve(rest, dataset.test, "test"), TEST)
    here = int((marks == TRAIN).sum())
    if dataset.limit and dataset.limit < here:
        share = dataset.limit / here
        _move(marks, pool, lambda rest: ~draw(rest, share, f"limit:{seed}"), UNUSED)
    _move(marks, pool, lambda rest: carve(rest, dataset.validation, f"validation:{seed}"), VALIDATION)
    return marks


def _move(marks: NDArray[np.int8], pool: Pool, choose: Any, mark: int) -> None:
    rest = marks == TRAIN
    chosen = choose(pool[rest])
    marks[np.flatnonzero(rest)[chosen]] = mark


def _within(keys: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    def binary(rows: NDArray[np.uint8]) -> pa.Array:
        buffer = pa.py_buffer(np.ascontiguousarray(rows))
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1]), len(rows), [None, buffer])

    found: NDArray[np.bool_] = pc.is_in(binary(keys), binary(others)).to_numpy(zero_copy_only=False)
    return found


def _check_target(dataset: DatasetSpec, target: Target) -> None:
    if "f1" in dataset.scored and target.outputs != 2:
        raise GraftError(f"Metric 'f1' is for two classes; here are {target.outputs}. Use macro_f1.")


def _check_splits(labels: NDArray[Any], marks: NDArray[np.int8], target: Target) -> None:
    names = {"train": TRAIN, "validation": VALIDATION} | ({"test": TEST} if (marks == TEST).any() else {})
    for split, mark in names.items():
        if not (marks == mark).any():
            raise GraftError(f"No row is left for {split}. Give more rows, or set dataset.validation or dataset.limit.")
    own = labels[marks == TRAIN]
    for index, label in enumerate(target.labels or ()):
        if not (own[:, index] if target.kind == "multilabel" else own == index).any():
            raise GraftError(f"Class {label!r} has no training row left. Give more rows of it, or raise dataset.limit.")


def _keep(intake: Intake, chosen: NDArray[np.bool_], target: Target, file: Path, split: str) -> str:
    """Write the chosen rows of a split in their order; returns the hash of their inputs and labels."""
    digest = hashlib.sha256("\n".join(target.labels or ("number",)).encode())
    done, writer = 0, None
    with counting(f"write {split}") as shown:
        for rows, codes in in_order(intake, target):
            mask = chosen[done : done + len(rows)]
            done += len(rows)
            table = _finished(rows.filter(pa.array(mask)), codes[mask])
            for key, label in zip(table["key"].to_pylist(), codes[mask].tolist(), strict=True):
                digest.update(f"\n{key} {label}".encode())
            writer = writer or pa.ipc.new_file(file, table.schema)
            writer.write_table(table, max_chunksize=BATCH)
            shown.advance(steps=len(table))
    if writer:
        writer.close()
    return digest.hexdigest()[:32]


def _finished(rows: pa.Table, codes: NDArray[Any]) -> pa.Table:
    """`row_id`, inputs, what a gate slices by, the label as a number (or a list of 0 and 1), and the key as text."""
    kept = [ROW, *INPUTS, *(name for name in rows.column_names if name.startswith(SLICE))]
    columns = {name: rows[name] for name in kept if name in rows.column_names}
    columns[LABEL] = pa.array(codes) if codes.ndim == 1 else pa.array(list(codes), pa.list_(pa.int8()))
    columns["key"] = pa.array([key.hex() for key in rows["key"].to_pylist()], pa.string())
    return pa.table(columns)


def _sliced(file: Path) -> dict[str, str]:
    """The hash of each column by which a gate may slice the rows: they are no part of the rows' own hash."""
    rows = Rows(file)
    names = [name for name in rows.names if name.startswith(SLICE)]
    return {name: hashlib.sha256(json.dumps(list(rows[name])).encode()).hexdigest() for name in names}


def _settle(made: Path, root: Path, name: str, hashes: dict[str, str]) -> Path:
    """Move the finished files to their place at once: other runs see all of it or nothing."""
    shutil.rmtree(made / "shelves")
    identity = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    folder = root / f"{name}-{identity[:8]}"
    try:
        made.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    return folder


def rows_of(data: Prepared, split: str) -> Rows:
    """A split's rows, read from disk as they are needed."""
    return Rows(data.file(split))
