"""`graft bench --means`: Graft's own training and answers with no mean of speed, with each alone and with all."""

from pathlib import Path

from flows.benched import leave
from flows.sitting import STOPPED, measured, noting, opened
from flows.underway import Underway
from tasks.bench import turns
from tasks.bench.gains import Asked, Tried, told_of
from tasks.bench.orders import Alternated, Lap, Order
from tasks.bench.table import append, columns, graded
from tasks.bench.turns import OURS, Raw, SideFailed
from tasks.prepare import prepare, rows_of
from tasks.recipe import Recipe
from tasks.results import Prepared
from tasks.screen import Bar, bar

IN_TURN = "all settings in turn"  # the side that is one process for all of them


class Means(Underway[Raw]):
    """Every setting of the means on every training: what was measured so far."""

    def __init__(self, asked: Asked, csv: Path, folder: Path) -> None:
        super().__init__(csv, folder, columns)
        self.asked = asked
        self.ready: dict[str, tuple[Recipe, Prepared]] = {}
        self.laps: dict[str, tuple[Lap, ...]] = {}

    def run(self) -> None:
        """Prepare all rows, then every training in its turns; a setting that fails is left out from there on."""
        for work in self.asked.works:
            with noting(self.failed, work.name):
                self.ready[work.name] = self._prepared(work)
                self.todo += [(work.name, IN_TURN)]
                self.todo += [(work.name, means) for means in work.processes] * self.asked.repeats
        with bar("means", len(self.todo)) as shown:
            for work in (work for work in self.asked.works if work.name in self.ready):
                self._in_turn(work, shown)
                for turn in range(1, self.asked.repeats + 1):
                    self._turn(work, turn, shown)

    def _prepared(self, work: Tried) -> tuple[Recipe, Prepared]:
        recipe = work.recipe(self.asked.quick)
        recipe.backbone.check()
        return recipe, prepare(recipe.model, recipe.dataset, recipe.seed)

    def _in_turn(self, work: Tried, shown: Bar) -> None:
        """Take batches with each setting in turn; its laps have a CSV of their own."""
        recipe, data = self.ready[work.name]
        shown.advance(f"{work.name}: {IN_TURN}; {self.left()}", steps=0)
        few = {"batches": 2, "takes": 1} if self.asked.quick else {}
        out = self.folder / f"{work.name}-laps"
        order = Alternated(recipe=recipe, data=data, repeats=self.asked.repeats, out=out, **few)
        with noting(self.failed, f"{work.name}, {IN_TURN}"):
            self.laps[work.name], wall = turns.alternate(order)
            for lap in self.laps[work.name]:
                append(self.csv.with_name("laps.csv"), {"work": work.name, **lap.model_dump()})
            self.ran((work.name, IN_TURN), wall, shown)
        shown.advance(steps=self.drop(work.name, IN_TURN))  # none, but where it failed

    def _turn(self, work: Tried, turn: int, shown: Bar) -> None:
        for means in work.processes:
            if (name := f"{work.name}, {means}") not in self.failed:
                with noting(self.failed, name):
                    self._side(work, turn, means, shown)
                if name in self.failed:
                    shown.advance(steps=self.drop(work.name, means))

    def _side(self, work: Tried, turn: int, means: str, shown: Bar) -> None:
        """Train with these means, and note it in the CSV whatever came of it."""
        recipe, data = self.ready[work.name]
        shown.advance(f"{work.name}, turn {turn}: {means}; {self.left()}", steps=0)
        raw = Raw(work=work.name, turn=turn, side=means, wall=0.0)
        out = self.folder / f"{work.name}-{turn}-{means}"
        try:
            taken, answers, wall = turns.run(
                Order(by=OURS, kind="train", recipe=recipe, data=data, out=out, means=means)
            )
        except SideFailed as error:
            self.note(raw.model_copy(update={"wall": error.wall, "failed": str(error)}))
            raise
        truth = rows_of(data, "test").labels
        score = None if answers is None else graded(recipe.dataset.scored[0], truth, answers)
        self.note(raw.model_copy(update={"wall": wall, "taken": taken, "score": score}))
        self.ran((work.name, means), wall, shown)


def main(asked: Asked, to: Path | None, readme: Path | None, as_json: bool) -> int:
    """Measure, write all files and show the table; returns the exit code, 1 if a setting failed.

    Raises:
        GraftError: the folder is not empty, or the README has no place for the table.
    """
    place = opened(to, readme, "means")
    csv = place / "means.csv"
    means, machine = measured(place, csv, lambda folder, _: Means(asked, csv, folder))
    told = told_of(asked, means)
    return leave(told, machine, place, readme, as_json) if machine else STOPPED
