"""Growth: the options, the law of a curve, what is made for its points, and the command with trainings that answer."""

import csv
import json
import re
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
import torch
from made import Graft
from sides import Shown, Stand, failed

from flows import growth, sitting
from tasks.backbones.text import TextNetwork
from tasks.bench.growth import curves
from tasks.bench.growth.curves import CURVES, TWO, Curve, Lengths, Networks, Point, Rows, asked, foreseen
from tasks.bench.growth.law import fitted
from tasks.bench.growth.made import joined, multiplied, shorten
from tasks.bench.growth.picture import draw
from tasks.bench.growth.table import line
from tasks.bench.orders import Order, Taken
from tasks.bench.page import NO_PROOF, check_readme
from tasks.bench.turns import Raw
from tasks.compose import CONFIGS, load
from tasks.frozen import GraftError
from tasks.prepare import prepare, rows_of
from tasks.screen import watched

pytest_plugins = ["made"]

ROOT = Path(__file__).parents[1]
SOON = ("schedule.epochs=1",)
MADE = (
    Rows(
        name="rows", about="what rows are", axis="rows", experiment="tickets_scratch", field="dataset.limit",
        sizes=("64", "128", "256"), few=("64", "128"), of_row=False,
    ),
    Curve(
        name="length", about="what lengths are", axis="tokens kept", experiment="tickets_scratch",
        field="backbone.max_length", sizes=("8", "16"), few=("8", "16"), changes=(*SOON, "dataset.limit=64"),
    ),
)  # fmt: skip


def network(length: int) -> TextNetwork:
    """MiniLM that keeps so many tokens."""
    recipe = load("tickets_lora", [f"backbone.max_length={length}"])
    return cast(TextNetwork, recipe.backbone.load(TWO, {}))


@pytest.fixture(scope="module")
def messages() -> pd.DataFrame:
    """The embedded messages: `text` and `label`."""
    return pd.read_csv(CONFIGS / "datasets" / "tickets.csv")


# The options.


def test_names_choose_curves_in_the_order_of_the_table() -> None:
    assert asked("all", None, False).curves == CURVES
    assert [curve.name for curve in asked("model, rows", None, False).curves] == ["rows", "model"]
    for repeats, quick, times in ((None, False, 3), (None, True, 1), (5, True, 5)):
        assert asked("rows", repeats, quick).repeats == times


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["width"], "--growth 'width': 'width' is unknown. Valid, with commas: rows, length, image, model, all."),
        ([","], "no name is given"),
        ([""], "--growth '': no name is given"),
        (["rows", "--repeats", "0"], "--repeats 0 is no number of turns"),
        (["rows", "--only", "text"], "--only chooses what stands beside Graft, and --growth has only Graft itself."),
        (["all", "--against", "timm"], "--against chooses what stands beside Graft, and --growth has only Graft"),
        (["all", "--device", "tpu"], "GRAFT_DEVICE='tpu' is not on this machine. Valid here: cpu"),
        (["all", "--means"], "are benchmarks of their own, with a table each. Ask one at a time."),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_made(
    home: Path, graft: Graft, words: list[str], told: str
) -> None:
    answer = graft("bench", "--growth", *words)

    assert answer.code == 2
    assert told in answer.err
    assert not home.exists()


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_the_sizes_rise_and_a_quick_run_has_two_that_are_no_larger(curve: Curve) -> None:
    recipes = [Curve.recipe(curve, size.partition(":")[0], False, Path()) for size in curve.sizes]

    assert 1 < len(curve.few) <= 3 <= len(curve.sizes)
    assert all(recipe.schedule.epochs == 1 and recipe.method.kind == "lora" for recipe in recipes)
    if not curve.named:
        assert [*map(int, curve.sizes)] == sorted({*map(int, curve.sizes)})
        assert int(curve.few[0]) <= int(curve.sizes[0])


# The law.


@pytest.mark.parametrize("exponent", [0.5, 1, 2])
def test_the_exponent_of_an_exact_power_law_is_recovered(exponent: float) -> None:
    sizes = [16, 32, 64, 128, 512]
    law = fitted(sizes, [3 * size**exponent for size in sizes])

    assert law is not None and law.error is not None and law.low is not None and law.high is not None
    assert law.exponent == pytest.approx(exponent)
    assert law.factor == pytest.approx(3)
    assert law.error == pytest.approx(0, abs=1e-6)
    assert law.at(100) == pytest.approx(3 * 100**exponent)


def test_the_interval_is_students_around_the_exponent() -> None:
    law = fitted([1, 2, 4, 8], [1, 2.2, 3.8, 8.1])

    assert law is not None and law.error is not None and law.low is not None and law.high is not None
    assert law.high - law.exponent == pytest.approx(4.303 * law.error, rel=1e-3), "t of two degrees of freedom"
    assert law.exponent - law.low == pytest.approx(law.high - law.exponent)
    assert re.fullmatch(
        r"s ~ rows\^\d\.\d\d \(standard error 0\.\d\d; 95 %: 0\.\d\d to 1\.\d\d\)", law.told("s", "rows")
    )


def test_two_sizes_have_an_exponent_without_an_interval_and_one_has_none() -> None:
    law = fitted([10, 20], [5, 20])

    assert law is not None and (law.exponent, law.factor) == pytest.approx((2, 0.05))
    assert (law.error, law.low, law.high) == (None, None, None)
    assert law.told("s", "rows") == "s ~ rows^2.00 (two sizes: no interval)"
    assert fitted([10], [5]) is None
    assert fitted([10, 10], [5, 6]) is None


# What is made.


@pytest.mark.parametrize("length", [16, 32, 128])
def test_joined_rows_have_exactly_so_many_tokens_and_nothing_is_cut_off_later(
    messages: pd.DataFrame, length: int
) -> None:
    rows = list(joined(network(length), messages["text"].tolist(), messages["label"].tolist(), 40))
    texts = [text for text, _ in rows]

    assert network(256).lengths({"text": texts}).tolist() == [length] * 40
    assert all(text in " ".join(messages["text"]) for text in texts), "real sentences in their order"
    assert {label for _, label in rows} <= {*messages["label"]}


def test_too_few_texts_are_an_error_that_says_how_far_they_reach(messages: pd.DataFrame) -> None:
    texts = messages["text"].tolist()[:20]

    with pytest.raises(GraftError, match=r"20 texts give \d rows of 64 tokens, but 40 are wanted"):
        list(joined(network(64), texts, ["a"] * 20, 40))


def test_a_shortened_network_is_the_first_blocks_of_the_whole_one(home: Path, tmp_path: Path) -> None:
    whole = network(16)
    rows = {"text": ["a real sentence"]}
    hidden = whole.module(**whole.encode(rows), output_hidden_states=True).hidden_states[2]
    weights = multiplied(whole)
    shorten(whole, 2, tmp_path / "short")
    told = json.dumps({"kind": "folder", "path": str(tmp_path / "short")})
    recipe = load("tickets_lora", ["backbone.max_length=16", f"backbone.weights={told}"])
    recipe.backbone.check()
    short = recipe.backbone.load(TWO, {})

    assert len(short.groups) == 2
    assert weights - multiplied(short) == 4 * (12 * 384**2 + 13 * 384), "four blocks fewer, no embedding counted"
    again = short.module(**short.encode(rows), output_hidden_states=True).hidden_states[-1]
    assert torch.allclose(again, hidden, atol=1e-5)


def test_a_network_has_no_more_blocks_than_it_has(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="The network has 6 blocks, but 7 are wanted"):
        shorten(network(16), 7, tmp_path / "short")


# The table and the picture.


def taken(seconds: float, rows: int = 100) -> Taken:
    return Taken(seconds=seconds, ready=1, rows=rows, epochs=1, steps=4, trained=1, peak=10**9, seen="a")


def points(curve: Curve) -> list[Point]:
    recipe = load(curve.experiment, ["dataset.limit=64"])
    data = prepare(recipe.model, recipe.dataset, recipe.seed)
    return [Point(curve=curve.name, size=size, place=float(size), recipe=recipe, data=data) for size in curve.sizes]


def raws(curve: Curve, seconds: list[float], turn: int = 1) -> list[Raw]:
    return [
        Raw(work=curve.name, turn=turn, side="graft", settings=size, wall=9, taken=taken(own, int(size)))
        for size, own in zip(curve.sizes, seconds, strict=True)
    ]


def test_a_curve_is_of_medians_over_the_turns_and_of_its_own_points_alone(home: Path, tmp_path: Path) -> None:
    rows, length = MADE
    own = points(rows)
    three = raws(rows, [1, 2, 4]) + raws(rows, [2, 4, 8], 2) + raws(rows, [40, 80, 160], 3)
    made = line(rows, [*own, *points(length)], three + raws(length, [7, 7]))

    assert [(size.place, size.time.middle, size.time.low, size.time.high) for size in made.sizes] == [
        (64, 2, 1, 40), (128, 4, 2, 80), (256, 8, 4, 160),
    ]  # fmt: skip
    assert made.law is not None and made.law.exponent == pytest.approx(1)
    draw(made, tmp_path / "rows.png", quick=True)
    assert (tmp_path / "rows.png").read_bytes().startswith(b"\x89PNG")


def test_a_curve_of_which_one_size_ran_has_no_law_and_still_a_picture(home: Path, tmp_path: Path) -> None:
    made = line(MADE[0], points(MADE[0]), raws(MADE[0], [1, 2, 4])[:1])

    assert len(made.sizes) == 1 and made.law is None
    draw(made, tmp_path / "rows.png", quick=False)


def test_time_is_of_the_training_or_of_a_row() -> None:
    assert MADE[0].time(taken(5)) == 5
    assert MADE[1].time(taken(5, rows=100)) == 50


def test_what_a_size_will_take_is_foreseen_from_its_nearest_neighbour(home: Path) -> None:
    own = points(MADE[0])

    assert foreseen(own, {}) == {}
    assert foreseen(own, {("rows", "64"): (15.0, 5.0)}) == {
        ("rows", "64"): [15], ("rows", "128"): [20], ("rows", "256"): [30],
    }  # fmt: skip


# The command.


class Trainings(Stand):
    """10 ms a row."""

    fail_at: int | None = None

    def ran(self, order: Order) -> tuple[Taken, Any]:
        rows = len(rows_of(order.data, "train"))
        if order.recipe.dataset.limit == self.fail_at:
            raise failed("graft", "no memory")
        return taken(rows / 100, rows), None


@pytest.fixture
def trainings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    found = Trainings()
    monkeypatch.setattr(curves, "CURVES", MADE)
    found.seated(monkeypatch)
    return found


def lines(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "growth.csv").open()))


def test_every_size_runs_once_a_turn_and_all_files_are_written(
    trainings: Trainings, tmp_path: Path, graft: Graft
) -> None:
    shown = Shown("growth")
    with watched(shown):
        told = graft("bench", "--growth", "all", "--repeats", 2, "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 0
    sizes = [(curve.name, size) for curve in MADE for size in curve.sizes]
    assert [(one["curve"], one["size"], one["turn"]) for one in lines(tmp_path / "out")] == [
        (*own, turn) for turn in "12" for own in sizes
    ]
    assert [curve["name"] for curve in answer["curves"]] == ["rows", "length"]
    assert answer["curves"][0]["law"]["exponent"] == pytest.approx(1)
    assert answer["curves"][1]["law"]["exponent"] == pytest.approx(0)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "growth.csv", "growth.md", "rows.png", "length.png", "machine.json",
    }  # fmt: skip
    assert "s of training ~ (rows)^1.00" in told.err and "length 16, turn 2 of 2" in told.err
    assert shown.bars[0] == (0, 10, "rows 64, turn 1; how long is not known yet")
    assert shown.bars[-2:] == [(9, 10, "length 16, turn 2; about 1 min left"), (10, 10, "done")]
    assert not list((tmp_path / "home" / "bench").glob("work-*")), "the sides' folder is gone"


def test_a_size_that_fails_is_noted_once_and_the_others_go_on(
    trainings: Trainings, tmp_path: Path, graft: Graft
) -> None:
    trainings.fail_at = 128
    told = graft("bench", "--growth", "rows", "--repeats", 2, "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 1
    assert answer["failed"] == {"rows 128": "graft ended with exit code 1: no memory"}
    assert [size["size"] for size in answer["curves"][0]["sizes"]] == ["64", "256"]
    assert [one["failed"] for one in lines(tmp_path / "out") if one["size"] == "128"] == list(answer["failed"].values())
    assert len(lines(tmp_path / "out")) == 5, "what failed is not tried again"
    assert "- failed: rows 128: graft ended" in (tmp_path / "out" / "growth.md").read_text()
    assert "    first\n" in told.err


def test_a_size_that_cannot_be_made_fails_alone(
    trainings: Trainings, tmp_path: Path, graft: Graft, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = MADE[0].model_copy(update={"experiment": "imagenet10_scratch", "few": ("100",)})
    monkeypatch.setattr(curves, "CURVES", (absent, MADE[1]))
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    told = graft("bench", "--growth", "all", "--quick", "--to", tmp_path / "out")

    assert told.code == 1
    assert "failed rows 100: " in told.out and "imagenet10" in told.out
    assert "Nothing was measured." in (tmp_path / "out" / "growth.md").read_text()
    assert [one["curve"] for one in lines(tmp_path / "out")] == ["length", "length"]


def test_interrupted_it_leaves_what_was_measured(trainings: Trainings, tmp_path: Path, graft: Graft) -> None:
    trainings.stop_after = 2
    told = graft("bench", "--growth", "all", "--quick", "--to", tmp_path / "out")

    assert told.code == 130
    assert [(one["curve"], one["size"], one["rows"]) for one in lines(tmp_path / "out")] == [
        ("rows", size, str(len(rows_of(order.data, "train"))))
        for size, order in zip(("64", "128"), trainings.orders, strict=True)
    ]
    said = told.err.replace("\n", "")  # a long path is broken at the screen's edge
    assert "Stopped. What was measured until then lies in" in said and "growth.csv" in said


def test_the_readme_gets_the_tables_and_keeps_the_rest(trainings: Trainings, tmp_path: Path, graft: Graft) -> None:
    before = "a\n<!-- bench -->\nother figures\n<!-- /bench -->\n<!-- growth -->\nold\n<!-- /growth -->\nb\n"
    (tmp_path / "README.md").write_text(before)
    graft("bench", "--growth", "all", "--quick", "--readme", tmp_path / "README.md", "--to", tmp_path / "out")
    text, page = (tmp_path / "README.md").read_text(), (tmp_path / "out" / "growth.md").read_text()

    assert text == before.replace("\nold\n", f"\n{page.strip()}\n")
    for told in (NO_PROOF, "| rows | s of training | rows/s | peak MB |", "`length`: what lengths are.", "torch"):
        assert told in page


def test_a_readme_without_the_place_is_told_before_an_hour_is_spent(
    trainings: Trainings, tmp_path: Path, graft: Graft
) -> None:
    (tmp_path / "README.md").write_text("<!-- bench -->\n<!-- /bench -->\n")
    told = graft("bench", "--growth", "all", "--readme", tmp_path / "README.md", "--to", tmp_path / "out")

    assert told.code == 2
    assert "must hold <!-- growth --> and <!-- /growth -->" in told.err
    assert trainings.orders == []


def test_our_own_readme_has_the_place() -> None:
    check_readme(ROOT / "README.md", "growth")


# On real data.


def test_every_size_of_a_quick_run_is_made_of_the_real_data(home: Path, data_folder: Path) -> None:
    with sitting.workplace() as folder:
        running = growth.Growth(asked("length,model", None, True), folder / "growth.csv", folder)
        made = [running._made(curve, size) for curve in running.asked.curves for size in curve.few]

    lengths, networks = [one for one in CURVES if isinstance(one, Lengths | Networks)]
    assert [one.place for one in made[:2]] == [float(size) for size in lengths.few]
    assert len({one.data.rows["train"] for one in made[:2]}) == 1, "as many rows of each length"
    assert [one.size for one in made[2:]] == list(networks.few)
    assert made[2].place < made[3].place


@pytest.mark.real
@pytest.mark.timeout(1800)
def test_all_curves_run_at_small_sizes_on_the_real_data(
    home: Path, data_folder: Path, tmp_path: Path, graft: Graft
) -> None:
    some = [curve for curve in CURVES if curve.name != "rows"]  # it makes nothing of its own
    told = graft("bench", "--growth", "length,image,model", "--quick", "--to", tmp_path / "out", "--json")
    answer = json.loads(told.out.splitlines()[-1])

    assert told.code == 0
    assert [curve["name"] for curve in answer["curves"]] == [curve.name for curve in some]
    assert [len(curve["sizes"]) for curve in answer["curves"]] == [len(curve.few) for curve in some]
    assert all(curve["law"] for curve in answer["curves"])
    assert [(one["curve"], one["size"]) for one in lines(tmp_path / "out")] == [
        (curve.name, size) for curve in some for size in curve.few
    ]
    assert all(int(one["peak_bytes"]) > 1e8 for one in lines(tmp_path / "out"))
