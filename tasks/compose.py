"""Config files to recipes: a bare string names a file in its field's folder, a mapping is the thing itself."""

import difflib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from tasks.backbones import Backbone
from tasks.datasets import Dataset
from tasks.faults import explain, field_of
from tasks.frozen import GraftError
from tasks.gates import Gate
from tasks.methods import Method
from tasks.recipe import Recipe

CONFIGS = Path(__file__).parents[1] / "configs"
CATALOGUES: dict[str, tuple[str, Any]] = {  # field -> its folder and its type
    "dataset": ("datasets", Dataset),
    "backbone": ("backbones", Backbone),
    "method": ("methods", Method),
    "gate": ("gates", Gate),
}


def names(folder: str) -> list[str]:
    """What a folder of `configs/` offers."""
    return sorted(file.stem for file in (CONFIGS / folder).glob("*.yaml"))


def find(folder: str, name: str, beside: Path | None = None) -> Path:
    """The file of a name in a folder of `configs/`; a path that ends in .yaml is taken as it is.

    A relative path starts `beside` the file that gives it, if there is such a file, else at the current folder.

    Raises:
        GraftError: there is none; the error gives the nearest names.
    """
    file = Path(name) if name.endswith(".yaml") else CONFIGS / folder / f"{name}.yaml"
    if beside and name.endswith(".yaml") and (beside / name).is_file():
        file = beside / name
    if name.endswith(".yaml") and not file.is_file():
        raise GraftError(f"There is no file {name!r}. Give a path from here, or one of configs/{folder} without .yaml.")
    if not file.is_file():
        near = difflib.get_close_matches(name, names(folder), 3, 0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Valid: {', '.join(names(folder))}."
        raise GraftError(f"There is no {name!r} in configs/{folder}. {hint} `graft list` shows all.")
    return file


def read(file: Path) -> dict[str, Any]:
    """A YAML mapping.

    Raises:
        GraftError: the file is no YAML, or no mapping.
    """
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise GraftError(f"{file} is no valid YAML{line}: {error.problem}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GraftError(f"{file} is no valid YAML: it holds characters that are not UTF-8 text.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise GraftError(f"{file} must hold `key: value` lines, not {type(content).__name__}.")
    return content


def load(experiment: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of an experiment (a name, or a path ending in .yaml) with overrides such as `method.rank=4`.

    Raises:
        GraftError: names the file, the field, what was given and what is valid.
    """
    file = find("experiments", experiment)
    raw = {"name": file.stem} | read(file)
    pairs = [_parse(text) for text in overrides]
    for path, value in pairs:
        if len(path) == 1:
            raw[path[0]] = value
    origins = {field: str(file) for field in raw}
    for field, (folder, _) in CATALOGUES.items():
        if isinstance(raw.get(field), str):
            source = find(folder, raw[field], file.parent)
            if field == "dataset":
                raw.setdefault("model", source.stem)
            raw[field], origins[field] = read(source), str(source)
    for path, value in pairs:
        if len(path) > 1:
            _put(raw, path, value)
        if len(path) > 1 or path[0] not in CATALOGUES or not isinstance(value, str):
            origins[".".join(path)] = "override"
    raw.setdefault("model", raw["name"])
    recipe: Recipe = check(Recipe, raw, str(file), origins)
    return recipe


def seeds(words: str) -> tuple[int, ...]:
    """What --seeds means.

    Raises:
        GraftError: they are not different whole numbers.
    """
    parts = [part.strip() for part in words.split(",")]
    if not all(part.isdecimal() for part in parts) or len({*map(int, parts)}) < len(parts):
        raise GraftError(f"--seeds {words!r} are not different whole numbers with commas, such as 0,1,2.")
    return tuple(map(int, parts))


def refuse(overrides: Sequence[str], why: Mapping[str, str]) -> None:
    """Refuse overrides of a suite; `why` has for each field that cannot be one the rest of the sentence.

    Raises:
        GraftError: there is one.
    """
    for key in (override.partition("=")[0] for override in overrides):
        if key in why:
            raise GraftError(f"Override {key}= {why[key]}")


def gate(name: str) -> Gate:
    """A gate of `configs/gates`, or of a path ending in .yaml.

    Raises:
        GraftError: there is none, or it is not valid.
    """
    file = find("gates", name)
    found: Gate = check(Gate, read(file), str(file))
    return found


def load_given(name: str, given: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of an experiment that stands in no file; `load` says what is raised."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.yaml"
        file.write_text(yaml.safe_dump(dict(given)))
        return load(str(file), overrides)


def check(model: Any, raw: Any, file: str, origins: Mapping[str, str] | None = None) -> Any:
    """Build a model from raw values; `origins` tells for a field's dotted name where its value was given.

    Raises:
        GraftError: a line for every fault: where it was given, the field, what was given, what is valid.
    """
    try:
        return TypeAdapter(model).validate_python(raw)
    except ValidationError as error:
        choices = {field: names(folder) for field, (folder, _) in CATALOGUES.items()}
        lines = []
        for fault in error.errors():
            told = field_of(model, fault).split(".")
            paths = [".".join(told[:size]) for size in range(len(told), 0, -1)]
            where = next((origins[path] for path in paths if path in origins), file) if origins else file
            lines.append(f"{where}: {explain(model, fault, choices)}")
        raise GraftError("\n".join(lines)) from error


def _parse(text: str) -> tuple[list[str], Any]:
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise GraftError(f"Override {text!r} is not of the form key=value, e.g. schedule.epochs=1 or method=full.")
    try:
        return path.split("."), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise GraftError(f"Override {text!r}: {value!r} is no valid value.") from error


def _put(raw: dict[str, Any], path: list[str], value: Any) -> None:
    place = raw
    for key in path[:-1]:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise GraftError(f"Override {'.'.join(path)}: {key!r} holds {place!r}, which has no fields of its own.")
    place[path[-1]] = value
