"""How a text file is written: its encoding, and what stands between its cells."""

import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tasks.frozen import Frozen, GraftError
from tasks.screen import counting

BLOCK = 2**24  # bytes read at once
HEAD = 2**16  # characters in which the delimiter is looked for
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
USUAL = {".csv": ",", ".tsv": "\t"}
ACCENTS = 0.3  # in Western languages fewer of the letters have one


class Dialect(Frozen):
    """`encoding`, and `delimiter` where it is not the one that the file's ending promises; `notes` say why."""

    encoding: str = "utf-8"
    delimiter: str | None = None
    notes: tuple[str, ...] = ()


def dialect(path: Path, encoding: str | None = None) -> Dialect:
    """The dialect of a CSV, TSV or JSONL file; the usual one for any other kind.

    The encoding is that of the mark at the file's start, else the first of UTF-8, cp1252 and Latin-1 that fits all of
    the file. The delimiter is the usual one if it gives the first rows as many cells as the header has, and more than
    one; else the first other that does.

    Raises:
        GraftError: the file cannot be read, is no text, or is in no encoding that can be told from its bytes.
    """
    if path.suffix not in {*USUAL, ".jsonl"}:
        return Dialect()
    try:
        found = encoding or _encoding(path)
        head = _head(path, found)
    except FileNotFoundError as error:
        raise GraftError(f"{path} does not exist. Give the path from here, or from GRAFT_DATA.") from error
    except OSError as error:
        raise GraftError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (LookupError, UnicodeError) as error:
        raise GraftError(f"{path} cannot be read with --encoding {encoding}: {error}.") from error
    notes = []
    if found in ("cp1252", "latin-1") and not encoding:
        _check_western(path, head)
        notes.append(f"{path.name} is not UTF-8. It is read as {found}; give --encoding if it is another one.")
    delimiter = _delimiter(head, USUAL[path.suffix]) if path.suffix in USUAL else None
    if delimiter:
        notes.append(
            f"{path.name} has {DELIMITERS[delimiter]} between its cells, not {DELIMITERS[USUAL[path.suffix]]}."
        )
    return Dialect(encoding=found, delimiter=delimiter, notes=tuple(notes))


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(HEAD)
    for mark, name in MARKS.items():
        if start.startswith(mark):
            return name
    if b"\0" in start:
        raise GraftError(
            f"{path} is no text: it holds zero bytes. Is it a spreadsheet, an archive or UTF-16? Save it as UTF-8 text."
        )
    return next((name for name in ("utf-8", "cp1252") if _decodes(path, name)), "latin-1")


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in _blocks(path):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file, counting("encoding") as shown:
        while block := file.read(BLOCK):
            yield block
            shown.advance("bytes", len(block))


def _head(path: Path, encoding: str) -> str:
    with path.open(encoding=encoding, newline="") as file:
        return file.read(HEAD)


def _check_western(path: Path, head: str) -> None:
    letters = [letter for letter in head if letter.isalpha() or ord(letter) > 127]
    if letters and sum(ord(letter) > 127 for letter in letters) > ACCENTS * len(letters):
        raise GraftError(
            f"{path} is not UTF-8, and no Western text either. Name its encoding, e.g. --encoding cp1251 or shift_jis."
        )


def _delimiter(head: str, usual: str) -> str | None:
    """The delimiter that fits the first rows, if it is not the usual one."""
    fitting = [delimiter for delimiter in (usual, *DELIMITERS) if _fits(head, delimiter)]
    return fitting[0] if fitting and fitting[0] != usual else None


def _fits(head: str, delimiter: str) -> bool:
    """Whether nine tenths of the first rows have as many cells as the header, and at least two."""
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    try:
        rows = [row for row in csv.reader(io.StringIO(head), delimiter=delimiter, quoting=quoting) if row]
    except csv.Error:
        return False
    if len(head) == HEAD:
        rows = rows[:-1]  # perhaps cut off
    alike = sum(len(row) == len(rows[0]) for row in rows) if rows else 0
    return bool(rows) and len(rows[0]) > 1 and alike >= 0.9 * len(rows)
