"""`graft bench --growth`: Graft's own training at every size of every curve, each in a fresh process."""

import json
import sys
from pathlib import Path

from rich.console import Console

from flows.benched import conclude, tabled, widen
from flows.sitting import STOPPED, measured, noting, opened
from flows.underway import Key, Underway
from tasks.bench import page as bench_page
from tasks.bench import turns
from tasks.bench.growth import page, picture
from tasks.bench.growth.curves import Asked, Curve, Point, foreseen
from tasks.bench.growth.table import Line, as_objects, cells, line, of_csv
from tasks.bench.machine import Described
from tasks.bench.orders import Order
from tasks.bench.turns import OURS, Raw, SideFailed
from tasks.files import write_file
from tasks.prepare import prepare
from tasks.screen import Bar, bar, say


class Growth(Underway[Raw]):
    """Every size of every curve: what was measured so far."""

    def __init__(self, asked: Asked, csv: Path, folder: Path) -> None:
        super().__init__(csv, folder, self._line)
        self.asked = asked
        self.points: list[Point] = []
        self.took: dict[Key, tuple[float, float]] = {}  # seconds of the process, and of the training in it

    def run(self) -> None:
        """Make all sizes ready, then measure each once a turn; what fails is noted, and the others go on."""
        for curve in self.asked.curves:
            for size in curve.chosen(self.asked.quick):
                with noting(self.failed, f"{curve.name} {size}"):
                    self.points.append(self._made(curve, size))
        self.todo = [point.key for point in self.points] * self.asked.repeats
        with bar("growth", len(self.todo)) as shown:
            for turn in range(1, self.asked.repeats + 1):
                for point in [one for one in self.points if one.key in self.todo]:
                    with noting(self.failed, " ".join(point.key)):
                        self._measured(point, turn, shown)

    def _made(self, curve: Curve, size: str) -> Point:
        recipe = curve.recipe(size, self.asked.quick, self.folder)
        recipe.backbone.check()
        data = prepare(recipe.model, recipe.dataset, recipe.seed)
        return Point(curve=curve.name, size=size, place=curve.place(size, recipe, data), recipe=recipe, data=data)

    def _measured(self, point: Point, turn: int, shown: Bar) -> None:
        """Run a size, and note it in the CSV whatever came of it; one that failed is not run again."""
        name = " ".join(point.key)
        shown.advance(f"{name}, turn {turn}; {self.left()}", steps=0)
        raw = Raw(work=point.curve, turn=turn, side=OURS, settings=point.size, wall=0.0)
        out = self.folder / f"{name}-{turn}".replace(":", "-")
        order = Order(by=OURS, kind="train", recipe=point.recipe, data=point.data, out=out)
        try:
            taken, _, wall = turns.run(order)
        except SideFailed as error:
            self.note(raw.model_copy(update={"wall": error.wall, "failed": str(error)}))
            gone = self.drop(*point.key)
            shown.advance(self.left(), gone)
            raise
        self.note(raw.model_copy(update={"wall": wall, "taken": taken}))
        self.took[point.key] = wall, taken.seconds
        self.ran(point.key, wall, shown)
        say(
            f"{name}, turn {turn} of {self.asked.repeats}: {taken.seconds:,.1f} s, {taken.rate:,.1f} rows/s, "
            f"{taken.peak / 1e6:,.0f} MB"
        )

    def _line(self, raw: Raw) -> dict[str, object]:
        (point,) = (one for one in self.points if one.key == (raw.work, raw.settings))
        return of_csv(point, raw)

    def left(self) -> str:
        return turns.words_left(self.todo, foreseen(self.points, self.took))


def main(asked: Asked, to: Path | None, readme: Path | None, as_json: bool) -> int:
    """Measure, write all files and show the tables; returns the exit code, 1 if a size failed.

    Raises:
        GraftError: the folder is not empty, or the README has no place for the tables.
    """
    place = opened(to, readme, "growth")
    csv = place / "growth.csv"
    growth, machine = measured(place, csv, lambda folder, _: Growth(asked, csv, folder))
    return finished(growth, machine, place, readme, as_json) if machine else STOPPED


def finished(growth: Growth, machine: Described, place: Path, readme: Path | None, as_json: bool) -> int:
    """Tables and pictures of what was measured, in files and on the terminal."""
    asked = growth.asked
    lines = [line(curve, growth.points, growth.raws) for curve in asked.curves]
    told = page.markdown(asked, lines, growth.failed, machine)
    write_file(place / "growth.md", told.encode())
    for one in lines:
        if one.sizes:
            picture.draw(one, place / f"{one.name}.png", asked.quick)
    if readme:
        bench_page.write_readme(readme, "growth", told)
    show(Console(stderr=as_json), growth, lines, machine, place)
    if as_json:
        answer = as_objects(lines, growth.failed) | {"quick": asked.quick, "repeats": asked.repeats}
        sys.stdout.write(json.dumps(answer | {"machine": machine.model_dump(), "folder": str(place)}) + "\n")
    return 1 if growth.failed else 0


def show(screen: Console, growth: Growth, lines: list[Line], machine: Described, place: Path) -> None:
    """The tables, what failed, and where all of it lies."""
    widen(screen)
    for curve, one in zip(growth.asked.curves, lines, strict=True):
        screen.print(f"[bold]{curve.name}[/]: {page.headed(curve, one)}", highlight=False)
        if one.sizes:
            screen.print(tabled(cells(one, curve.named), [""] * len(one.sizes)))
    conclude(screen, (page.how(growth.asked), bench_page.on(machine)), growth.asked.quick, growth.failed)
    screen.print(
        f"Tables, pictures, every turn and the machine: {place}", markup=False, highlight=False, soft_wrap=True
    )
