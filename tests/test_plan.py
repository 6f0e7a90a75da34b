"""A plan: its sums are the recipe's, its parts add up, nothing is left of it, and its errors are the run's."""

import json
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import Graft, number_table
from small import Bench, differing
from test_adapt import VALID, network
from torch import Tensor

from flows.plan import planned
from tasks import memory, tracking
from tasks.batches import epoch_batches
from tasks.evaluate import evaluate
from tasks.frozen import GraftError
from tasks.methods import Full, Lora, count_trained
from tasks.planning import forecast, precisions
from tasks.planning.blocks import HEAD, Block, blocks, still
from tasks.planning.forecast import Plan, bytes_in, disk, few, rest_of_scoring
from tasks.planning.front import Front
from tasks.planning.pace import Pace, fit, in_order, sizes_of, telling
from tasks.planning.rehearsal import Rehearsed, rehearse
from tasks.prepare import rows_of
from tasks.recipe import Recipe
from tasks.saved import trained_state
from tasks.speed.behind import spared
from tasks.train import Training

pytest_plugins = ["small", "made"]

LORA = {"kind": "lora", "rank": 3}


def tried(bench: Bench, name: str, method: dict[str, Any], **schedule: Any) -> tuple[Training, Rehearsed]:
    recipe = bench.recipe(name, method, **schedule)
    data, work, run_id = bench.start(recipe)
    training = Training(recipe, data, work, run_id)
    return training, rehearse(training, run_id)


def made_runs() -> int:
    found = tracking.client().search_experiments()
    return len(tracking.client().search_runs([experiment.experiment_id for experiment in found]))


def files(home: Path) -> set[str]:
    return {file.name for file in home.iterdir()}


def test_a_line_through_timed_batches_is_found_again() -> None:
    pace = fit([10, 20, 40, 80], [0.3, 0.5, 0.9, 1.7])

    assert pace.batch == pytest.approx(0.1)
    assert pace.unit == pytest.approx(0.02)
    assert pace.seconds(np.array([100, 200])) == pytest.approx(2 * 0.1 + 300 * 0.02)


def test_larger_batches_are_never_forecast_as_quicker() -> None:
    pace = fit([10, 20, 40], [0.9, 0.5, 0.1])

    assert pace.unit == 0
    assert pace.batch == pytest.approx(0.5)


def test_batches_of_one_size_take_what_they_took_and_a_short_one_its_share() -> None:
    pace = fit([8, 8, 8], [0.4, 0.5, 0.6])

    assert pace.seconds(np.array([8, 8, 4])) == pytest.approx(0.5 + 0.5 + 0.25)


def test_the_range_holds_the_slow_and_the_fast_batches() -> None:
    pace = fit([10] * 10, [1.0] * 8 + [0.5, 1.5])

    assert 0.5 <= pace.low < 1 < pace.high <= 1.5


def test_the_padded_tokens_of_batches_are_those_counted_by_hand() -> None:
    lengths = np.array([3, 5, 2, 2, 7])

    assert sizes_of(lengths, [np.array([0, 1]), np.array([2, 3]), np.array([4])]).tolist() == [10, 4, 7]
    assert sizes_of(np.zeros(5, np.int64), [np.array([0, 1, 2]), np.array([3, 4])]).tolist() == [3, 2]
    assert sizes_of(lengths, in_order(lengths, 2)).tolist() == [4, 10, 7]


def test_the_smallest_the_largest_and_a_middle_batch_are_timed_first_and_then_all_alike() -> None:
    sizes = np.random.default_rng(0).permutation(100)
    endless = telling(sizes)
    first = [int(sizes[next(endless)]) for _ in range(3)]
    later = [int(sizes[next(endless)]) for _ in range(40)]

    assert first == [0, 99, 50]
    assert np.histogram(later, bins=4, range=(0, 100))[0].tolist() == pytest.approx([10] * 4, abs=1)


@pytest.mark.parametrize("name", ["encoder", "scratch cnn"])
def test_the_steps_are_the_epochs_times_the_batches(bench: Bench, name: str) -> None:
    training, found = tried(bench, name, {"kind": "scratch"} if "scratch" in name else LORA, epochs=3)

    assert found.steps == 3 * -(-len(training.rows) // training.recipe.schedule.batch_size)
    assert found.step.timed >= 3
    assert found.seconds["training"] > found.step.seconds(np.full(found.steps, 1))
    assert found.seconds["checkpoints"] > 0


def test_the_padding_share_is_that_of_the_batches_that_the_loop_feeds(bench: Bench) -> None:
    training, found = tried(bench, "encoder", LORA)
    batches = epoch_batches(training.lengths, 8, 0, 0)
    masks = [batch["attention_mask"] for batch, _ in training.feed.epoch(batches, 0, 0, 0)]
    padded, positions = sum(int((mask == 0).sum()) for mask in masks), sum(mask.numel() for mask in masks)

    assert padded > 0
    assert found.padding == pytest.approx(padded / positions)


@pytest.mark.parametrize(
    ("name", "method", "draws"), [("encoder", {"layers": 1}, None), ("cnn", {"kind": "linear_probe"}, 1)]
)
def test_steps_behind_a_frozen_front_are_tried_as_the_training_has_them_and_the_front_is_counted_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, method: dict[str, Any], draws: int | None
) -> None:
    stepped: list[set[str]] = []
    update = Training.update

    def note(own: Training, inputs: dict[str, Any], *rest: Any) -> float:
        stepped.append(set(inputs))
        return update(own, inputs, *rest)

    monkeypatch.setattr(Training, "update", note)
    training, found = tried(bench, name, LORA | method if name == "encoder" else method, epochs=3, draws=draws)
    sizes = np.ones(found.steps)

    assert all("features" in inputs for inputs in stepped)
    assert training.network is not training.run_on
    assert found.seconds["training"] > found.step.seconds(sizes.astype(np.int64))


def test_the_front_takes_its_pace_times_all_rows_and_their_draws(bench: Bench) -> None:
    recipe = bench.recipe("cnn", {"kind": "linear_probe"}, epochs=4, draws=3)
    training = bench.training(recipe)
    front = Front(training)
    training.run_on = front.network
    list(front.fed([np.arange(5), np.arange(5, 10)], [0, 1]))

    assert front.spent > 0
    assert front.seconds() == pytest.approx(front.spent / 10 * (3 * len(training.rows) + len(training.validation)))


@pytest.mark.parametrize(
    ("name", "method", "draws"), [("encoder", {"layers": 1}, None), ("cnn", {"kind": "linear_probe"}, 2)]
)
def test_the_features_disk_is_what_a_training_writes(
    bench: Bench, name: str, method: dict[str, Any], draws: int | None
) -> None:
    training = bench.training(bench.recipe(name, LORA | method if draws is None else method, epochs=3, draws=draws))
    front = Front(training)
    front.encoded(training.scored, np.arange(2))
    folder = training.work / "learnt"
    spared(training.network, training.recipe, folder, training.inputs, training.scored, training.rows.labels)

    assert front.kept() == bytes_in(folder) > 0


def test_without_a_frozen_front_nothing_is_kept(bench: Bench) -> None:
    assert Front(bench.training(bench.recipe("encoder", {"kind": "full"}, epochs=3))).kept() == 0


def test_pictures_have_no_padding(bench: Bench) -> None:
    _, found = tried(bench, "scratch cnn", {"kind": "scratch"})

    assert found.padding == 0


@pytest.mark.parametrize(("method", "name"), VALID)
def test_the_weights_of_the_blocks_add_up(bench: Bench, method: str, name: str) -> None:
    recipe = bench.recipe(name, {"kind": method})
    found = network(bench, name)
    recipe.method.adapt(found)
    parts = {part.name: part for part in blocks(found)}
    outside, head = count_trained(found)
    whole = sum(w.numel() for key, w in found.module.named_parameters() if "original_module" not in key)

    assert parts[HEAD].trained == head
    assert sum(part.trained for part in parts.values()) == outside + head
    assert sum(part.trained + part.frozen for part in parts.values()) == whole
    assert len(parts) > len(found.groups)


def test_every_lora_target_is_named_with_its_rank_in_its_own_block(bench: Bench) -> None:
    found = network(bench, "encoder")
    targets = found.groups
    Lora(kind="lora", rank=3, targets=("query", "value"), layers=2).adapt(found)
    parts = blocks(found)
    with_adapter = [part for part in parts if part.ranks]

    assert [part.name for part in with_adapter] == ["bert.encoder.layer.1", "bert.encoder.layer.2"]
    for part, group in zip(with_adapter, targets[-2:], strict=True):
        wanted = {name for name in group if name.endswith(("query", "value"))}
        assert part.ranks == dict.fromkeys(wanted, 3)
        assert part.trained == 2 * 2 * 3 * 32  # two modules, two matrices of 3 x 32 each
    assert _part(parts, HEAD).ranks == {}


def _part(parts: tuple[Block, ...], name: str) -> Block:
    return next(part for part in parts if part.name == name)


def test_batch_norms_stand_still_under_lora_and_move_when_all_trains(bench: Bench) -> None:
    lora, full = (network(bench, "cnn") for _ in range(2))
    for found, method in ((lora, Lora(kind="lora")), (full, Full(kind="full"))):
        method.adapt(found)
        method.train_mode(found)

    assert still(lora).norms[0] == still(lora).norms[1] > 0
    assert still(full).norms == (0, still(lora).norms[1])


def test_memory_that_is_taken_and_given_back_is_seen() -> None:
    before = memory.peak()
    with memory.Watch() as watch:
        taken = mmap.mmap(-1, 50_000_000)  # new pages: an array might lie where something was freed before
        taken.write(bytes(50_000_000))
    assert watch.grown > 40_000_000
    assert memory.peak() >= max(before, watch.most - 5_000_000)
    assert memory.free() > 0


def test_what_was_freed_in_the_middle_is_given_back_before_the_next_peak_is_looked_for() -> None:
    blocks = [bytearray(60_000) for _ in range(3000)]
    last = blocks.pop()  # above it the system could take back by itself
    blocks.clear()
    before = memory.Watch().before
    memory.tidy()

    assert before - memory.Watch().before > 100_000_000
    assert len(last) == 60_000


def test_a_container_gives_what_its_limit_leaves(tmp_path: Path) -> None:
    assert memory.left_in_container(tmp_path) == []
    (tmp_path / "memory.current").write_text("300\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.left_in_container(tmp_path) == []
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory.left_in_container(tmp_path) == [700]


def test_a_few_rows_of_each_split_are_spread_over_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "FEW", 3)
    data, work, _ = bench.start(bench.recipe("encoder", LORA))
    cut = few(data, work / "few")
    ids = list(rows_of(data, "train")["row_id"])

    assert cut.rows == dict.fromkeys(data.rows, 3)
    assert list(rows_of(cut, "train")["row_id"]) == [ids[0], ids[(len(ids) - 1) // 2], ids[-1]]


def test_lora_without_a_match_is_refused_by_the_plan_as_by_the_run(bench: Bench) -> None:
    recipe = bench.recipe("encoder", LORA | {"targets": ("nowhere",)})
    runs = made_runs()
    with pytest.raises(GraftError) as run:
        bench.training(recipe)
    with pytest.raises(GraftError) as refused:
        planned(recipe)

    assert str(refused.value) == str(run.value)
    assert "nowhere" in str(refused.value)
    assert made_runs() == runs + 1, "the training's own run alone"
    assert not [name for name in files(bench.home) if name.startswith("plan-")]


def test_weights_that_are_absent_are_refused_first(bench: Bench) -> None:
    recipe = bench.recipe("encoder", LORA)
    told = recipe.model_dump()
    told["backbone"]["weights"]["path"] = "/no"

    with pytest.raises(GraftError, match="/no"):
        planned(Recipe.model_validate(told))
    assert files(bench.home) == set()


def test_pictures_are_scored_a_few_at_first_and_the_rest_is_reckoned(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "FEW", 3)
    training, found = tried(bench, "scratch cnn", {"kind": "scratch"}, epochs=2)
    data, work, _ = bench.start(training.recipe)
    trained, cut = training.finish(), few(data, work / "few")
    card = evaluate(trained.folder, cut, training.recipe.dataset, work / "results")
    pace = Pace(batch=1000.0, unit=100.0, timed=3)  # beside it a score's interval takes no time
    rest = rest_of_scoring(training.recipe, data, cut, trained.folder, pace)
    lies = disk(data, work, work / "results", 7)

    assert card.rows == 3
    assert rest == pytest.approx(100 * (data.rows["test"] - 3), abs=50)
    assert found.forward.timed
    assert rest_of_scoring(training.recipe, data, data, trained.folder, pace) == 0
    assert lies.tokens == 0 < lies.rows
    assert lies.checkpoints > lies.model > 0
    assert lies.needed == 7 + lies.checkpoints + lies.model + lies.registered


def test_a_plan_of_pairs_is_one_json_object_whose_seconds_add_up(
    tmp_path: Path, graft: Graft, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "own").mkdir(parents=True)  # data may lie in the home: those of the rehearsal's process, too
    for name, value in (("GRAFT_HOME", home), ("GRAFT_DATA", tmp_path / "data")):
        monkeypatch.setenv(name, str(value))
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "GRAFT_ALLOW"):
        monkeypatch.delenv(name, raising=False)
    told = graft("plan", number_table(home / "own"), f"dataset.path={home}/own/pairs.csv", "--json")

    assert told.code == 0, told.err
    found = Plan.model_validate(json.loads(told.out))
    *stages, total = (took.seconds for took in found.seconds.values())
    assert list(found.seconds)[-1] == "total"
    assert total == pytest.approx(sum(stages))
    assert all(took.low <= took.seconds <= took.high for took in found.seconds.values())
    assert found.rehearsed.steps == 2 * -(-found.rows["train"] // 16)
    lies = found.disk
    assert lies.needed == lies.features + lies.checkpoints + lies.model + lies.registered > 0
    assert found.peak > 100_000_000
    assert found.precision == "fp32"
    assert found.precisions["fp32"] == 1 and found.precisions["bf16"] > 0
    assert "fp32 now; in bf16 a step goes" in " ".join(told.err.split())
    assert files(home) == {"own", "prepared", "tokens", "checks"}
    assert "What trains" in told.err


@pytest.mark.parametrize(
    ("name", "method"), [("encoder", LORA | {"layers": 1}), ("wordy encoder", {"kind": "full"}), ("cnn", LORA)]
)
def test_steps_are_tried_in_each_precision_and_leave_the_weights_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, method: dict[str, Any]
) -> None:
    seen: list[torch.dtype | None] = []
    made: list[tuple[Training, dict[str, Tensor]]] = []
    tried_steps = precisions._steps

    def bits() -> torch.dtype | None:
        return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None

    def note(training: Training, inputs: Any, labels: Tensor, kinds: list[Any]) -> Any:
        made.append((training, {n: w.clone() for n, w in trained_state(training.network).items()}))
        training.run_on.module.register_forward_pre_hook(lambda *_: seen.append(bits()))
        return tried_steps(training, inputs, labels, kinds)

    monkeypatch.setattr(precisions, "_steps", note)
    monkeypatch.setenv("GRAFT_PRECISION", "bf16")
    recipe = bench.recipe(name, method, epochs=2)
    data, work, run_id = bench.start(recipe)
    found = precisions.speeds(recipe, data, work / "precisions", run_id)
    training, before = made[0]

    assert {*seen} == {None, torch.bfloat16}
    assert found["fp32"] == 1
    assert found["bf16"] > 0
    assert training.precision == "fp32" and os.environ["GRAFT_PRECISION"] == "bf16"
    training.words.whole()
    assert not differing(before, trained_state(training.network), before)
    assert work.exists() and not (work / "model").exists(), "in a folder of its own"


def test_what_is_far_slower_is_tried_on_one_batch_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def steps(training: Training, inputs: Any, labels: Tensor, kinds: list[Any]) -> dict[str, float]:
        asked.append([*kinds])
        return {kind: 5.0 if kind == "bf16" else 1.0 for kind in kinds}

    monkeypatch.setattr(precisions, "_steps", steps)
    recipe = bench.recipe("encoder", LORA)
    data, work, run_id = bench.start(recipe)

    assert precisions.speeds(recipe, data, work / "precisions", run_id) == {"fp32": 1.0, "bf16": 0.2}
    assert asked == [["fp32", "bf16"], ["fp32"], ["fp32"]]
