"""Killed anywhere and started again, a training ends with the very same weights and every metric once."""

import json
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small import Bench, differing, start_training

from tasks import tracking
from tasks.checkpoint import last_step
from tasks.curves import Curves
from tasks.decision import Decision
from tasks.recipe import Recipe
from tasks.results import Checkpoint, Prepared
from tasks.resume import Progress
from tasks.train import Training, train

pytest_plugins = ["small"]

Place = tuple[Prepared, Path, str]
EPOCHS = 3
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "text, LoRA with dropout": ("encoder", {"kind": "lora", "dropout": 0.3}),
    "text, behind a frozen front": ("encoder", {"kind": "lora", "layers": 1}),
    "images, augmented": ("cnn", {"kind": "full"}),
    "images, LoRA between frozen norms": ("cnn", {"kind": "lora"}),
    "text, few of many words": ("wordy encoder", {"kind": "full"}),
    "text from scratch": ("scratch transformer", {"kind": "scratch"}),
}


def reached(work: Path, step: int) -> Callable[[], bool]:
    """Whether a step's checkpoint is whole and its metrics are noted; step 0: the model's folder is there."""

    def look() -> bool:
        if step == 0:
            return (work / "model").is_dir()
        kept = max((folder.name for folder in (work / "checkpoints").glob("step-" + "[0-9]" * 8)), default="")
        rows = work / "metrics.jsonl"
        lines = rows.read_text().splitlines(keepends=True) if rows.exists() else []
        noted = [json.loads(line)[0] for line in lines if line.endswith("\n")]
        return kept >= f"step-{step:08d}" and max(noted, default=0) >= step

    return look


def kill_when(process: ForkServerProcess, ready: Callable[[], bool]) -> None:
    """SIGKILL at the moment that comes first after `ready`."""
    until = time.monotonic() + 120
    while not ready():
        assert process.is_alive(), f"ended with {process.exitcode} before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.002)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def finish(process: ForkServerProcess) -> None:
    process.join(timeout=120)
    assert process.exitcode == 0


def receipt_of(work: Path) -> Checkpoint:
    return Checkpoint.model_validate_json((work / "trained.json").read_text())


def weights_of(work: Path) -> bytes:
    return (work / "model" / "trained.safetensors").read_bytes()


def elsewhere(bench: Bench, recipe: Recipe, name: str) -> Place:
    """The same recipe in another folder with a run of its own."""
    data, _, _ = bench.start(recipe)
    work = bench.home / name
    work.mkdir()
    return data, work, tracking.begin(recipe, data, work / "run_id")


def steps_noted(work: Path, run_id: str, name: str) -> tuple[list[int], list[int]]:
    """The steps that have a metric: in the file and in MLflow."""
    rows = [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]
    sent = tracking.client().get_metric_history(run_id, name)
    return sorted(row[0] for row in rows if row[1] == name), sorted(metric.step for metric in sent)


@pytest.mark.parametrize("case", CASES)
def test_killed_at_several_steps_and_started_again_it_ends_with_the_same_bits(
    bench: Bench, forks: ForkServerContext, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", "0")
    name, method = CASES[case]
    recipe = bench.recipe(name, method, epochs=EPOCHS, warmup=0.2)
    straight = bench.start(recipe)
    finish(start_training(forks, recipe, straight))
    broken = elsewhere(bench, recipe, "broken")
    work, run_id = broken[1], broken[2]
    for step in (0, 1, 3, 5, 8):  # epochs end at 3, 6 and 9
        kill_when(start_training(forks, recipe, broken), reached(work, step))
    finish(start_training(forks, recipe, broken))
    assert weights_of(work) == weights_of(straight[1])
    one, two = receipt_of(straight[1]), receipt_of(work)
    assert (one.resumed_at, one.steps) == (None, 3 * EPOCHS)
    assert two.resumed_at is not None
    assert two.resumed_at >= 8
    same = ("steps", "epochs", "best_epoch", "validation", "adapter_weights", "head_weights")
    assert [getattr(one, key) for key in same] == [getattr(two, key) for key in same]
    for metric, steps in (("train/loss", range(1, 10)), ("validation/loss", range(3, 10, 3))):
        assert steps_noted(work, run_id, metric) == (list(steps), list(steps))


def test_killed_before_its_first_checkpoint_it_still_starts_from_the_pretrained_weights(
    bench: Bench, forks: ForkServerContext
) -> None:
    recipe = bench.recipe("encoder", {"kind": "full"})
    place = bench.start(recipe)
    kill_when(start_training(forks, recipe, place), (place[1] / "model").is_dir)
    assert last_step(place[1] / "checkpoints") is None
    own = load_file(bench.zoo / "bert" / "model.safetensors")
    again = Training(recipe, *place).network.module.state_dict()
    found = {key.removeprefix("bert."): tensor for key, tensor in again.items()}
    assert not differing(own, found, own)


def test_with_both_checkpoints_damaged_it_starts_over_and_ends_with_the_same_bits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", "0")
    recipe = bench.recipe("encoder", {"kind": "lora", "dropout": 0.2})
    straight, broken = bench.start(recipe), elsewhere(bench, recipe, "broken")
    train(recipe, *straight)
    train(recipe, *broken)
    (broken[1] / "trained.json").unlink()
    for folder in (broken[1] / "checkpoints").iterdir():
        (folder / "trained.safetensors").write_bytes(b"damaged")
    again = train(recipe, *broken)
    assert again.resumed_at is None
    assert weights_of(broken[1]) == weights_of(straight[1])
    steps = list(range(1, again.steps + 1))
    assert steps_noted(broken[1], broken[2], "train/loss") == (steps, steps)


def test_a_kill_between_a_checkpoint_and_the_sending_of_its_metrics_loses_none(bench: Bench, tmp_path: Path) -> None:
    run_id = bench.start(bench.recipe("encoder", {"kind": "lora"}))[2]
    file = tmp_path / "rows.jsonl"
    before = Curves(run_id, file)
    for step in (1, 2):
        before.add(step, {"x": float(step)})
    for _ in range(2):  # killed after the checkpoint of step 2 was kept, and again before the next one
        after = Curves(run_id, file)
        after.forget_after(2)
    after.add(3, {"x": 3.0})
    after.ship()
    after.settle()
    assert [json.loads(line)[0] for line in file.read_text().splitlines()] == [1, 2, 3]


def test_patience_stops_a_training_and_survives_a_kill(
    bench: Bench, forks: ForkServerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", "0")
    method = {
        "kind": "linear_probe",
        "learning_rate": 1e-9,
    }  # learns next to nothing
    recipe = bench.recipe("vit", method, epochs=40, patience=2)
    straight, broken = bench.start(recipe), elsewhere(bench, recipe, "broken")
    done = train(recipe, *straight)
    assert done.epochs == done.best_epoch + 2 < 40
    kill_when(start_training(forks, recipe, broken), reached(broken[1], done.steps - 2))
    finish(start_training(forks, recipe, broken))
    again = receipt_of(broken[1])
    assert (again.epochs, again.best_epoch, again.validation) == (
        done.epochs,
        done.best_epoch,
        done.validation,
    )
    assert weights_of(broken[1]) == weights_of(straight[1])


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_weights_kept_are_those_of_the_best_epoch_or_if_asked_the_last(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    recipe = bench.recipe("encoder", {"kind": "full", "learning_rate": 3e-3}, epochs=6, keep=keep)
    recipe = recipe.model_copy(update={"decision": Decision(temperature=None)})
    training = bench.training(recipe)
    seen: list[tuple[float, float, dict[str, torch.Tensor]]] = []
    judge = Progress.judge

    def note(
        own: Progress, epoch: int, score: float, loss: float, state: dict[str, torch.Tensor], last: bool = False
    ) -> None:
        seen.append((score, -loss, {name: tensor.clone() for name, tensor in state.items()}))
        judge(own, epoch, score, loss, state, last)

    monkeypatch.setattr(Progress, "judge", note)
    done = training.run()
    best = 5 if keep == "last" else max(range(len(seen)), key=lambda epoch: seen[epoch][:2])
    assert (done.best_epoch, done.validation) == (best + 1, seen[best][0])
    kept = load_file(done.folder / "trained.safetensors")
    assert not differing(kept, seen[best][2], kept)


def test_a_second_process_on_the_same_work_is_refused(bench: Bench, forks: ForkServerContext) -> None:
    recipe = bench.recipe("encoder", {"kind": "lora"}, epochs=2000)
    place = bench.start(recipe)
    first = start_training(forks, recipe, place)
    try:
        until = time.monotonic() + 100
        while not reached(place[1], 3)() and time.monotonic() < until:
            time.sleep(0.01)
        second = start_training(forks, recipe, place)
        second.join(timeout=100)
        assert second.exitcode == 3
    finally:
        first.kill()
        first.join()
    said = (place[1] / "refused.txt").read_text()
    assert said.startswith(f"Another process trains this recipe now (in {place[1]}). Wait for it")


@pytest.mark.parametrize("name", ["encoder", "cnn"])
def test_workers_change_nothing(bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = bench.recipe(name, {"kind": "lora", "dropout": 0.1}, epochs=2)
    without, with_one = bench.start(recipe), elsewhere(bench, recipe, "with_one")
    train(recipe, *without)
    monkeypatch.setenv("GRAFT_WORKERS", "1")
    train(recipe, *with_one)
    assert weights_of(without[1]) == weights_of(with_one[1])


def test_a_finished_training_is_not_run_again(bench: Bench) -> None:
    recipe = bench.recipe("encoder", {"kind": "lora"})
    place = bench.start(recipe)
    first = train(recipe, *place)
    (place[1] / "model" / "trained.safetensors").unlink()
    assert train(recipe, *place) == first
