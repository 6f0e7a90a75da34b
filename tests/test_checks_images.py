"""Faults planted in a set of pictures are all found, and a set without faults has none."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from flows.check import looked
from tasks.findings import CHECKS, Checked
from tasks.recipe import Recipe

HUES = {"blue": 2, "green": 1, "red": 0}
SIDE = 96


def picture(label: str, seed: int) -> Image.Image:
    """Coarse noise, smooth, with one colour stronger."""
    rng = np.random.default_rng([seed, HUES[label]])
    pixels = rng.integers(20, 150, (9, 9, 3))
    pixels[..., HUES[label]] += 60
    return Image.fromarray(pixels.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


Files = dict[str, bytes]  # path below the set's folder


def clean(train: int = 60, test: int = 10) -> Files:
    return {
        f"{'train' if seed < train else 'val'}/{label}/{seed:03}.png": file_of(picture(label, seed))
        for label in HUES
        for seed in range(train + test)
    }


@pytest.fixture(autouse=True)
def place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    return tmp_path


def checked(place: Path, files: Files, **options: Any) -> Checked:
    for path, content in files.items():
        (place / "set" / path).parent.mkdir(parents=True, exist_ok=True)
        (place / "set" / path).write_bytes(content)
    dataset = {"kind": "image_folder", "path": "set", "test_folder": "val"} | options
    backbone = {"library": "scratch_cnn", "image_size": 16, "channels": 3}
    method = {"kind": "scratch"}
    told = {"name": "faulty", "dataset": dataset, "backbone": backbone, "method": method}
    return looked(Recipe.model_validate(told))


def test_a_clean_set_has_neither_errors_nor_warnings(place: Path) -> None:
    found = checked(place, clean())
    told = {finding.check: finding.severity for finding in found.findings}
    assert {check for check, severity in told.items() if severity in {"error", "warning"}} == set()
    assert {check for check, severity in told.items() if severity == "skipped"} == {
        "encoding",
        "long",
        "truncation",
        "drift",
    }
    assert told["label_noise"] in {"ok", "note"}


def first(split: str, label: str, count: int) -> list[str]:
    return [f"{split}/{label}/{seed:03}.png" for seed in range(0 if split == "train" else 60, 70)][:count]


def copies(files: Files) -> tuple[Files, set[str]]:
    own = {f"train/red/copy{n}.png": files[path] for n, path in enumerate(first("train", "red", 4))}
    return own, {*own, *first("train", "red", 4)}


def near_copies(files: Files) -> tuple[Files, set[str]]:
    own = {}
    for n, path in enumerate(first("val", "green", 3)):
        image = Image.open(io.BytesIO(files[path]))
        small = ImageEnhance.Brightness(image.resize((72, 72))).enhance(1.1)
        own[f"train/green/near{n}.jpg"] = file_of(small, "JPEG", quality=60)
    return own, set(first("val", "green", 3))


def leaks(files: Files) -> tuple[Files, set[str]]:
    own = {f"train/blue/leak{n}.png": files[path] for n, path in enumerate(first("val", "blue", 3))}
    return own, set(own)


def conflicts(files: Files) -> tuple[Files, set[str]]:
    own = {f"train/blue/conflict{n}.png": files[path] for n, path in enumerate(first("train", "green", 2))}
    return own, {*own, *first("train", "green", 2)}


def wrong_labels(files: Files) -> tuple[Files, set[str]]:
    own = {f"train/red/wrong{seed}.png": file_of(picture("blue", seed)) for seed in range(100, 109)}
    return own, set(own)


def few(files: Files) -> tuple[Files, set[str]]:
    return {f"train/rare/{n}.png": file_of(picture("red", 300 + n)) for n in range(5)}, {"rare"}


def broken(files: Files) -> tuple[Files, set[str]]:
    own = {"train/red/cut.jpg": file_of(picture("red", 400), "JPEG")[:300], "val/red/words.png": b"this is no picture"}
    return own, set(own)


def empty(files: Files) -> tuple[Files, set[str]]:
    return {"train/green/nothing.png": b""}, {"train/green/nothing.png"}


def unseen(files: Files) -> tuple[Files, set[str]]:
    own = {f"val/violet/{n}.png": file_of(picture("blue", 500 + n)) for n in range(2)}
    return own, set(own)


def odd(files: Files) -> tuple[Files, set[str]]:
    own = {
        "train/red/tiny.png": file_of(picture("red", 600).resize((20, 20))),
        "train/red/flat.png": file_of(picture("red", 601).resize((400, 60))),
        "val/green/blank.png": file_of(Image.new("RGB", (SIDE, SIDE), (90, 200, 90))),
    }
    return own, set(own)


FAULTS: list[tuple[str, str, int, Callable[[Files], tuple[Files, set[str]]]]] = [
    ("exact_duplicates", "warning", 4, copies),
    ("near_duplicates", "warning", 3, near_copies),
    ("leakage", "error", 3, leaks),
    ("label_conflicts", "warning", 4, conflicts),
    ("balance", "warning", 1, few),
    ("unreadable", "error", 2, broken),
    ("empty", "error", 1, empty),
    ("unseen_class", "error", 2, unseen),
    ("unreadable", "note", 3, odd),
]


@pytest.mark.parametrize(
    ("check", "severity", "count", "plant"), FAULTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_planted_fault_is_found_with_its_pictures(
    place: Path, check: str, severity: str, count: int, plant: Callable[[Files], tuple[Files, set[str]]]
) -> None:
    files = clean()
    own, wanted = plant(files)
    finding = checked(place, files | own).finding(check)
    assert (finding.severity, finding.count) == (severity, count)
    assert finding.examples
    assert set(finding.examples) <= wanted
    assert finding.texts == ()


def test_wrong_labels_are_suspected(place: Path) -> None:
    files = clean()
    own, wrong = wrong_labels(files)
    finding = checked(place, files | own).finding("label_noise")
    assert finding.severity == "warning"
    assert len(wrong) / 2 <= finding.count <= len(wrong)
    assert set(finding.examples) <= wrong


def test_all_faults_at_once_are_all_found(place: Path) -> None:
    files, planted = clean(), {"label_noise", *(check for check, *_ in FAULTS)}
    everything = files | wrong_labels(files)[0]
    for *_, plant in FAULTS:
        everything |= plant(files)[0]
    found = checked(place, everything)
    assert [finding.check for finding in found.findings] == list(CHECKS)
    assert {finding.check for finding in found.findings if finding.severity in {"error", "warning"}} == planted
    assert {finding.check for finding in found.errors} == {"leakage", "unreadable", "empty", "unseen_class"}


def test_a_declared_class_without_pictures_in_train_is_an_error_that_names_it(place: Path) -> None:
    files = {path: content for path, content in clean().items() if not path.startswith("train/blue")}
    finding = checked(place, files, labels=["blue", "green", "red"]).finding("unseen_class")
    assert (finding.severity, finding.count) == ("error", 10)
    assert "'blue'" in finding.about


def test_pictures_too_small_to_compare_are_not_said_to_be_different(place: Path) -> None:
    files = {path: file_of(Image.open(io.BytesIO(content)).resize((16, 16))) for path, content in clean().items()}
    found = checked(place, files)
    assert found.finding("near_duplicates").severity == "skipped"
    assert found.finding("unreadable").count == len(files)
