"""One HTML file that shows an explanation anywhere: it fetches nothing, and what rows say in it is text."""

import io
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment

from tasks.explain.words import Word
from tasks.pictures import open_picture

FOR, WHITE, AGAINST = (90, 150, 230), (255, 255, 255), (240, 150, 60)  # blue and orange: told apart by nearly everybody
THUMBNAIL = 160  # pixels a side at most


@dataclass(frozen=True)
class Picture:
    """A picture within the page itself; `source` is its data URL."""

    source: str


@dataclass(frozen=True)
class Table:
    """Rows of text or pictures under a title."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Picture]]


def picture(content: bytes) -> Picture:
    """A small PNG of a picture's file.

    Raises:
        GraftError: it cannot be read.
    """
    image, file = open_picture(content, 3), io.BytesIO()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(file, "PNG")
    return Picture(f"data:image/png;base64,{b64encode(file.getvalue()).decode()}")


def shades(words: Sequence[Word]) -> Callable[[Word], tuple[int, int, int]]:
    """Gives a word's colour in 0..255: white if it did nothing, full blue or orange if it did the most."""
    most = max((abs(word.value or 0) for word in words), default=0) or 1.0

    def shade(word: Word) -> tuple[int, int, int]:
        value = (word.value or 0) / most
        red, green, blue = (round(255 - abs(value) * (255 - part)) for part in (FOR if value > 0 else AGAINST))
        return red, green, blue

    return shade


def html(title: str, lines: Sequence[str], words: Sequence[Word] = (), tables: Sequence[Table] = ()) -> bytes:
    """The page, in UTF-8."""
    environment = Environment(autoescape=True)
    environment.filters["shade"] = shades(words)
    environment.tests["picture"] = _is_picture
    template = environment.from_string(Path(__file__).with_name("page.html.j2").read_text())
    return template.render(title=title, lines=lines, words=words, tables=tables).encode()


def _is_picture(cell: Any) -> bool:
    return isinstance(cell, Picture)
