"""Versions of tiny networks in a real registry, and a server over them; nothing is trained, all weights are random.

A plugin of fixtures, PYTEST_DONT_REWRITE: it asserts nothing.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import uvicorn
from small import Bench, sentences

from flows.platform.ports import bound
from flows.serving.app import app_of
from flows.serving.meters import Meters
from flows.serving.service import Service
from tasks import registry, saved, tracking
from tasks.backbones.network import Rows, logits_of
from tasks.checkpoint import pack
from tasks.results import Registered, Target
from tasks.serving.batches import Batches
from tasks.serving.models import in_words
from tasks.serving.roster import Roster

LORA = {"kind": "lora", "rank": 2}
PROBE = {"kind": "linear_probe"}
CLASSES = Target(labels=("bad", "good"))
TEXTS = [text for text, _ in sentences(40, seed=3)]


@dataclass
class Stock:
    """Makes saved models and registers them under names that no other test has."""

    bench: Bench

    def name(self, name: str) -> str:
        return f"{name}-{self.bench.home.name}"

    def folder(
        self, method: dict[str, Any] = LORA, seed: int = 0, target: Target = CLASSES, backbone: str = "encoder"
    ) -> Path:
        """A saved model in the form of a version's files, made at the first call."""
        recipe = self.bench.recipe(backbone, method, seed)
        folder = self.bench.home / f"{backbone}-{method['kind']}-{target.outputs}-{seed}" / "artifacts" / "model"
        if folder.exists():
            return folder
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = saved.begin(folder, recipe, target, {"text": TEXTS})
            trained = saved.trained_state(model.network)
            for weight in trained.values():
                if weight.is_floating_point():
                    weight.add_(torch.randn_like(weight).abs(), alpha=0.2)
        (folder / "trained.safetensors").write_bytes(pack(trained))
        return folder

    def add(self, name: str, folder: Path) -> Registered:
        """The next version of a model."""
        client = tracking.client()
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        run = client.create_run(tracking.experiment(name)).info.run_id
        made = client.create_model_version(name, source=str(folder.parents[1]), run_id=run)
        return registry.version(name, int(made.version))

    def versions(self, name: str, count: int = 2) -> list[Registered]:
        """So many versions of a model on one trunk, the first the champion."""
        made = [self.add(self.name(name), self.folder(seed=seed)) for seed in range(count)]
        registry.crown(made[0].name, 1)
        return made


@pytest.fixture
def stock(bench: Bench) -> Stock:
    return Stock(bench)


@pytest.fixture
def batches() -> Iterator[Batches]:
    """Waits long enough for all that a test asks at once."""
    made = Batches(8, 0.3)
    yield made
    made.close()


@pytest.fixture
def roster(stock: Stock, batches: Batches) -> Roster:
    """Two models, `mails` and `moods`; all of one trunk."""
    made = Roster([stock.versions("mails")[0].name, stock.versions("moods", 1)[0].name], batches)
    made.load()
    return made


@pytest.fixture
def client(roster: Roster, batches: Batches) -> Iterator[httpx.Client]:
    with listening(roster, batches) as opened:
        yield opened


def alone(folder: Path, rows: Rows) -> list[dict[str, Any]]:
    """What a saved model answers to each row when it is loaded by itself and asked for this row only."""
    model = saved.load(folder)
    cells = [dict(zip(rows, own, strict=True)) for own in zip(*rows.values(), strict=True)]
    found = [logits_of(model.network, {name: [cell] for name, cell in row.items()}) for row in cells]
    return in_words(model.target, torch.cat(found))


def apart(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> float:
    """The largest difference of two lists of answers' numbers; infinite where their words differ."""
    if [[row.get("label"), row.get("labels")] for row in one] != [
        [row.get("label"), row.get("labels")] for row in other
    ]:
        return float("inf")
    return max(
        abs(a - b) for x, y in zip(one, other, strict=True) for a, b in zip(_numbers(x), _numbers(y), strict=True)
    )


def _numbers(answer: dict[str, Any]) -> list[float]:
    return [answer["score"]] if "score" in answer else list(answer["probabilities"].values())


@contextmanager
def listening(
    roster: Roster, batches: Batches, most: int = 2**20, auth: tuple[str, str] | None = None
) -> Iterator[httpx.Client]:
    """The server over a roster, in a thread on a port of its own."""
    listener = bound("127.0.0.1", 0)
    if listener is None:
        raise AssertionError("no port is free")
    listener.listen()
    app = app_of(Service(roster, batches, Meters(), most, auth))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(60)


def texts(*given: str) -> dict[str, Any]:
    """A request's body."""
    return {"rows": [{"text": text} for text in given]}
