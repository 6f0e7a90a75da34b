"""`graft bench`: both sides of every work in turn, a table, a picture, and what was measured as it was measured."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.benched import finished
from flows.sitting import STOPPED, measured, noting, opened
from flows.underway import Underway
from tasks.bench import own, turns
from tasks.bench.orders import Order, Taken
from tasks.bench.table import Answers, Scores, check_same_answers, check_same_rows, columns, graded, scored
from tasks.bench.turns import OURS, Raw, Side, SideFailed
from tasks.bench.works import Asked, Work
from tasks.prepare import prepare, rows_of
from tasks.recipe import Recipe
from tasks.results import Prepared
from tasks.screen import Bar, bar, say


class Bench(Underway[Raw]):
    """Both sides of every work: what was measured so far."""

    def __init__(self, asked: Asked, csv: Path, folder: Path, gflops: Mapping[str, float]) -> None:
        super().__init__(csv, folder, columns)
        self.asked, self.bf16 = asked, gflops["bf16"] >= gflops["fp32"] and not asked.quick
        self.scores: dict[str, Scores] = {}
        self.best: dict[str, Scores] = {}
        self.tried: list[str] = []
        self.ready: dict[str, tuple[Recipe, Recipe, Prepared]] = {}

    def run(self) -> None:
        """Prepare all rows, then measure one work after another; what fails is noted, and the others go on."""
        for work in self.asked.works:
            with noting(self.failed, work.name):
                self.ready[work.name] = self._prepared(work)
                trials = () if self.asked.quick else turns.trials(work, self.bf16)
                self.todo += [(work.name, f"trial of {name}") for name, _ in trials]
                self.todo += [(work.name, name) for name in (OURS, work.peer)] * self.asked.repeats
        with bar("bench", len(self.todo)) as shown:
            for work in self.asked.works:
                if work.name in self.ready:
                    with noting(self.failed, work.name):
                        self._measured(work, shown)
                    shown.advance(steps=self.drop(work.name))

    def _prepared(self, work: Work) -> tuple[Recipe, Recipe, Prepared]:
        ours, theirs = work.recipes(self.asked.quick)
        ours.backbone.check()
        return ours, theirs, prepare(ours.model, ours.dataset, ours.seed)

    def _measured(self, work: Work, shown: Bar) -> None:
        """Trials, then all turns, whose answers give the scores."""
        ours, _, data = self.ready[work.name]
        if work.kind == "predict":
            self._model(work, shown)
        sides = turns.chosen(self._trials(work, shown), work, self.bf16)
        truth = rows_of(data, "test").labels
        plain: tuple[str, str] = (OURS, work.peer)
        quick = plain
        answers: dict[tuple[str, str], list[tuple[Answers, Answers]]] = {}
        for turn in range(1, self.asked.repeats + 1):
            found = {name: self._side(work, turn, (name, settings), shown) for name, settings in sides}
            (one, _), (other, _) = found[OURS], found[work.peer]
            check_same_rows(work, one, other)
            if turn == 1:
                quick = turns.fastest(work, {name: taken.rate for name, (taken, _) in found.items()})
            for names in {plain, quick}:
                mine, theirs = (found[name][1] for name in names)
                if mine is not None and theirs is not None:
                    answers.setdefault(names, []).append((mine, theirs))
                    if work.kind == "predict":
                        check_same_answers(work, mine, theirs)
            say(
                f"{work.name}, turn {turn} of {self.asked.repeats}: {OURS} {one.rate:,.1f} rows/s, "
                f"{work.peer} {other.rate:,.1f}: {one.rate / other.rate:.2f} times as fast"
            )
        for names, pairs in answers.items():
            scores = self.scores if names == plain else self.best
            scores[work.name] = scored(ours.dataset.scored[0], truth, pairs)

    def _trials(self, work: Work, shown: Bar) -> dict[str, float]:
        """Rows a second of the other side's settings on a few rows."""
        if self.asked.quick or not work.tries:
            return {}
        rows = turns.TRIED * self.ready[work.name][1].schedule.batch_size
        rates: dict[str, float] = {}
        for name, settings in turns.trials(work, self.bf16):
            try:
                rates[name] = self._side(work, 0, (name, settings), shown, rows)[0].rate
            except SideFailed as error:
                say(f"{work.name}: {name} is left out: {error}", style="yellow")
        told = ", ".join(f"{name} {rate:,.1f}" for name, rate in rates.items())
        untried = "" if self.bf16 else "; bf16 is not tried, this machine multiplies more slowly in it"
        self.tried.append(
            f"{work.name}: tried on {rows:,} rows (rows/s): {told}; the faster in fp32 is compared{untried}"
        )
        return rates

    def _model(self, work: Work, shown: Bar) -> None:
        """The model that is asked: the one that another work has trained, or one trained now; and as an export."""
        ours, _, data = self.ready[work.name]
        kept = self._kept(ours)
        if not kept.exists():
            shown.advance(f"{work.name}: the model is trained first", steps=0)
            out = self.folder / f"{work.name}-model"
            turns.run(Order(by=OURS, kind="train", recipe=ours, data=data, out=out, keep=kept))
        own.export(kept, self._exported(ours))

    def _kept(self, recipe: Recipe) -> Path:
        return self.folder / "models" / recipe.fingerprint

    def _exported(self, recipe: Recipe) -> Path:
        return self.folder / "exported" / recipe.fingerprint

    def _side(
        self, work: Work, turn: int, side: Side, shown: Bar, rows: int | None = None
    ) -> tuple[Taken, NDArray[np.float32] | None]:
        """Run one side, and note it in the CSV whatever came of it."""
        name, settings = side
        key = (work.name, name if turn else f"trial of {name}")
        shown.advance(f"{work.name}, {f'turn {turn}: {name}' if turn else key[1]}; {self.left()}", steps=0)
        raw = Raw(work=work.name, turn=turn, side=name, settings=turns.words(settings), wall=0.0)
        try:
            taken, answers, wall = turns.run(self._order(work, turn, side, rows))
        except SideFailed as error:
            self.note(raw.model_copy(update={"wall": error.wall, "failed": str(error)}))
            raise
        ours, _, data = self.ready[work.name]
        value = None if answers is None else graded(ours.dataset.scored[0], rows_of(data, "test").labels, answers)
        self.note(raw.model_copy(update={"wall": wall, "taken": taken, "score": value}))
        self.ran(key, wall, shown)
        return taken, answers

    def _order(self, work: Work, turn: int, side: Side, rows: int | None) -> Order:
        ours, theirs, data = self.ready[work.name]
        mine = side[0].startswith(OURS)
        few = rows if mine or rows else turns.rows_of_peer(work, data.rows["train"], self.asked.quick)
        model = (self._kept(ours) if mine else self._exported(ours)) if work.kind == "predict" else None
        recipe = ours if mine else theirs
        wanted = any(one.kind == "predict" for one in self.asked.works) and side[0] == OURS and work.kind == "train"
        return Order(
            by=OURS if mine else work.peer,
            kind=work.kind,
            recipe=recipe.model_copy(update={"seed": recipe.seed + max(turn, 1) - 1}),  # the rows are the first's
            data=data,
            settings=side[1],
            rows=few,
            epochs=1 if few else None,
            out=self.folder / f"{work.name}-{turn}-{side[0]}",
            model=model,
            keep=self._kept(ours) if wanted and turn == 1 else None,
        )


def main(asked: Asked, to: Path | None, readme: Path | None, as_json: bool) -> int:
    """Measure, write all files and show the table; returns the exit code, 1 if a work failed.

    Raises:
        GraftError: the folder is not empty, or the README has no place for the table.
    """
    place = opened(to, readme, "bench")
    csv = place / "bench.csv"
    bench, machine = measured(place, csv, lambda folder, machine: Bench(asked, csv, folder, machine.gflops))
    return finished(bench, machine, place, readme, as_json) if machine else STOPPED
