"""What a table seems to hold: a CSV, TSV, JSONL or Parquet file, or a saved `datasets` folder."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tasks import runtime
from tasks.datasets.tables import picture_path, plain, read_chunks
from tasks.frozen import GraftError
from tasks.screen import counting
from tasks.survey.cells import Look, look
from tasks.survey.dialect import Dialect, dialect
from tasks.survey.roles import Roles, Wanted, roles
from tasks.survey.seen import LEAST, NAMED, Seen, Survey, longer_side, stored

ROWS = 100_000  # rows looked at, or a little more
BYTES = 2**28  # of pictures in a table that are looked at
SAMPLE = 2000  # texts to measure the length on


def survey_table(path: Path, test: Path | None, wanted: Wanted, encoding: str | None = None) -> Survey:
    """Look at the first rows of a CSV, TSV, JSONL or Parquet file, or of a saved `datasets` folder.

    Raises:
        GraftError: the table cannot be read, or what it holds cannot be seen or learnt from.
    """
    written = dialect(path, encoding)
    _check_test(written, test, encoding)
    part, notes = _train_part(path)
    table, whole = _sample(part, written)
    looks = [look(str(name), table[name].tolist()) for name in table]
    _check_header(path, looks)
    found = roles(looks, wanted, path.name)
    _check_inputs(looks, found)
    if found.split is None:
        _check_split_words(looks, whole)
    fields = _fields(found, written) | ({} if test is None else {"test_path": stored(test)})
    if test and "split_column" in fields:
        del fields["split_column"]
        notes.append(f"{found.split!r} is not used, because --test is given.")
    if found.image:
        fields |= _picture_root(path, table[found.image])
    smallest, largest, labels, more = _balance([own for own in looks if own.name in found.label], found, whole)
    split = fields.get("split_column")
    train = table[table[split].map(plain) == "train"] if split else table
    texts = [name for name in (found.text, found.pair) if name]
    ours = bool(test or split or (path / "test").is_dir())
    return Survey(
        kind="table",
        fields={"path": stored(path)} | fields,
        target=found.target,
        labels=labels,
        seen=tuple(_seen(own, found) for own in looks),
        notes=(*written.notes, *notes, *more),
        rows=len(table),
        train_rows=len(train) if ours else int(0.75 * len(train)),
        whole=whole,
        smallest=smallest,
        largest=largest,
        group=found.group,
        sample=tuple(train[texts].map(plain).head(SAMPLE).itertuples(index=False, name=None)) if texts else (),
        side=_side(part.parent, fields, train[found.image]) if found.image else 0,
    )


def _check_test(written: Dialect, test: Path | None, encoding: str | None) -> None:
    """Raise a GraftError if the test file is written in another way: a data set's file says it once."""
    other = dialect(test, encoding) if test else written
    if (other.encoding, other.delimiter) != (written.encoding, written.delimiter):
        raise GraftError(
            f"{test} has encoding {other.encoding} and delimiter {other.delimiter or 'as usual'}, but the other "
            f"file has {written.encoding} and {written.delimiter or 'as usual'}. Save both in one way."
        )


def _train_part(path: Path) -> tuple[Path, list[str]]:
    if not (path / "dataset_dict.json").is_file():
        return path, []
    splits = sorted(child.name for child in path.iterdir() if child.is_dir())
    if "train" not in splits:
        raise GraftError(f"{path} has no split train. It has: {', '.join(splits)}. Save it with a split of that name.")
    unread = [name for name in splits if name not in ("train", "test")]
    return path / "train", [f"The split {name!r} is not read: Graft takes train and test alone." for name in unread]


def _sample(path: Path, written: Dialect) -> tuple[pd.DataFrame, bool]:
    """The first rows, and whether there are no more."""
    chunks = read_chunks(path, encoding=written.encoding, delimiter=written.delimiter)
    parts: list[pd.DataFrame] = []
    with counting("look") as shown:
        size = 0
        for chunk in chunks:
            parts.append(chunk)
            shown.advance("rows", len(chunk))
            size += sum(len(cell) for row in chunk.map(plain).itertuples() for cell in row if isinstance(cell, bytes))
            if sum(map(len, parts)) >= ROWS or size > BYTES:
                break
        whole = not any(len(chunk) for chunk in itertools.islice(chunks, 1))
    table = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    if len(table) < LEAST:
        raise GraftError(f"{path} holds {len(table)} rows. At least {LEAST} are needed to train and score on.")
    return table, whole


def _check_header(path: Path, looks: Sequence[Look]) -> None:
    """Raise a GraftError if the names of a CSV's columns look like the cells of a row."""
    if path.suffix not in (".csv", ".tsv"):
        return
    inside = [own.name for own in looks if own.name in own.values or own.name.replace(".", "", 1).isdigit()]
    others = [
        own.name for own in looks if own.name not in inside[:1] and (own.name in inside or own.name.count(" ") > 1)
    ]
    if inside and others:
        raise GraftError(
            f"The first row of {path} seems to hold data and no names of columns: {inside[0]!r}. Add a row with names."
        )


def _check_inputs(looks: Sequence[Look], found: Roles) -> None:
    for own in looks:
        if own.name in (found.text, found.pair, found.image) and own.empty:
            raise GraftError(
                f"Column {own.name!r} as an input is empty in {own.empty:,} rows, the first is row:{own.first_empty}. "
                "Fill them or leave the rows out."
            )


def _check_split_words(looks: Sequence[Look], whole: bool) -> None:
    """Raise a GraftError if a column marks splits with words that a data set's file does not take."""
    known = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}
    for own in looks:
        words = {value.lower() for value in own.values}
        if own.kind == "constant" and words <= known and not whole:
            raise GraftError(
                f"Column {own.name!r} says {own.rare!r} in the first {own.rows:,} rows, and more follow. "
                "Shuffle the rows, so that its other words are seen, or take the column out."
            )
        if own.kind == "words" and len(words) > 1 and words <= known:
            raise GraftError(
                f"Column {own.name!r} marks splits with {', '.join(own.values)}. Valid: train, test. "
                "Mark validation rows as train, of which Graft carves its own, or take the column out."
            )


def _fields(found: Roles, written: Dialect) -> dict[str, Any]:
    label: str | list[str] = found.label[0] if len(found.label) == 1 else list(found.label)
    columns = {"text": found.text, "text_pair": found.pair, "image": found.image, "label": label}
    fields = {
        "encoding": written.encoding if written.encoding != "utf-8" else None,
        "delimiter": written.delimiter,
        "separator": found.separator,
        "split_column": found.split,
    }
    return {name: value for name, value in fields.items() if value} | {
        "columns": {name: value for name, value in columns.items() if value}
    }


def _balance(label: Sequence[Look], found: Roles, whole: bool) -> tuple[int, int, dict[str, str], list[str]]:
    """Rows of the rarest and the commonest class, the classes if they are to be listed, and what there is to note."""
    own = label[0]
    combined = found.target == "multilabel" and own.kind not in ("lists", "multi")  # its labels were not counted
    if found.target == "number" or len(label) > 1 or combined:
        return 0, 0, {}, []
    rows = "row" if own.smallest == 1 else "rows"
    few = [f"Class {own.rare!r} has {own.smallest} {rows} only, too few to learn or to score."]
    if own.smallest < 3 and whole and found.target == "class":
        raise GraftError(f"{few[0]} Give more of it, or leave it out.")
    listed = {value: value for value in own.values} if whole and own.distinct <= NAMED else {}
    return own.smallest, own.largest, listed, few if own.smallest < LEAST and whole else []


def _seen(own: Look, found: Roles) -> Seen:
    role = found.of.get(own.name, "")
    why = f"{own.told}; {found.target}: {found.why}" if role == "label" else own.told
    return Seen(column=own.name, role=role, why=why)


def _picture_root(path: Path, cells: "pd.Series[Any]") -> dict[str, str]:
    """`image_root` where the paths do not start beside the table.

    Raises:
        GraftError: files are missing, or lie where a run would not read them.
    """
    names = [cell for cell in cells.map(plain) if isinstance(cell, str)]
    places = [path.parent, *sorted(child for child in path.parent.iterdir() if child.is_dir()), runtime.data_path(".")]
    root = next((place for place in places if names and (place / names[0]).is_file()), path.parent)
    for line, name in enumerate(names, 1):
        if not picture_path(name, f"row:{line}", root).is_file():
            raise GraftError(f"Row row:{line}: picture {name!r} is no file below {root}. Paths start beside the table.")
    return {} if root == path.parent else {"image_root": stored(root)}


def _side(folder: Path, fields: dict[str, Any], cells: "pd.Series[Any]") -> int:
    root = runtime.data_path(fields["image_root"]) if "image_root" in fields else folder
    some = (plain(cell) for cell in cells[:: max(1, len(cells) // 20)])
    return longer_side(cell if isinstance(cell, bytes) else runtime.data_path(cell, root).read_bytes() for cell in some)
