"""Settings of the means batch by batch in one process: each takes every batch, and none outlives it."""

from collections.abc import Iterator
from typing import Any

import pytest
from small import Bench
from torch import nn

from tasks.bench import alternate, turns
from tasks.bench.orders import TAKES, Alternated, Lap, Part
from tasks.bench.turns import SideFailed
from tasks.optimizer import trained
from tasks.prepare import prepare
from tasks.train import Training

pytest_plugins = ["small"]

SETTINGS = {  # those that change an adapted encoder
    "steps": ("none", "first_token", "lora_linear", "all"),
    "answers": ("none", "first_token", "merged", "all"),
}


def kinds(module: nn.Module) -> int:
    """Of all layers' classes together."""
    return hash(tuple(type(child) for child in module.modules()))


def order(bench: Bench, repeats: int, network: str = "encoder", kind: str = "lora", **method: Any) -> Alternated:
    recipe = bench.recipe(network, {"kind": kind, **method})
    data = prepare(recipe.model, recipe.dataset, recipe.seed)
    return Alternated(recipe=recipe, data=data, repeats=repeats, out=bench.home)


def test_every_batch_is_taken_by_every_setting_and_all_layers_are_plain_afterwards(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules: list[nn.Module] = []
    taken: dict[str, list[tuple[int, int]]] = {"steps": [], "answers": []}
    classes, laps_of = alternate.classes_of, alternate.laps_of

    def classes_seen(training: Training, by: Any) -> Any:
        modules.append(training.network.module)
        return classes(training, by)

    def laps_seen(part: Part, given: Alternated, classes: Any, batches: Any, take: Any, rows: int) -> Iterator[Lap]:
        def seen(batch: Any) -> None:
            taken[part].append((id(batch), kinds(modules[0])))
            take(batch)

        return laps_of(part, given, classes, batches, seen, rows)

    monkeypatch.setattr(alternate, "classes_of", classes_seen)
    monkeypatch.setattr(alternate, "laps_of", laps_seen)
    laps = alternate.measure(order(bench, repeats=2))

    for part, settings in SETTINGS.items():
        own, seen = [lap for lap in laps if lap.part == part], taken[part]
        assert [(lap.turn, lap.means) for lap in own] == [(turn, means) for turn in (1, 2) for means in settings]
        assert {lap.rows for lap in own} == {24 if part == "steps" else 6}
        assert all(lap.seconds > 0 for lap in own)
        batches = 3 if part == "steps" else 1
        takes = 1 + 2 * TAKES
        assert len(seen) == takes * batches * len(settings), "two turns of several takes, and one take before them"
        for place in range(0, len(seen), len(settings)):
            assert len({batch for batch, _ in seen[place : place + len(settings)]}) == 1
        assert len({own for _, own in seen}) == len(settings)
        assert seen[-1][1] != seen[-1 - len(settings)][1], "each take has another order"
        assert kinds(modules[0]) == seen[0][1], "none was the very first, and is what is left"


def test_steps_on_the_words_in_use_are_taken_in_turn_with_steps_on_the_whole_table(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    update = Training.update

    def seen(training: Training, *given: Any) -> float:
        loss = update(training, *given)
        sizes = [len(weight) for weight in trained(training.optimizer) if weight.ndim == 2]
        rows.append(max(sizes))
        return loss

    monkeypatch.setattr(Training, "update", seen)
    laps = alternate.measure(order(bench, 1, "wordy encoder", "full", learning_rate=1e-3))

    settings = [lap.means for lap in laps if lap.part == "steps"]
    assert settings == ["none", "first_token", "all", "few_words"]
    whole = [means in {"none", "first_token"} for means in settings]
    assert [size == 90 for size in rows[: len(settings)]] == whole, "the first take has the settings in their order"
    assert sum(size == 90 for size in rows) == len(rows) / 2


def test_a_process_of_its_own_measures_the_same_and_says_why_it_could_not(bench: Bench) -> None:
    laps, wall = turns.alternate(order(bench, repeats=1))

    assert [(lap.part, lap.means) for lap in laps] == [(part, one) for part, own in SETTINGS.items() for one in own]
    assert wall > sum(lap.seconds for lap in laps)
    with pytest.raises(SideFailed, match="no_such"):
        turns.alternate(order(bench, repeats=1, targets=["no_such"]))
