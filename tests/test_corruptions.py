"""Corrupted rows: as the name says, the same every time, and a row's own whatever stands beside it."""

import io

import numpy as np
import pytest
from PIL import Image

from tasks.corruptions import corrupted, known, typos

TEXT = "the parcel never arrived although the courier said that it was delivered on monday"
KEYS = [f"{index:032x}" for index in range(40)]


def picture(size: tuple[int, int] = (60, 40), mode: str = "RGB") -> bytes:
    grain = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grain).convert(mode).save(file, "PNG")
    return file.getvalue()


def opened(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).astype(float)


def test_typos_slip_once_in_some_of_the_longer_words_and_leave_the_rest() -> None:
    changed = 0
    for key in KEYS:
        words = corrupted("typos", TEXT, key).split(" ")
        assert len(words) == len(TEXT.split(" "))
        for before, after in zip(TEXT.split(" "), words, strict=True):
            if before != after:
                changed += 1
                assert len(before) >= 4
                assert abs(len(before) - len(after)) <= 1
                assert len(set(before) ^ set(after)) <= 1
    longer = sum(len(word) >= 4 for word in TEXT.split(" ")) * len(KEYS)
    assert 0.1 < changed / longer < 0.3


def test_a_text_of_short_words_spaces_and_lines_stays_as_it_is() -> None:
    chance = np.random.default_rng(0)
    for text in ("to be or", "", "  two  gaps ", "a\nb"):
        assert len(typos(text, chance).split(" ")) == len(text.split(" "))
    assert typos("to be or no", chance) == "to be or no"


@pytest.mark.parametrize("kind", known("text") + known("image"))
def test_the_same_row_is_corrupted_alike_and_another_otherwise(kind: str) -> None:
    cell = TEXT if kind in known("text") else picture()
    assert corrupted(kind, cell, KEYS[5]) == corrupted(kind, cell, KEYS[5]) != cell
    if kind in ("typos", "noise"):
        assert corrupted(kind, cell, KEYS[5]) != corrupted(kind, cell, KEYS[6])


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_pictures_keep_their_size_and_blur_takes_detail_where_noise_adds_it(mode: str) -> None:
    clean = picture((64, 48), mode)
    flat = io.BytesIO()
    Image.new(mode, (64, 48), 128 if mode == "L" else (128,) * len(mode)).save(flat, "PNG")
    for kind in known("image"):
        assert opened(corrupted(kind, clean, KEYS[1])).shape == (48, 64, 3)
    assert opened(corrupted("blur", clean, KEYS[1])).std() < 0.8 * opened(clean).std()
    assert opened(corrupted("noise", flat.getvalue(), KEYS[1])).std() == pytest.approx(25.5, rel=0.1)
    assert opened(corrupted("jpeg", clean, KEYS[1])).std() < opened(clean).std()
