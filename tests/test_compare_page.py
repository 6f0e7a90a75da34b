"""The page of a comparison: the answer first, all of it inside, readable on any ground."""

import csv
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from test_ranking import made, ran, ranked

from tasks.comparison import page, pictures, words
from tasks.comparison.asked import asked, composed
from tasks.comparison.ranking import failed
from tasks.comparison.table import Comparison


def compared(several: bool = False) -> Comparison:
    lines = ranked(
        *(ran("good", seed, range(50)) for seed in (0, 1)),
        *(ran("<odd>", seed, range(200), seconds_train=2) for seed in (0, 1)),
    )
    few = [line.model_copy(update={"limit": 50, "rows": 50}) for line in lines] if several else []
    return made(*lines, *few, failed("none", 50 if several else None, 50, 2))


@pytest.fixture(scope="module")
def html() -> str:
    comparison = compared(several=True)
    return page.html(comparison, pictures.drawn(comparison), "graft compare it", ["good: learning_rate 0.1"])


def test_the_page_asks_no_server_and_runs_no_script(html: str) -> None:
    links = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", html)

    assert links and all(link.startswith("#") for link in links), "parts of the pictures alone"
    assert "<script" not in html and "@import" not in html


def test_the_answer_comes_before_the_table_the_pictures_how_and_the_command(html: str) -> None:
    answer = "good has the highest accuracy, 95.0 ("
    places = [html.index(told) for told in (answer, "<table", "<svg", "How it was computed", "graft compare it")]

    assert places == sorted(places)
    assert "within 2 points on both sides" in html


def test_what_a_name_holds_stays_text(html: str) -> None:
    assert "&lt;odd&gt;" in html
    assert "<odd>" not in html


def test_all_lines_stand_in_the_table_and_say_how_many_rows(html: str) -> None:
    body = html[html.index("<table") : html.index("</table>")]

    assert body.count("<tr class=") == 5
    assert "<th>rows</th>" in body
    assert "<th>rows</th>" not in page.html(compared(), {}, "", [])
    assert 'class="failed"' in body


def test_light_and_dark_have_their_colours_and_the_pictures_take_the_pages(html: str) -> None:
    assert "prefers-color-scheme: dark" in html
    for svg in re.findall(r"<svg.*?</svg>", html, re.S):
        assert "currentColor" in svg
        assert pictures.INK not in svg


def test_every_picture_is_whole_and_the_rows_curve_is_there_where_rows_differ() -> None:
    one, several = (pictures.drawn(compared(flag)) for flag in (False, True))

    assert [*one] == ["scores", "cost", "learning"]
    assert [*several] == ["scores", "cost", "learning", "rows"]
    for svg in several.values():
        assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert pictures.drawn(made(failed("none", None, 160, 1))) == {}


def test_the_same_comparison_gives_the_same_pictures() -> None:
    assert pictures.drawn(compared()) == pictures.drawn(compared())


@pytest.mark.parametrize(
    ("costs", "scores", "front"),
    [
        ([1, 2, 3], [0.5, 0.6, 0.7], [0, 1, 2]),
        ([3, 2, 1], [0.7, 0.4, 0.5], [2, 0]),
        ([1, 1], [0.5, 0.6], [1]),
        ([1, 2], [0.6, 0.6], [0]),
    ],
)
def test_the_front_is_what_nothing_beats_in_both(costs: list[float], scores: list[float], front: list[int]) -> None:
    assert pictures.front(costs, scores) == front


def test_the_table_says_score_difference_and_costs() -> None:
    good, odd, none = page.rows(compared())

    assert good["accuracy"].startswith("95.0 (")
    assert (good["to the best"], good["p"], good["judged"]) == ("-", "-", "best")
    assert odd["to the best"].startswith("-15.0 (-1")
    assert (odd["p"], odd["judged"], odd["seconds"]) == ("< 0.001", "worse", "2")
    assert (good["trained + head"], good["of all"]) == ("900 + 100", "1 %")
    assert (good["memory MB"], good["disk MB"], good["ms p50 / p95"]) == ("500", "2 (0.1)", "1.0 / 2.0")
    assert (none["judged"], none["seeds"], none["accuracy"]) == ("failed", "0 of 2", "-")


def test_the_csv_holds_one_fact_a_column() -> None:
    good, odd, none = csv.DictReader(io.StringIO(page.table_csv(compared())))

    assert float(good["score_value"]) == pytest.approx(0.95)
    assert float(odd["apart_high"]) < 0
    assert (good["costs_outside"], good["latency_p95"], none["standing"]) == ("900", "2.0", "failed")


def test_the_markdown_opens_with_the_answer_and_has_a_row_for_each_line() -> None:
    told = page.markdown(compared())

    assert f"\n\n**{words.answer(compared())}**\n\n" in told
    assert told.count("\n| ") == 2 + 3


def test_the_settings_of_every_method_are_told_and_all_files_are_written(tmp_path: Path) -> None:
    given = asked("tickets_lora", "scratch,lora", "0", None, 2.0, [])
    told = page.settings(composed(given))

    assert told[0] == "All: 15 epochs, batches of 16; the best epoch is kept."
    assert "scratch: learning_rate 0.0001" in told
    assert any(line.startswith("lora: learning_rate 0.001, rank 16") for line in told)
    assert page.write(compared(), given, composed(given), tmp_path) == tmp_path / "compare.html"
    assert {file.name for file in tmp_path.iterdir()} == {
        "compare.html", "compare.csv", "compare.md", "scores.svg", "cost.svg", "learning.svg"
    }  # fmt: skip
