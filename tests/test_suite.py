"""GLUE as a suite: what is done is found, what fails stops nothing else, and the table against numbers by hand."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from made import Graft
from official import FOLDERS, columns, row, write, write_task
from rich.console import Console

from flows.glue import Report, as_object, glue, show, taught
from flows.suite import Outcome, Unfinished
from tasks import suites, tracking
from tasks.frozen import GraftError
from tasks.glue import standings
from tasks.glue.published import PUBLISHED, Published
from tasks.glue.standings import TASKS, Standings, line
from tasks.glue.suite import DEFAULTS, Suite, asked, check_data, composed, settings
from tasks.suites import PARENT, Done

pytest_plugins = ["small", "made"]

SHORT = ("dataset.allow_other_counts=true", "schedule.epochs=1", "schedule.batch_size=16")
TINY = {"library": "scratch_transformer", "vocabulary": 120, "max_length": 16, "width": 16, "heads": 2}


# The table, by hand.

MRPC = [{"f1": 0.9, "accuracy": 0.8, "rows": 408.0}, {"f1": 0.8, "accuracy": 0.6, "rows": 408.0}]
MNLI = [{"accuracy": 0.7, "mismatched/accuracy": 0.8, "ax/matthews": 0.1, "rows": 20.0}]
NAMES = {"mrpc": ["f1", "accuracy"], "mnli": ["accuracy", "mismatched/accuracy", "ax/matthews"], "sst2": ["accuracy"]}


def made() -> Standings:
    """MRPC over two seeds, MNLI over one of two, and SST-2 without any."""
    runs: dict[str, list[dict[str, float]]] = {"sst2": [], "mrpc": MRPC, "mnli": MNLI}
    lines = tuple(line(task, DEFAULTS, NAMES[task], runs[task], 2) for task in runs)
    return Standings(title="made", lines=lines)


def test_a_task_with_two_metrics_scores_their_mean_for_every_seed() -> None:
    _, mrpc, _ = made().lines
    assert mrpc.metrics["f1"].mean == pytest.approx(0.85)
    accuracy = mrpc.metrics["accuracy"]
    assert (accuracy.mean, accuracy.low, accuracy.high) == pytest.approx((0.7, 0.6, 0.8))
    assert mrpc.score is not None
    assert (mrpc.score.mean, mrpc.score.low, mrpc.score.high) == pytest.approx((0.775, 0.7, 0.85))
    assert str(mrpc.score) == "77.5 (70.0 to 85.0)"
    assert (mrpc.seeds, mrpc.wanted, mrpc.rows) == (2, 2, 408)


@pytest.mark.parametrize(("terminal", "every"), [(True, False), (False, True)])
def test_the_table_keeps_its_words_whole_in_a_narrow_terminal_and_has_every_column_in_a_file(
    terminal: bool, every: bool
) -> None:
    written = io.StringIO()
    screen = Console(file=written, force_terminal=terminal, width=80, color_system=None)
    show(Report(standings=made(), children=(), run_id="0" * 32), screen)
    table = written.getvalue().partition("Times 100")[0]
    body = [text for text in table.splitlines() if text.startswith(("sst2", "mrpc", "mnli", "average"))]
    assert len(body) == 4
    assert "\u2026" not in "".join(body)
    assert all(word in table for word in ("77.5 (70.0 to 85.0)", "f1 85.0", "mismatched", "95.1", "92.3", "91.5"))
    assert ("settings" in table, "seeds" in table.partition("mrpc")[0]) == (every, every)


def test_mnli_is_the_mean_of_both_sets_and_the_diagnostic_set_is_in_no_average() -> None:
    mnli = made().lines[2]
    assert mnli.score is not None
    assert mnli.score.mean == pytest.approx(0.75)
    assert mnli.metrics["ax/matthews"].mean == pytest.approx(0.1)
    assert str(mnli.score) == "75.0", "one seed has no range"


def test_a_diagnostic_set_that_the_data_lack_is_left_out() -> None:
    without = [{name: value for name, value in MNLI[0].items() if name != "ax/matthews"}]
    assert [*line("mnli", DEFAULTS, NAMES["mnli"], without, 1).metrics] == ["accuracy", "mismatched/accuracy"]


def test_the_average_is_over_tasks_and_says_over_how_many() -> None:
    table = made()
    assert table.average == pytest.approx((0.775 + 0.75) / 2)
    assert table.over == ("mrpc", "mnli")
    assert table.span == "over 2 of 9 tasks, some seeds missing"
    assert table.numbers["average"] == table.average
    assert table.numbers["mnli/mismatched/accuracy/mean"] == pytest.approx(0.8)


def test_the_average_of_all_nine_is_called_whole() -> None:
    lines = tuple(line(task, DEFAULTS, ["x"], [{"x": n / 10, "rows": 1.0}], 1) for n, task in enumerate(TASKS))
    whole = Standings(title="", lines=lines)
    assert whole.span == "over all 9 tasks"
    assert whole.average == pytest.approx(0.4)


def test_without_any_score_there_is_no_average() -> None:
    none = Standings(title="", lines=(line("sst2", DEFAULTS, ["accuracy"], [], 1),))
    assert none.average is None
    assert none.numbers == {}
    assert standings.rows(none)[-1]["score"] == "-"


def test_a_published_row_has_an_average_only_where_it_has_every_task() -> None:
    row = Published(
        name="theirs", source="a paper", scores={"sst2": {"accuracy": 90.0}, "mrpc": {"f1": 80.0, "a": 70.0}}
    )
    assert row.average(["sst2", "mrpc"]) == pytest.approx(82.5)
    assert row.average(["sst2", "mrpc", "rte"]) is None
    assert row.average([]) is None
    shown = standings.rows(made(), [row])
    assert [cells["theirs *"] for cells in shown] == ["90.0 accuracy", "80.0 f1, 70.0 a", "-", "-"]
    assert shown[-1]["metrics"] == "over 2 of 9 tasks, some seeds missing"


def test_published_figures_are_those_that_we_know_and_are_marked_as_other_peoples() -> None:
    assert all(set(row.scores) <= set(TASKS) and row.source for row in PUBLISHED)
    lora = PUBLISHED[0]
    assert lora.average(["sst2", "mrpc", "stsb"]) == pytest.approx((95.1 + 89.7 + 91.5) / 3)
    assert all(row.average(TASKS) is None for row in PUBLISHED), "nobody gave WNLI"
    page = standings.markdown(made())
    assert "other people's, dev set, their settings" in page
    assert f"| {lora.name} \\* |" in page
    assert page.count("\n| ") == 2 + len(made().lines) + 1


def test_the_csv_holds_every_mean_times_100_and_names_whose_it_is() -> None:
    rows = list(csv.DictReader(io.StringIO(standings.table_csv(made()))))
    (f1,) = (one for one in rows if (one["source"], one["task"], one["metric"]) == ("graft", "mrpc", "f1"))
    assert (f1["mean"], f1["lowest"], f1["highest"], f1["seeds"], f1["rows"]) == ("85.00", "80.00", "90.00", "2", "408")
    assert all("other people's" in one["source"] for one in rows if one["source"] != "graft")


# What is asked.


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tasks": "sst2,foo"}, "no GLUE task 'foo'. Valid in --tasks: all, or cola,sst2"),
        ({"tasks": "ax"}, "ax is scored with mnli"),
        ({"seeds": "0,one"}, "--seeds '0,one' are not different whole numbers"),
        ({"seeds": "1,1"}, "not different"),
        ({"method": "lorra"}, "There is no 'lorra' in configs/methods. Did you mean lora"),
        ({"backbone": "minlm"}, "There is no 'minlm' in configs/backbones. Did you mean minilm"),
        ({"overrides": ["seed=3"]}, "Use --seeds"),
        ({"overrides": ["method=full"]}, "Use --method"),
        ({"overrides": ["model=mine"]}, "the same for every task"),
        ({"start_from_mnli": True}, "needs mnli among the tasks, but --tasks is 'rte'"),
        ({"start_from_mnli": True, "tasks": "all", "method": "linear_probe"}, "needs --method lora, bitfit or full"),
    ],
)
def test_words_that_make_no_suite_are_explained(changes: dict[str, Any], told: str) -> None:
    words: dict[str, Any] = {"tasks": "rte", "method": "lora", "backbone": "minilm", "seeds": "0"}
    with pytest.raises(GraftError, match=told):
        asked(**(words | {"overrides": [], "start_from_mnli": False} | changes))


def test_all_is_all_nine_and_names_run_in_glues_order_but_the_teacher_comes_first() -> None:
    assert asked("all", "lora", "minilm", "0", [], False).tasks == TASKS
    suite = asked("rte,mnli,sst2", "lora", "minilm", "0,1", [], True)
    assert suite.tasks == ("sst2", "mnli", "rte")
    order = [(recipe.model, recipe.seed) for recipe in composed(suite)]
    assert order == [("mnli", 0), ("mnli", 1), ("sst2", 0), ("sst2", 1), ("rte", 0), ("rte", 1)]
    assert "rte start from mnli's" in suite.title


def test_an_experiments_settings_are_taken_where_there_is_one_with_that_backbone() -> None:
    suite = asked("mrpc,rte", "lora", "minilm", "0", ["schedule.epochs=1"], False)
    mrpc, rte = composed(suite)
    assert [settings(suite, task) for task in suite.tasks] == ["mrpc_lora", DEFAULTS]
    assert (mrpc.name, mrpc.method.learning_rate, mrpc.schedule.batch_size, mrpc.schedule.epochs) == (
        "mrpc_lora", 3e-4, 16, 1,
    )  # fmt: skip
    assert (rte.name, rte.model, rte.schedule.batch_size, rte.schedule.epochs) == ("rte_lora", "rte", 32, 1)
    assert settings(suite.model_copy(update={"backbone": "bert_base"}), "mrpc") == DEFAULTS
    assert "CHANGED: schedule.epochs=1" in suite.title


def test_a_teacher_whose_adapter_would_not_fit_is_refused_at_once() -> None:
    suite = asked("mnli,rte", "lora", "minilm", "0", [], True)
    teacher, pupil = composed(suite)
    other = pupil.method.model_copy(update={"rank": 4})
    from tasks.saved import check_fit

    with pytest.raises(GraftError, match="has method.rank=16, but this recipe has method.rank=4"):
        check_fit(pupil.model_copy(update={"method": other, "start_from": "mnli"}), teacher)


def test_a_pupil_takes_the_run_of_its_own_seed_and_fails_where_that_failed() -> None:
    recipes = composed(asked("mnli,rte,sst2", "lora", "minilm", "0,1", [], True))
    zero, one = (recipe for recipe in recipes if recipe.model == "mnli")
    so_far = [Outcome(recipe=zero, done=Done(run_id="a" * 32, metrics={})), Outcome(recipe=one, reason="no memory")]
    by_name = {(recipe.model, recipe.seed): recipe for recipe in recipes}

    assert taught(by_name["rte", 0], so_far).start_from == "a" * 32
    assert taught(by_name["sst2", 0], so_far).start_from is None
    with pytest.raises(GraftError, match="mnli with seed 1 failed, and this starts from it"):
        taught(by_name["rte", 1], so_far)


# Real children, tiny.


@dataclass
class Place:
    """GRAFT_DATA with small official folders, and two backbones' files."""

    data: Path

    def suite(self, *tasks: str, **changes: Any) -> Suite:
        given = {"tasks": tasks, "method": "scratch", "backbone": str(self.data / "tiny.yaml"), "seeds": (0,)}
        return Suite.model_validate(given | {"overrides": SHORT} | changes)

    def task(self, name: str, **sizes: int) -> Path:
        return write_task(self.data, name, {"train": 60} | sizes)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, zoo: Path) -> Iterator[Place]:
    data = tmp_path_factory.mktemp("suite")
    (data / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    bert = {"library": "transformers", "weights": {"kind": "folder", "path": str(zoo / "bert")}, "max_length": 16}
    (data / "bert.yaml").write_text(yaml.safe_dump(bert))
    environment = {"GRAFT_DATA": data, "GRAFT_HOME": data / "home", "HF_HUB_OFFLINE": 1, "GRAFT_WORKERS": 0}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        for name, value in (environment | {"GRAFT_DEVICE": "cpu"}).items():
            patch.setenv(name, str(value))
        yield Place(data)


def runs_of(name: str) -> list[Any]:
    """All runs of an experiment that are not deleted."""
    found = tracking.client().get_experiment_by_name(name)
    return list(tracking.client().search_runs([found.experiment_id])) if found else []


@dataclass
class Told:
    """The same suite twice: RTE had a fault the first time, which was mended."""

    first: Report
    second: Report
    runs: tuple[int, int, int]  # of sst2 after the first and the second time, of rte after the first


@pytest.fixture(scope="module")
def twice(place: Place) -> Told:
    place.task("sst2")
    folder = place.task("rte")
    rows = [row("rte", "train", number) for number in range(60)]
    write(folder / "train.tsv", [*rows[:50], [*rows[50][:-1], "perhaps"], *rows[51:]], columns("rte", "train"))
    with pytest.raises(Unfinished, match=r"^Failed: rte \(seed 0\)\. The same command goes on") as caught:
        glue.fn(place.suite("sst2", "rte"))
    first = caught.value.report
    counts = len(runs_of("sst2")), len(runs_of("rte"))
    write(folder / "train.tsv", rows, columns("rte", "train"))
    second = glue.fn(place.suite("sst2", "rte"))
    return Told(first, second, (counts[0], len(runs_of("sst2")), counts[1]))


def test_a_child_that_fails_is_told_in_one_line_and_the_others_are_done(twice: Told) -> None:
    (failed,) = twice.first.failed
    assert failed.recipe.model == "rte"
    assert "'perhaps' is outside the classes" in failed.reason
    assert "\n" not in failed.reason
    assert [child.done is not None for child in twice.first.children] == [True, False]
    assert twice.first.standings.span == "over 1 of 9 tasks, some seeds missing"
    assert json.loads(json.dumps(as_object(twice.first)))["children"][1]["run_id"] is None


def test_what_is_done_is_not_done_again_and_what_is_missing_is(twice: Told) -> None:
    assert twice.runs == (1, 1, 0)
    sst2, rte = twice.second.children
    assert (sst2.before, rte.before) == (True, False)
    assert sst2.done == twice.first.children[0].done
    assert not twice.second.failed
    assert len(runs_of("rte")) == 1


def test_the_suites_run_is_one_with_its_children_table_and_means(twice: Told, tmp_path: Path) -> None:
    assert twice.first.run_id == twice.second.run_id
    parent = tracking.client().get_run(twice.second.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["graft.average"] == "over 2 of 9 tasks"
    for child in twice.second.children:
        assert child.done is not None
        own = tracking.client().get_run(child.done.run_id).data
        assert own.tags[PARENT] == twice.second.run_id
        assert parent.data.metrics[f"{child.recipe.model}/accuracy/mean"] == own.metrics["test/accuracy"]
    fetched = Path(tracking.client().download_artifacts(twice.second.run_id, "", str(tmp_path)))
    assert {file.name for file in fetched.iterdir()} == {"glue.csv", "glue.md", "glue.png"}
    assert "over 2 of 9 tasks" in (fetched / "glue.md").read_text()


def test_another_gate_is_the_same_child_but_another_recipe_or_other_rows_are_not(twice: Told, place: Place) -> None:
    (recipe,) = composed(place.suite("sst2"))
    (gated,) = composed(place.suite("sst2", overrides=(*SHORT, "gate.floor=0.5")))
    (longer,) = composed(place.suite("sst2", overrides=(*SHORT, "schedule.warmup=0.5")))
    left = suites.finished(recipe)
    assert left == suites.finished(gated)
    assert [*left.values()] == [twice.first.children[0].done]
    assert suites.finished(longer) == {}
    assert suites.finished(recipe.model_copy(update={"model": "mine"})) == {}


def test_a_deleted_child_does_not_count_as_done(twice: Told, place: Place) -> None:
    (recipe,) = composed(place.suite("sst2"))
    (done,) = suites.finished(recipe).values()
    tracking.client().delete_run(done.run_id)
    assert suites.finished(recipe) == {}
    tracking.client().restore_run(done.run_id)


def test_the_command_over_children_that_are_all_done_trains_nothing_and_ends_in_json(
    twice: Told, place: Place, graft: Graft
) -> None:
    words = ["--tasks", "rte,sst2", "--method", "scratch", "--backbone", place.data / "tiny.yaml", "--seeds", "0"]
    told = graft("glue", *words, *SHORT, "--json")

    assert told.code == 0, told.err
    answer = json.loads(told.out)
    assert answer["run_id"] == twice.second.run_id
    assert [child["run_id"] for child in answer["children"]] == [
        child.done.run_id for child in twice.second.children if child.done
    ]
    assert answer["average_over"] == ["sst2", "rte"]
    assert (len(runs_of("sst2")), len(runs_of("rte"))) == (1, 1)
    assert told.err.count("done before") == 2
    assert "over 2 of 9 tasks" in told.err


def test_a_child_that_fails_makes_the_exit_code_1(twice: Told, place: Place, graft: Graft) -> None:
    folder = place.task("wnli")
    write(folder / "train.tsv", [[*row("wnli", "train", 1)[:-1], "perhaps"]], columns("wnli", "train"))
    words = ["--tasks", "wnli", "--method", "scratch", "--backbone", place.data / "tiny.yaml", "--seeds", "0,1"]
    told = graft("glue", *words, *SHORT)
    assert told.code == 1
    assert "wnli, seed 1: " in told.out
    assert "The same command goes on with what is missing." in told.out
    assert "over 0 of 9" in told.out


def test_data_that_are_missing_are_all_told_at_once_with_what_could_run(place: Place) -> None:
    place.task("sst2")
    (place.task("cola") / "dev.tsv").unlink()
    (place.task("mnli") / "dev_mismatched.tsv").unlink()
    with pytest.raises(GraftError) as caught:
        check_data(composed(place.suite("cola", "sst2", "mnli", "qnli")))
    cola, mnli, qnli, hint = str(caught.value).splitlines()
    assert "dev.tsv" in cola
    assert mnli.startswith("mnli: glue/MNLI (official TSV, without mismatched, which needs dev_mismatched.tsv)")
    assert "has no mismatched, which GLUE's average needs" in mnli
    assert qnli.startswith("qnli: ") and str(place.data / "glue" / FOLDERS["qnli"]) in qnli
    assert hint == "These could run: --tasks sst2"


@pytest.mark.real
def test_rte_starts_from_what_mnli_trained_in_the_same_suite(place: Place) -> None:
    for name in ("mnli", "rte"):
        place.task(name)
    method = {"method": "lora", "backbone": str(place.data / "bert.yaml"), "start_from_mnli": True}
    report = glue.fn(place.suite("mnli", "rte", **method))
    teacher, pupil = report.children

    assert not report.failed
    assert teacher.done and pupil.done
    assert pupil.recipe.start_from == teacher.done.run_id
    assert tracking.client().get_run(pupil.done.run_id).data.tags["graft.start_from"] == teacher.done.run_id
    assert {"accuracy", "mismatched/accuracy", "ax/matthews"} == set(report.standings.lines[0].metrics)
