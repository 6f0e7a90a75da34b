"""The benchmark's page and its place in a README: what stands between the markers is replaced, and nothing else."""

from pathlib import Path

import pytest
from test_bench_table import TEXT, lined

from tasks.bench.machine import Described, again, described, peak
from tasks.bench.page import NO_PROOF, check_readme, markdown, markers, told_of, write_readme
from tasks.bench.works import Asked
from tasks.frozen import GraftError

ROOT = Path(__file__).parents[1]
BEGIN, END = markers("bench")


@pytest.fixture(scope="module")
def machine() -> Described:
    return described(seconds=0.01)


@pytest.mark.parametrize("quick", [False, True])
def test_the_page_has_the_table_what_it_means_and_the_machine(machine: Described, quick: bool) -> None:
    asked = Asked(works=(TEXT,), repeats=3, quick=quick)
    told = markdown(told_of(asked, [lined()], {"images": "no such folder"}, ["text: tried on 640 rows"]), machine)

    header, rule, row = (line for line in told.splitlines() if line.startswith("|"))
    assert header.count("|") == rule.count("|") == row.count("|")
    assert row.startswith("| text | 20.0 (10.0 to 40.0) | 10.0 (10.0 to 10.0) | 2.00 (1.00 to 4.00) | 1.6 |")
    for words in (TEXT.against, "failed: images: no such folder", "tried on 640 rows", "3 turns", machine.cpu, "torch"):
        assert words in told
    assert (NO_PROOF in told) is quick


def test_the_sides_in_their_faster_precision_have_a_line_of_their_own(machine: Described) -> None:
    best = lined().model_copy(update={"sides": ("graft-bf16", "trainer")})
    told = told_of(Asked(works=(TEXT,), repeats=3, quick=False), [lined(), best], {}, [])

    rows = [line for line in markdown(told, machine).splitlines() if line.startswith("| text")]
    assert [row.split(" | ")[0] for row in rows] == ["| text", "| text: graft-bf16 beside trainer"]
    assert rows[0].split(" | ")[1:] == rows[1].split(" | ")[1:]


def test_nothing_measured_is_said(machine: Described) -> None:
    told = markdown(told_of(Asked(works=(TEXT,), repeats=1, quick=False), [], {"text": "why"}, []), machine)

    assert "Nothing was measured." in told
    assert "failed: text: why" in told


def test_the_machine_has_all_that_a_figure_must_be_read_with(machine: Described) -> None:
    told = machine.model_dump()

    assert {"cpu", "cores", "threads", "memory", "gpu", "system", "python", "libraries", "date", "commit"} <= set(told)
    assert {"torch", "transformers", "peft", "timm"} <= set(machine.libraries)
    assert machine.gflops["fp32"] > 0 and machine.gflops["bf16"] > 0
    assert machine.memory > 1e8 and machine.threads >= 1
    assert Described.model_validate_json(machine.model_dump_json()) == machine


def test_a_second_look_at_the_machine_never_lowers_its_peak(machine: Described) -> None:
    fast = machine.model_copy(update={"gflops": {"fp32": 1e9, "bf16": 0.0}})
    seen = again(fast, seconds=0.01).gflops

    assert seen["fp32"] == 1e9
    assert seen["bf16"] > 0


def test_the_peak_is_no_less_than_what_a_product_just_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("tasks.bench.machine._speed", lambda product, size, kind, seconds: 1e15 + size % 1000)

    assert peak(torch.float32) == 1e15 + 512


def test_a_size_that_would_outlast_the_time_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    tried: list[int] = []

    def speed(product: object, size: int, kind: object, seconds: float) -> float:
        tried.append(size)
        return 2e9 if kind is torch.bfloat16 else 2e12

    monkeypatch.setattr("tasks.bench.machine._speed", speed)

    assert peak(torch.bfloat16, seconds=0.4) == 2e9
    assert set(tried) == {512}, "1,024 would take half a second"
    tried.clear()
    assert peak(torch.float32, seconds=0.4) == 2e12
    assert set(tried) == {512, 1024, 2048}


def test_only_what_stands_between_the_markers_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(f"before, ü\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    write_readme(file, "bench", "| new |\n")
    write_readme(file, "bench", "| newer |\n")

    assert file.read_text("utf-8") == f"before, ü\n{BEGIN}\n| newer |\n{END}\nafter\n"


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END} {BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_readme_without_a_place_for_the_table_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "README.md"
    file.write_text(text)

    with pytest.raises(GraftError, match="must hold <!-- bench --> and <!-- /bench -->"):
        write_readme(file, "bench", "new")
    assert file.read_text() == text


def test_a_readme_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="cannot be read: No such file"):
        check_readme(tmp_path / "README.md", "bench")


@pytest.mark.parametrize("name", ["bench", "means", "whole"])
def test_our_own_readme_has_the_place(name: str) -> None:
    check_readme(ROOT / "README.md", name)
