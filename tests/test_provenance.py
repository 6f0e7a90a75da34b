"""What a run records of where it comes from, what of it changes, and computing as it was done then."""

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from made import Made
from small import Bench
from test_backbones import published

from tasks import files, runtime, tracking
from tasks.backbones.weights import FolderWeights, HubWeights, PackageWeights
from tasks.frozen import GraftError
from tasks.provenance import ROOT, Compared, Machine, Provenance, compared, gathered, installed, settings_of

pytest_plugins = ["small", "made"]


@pytest.fixture(scope="module")
def source(tickets: Made) -> Provenance:
    """What the run of the tickets recorded."""
    return Provenance.model_validate_json((tickets.results / tracking.PROVENANCE).read_text())


def changed(then: Provenance, now: Provenance) -> list[str]:
    return [str(row) for row in compared(then, now) if not row.same]


def test_a_run_records_its_recipe_rows_packages_and_machine_from_its_beginning(
    at_home: Path, tickets: Made, source: Provenance
) -> None:
    assert source.recipe == tickets.result.recipe
    assert (source.origin, source.rows, source.hashes) == (tickets.data.origin, tickets.data.rows, tickets.data.hashes)
    assert source.weights == "none", "it was trained from scratch"
    assert source.packages["torch"] == version("torch")
    assert (source.machine.threads, source.machine.device) == (torch.get_num_threads(), runtime.device())
    tags = tracking.client().get_run(tickets.result.registered.run_id).data.tags
    assert tags["graft.threads"] == str(source.machine.threads)
    assert tags["graft.commit"] == source.commit


def test_all_installed_packages_are_kept_beside_it(tickets: Made) -> None:
    kept = (tickets.results / tracking.ENVIRONMENT).read_text()
    assert f'"pydantic": "{version("pydantic")}"' in kept
    assert len(installed()) > len(kept.splitlines()) - 3 > 50


def test_neither_the_environment_nor_a_folder_of_this_machine_is_recorded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_not_to_be_told")
    data, _, _ = bench.start(bench.recipe("scratch transformer", {"kind": "scratch"}))
    own = gathered(bench.recipe("scratch transformer", {"kind": "scratch"}), data)
    told = own.model_copy(update={"origin": ""}).model_dump_json(exclude={"recipe"})
    assert "hf_not_to_be_told" not in told
    assert not any(str(folder) in told for folder in (bench.home, ROOT, Path.home()))


def test_a_checkout_is_told_by_its_commit(source: Provenance) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    head = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert head.startswith(source.commit.removesuffix("-dirty"))


def test_nothing_has_changed_between_a_run_and_the_same_machine(
    at_home: Path, tickets: Made, source: Provenance
) -> None:
    assert changed(source, gathered(tickets.result.recipe, tickets.data)) == []


def test_what_has_changed_is_named_then_and_now_the_most_likely_cause_first(source: Provenance) -> None:
    machine = source.machine.model_copy(update={"threads": 97, "system": "other"})
    packages = {"torch": "2.14.0"} | {name: found for name, found in source.packages.items() if name != "torch"}
    then = source.model_copy(update={"machine": machine, "packages": packages, "installed": "0", "commit": "version 0"})
    assert changed(then, source) == [
        f"torch 2.14.0 then, {version('torch')} now",
        f"threads 97 then, {source.machine.threads} now",
        f"system other then, {source.machine.system} now",
        f"commit version 0 then, {source.commit} now",
        f"all packages 0 then, {source.installed} now",
    ]
    assert not any(row.decides for row in compared(then, source) if not row.same)


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"weights": "sha256 0"}, "weights sha256 0 then, none now"),
        ({"hashes": {"train": "00000000", "validation": "1", "test": "2"}}, "train rows {train:,} (00000000) then"),
        ({"rows": {}, "hashes": {}}, "train rows none then"),
    ],
)
def test_other_weights_or_rows_decide(source: Provenance, update: dict[str, Any], said: str) -> None:
    rows = [row for row in compared(source.model_copy(update=update), source) if not row.same]
    assert all(row.decides for row in rows)
    assert str(rows[0]).startswith(said.format(**source.rows))


def test_a_package_that_is_gone_or_new_is_a_change(source: Provenance) -> None:
    without = source.model_copy(update={"packages": {}})
    assert f"torch none then, {version('torch')} now" in changed(without, source)
    assert f"torch {version('torch')} then, none now" in changed(source, without)


def test_a_run_is_repeated_with_its_threads_precision_and_means_and_on_the_cpu_and_then_all_is_as_before(
    source: Provenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_PRECISION", "bf16")
    monkeypatch.delenv("GRAFT_DEVICE", raising=False)
    usual = (torch.get_num_threads(), runtime.device())
    machine = source.machine.model_copy(update={"threads": usual[0] + 1, "precision": "fp32", "device": "cpu"})
    assert machine.means == "all"
    machine = Machine.model_validate_json(machine.model_dump_json(exclude={"means"}))  # of a run before there were any
    with pytest.raises(ZeroDivisionError), settings_of(machine) as adjusted:
        assert (torch.get_num_threads(), runtime.precision(), runtime.device()) == (usual[0] + 1, "fp32", "cpu")
        assert Compared(what="threads", then=str(usual[0] + 1), now=str(usual[0])) in adjusted
        assert Compared(what="precision", then="fp32", now="bf16") in adjusted
        assert Compared(what="means", then="none", now="all") in adjusted
        assert runtime.means() == "none"
        _ = 1 / 0
    assert (torch.get_num_threads(), runtime.device()) == usual
    assert (runtime.precision(), runtime.means()) == ("bf16", "all")


# The content of weights.


@pytest.fixture
def folder(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a small encoder; its files count as settled as soon as they are written."""
    monkeypatch.setattr(files, "SETTLED", 0)
    return Path(shutil.copytree(bench.zoo / "bert", tmp_path / "bert"))


def content(folder: Path) -> str:
    return FolderWeights(kind="folder", path=str(folder)).content()


@pytest.mark.parametrize(
    ("name", "counts"), [("model.safetensors", True), ("tokenizer.json", True), ("note.md", False)]
)
def test_the_content_of_a_folder_is_that_of_its_weights_and_tokenizer(folder: Path, name: str, counts: bool) -> None:
    before = content(folder)
    assert before.startswith("sha256 ")
    with (folder / name).open("ab") as file:
        file.write(b" ")
    assert (content(folder) != before) is counts


def test_a_file_of_weights_is_read_once_for_as_long_as_it_is_as_it_was(folder: Path) -> None:
    before = content(folder)
    for note in (runtime.home() / "hashes").iterdir():
        note.write_text("taken from here")
    assert content(folder) != before, "the notes were not asked"


def test_the_content_of_a_package_is_told_also_where_the_config_pins_another(home: Path) -> None:
    own, pinned = published("minilm")["weights"], {"sha256": "0" * 64}
    other = PackageWeights.model_validate(own | pinned)
    assert other.content() == PackageWeights.model_validate(own).content()
    with pytest.raises(GraftError, match="but the config pins"):
        other.check()


def test_weights_of_the_hub_are_named_by_their_commit_without_asking_it() -> None:
    assert HubWeights(kind="hub", id="acme/none", revision="a" * 40).content() == f"acme/none at {'a' * 40}"


def test_a_folder_without_weights_is_an_error_with_the_next_step(home: Path, tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="holds no config.json"):
        content(tmp_path / "none")
