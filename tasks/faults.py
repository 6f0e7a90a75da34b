"""Pydantic's faults told as a person would: the field by its dotted name, what was given, what is valid."""

import difflib
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


def field_of(model: Any, fault: Any) -> str:
    """The dotted name of the field that a fault is about."""
    field = _walk(model, [str(part) for part in fault["loc"]])[1]
    return ".".join([*field, *([_key(fault)] if fault["type"].startswith("union_tag") else [])])


def explain(model: Any, fault: Any, choices: Mapping[str, Sequence[str]]) -> str:
    """One of pydantic's faults as a sentence: the field, what was given, what is valid.

    Args:
        model: the type that was to be built.
        fault: an entry of `ValidationError.errors()`.
        choices: for a field that may be a name, the names there are.
    """
    loc, given = [str(part) for part in fault["loc"]], fault["input"]
    owner, field, told, tags = _walk(model, loc)
    shown = ".".join(field)
    if fault["type"] in {"extra_forbidden", "invalid_key"}:
        near = difflib.get_close_matches(loc[-1], owner, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"unknown key {shown!r}.{hint} Valid: {', '.join(owner)}."
    key = _key(fault)
    if fault["type"] == "union_tag_invalid":
        return f"{shown + '.' if shown else ''}{key} is {given[key]!r}. Valid: {', '.join(tags)}."
    if fault["type"] == "union_tag_not_found":
        return f"{shown + '.' if shown else ''}{key} is missing. Valid: {', '.join(tags)}."
    files = ", ".join(choices.get(shown, ()))
    if fault["type"] == "missing":
        return f"{shown} is missing.{f' Valid: {files}.' if files else ''}"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error" and isinstance(given, dict):
        return f"{shown + ': ' if shown else ''}{message}."
    if fault["type"].startswith(("model_", "dict_")):
        message = f"it should be {f'one of {files}, or ' if files else ''}a mapping, `key: value`"
    elif fault["type"] == "tuple_type":
        message = "it should be a list, `[one, two]`"
    for start in ("Input ", "String ", "Tuple "):
        message = f"it {message.removeprefix(start)}" if message.startswith(start) else message
    meaning = f" ({told})" if fault["type"] == "string_pattern_mismatch" and told else ""
    return f"{shown} is {given!r}: {message}{meaning}."


def _key(fault: Any) -> str:
    """The name of the field that tells a union's members apart."""
    return str(fault.get("ctx", {}).get("discriminator", "")).strip("'")


def _walk(model: Any, loc: list[str]) -> tuple[list[str], list[str], str, list[str]]:
    """What is known of a fault's place.

    Returns:
        the valid keys of the innermost model on the path, the path without pydantic's union tags, the
        description of the last field, and the tags of the union where the path ends.
    """
    kept: list[str] = []
    valid: list[str] = []
    told, here = "", model
    for part in loc:
        here, choices = _models(here)
        if len(choices) > 1 and here is None:
            here = next((choice for choice in choices if _tag(choice) == part), None)
            if here is not None:
                valid = list(here.model_fields)
                continue
        kept.append(part)
        if here is None:
            continue
        valid = list(here.model_fields)
        info = here.model_fields.get(part)
        here, told = (info.annotation, info.description or "") if info else (None, "")
    return valid, kept, told, [_tag(choice) for choice in _models(here)[1]]


def _models(annotation: Any) -> tuple[Any, list[Any]]:
    """The single model that an annotation means (or None), and all models in it."""
    if get_origin(annotation) in (Union, types.UnionType) or get_args(annotation):
        found = [m for arg in get_args(annotation) for m in _models(arg)[1]]
        return (found[0] if len(found) == 1 else None), found
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return (annotation if is_model else None), ([annotation] if is_model else [])


def _tag(model: type[BaseModel]) -> str:
    for key in ("kind", "library"):
        info = model.model_fields.get(key)
        if info and get_origin(info.annotation) is Literal:
            return str(get_args(info.annotation)[0])
    return ""
