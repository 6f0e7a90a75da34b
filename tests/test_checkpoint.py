"""Checkpoints are whole or absent: half-written, damaged and not written for want of space."""

import json
import os
import subprocess
import sys
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from small import FILE_LIMIT, Bench, start_training
from torch import Tensor

from tasks.checkpoint import PART, last_step, save_step
from tasks.files import read_folder, write_file, write_folder
from tasks.screen import console

pytest_plugins = ["small"]


def save(root: Path, step: int) -> None:
    save_step(root, step, {"trained": {"w": torch.full((3,), float(step))}, "best": {}}, {"step": step})


def step_of(root: Path) -> int | None:
    """The step of the checkpoint in force, its tensor checked."""
    found = last_step(root)
    if found is None:
        return None
    tensors, state = found
    assert torch.equal(tensors["trained"]["w"], torch.full((3,), float(state["step"])))
    assert tensors["best"] == {}
    return int(state["step"])


def damage(root: Path, step: int, file: str = "trained.safetensors") -> None:
    """Turn one bit of a file."""
    place = root / f"step-{step:08d}" / file
    content = bytearray(place.read_bytes())
    content[-1] ^= 1
    place.write_bytes(content)


def test_there_is_no_last_step_where_nothing_was_kept(tmp_path: Path) -> None:
    assert step_of(tmp_path / "nowhere") is None


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 9, 10, 100):
        save(tmp_path, step)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]
    assert step_of(tmp_path) == 100


def test_a_step_can_be_kept_again(tmp_path: Path) -> None:
    save(tmp_path, 1)
    damage(tmp_path, 1)
    save(tmp_path, 1)
    assert step_of(tmp_path) == 1


def test_every_type_of_tensor_comes_back_to_the_bit(tmp_path: Path) -> None:
    base = torch.randn(4, 6)
    tensors: dict[str, Tensor] = {
        "view": base[:, ::2], "shared": base, "again": base, "half": base.bfloat16(), "none": base[:0],
        "count": torch.tensor(7), "bytes": torch.get_rng_state(), "nan": torch.tensor([float("nan")]),
    }  # fmt: skip
    save_step(tmp_path, 1, {"all": tensors}, {"inf": float("-inf")})
    found = last_step(tmp_path)
    assert found is not None
    assert found[1] == {"inf": float("-inf")}
    for name, tensor in tensors.items():
        back = found[0]["all"][name]
        assert back.dtype == tensor.dtype
        assert torch.equal(back.nan_to_num(3) if name == "nan" else back, tensor.nan_to_num(3))


HEAVY = """
import sys
from pathlib import Path
import torch
from tasks import memory
from tasks.checkpoint import last_step, save_step
tensors = {f"w{index}": torch.full((PART // 8,), float(index)) for index in range(24)}
save_step(Path(sys.argv[1]) / "before", 1, {"trained": {"w": torch.ones(2)}}, {})
before = memory.peak()
save_step(Path(sys.argv[1]), 2, {"trained": tensors, "best": {}}, {"step": 2})
print(memory.peak() - before)
groups, state = last_step(Path(sys.argv[1]))
assert state == {"step": 2} and groups["best"] == {} and groups["trained"].keys() == tensors.keys()
assert all(torch.equal(groups["trained"][name], tensor) for name, tensor in tensors.items())
"""


def test_what_is_written_lies_in_memory_in_parts_alone_and_comes_back_whole(tmp_path: Path) -> None:
    save(tmp_path, 1)
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", HEAVY.replace("PART", str(PART)), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": root}, check=True, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert 0 <= int(done.stdout) < 4 * PART  # of 12
    parts = sorted((tmp_path / "step-00000002").glob("trained*.safetensors"))
    assert len(parts) == 12
    parts[5].unlink()
    assert step_of(tmp_path) == 1


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_folder_left_half_written_by_a_kill_is_not_seen_and_is_replaced(tmp_path: Path, written: int) -> None:
    save(tmp_path, 1)
    left = tmp_path / "step-00000002.writing"
    left.mkdir()
    for file in sorted((tmp_path / "step-00000001").iterdir())[:written]:
        (left / file.name).write_bytes(file.read_bytes()[:9])
    assert step_of(tmp_path) == 1
    save(tmp_path, 2)
    assert not left.exists()
    assert step_of(tmp_path) == 2


@pytest.mark.parametrize("file", ["trained.safetensors", "state.json", "sha256.json"])
def test_of_a_damaged_checkpoint_the_one_before_is_used_and_it_is_said(
    tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(console, "print", lambda text, **_: said.append(text))
    save(tmp_path, 1)
    save(tmp_path, 2)
    damage(tmp_path, 2, file)
    assert step_of(tmp_path) == 1
    assert "step-00000002 is damaged: going on from the one before it" in said[0]


def test_a_checkpoint_that_lacks_a_file_counts_as_damaged(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    (tmp_path / "step-00000002" / "best.safetensors").unlink()
    assert step_of(tmp_path) == 1


def test_where_both_are_damaged_there_is_none(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, step)
        damage(tmp_path, step)
    assert step_of(tmp_path) is None


def test_a_damaged_later_one_does_not_count_as_one_of_the_two_kept(tmp_path: Path) -> None:
    for step in (50, 100):
        save(tmp_path, step)
    damage(tmp_path, 100)
    save(tmp_path, 73)
    damage(tmp_path, 73)
    assert step_of(tmp_path) == 50


def test_a_folder_reads_back_as_written(tmp_path: Path) -> None:
    files = {"a": b"1", "b": bytes(range(256))}
    write_folder(tmp_path / "x", files.items())
    assert read_folder(tmp_path / "x") == files
    assert read_folder(tmp_path / "y") is None


FULL = """
import resource, signal, sys
from pathlib import Path
import torch
from tasks.checkpoint import save_step
from tasks.files import write_file
from tasks.frozen import GraftError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
root = Path(sys.argv[1])
for attempt in (
    lambda: save_step(root, 2, {"trained": {"w": torch.zeros(9000)}}, {"step": 2}),
    lambda: write_file(root / "file", bytes(30_000)),
):
    try:
        attempt()
    except GraftError as error:
        print(error)
"""


def test_a_full_disk_is_an_error_with_the_next_step_and_leaves_what_was_there(tmp_path: Path) -> None:
    save(tmp_path, 1)
    write_file(tmp_path / "file", b"before")
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": root}, check=True, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    for line, name in ((first, "step-00000002"), (second, "file")):
        assert f"{name} cannot be written: File too large. Free space" in line
        assert "goes on from the last good checkpoint" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "step-00000001"]
    assert (tmp_path / "file").read_bytes() == b"before"
    assert step_of(tmp_path) == 1
    save(tmp_path, 2)
    assert step_of(tmp_path) == 2


def test_a_training_stopped_by_a_full_disk_goes_on_where_it_was(
    bench: Bench, forks: ForkServerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", "0")
    recipe = bench.recipe("encoder", {"kind": "full"}, epochs=3)
    data, work, run_id = bench.start(recipe)

    def run() -> int | None:
        process = start_training(forks, recipe, (data, work, run_id))
        process.join(timeout=100)
        return process.exitcode

    first = start_training(forks, recipe, (data, work, run_id))
    while first.is_alive() and (last_step(work / "checkpoints") is None):
        time.sleep(0.01)
    first.kill()
    first.join()
    before = step_of_training(work)
    monkeypatch.setenv(FILE_LIMIT, "100000")
    assert run() == 3
    said = (work / "refused.txt").read_text()
    assert f"step-{before + 1:08d} cannot be written: File too large. Free space" in said
    assert step_of_training(work) == before
    monkeypatch.delenv(FILE_LIMIT)
    assert run() == 0
    receipt = json.loads((work / "trained.json").read_text())
    assert (receipt["resumed_at"], receipt["steps"]) == (before, 9)


def step_of_training(work: Path) -> Any:
    found = last_step(work / "checkpoints")
    assert found is not None
    return found[1]["progress"]["step"]
