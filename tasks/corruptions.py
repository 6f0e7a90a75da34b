"""Inputs as they come in real life: mistyped texts; blurred, noisy, hard-compressed pictures."""

import io
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageFilter

from tasks.pictures import check_picture

Corruption = Literal["typos", "blur", "noise", "jpeg"]
Chance = np.random.Generator

MISTYPED = 0.2  # share of the words of four letters or more that get one slip
BLUR = 0.015  # standard deviation, as a share of the shorter side
NOISE = 0.1  # standard deviation, as a share of the range from black to white
QUALITY = 10  # of JPEG, in 1..95


def typos(text: str, chance: Chance) -> str:
    """Words with one slip: two neighbours swapped, a letter left out, or one doubled. Spaces stay as they are."""
    words = text.split(" ")
    for place, word in enumerate(words):
        if len(word) >= 4 and chance.random() < MISTYPED:
            at = int(chance.integers(0, len(word) - 1))
            slips = (
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + word[at + 1 :],
                word[: at + 1] + word[at:],
            )
            words[place] = slips[int(chance.integers(0, 3))]
    return " ".join(words)


def blur(image: Image.Image, chance: Chance) -> Image.Image:
    """Out of focus: a Gaussian blur."""
    return image.filter(ImageFilter.GaussianBlur(BLUR * min(image.size)))


def noise(image: Image.Image, chance: Chance) -> Image.Image:
    """Too little light: Gaussian noise on every pixel and channel."""
    grain = chance.normal(0, 255 * NOISE, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, chance: Chance) -> Image.Image:
    """Compressed hard: through JPEG at a low quality."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return Image.open(file).convert("RGB")


OF_TEXT: dict[str, Callable[[str, Chance], str]] = {"typos": typos}
OF_PICTURES: dict[str, Callable[[Image.Image, Chance], Image.Image]] = {"blur": blur, "noise": noise, "jpeg": jpeg}


def known(accepts: str) -> tuple[str, ...]:
    """The corruptions of `text` or of an `image`."""
    return tuple(OF_PICTURES if accepts == "image" else OF_TEXT)


def corrupted(kind: str, cell: Any, key: str) -> Any:
    """A text, or a picture's file as a PNG's bytes, corrupted; the same for the same row whatever stands beside it.

    Args:
        kind: one of `known`.
        cell: the text, or the picture file's content.
        key: the row's, in hexadecimal digits, from which chance is drawn.
    """
    chance = np.random.default_rng(int(key, 16))
    if kind in OF_TEXT:
        return OF_TEXT[kind](cell, chance)
    file = io.BytesIO()
    OF_PICTURES[kind](check_picture(cell), chance).save(file, "PNG")
    return file.getvalue()
