"""Subsets of image sets: the same pictures on every machine, classes by any of their names, of folders and the hub."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub import Hub
from PIL import Image

from tasks import compose
from tasks.datasets import Dataset
from tasks.datasets.hub_images import HubImages
from tasks.datasets.images import ImageFolder
from tasks.datasets.spec import target_of
from tasks.datasets.subsets import Subset
from tasks.datasets.wordnet import readable, short_names
from tasks.frozen import GraftError

TENCH, CHURCH, BIRD, MACHINE = "n01440764", "n03028079", "n02012849", "n03126707"  # the last two: kinds of crane


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 40), (shade % 256, shade // 256, 7)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """GRAFT_DATA with a small "ImageNet": four classes of 12 training and 6 test pictures."""
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    for number, label in enumerate((TENCH, CHURCH, BIRD, MACHINE)):
        for split, count in (("train", 12), ("val", 6)):
            folder = tmp_path / "imagenet" / split / label
            folder.mkdir(parents=True)
            for index in range(count):
                (folder / f"{label}_{index}.PNG").write_bytes(picture(number * 40 + index + 20 * (split == "val")))
    return tmp_path / "imagenet"


def folder(**options: Any) -> ImageFolder:
    return ImageFolder.model_validate({"kind": "image_folder", "path": "imagenet", "test_folder": "val"} | options)


def rows(spec: Subset, split: str = "train") -> list[str]:
    return list(spec.read().table(split)["row_id"])


def test_all_is_taken_where_nothing_is_said(root: Path) -> None:
    assert len(rows(folder())) == 48
    assert len(rows(folder(), "test")) == 24


@pytest.mark.parametrize(
    "named", [[CHURCH, TENCH], ["church", "tench"], ["church building", "Tinca tinca"], ["CHURCH", "Tench"]]
)
def test_classes_go_by_id_name_or_synonym_in_the_order_given(root: Path, named: list[str]) -> None:
    spec = folder(classes=named)
    source = spec.read()
    assert source.classes == (CHURCH, TENCH)
    assert set(source.table("train")["label"]) == {CHURCH, TENCH}
    assert set(source.table("test")["label"]) == {CHURCH, TENCH}
    assert target_of(spec, source, {CHURCH, TENCH}).labels == ("church", "tench")


def test_every_class_of_imagenet_has_a_readable_name_of_its_own(root: Path) -> None:
    from timm.data import ImageNetInfo

    ids = ImageNetInfo().label_names()
    assert len(ids) == 1000
    assert len({readable(wnid) for wnid in ids}) == 1000
    target = target_of(folder(), folder().read(), {TENCH, CHURCH, BIRD, MACHINE})
    assert target.raw == (TENCH, BIRD, CHURCH, MACHINE)
    assert target.labels == ("tench", f"crane ({BIRD})", "church", f"crane ({MACHINE})")
    assert short_names(["healthy"]) == {}


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (["tench", "crane"], f"could mean '{BIRD}' .* or '{MACHINE}'"),
        (["tench", "tinca tinca"], f"names '{TENCH}' twice, the second time as 'tinca tinca'"),
        (["tench", "chruch"], rf"has no class 'chruch'\. Did you mean '{CHURCH}' \(church\)"),
        (["tench", "zzzzzz"], rf"has no class 'zzzzzz'\. Valid: '{TENCH}' \(tench\)"),
    ],
)
def test_a_name_that_means_none_or_several_is_refused(root: Path, classes: list[str], told: str) -> None:
    with pytest.raises(GraftError, match=told):
        folder(classes=classes).read()


def test_a_smaller_subset_lies_in_the_larger_whatever_else_is_there(root: Path) -> None:
    few, more = (set(rows(folder(per_class=count, per_class_test=2))) for count in (3, 7))
    assert len(few) == 12
    assert len(more) == 28
    assert few < more
    two = {row for row in few if TENCH in row or CHURCH in row}
    assert set(rows(folder(classes=["tench", "church"], per_class=3))) == two
    assert len(rows(folder(per_class=3, per_class_test=2), "test")) == 8
    assert set(rows(folder(per_class=3, subset_seed=1))) != few
    counts = pd.Series([row.split("/")[1] for row in more]).value_counts()
    assert set(counts) == {7}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"per_class": 13}, rf"Class '{TENCH}' \(tench\) has 12 pictures in train, but per_class is 13"),
        ({"per_class_test": 7}, "has 6 pictures in test, but per_class_test is 7"),
    ],
)
def test_a_class_with_too_few_pictures_is_refused_by_name(root: Path, options: dict[str, int], told: str) -> None:
    with pytest.raises(GraftError, match=told):
        folder(**options).read()


@pytest.mark.parametrize("ending", [".csv", ".txt"])
def test_test_pictures_without_folders_get_their_classes_from_a_table(root: Path, ending: str) -> None:
    wanted = rows(folder(classes=["tench", "church"], per_class_test=2), "test")
    (root / "flat").mkdir()
    lines = ["ImageId,PredictionString"] if ending == ".csv" else []
    for file in sorted((root / "val").rglob("*.PNG")):
        file.rename(root / "flat" / file.name)
        name, label = file.stem, file.parent.name
        lines.append(f"{name},{label} 1 2 3 4" if ending == ".csv" else f"{name}.PNG {label}")
    (root / f"labels{ending}").write_text("\n".join(lines) + "\n")
    spec = folder(classes=["tench", "church"], per_class_test=2, test_folder="flat", test_labels=f"labels{ending}")
    assert sorted(Path(row).name for row in rows(spec, "test")) == sorted(Path(row).name for row in wanted)
    (root / "flat" / "other.PNG").write_bytes(picture(1))
    with pytest.raises(GraftError, match="test_labels names no class for"):
        spec.read()


# From the hub.


def parquet(split: str, words: bool) -> bytes:
    from datasets import ClassLabel, Dataset, Features, Value
    from datasets import Image as Picture

    names = ["red", "green", "blue"]
    shades = [number + (500 if split == "test" else 0) for number in range(24 if split == "train" else 9)]
    table = {
        "img": [{"bytes": picture(shade), "path": None} for shade in shades],
        "kind": [names[shade % 3] if words else shade % 3 for shade in shades],
        "extra": list(range(len(shades))),
    }
    kind = Value("string") if words else ClassLabel(names=names)
    file = io.BytesIO()
    Dataset.from_dict(table, Features({"img": Picture(), "kind": kind, "extra": Value("int32")})).to_parquet(file)
    return file.getvalue()


def leading_to(place: Path, made: bytes) -> bytes:
    """The same parquet file, but for its pictures: each is said to be a file at this place."""
    table = pq.read_table(io.BytesIO(made))
    cells = [{"bytes": None, "path": str(place)}] * len(table)
    field = table.schema.field("img")
    file = io.BytesIO()
    pq.write_table(table.set_column(table.schema.get_field_index("img"), field, pa.array(cells, field.type)), file)
    return file.getvalue()


def child(plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What reading gives or says for each choice of options."""
    answers: list[dict[str, Any]] = []
    for options in plan:
        spec = HubImages.model_validate({"kind": "hub_images", "id": "acme/shades"} | options)
        try:
            source = spec.read()
            tables = {split: source.table(split) for split in source.splits}
        except GraftError as error:
            answers.append({"error": str(error)})
            continue
        answers.append(
            {
                "origin": source.origin,
                "classes": source.classes,
                "rows": {split: list(zip(own["row_id"], own["label"], strict=True)) for split, own in tables.items()},
                "same": all(
                    cell == picture(int(row.split(":")[1]) - 1 + (500 if split == "test" else 0))
                    for split, own in tables.items()
                    for row, cell in zip(own["row_id"], own["image"], strict=True)
                ),
            }
        )
    return answers


def read_apart(work: Path, plan: list[dict[str, Any]], **env: str) -> list[dict[str, Any]]:
    """The same in a process of its own, whose hub clients have seen nothing of this one's environment."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    kept |= {"HF_HOME": str(work / "cache"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    kept |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    command = [sys.executable, __file__, json.dumps(plan)]
    done = subprocess.run(command, env=kept | env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_hub_set_is_read_whole_or_cut_down_online_and_again_offline(tmp_path: Path) -> None:
    files = {f"data/{split}-00000.parquet": parquet(split, words=False) for split in ("train", "test")}
    files |= {f"words/{split}-00000.parquet": parquet(split, words=True) for split in ("train", "test")}
    patterns = {split: f"data/{split}-*.parquet" for split in ("train", "test")}
    with Hub(tmp_path / "served") as hub:
        revision = hub.add("dataset", "acme/shades", files)
        usual: dict[str, Any] = {"revision": revision, "files": patterns, "image": "img", "label": "kind"}
        plan: list[dict[str, Any]] = [
            usual,
            usual | {"classes": ["blue", "red"], "per_class": 3, "per_class_test": 2},
            usual | {"files": {split: f"words/{split}-*.parquet" for split in ("train", "test")}, "per_class": 3},
            usual | {"label": "nothing"},
            usual | {"image": "extra"},
            usual | {"test_split": "dev"},
            usual | {"classes": ["blue", "violet"]},
            usual | {"per_class": 9},
            usual | {"files": {"train": "none-*.parquet", "test": "data/test-*.parquet"}},
        ]
        online = read_apart(tmp_path, plan, HF_ENDPOINT=hub.url)
    offline = read_apart(tmp_path, plan[:3], HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")

    assert offline == online[:3]
    whole, few, words = online[:3]
    names = ("red", "green", "blue")
    assert whole["classes"] == list(names)
    assert whole["rows"]["train"] == [[f"train:{row + 1}", names[row % 3]] for row in range(24)]
    assert len(whole["rows"]["test"]) == 9
    assert all(answer["same"] for answer in online[:3])
    assert few["classes"] == ["blue", "red"]
    labels = pd.Series([label for _, label in few["rows"]["train"]]).value_counts()
    assert labels.to_dict() == {"blue": 3, "red": 3}
    assert len(few["rows"]["test"]) == 4
    assert {row for row, label in words["rows"]["train"] if label != "green"} == {r for r, _ in few["rows"]["train"]}
    told = [answer["error"] for answer in online[3:]]
    assert told[0] == "Hub data set 'acme/shades' has no column 'nothing' (label). It has: img, kind, extra."
    assert told[1].startswith("Column 'extra' of hub data set 'acme/shades' holds no pictures.")
    assert told[2] == "Hub data set 'acme/shades' has no split 'dev'. It has: train, test."
    assert "has no class 'violet'. Valid: 'red', 'green', 'blue'" in told[3]
    assert told[4].startswith("Class 'red' has 8 pictures in train, but per_class is 9.")
    assert told[5].startswith("Hub data set 'acme/shades' has no file 'none-*.parquet' for train at")


def test_pictures_of_a_hub_set_that_lie_in_no_table_come_from_its_own_files_alone(tmp_path: Path) -> None:
    lines = [json.dumps({"file_name": f"{number}.png", "label": ("red", "blue")[number % 2]}) for number in range(6)]
    own = {f"train/{number}.png": picture(number) for number in range(6)}
    own["train/metadata.jsonl"] = "\n".join(lines).encode()
    (tmp_path / "secret.png").write_bytes(picture(0))
    out = leading_to(tmp_path / "secret.png", parquet("train", words=False))
    with Hub(tmp_path / "served") as hub:
        files = hub.add("dataset", "acme/files", own)
        shades = hub.add("dataset", "acme/shades", {"train.parquet": out})
        alone: dict[str, Any] = {"revision": shades, "test_split": None, "image": "img", "label": "kind"}
        plan: list[dict[str, Any]] = [
            {"id": "acme/files", "revision": files, "test_split": None},
            alone | {"files": {"train": "train.parquet"}},
            alone | {"files": {"train": "../../../../../secret.*"}},
            alone | {"files": {"train": "/etc/*.parquet"}},
        ]
        told = read_apart(tmp_path, plan, HF_ENDPOINT=hub.url)
    assert told[0]["same"] and [label for _, label in told[0]["rows"]["train"]] == ["red", "blue"] * 3
    secret = str(tmp_path / "secret.png")
    assert told[1]["error"].startswith(f"Row train:1: picture {secret!r} is {secret}, which is not below")
    for answer, pattern in zip(told[2:], ("../../../../../secret.*", "/etc/*.parquet"), strict=True):
        assert answer["error"].startswith(f"{pattern!r} is ")
        assert answer["error"].endswith(". Give a path inside it.")


def test_the_classes_that_the_configs_name_are_imagenets() -> None:
    for name in ("imagenet100", "imagewoof", "imagenet10"):
        file = compose.find("datasets", name)
        spec = compose.check(Dataset, compose.read(file), str(file))
        ids = spec.classes or tuple(spec.labels)
        assert len(set(ids)) == len(ids) == {"imagenet100": 100}.get(name, 10)
        assert len(short_names(ids)) == len(ids)


if __name__ == "__main__":
    print(json.dumps(child(json.loads(sys.argv[1]))))
