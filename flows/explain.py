"""Why a registered model answers so: the words of a text, the places of a picture, the rows on which it is wrong."""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows import predict as asking
from flows.asked import Asked, asked, table
from flows.worst import worst
from tasks import registry, saved
from tasks.explain import page
from tasks.explain.integrated import Integrated, Output
from tasks.explain.pictures import explain_picture, overlay
from tasks.explain.words import Told, explain_text
from tasks.files import write_file
from tasks.frozen import GraftError
from tasks.results import Registered
from tasks.screen import console

STRONGEST = 8  # words of a text that are listed
LEGEND = "Blue words speak for it, orange ones against it; point at one for its value. Grey ones were not read."


def main(
    name: str,
    version: int,
    given: str | None,
    pair: str | None,
    picture: Path | None,
    label: str | None,
    count: int,
    against: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Explain one text, one picture, or (with `count`) the errors on the test rows.

    Raises:
        GraftError: not exactly one of them is given, or a flag that does not go with it.
    """
    if sum((given is not None, picture is not None, count > 0)) != 1:
        raise GraftError("Give exactly one of --text, --image and --worst, e.g. --text 'my parcel never came'.")
    odd = {"--pair": pair is not None and given is None, "--label": label is not None and count > 0}
    if wrong := [flag for flag, is_so in (odd | {"--against": against > 0 and not count}).items() if is_so]:
        goes = {"--pair": "--text", "--label": "--text or --image", "--against": "--worst"}[wrong[0]]
        raise GraftError(f"{wrong[0]} goes with {goes} alone. Leave it out.")
    if count:
        worst(asked(name, version, out, as_json), count, against)
    elif picture:
        rows = asking.table(None, None, [picture], None)
        image(asked(name, version, out, as_json), rows, label)
    else:
        rows = asking.table([given or ""], None if pair is None else [pair], None, None)
        text(asked(name, version, out, as_json), rows, label)


def text(to: Asked, rows: pd.DataFrame, label: str | None) -> None:
    """Colour the words of a row by what each gave to the label's logit; also as `text.html`."""
    model = _model(to.version, rows)
    with console.status("asking for every word"):
        told = explain_text(model, rows.iloc[0].to_dict(), label)
    lines = [_answer(to.name, told.output, told.sums.logit), _sum(told.sums), *_unread(told)]
    screen = Console(stderr=to.as_json)
    screen.print(lines[0], markup=False, highlight=False)
    screen.print(_coloured(told))
    screen.print(_strongest(told))
    for line in lines[1:]:
        screen.print(line, style="dim", markup=False, highlight=False)
    write_file(to.out / "text.html", page.html(f"{to.name}: why {told.output}", [*lines, LEGEND], told.words))
    words = [{"column": word.column, "word": word.text, "value": word.value} for word in told.words]
    to.end({**told.output._asdict(), **_figures(told.sums), "words": words}, to.out / "text.html")


def image(to: Asked, rows: pd.DataFrame, label: str | None) -> None:
    """Draw the places of a picture that speak for the label beside the picture, as `picture.png`."""
    model = _model(to.version, rows)
    content = rows["image"].iloc[0]
    with console.status("looking for the places"):
        found = explain_picture(model, content, label)
    screen = Console(stderr=to.as_json)
    screen.print(_answer(to.name, found.output, found.logit), markup=False, highlight=False)
    told = _sum(found.sums) if found.sums else "By Grad-CAM on the last maps of the trunk: it says where, not how much."
    screen.print(told, style="dim", markup=False, highlight=False)
    if not found.places.any():
        screen.print(f"No place speaks for {found.output}.", markup=False, highlight=False)
    write_file(to.out / "picture.png", overlay(content, found))
    figures = _figures(found.sums) if found.sums else {"logit": found.logit}
    to.end({**found.output._asdict(), "method": found.method, **figures}, to.out / "picture.png")


def _model(version: Registered, rows: pd.DataFrame) -> saved.Model:
    """The saved model on CPU in fp32, wherever it was trained; it fits the rows' columns.

    Raises:
        GraftError: it does not, or a cell is empty.
    """
    with console.status(f"loading {version.name}/{version.version}"):
        model = saved.load(registry.folder_of(version))
    wanted, flags = model.recipe.dataset.inputs, {"text": "--text", "text_pair": "--pair", "image": "--image"}
    if set(wanted) != set(rows):
        told = " and ".join(flags[name] for name in wanted)
        raise GraftError(f"{version.name!r} takes {told}, but {' and '.join(flags[name] for name in rows)} is given.")
    if empty := [name for name in rows if not rows[name].iloc[0].strip()]:
        raise GraftError(f"{flags[empty[0]]} is empty. Give a text.")
    return model


def _answer(name: str, output: Output, logit: float) -> str:
    if output.confidence is None:
        return f"{name}: {logit:.3f}"
    return f"{name}: {output} with {output.confidence:.3f}, logit {logit:.3f}"


def _sum(sums: Integrated) -> str:
    return (
        f"The values add up to the change of the logit from {sums.baseline:.3f} (nothing given) to {sums.logit:.3f}, "
        f"but for {sums.error:.2g}; {sums.steps} steps."
    )


def _figures(sums: Integrated) -> dict[str, float]:
    return {
        "logit": sums.logit, "baseline": sums.baseline, "completeness_error": sums.error, "steps": sums.steps,
    }  # fmt: skip


def _unread(told: Told) -> list[str]:
    line = f"{told.unread} words were not read: beyond the model's length, or left out by its tokenizer."
    return [line] if told.unread else []


def _coloured(told: Told) -> Text:
    shade, shown, column = page.shades(told.words), Text(), told.words[0].column
    for word in told.words:
        shown.append("\n" if word.column != column else word.before)
        column = word.column
        red, green, blue = shade(word)
        shown.append(word.text, "dim" if word.value is None else f"black on rgb({red},{green},{blue})")
    return shown


def _strongest(told: Told) -> Table:
    return table(("word", "value"), [(word.text, f"{word.value:+.3f}") for word in told.strongest[:STRONGEST]])
