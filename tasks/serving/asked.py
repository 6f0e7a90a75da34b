"""A request's rows, checked one by one before they join the others'."""

import base64
import binascii
from typing import Any

from pydantic import Field, ValidationError

from tasks.backbones.network import Rows
from tasks.frozen import Frozen, GraftError
from tasks.pictures import check_picture

ROWS, CHARACTERS = 256, 100_000  # of a request, and of a text
EXAMPLE = '{"rows": [{"text": "my parcel never came"}]}'


class Row(Frozen):
    """One row: a text, two texts, or a picture."""

    text: str | None = Field(None, max_length=CHARACTERS)
    text_pair: str | None = Field(None, max_length=CHARACTERS, description="the second text, where rows are pairs")
    image: str | None = Field(None, description="the picture file's content in base64")


class Asked(Frozen):
    """What is asked of a model."""

    rows: tuple[Row, ...] = Field(min_length=1, max_length=ROWS)


def columns(body: bytes, name: str, inputs: tuple[str, ...]) -> Rows:
    """The input columns of a request for a model that takes these inputs; pictures as their files' bytes.

    Args:
        body: JSON of the form of `Asked`.
        name: the model's, for the errors.
        inputs: of the model.

    Raises:
        GraftError: it is no such JSON, or a row cannot be used; which one, and why.
    """
    try:
        rows = Asked.model_validate_json(body).rows
    except ValidationError as error:
        raise GraftError(_told(error.errors(include_url=False)[0])) from None
    return {field: [_cell(place, row, field, name, inputs) for place, row in enumerate(rows)] for field in inputs}


def _cell(place: int, row: Row, field: str, name: str, inputs: tuple[str, ...]) -> str | bytes:
    if extra := sorted(row.model_fields_set - {*inputs}):
        raise GraftError(f"Row {place}: model {name!r} takes {' and '.join(inputs)}, but {extra[0]} is given.")
    cell: str | None = getattr(row, field)
    if cell is None:
        raise GraftError(f"Row {place}: model {name!r} needs {field}.")
    if not cell.strip():
        raise GraftError(f"Row {place}: {field} is empty. Fill it or leave the row out.")
    return _picture(place, cell) if field == "image" else cell


def _picture(place: int, cell: str) -> bytes:
    try:
        content = base64.b64decode(cell, validate=True)
        check_picture(content)
    except (binascii.Error, ValueError) as error:  # ValueError: not ASCII
        raise GraftError(f"Row {place}: image is no base64 ({error}). Send the file's content in base64.") from None
    except GraftError as error:
        raise GraftError(f"Row {place}: {error}") from error
    return content


def _told(fault: Any) -> str:
    """The first of pydantic's faults as a line; it quotes no text."""
    kind, where = fault["type"], fault["loc"]
    if kind == "json_invalid":
        return f"The body is no JSON ({fault['ctx']['error']}). Send e.g. {EXAMPLE}"
    if kind in ("missing", "model_type") and len(where) < 2:
        return f"The body has no rows. Send e.g. {EXAMPLE}"
    valid = ", ".join((Row if len(where) > 1 else Asked).model_fields)
    start = f"Row {where[1]}: " if len(where) > 1 else ""
    if kind == "extra_forbidden":
        return f"{start}unknown field {str(where[-1])[:40]!r}. Valid: {valid}."
    if kind == "too_long":
        return f"There are more than {ROWS} rows. Send them in several requests."
    if kind == "too_short":
        return f"There is no row. Send e.g. {EXAMPLE}"
    if kind == "string_too_long":
        return f"{start}{where[-1]} has more than {CHARACTERS:,} characters. Shorten it or leave the row out."
    if len(where) == 2:
        return f"{start}it should be an object with the fields {valid}."
    return f"{start}{where[-1]}: {fault['msg']}."
