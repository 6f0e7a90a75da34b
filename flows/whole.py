"""`graft bench --whole`: whole commands in fresh processes against their goals, in turn."""

import json
import shlex
import shutil
import time
from pathlib import Path

from flows.benched import leave
from flows.sitting import STOPPED, measured, noting, opened, tracked
from flows.underway import Underway
from tasks import suites
from tasks.bench import turns
from tasks.bench.goals import told_of
from tasks.bench.orders import Order
from tasks.bench.turns import OURS, STDOUT, SideFailed
from tasks.bench.whole import FINETUNE, Asked, Step, Timed, Work
from tasks.prepare import prepare
from tasks.screen import Bar, bar

CURVE = "train/loss"  # noted after every step


class Whole(Underway[Timed]):
    """Every process of every work: what was measured so far."""

    def __init__(self, asked: Asked, csv: Path, folder: Path) -> None:
        super().__init__(csv, folder, Timed.columns)
        self.asked = asked
        self.steps: dict[str, tuple[Step, ...]] = {}

    def run(self) -> None:
        """Look at all works, then measure one after another; what fails is noted, and the others go on."""
        for work in self.asked.works:
            with noting(self.failed, work.name):
                self.steps[work.name] = work.steps()
                sides = [*work.before(), *self.steps[work.name] * self.asked.repeats]
                self.todo += [(work.name, step.side) for step in sides]
        with bar("whole", len(self.todo)) as shown:
            for work in (work for work in self.asked.works if work.name in self.steps):
                with noting(self.failed, work.name):
                    self._measured(work, shown)
                shown.advance(steps=self.drop(work.name))

    def _measured(self, work: Work, shown: Bar) -> None:
        """What makes files ready, then all turns; each side of a comparison has a home of its own in each."""
        for step in work.before():
            self._step(work, 0, step, self.folder / work.name, shown)
        for turn in range(1, self.asked.repeats + 1):
            for step in self.steps[work.name]:
                alone = f"{work.name}-{turn}-{step.side.replace(' ', '-')}"
                self._step(work, turn, step, self.folder / (alone if work.kind == "compare" else work.name), shown)
            if work.kind == "compare":
                for home in self.folder.glob(f"{work.name}-{turn}-*"):
                    shutil.rmtree(home)

    def _step(self, work: Work, turn: int, step: Step, home: Path, shown: Bar) -> None:
        """Run one process, and note it in the CSV whatever came of it."""
        shown.advance(f"{work.name}, turn {turn}: {step.side}; {self.left()}", steps=0)
        command = shlex.join(["graft", *step.words]) if step.words else ""
        raw = Timed(work=work.name, turn=turn, side=step.side, command=command)
        home.mkdir(exist_ok=True)
        try:
            with tracked(home):
                taken = self._command(step, home) if step.words else self._loop(work, home)
        except SideFailed as error:
            self.note(raw.model_copy(update={"wall": error.wall, "failed": str(error)}))
            raise
        raw = raw.model_copy(update=taken)
        self.note(raw)
        self.ran((work.name, step.side), raw.wall, shown)

    def _command(self, step: Step, home: Path) -> dict[str, float]:
        """Its seconds, and of a fine-tune that tells of itself those until its first step was over."""
        began, out = time.time(), home / "told"
        wall = turns.process(step.side, ("flows", *step.words), out, {"GRAFT_HOME": str(home), "PREFECT_API_URL": ""})
        if step.side != FINETUNE or "--json" not in step.words:
            return {"wall": wall}
        run_id = json.loads((out / STDOUT).read_text().splitlines()[-1])["run_id"]
        return {"wall": wall, "first": suites.first_noted(run_id, CURVE) - began}

    def _loop(self, work: Work, home: Path) -> dict[str, float]:
        """The seconds of the bare loop's process, and those of its steps."""
        recipe = work.recipe()
        data = prepare(recipe.model, recipe.dataset, recipe.seed)
        order = Order(by=OURS, kind="train", recipe=recipe, data=data, out=home / "loop")
        taken, _, wall = turns.run(order)
        return {"wall": wall, "training": taken.seconds}


def main(asked: Asked, to: Path | None, readme: Path | None, as_json: bool) -> int:
    """Measure, write all files and show the table; returns the exit code, 1 if a work failed.

    Raises:
        GraftError: the folder is not empty, or the README has no place for the table.
    """
    place = opened(to, readme, "whole")
    csv = place / "whole.csv"
    whole, machine = measured(place, csv, lambda folder, _: Whole(asked, csv, folder))
    told = told_of(asked, whole.raws, whole.failed)
    return leave(told, machine, place, readme, as_json) if machine else STOPPED
