"""What stands in for a benchmark's processes, whose figures must be known, and what looks at its bar."""

from typing import Any

import pytest

from flows import sitting
from tasks.bench import turns
from tasks.bench.machine import Described, described
from tasks.bench.orders import Order, Taken
from tasks.bench.turns import SideFailed


class Stand:
    """Runs orders in no time, remembers them, and may be stopped by Ctrl-C after so many."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.stop_after = 1000
        self.gflops = {"fp32": 100.0, "bf16": 200.0}

    def __call__(self, order: Order) -> tuple[Taken, Any, float]:
        if len(self.orders) >= self.stop_after:
            raise KeyboardInterrupt
        self.orders.append(order)
        return (*self.ran(order), 5.0)

    def ran(self, order: Order) -> tuple[Taken, Any]:
        """What a side took, and its answers."""
        raise NotImplementedError

    def machine(self) -> Described:
        """The machine, looked at but once; it multiplies as fast in 16 bits as it is told."""
        return described(0.001).model_copy(update={"gflops": self.gflops})

    def seated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of all processes, on a machine that is looked at but once."""
        monkeypatch.setattr(turns, "run", self)
        monkeypatch.setattr(turns, "ready", lambda: None)
        monkeypatch.setattr(sitting, "described", self.machine)
        monkeypatch.setattr(sitting, "again", lambda machine: machine)


def failed(name: str, why: str) -> SideFailed:
    """What a side raises that ended badly."""
    return SideFailed(f"{name} ended with exit code 1: {why}", ["first", why], 1.5)


class Shown:
    """What the bar of a stage has shown."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.bars: list[tuple[int, int | None, str]] = []

    def moved(self, stage: str, done: int, total: int | None, figures: str) -> None:
        self.bars += [(done, total, figures)] if stage == self.stage else []

    def said(self, text: str) -> None:
        """The terminal is looked at for that."""
