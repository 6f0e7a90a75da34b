"""Ask a registered model from the terminal."""

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from tasks.frozen import GraftError
from tasks.screen import console


def table(
    texts: Sequence[str] | None, pairs: Sequence[str] | None, images: Sequence[Path] | None, file: Path | None
) -> pd.DataFrame:
    """The rows to ask for, from exactly one kind of input.

    Raises:
        GraftError: none or several kinds are given, or a file is missing.
    """
    if sum(map(bool, (texts, images, file))) != 1:
        raise GraftError("Give exactly one of --text, --image and --file, e.g. --text 'my parcel never came'.")
    if pairs and len(pairs) != len(texts or ()):
        raise GraftError(f"{len(pairs)} --pair do not fit {len(texts or ())} --text: each --text needs one.")
    if file:
        return _from_csv(file)
    if images:
        return pd.DataFrame({"image": [_picture(path) for path in images]}, index=[str(path) for path in images])
    rows = {"text": list(texts or ())} | ({"text_pair": list(pairs)} if pairs else {})
    return pd.DataFrame(rows, index=list(texts or ()))


def _from_csv(file: Path) -> pd.DataFrame:
    from tasks.datasets.tables import read_table

    rows = read_table(file)
    if not {"text", "image"} & set(rows.columns):
        raise GraftError(f"{file} has neither a column text nor image. It has: {', '.join(rows.columns)}.")
    if "image" in rows:
        rows.index = pd.Index(rows["image"])
        rows["image"] = [_picture(file.parent / path) for path in rows["image"]]
    return rows


def _picture(path: Path) -> bytes:
    from PIL import Image

    try:
        content = path.read_bytes()
        Image.open(io.BytesIO(content)).load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise GraftError(f"{path} cannot be read as a picture: {getattr(error, 'strerror', None) or error}.") from error
    return content


def predict(name: str, rows: pd.DataFrame, out: Path | None, version: str | None, as_json: bool) -> None:
    """Answers as a table on the terminal, as JSON, or as the input's columns with the answers' in a CSV."""
    from tasks.registry import load_model

    with console.status(f"loading {name}"):
        model = load_model(name, version)
    wanted = [column.name for column in model.metadata.get_input_schema()]
    if missing := [column for column in wanted if column not in rows]:
        flags = {"text": "--text", "text_pair": "--pair", "image": "--image"}
        raise GraftError(f"Model {name!r} needs {missing[0]}: give {flags[missing[0]]}, or a CSV with that column.")
    with console.status(f"asking for {len(rows)} rows"):
        answers = model.predict(rows[wanted])
    answers.index = rows.index
    if "labels" in answers and not as_json:
        answers["labels"] = answers["labels"].map("|".join)
    if out:
        kept = rows.assign(image=rows.index) if "image" in rows else rows
        kept = kept.rename(columns={name: f"{name}_given" for name in answers if name in kept})
        try:
            pd.concat([kept, answers], axis=1).to_csv(out, index=False)
        except OSError as error:
            raise GraftError(f"{out} cannot be written: {error.strerror or error}.") from error
        console.print(f"{len(rows)} answers written to {out}")
    elif as_json:
        sys.stdout.write(json.dumps(answers.to_dict("records")) + "\n")
    else:
        _show(answers)


def _show(answers: pd.DataFrame) -> None:
    figures = [column for column in answers.columns if column != "probabilities"]
    shown = Table("input", *figures, box=None, header_style="dim")
    for row, values in answers[figures].iterrows():
        shown.add_row(str(row)[:70], *map(_cell, values))
    Console().print(shown)


def _cell(value: object) -> str:
    if value is None:
        return "(not sure enough)"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
