"""Where the paths of configs may lead: nowhere but below the data, the home and the current folder, unless allowed."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import Graft
from official import glue, write_task
from PIL import Image
from small import sentences
from test_backbones import opened, published

from flows import doctor
from tasks import runtime
from tasks.backbones.weights import FolderWeights, PackageWeights
from tasks.compose import load, read
from tasks.datasets import Dataset
from tasks.datasets.images import ImageFolder
from tasks.datasets.table import Table
from tasks.frozen import GraftError
from tasks.glue.suite import check_data

pytest_plugins = ["made"]

ROWS = "text,label\nred,warm\nblue,cold\n"
OUTSIDE = "which is not below"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with GRAFT_DATA `data`, GRAFT_HOME `home`, the current folder `here`, and four that nobody allows.

    Each holds the same rows.csv. `~` is `other`.
    """
    for name in ("data", "home", "here", "other", "data-other", "more", "third"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.csv").write_text(ROWS)
    for variable, name in (("GRAFT_DATA", "data"), ("GRAFT_HOME", "home"), ("HOME", "other")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.delenv("GRAFT_ALLOW")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def table(path: object, **options: Any) -> Table:
    return Table.model_validate({"kind": "table", "path": str(path)} | options)


def texts(path: object, **options: Any) -> list[str]:
    found: list[str] = table(path, **options).read().table("train")["text"].tolist()
    return found


def refusal(dataset: Dataset) -> str:
    """What opening the data set says, before any row is asked for."""
    with pytest.raises(GraftError) as caught:
        dataset.read()
    return str(caught.value)


# Where a path may lie.


@pytest.mark.parametrize("path", ["rows.csv", "{}/data/rows.csv", "{}/home/rows.csv", "{}/here/rows.csv"])
def test_data_below_the_data_the_home_or_the_current_folder_are_read(place: Path, path: str) -> None:
    assert texts(path.format(place)) == ["red", "blue"]


@pytest.mark.parametrize(
    "path",
    [
        "../other/rows.csv",
        "sub/../../other/rows.csv",
        "{}/other/rows.csv",
        "{}/data/../other/rows.csv",
        "{}/here/../other/rows.csv",
        "~/rows.csv",
        "{}/data-other/rows.csv",
        "../data-other/rows.csv",
        "/etc/rows.csv",
        "..",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(place: Path, path: str) -> None:
    given = path.format(place)
    told = refusal(table(given))
    assert told.startswith(f"{given!r} is ") and OUTSIDE in told
    told = refusal(table("rows.csv", test_path=given))
    assert told.startswith(f"{given!r} is ") and OUTSIDE in told


def test_a_refusal_says_where_a_path_may_lie_and_what_to_do(place: Path) -> None:
    assert refusal(table("../other/rows.csv")) == (
        f"'../other/rows.csv' is {place}/other/rows.csv, which is not below GRAFT_DATA ({place}/data), GRAFT_HOME "
        f"({place}/home), the current folder ({place}/here) or a folder of GRAFT_ALLOW (not set). "
        f"Move it below GRAFT_DATA, or set GRAFT_ALLOW={place}/other."
    )


def test_what_a_refusal_says_to_set_keeps_what_is_set_and_never_allows_the_whole_disk(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_ALLOW", f"{place}/third")
    told = refusal(table("../other/rows.csv"))
    assert f"or a folder of GRAFT_ALLOW ({place}/third)." in told
    assert told.endswith(f"set GRAFT_ALLOW={place}/third{os.pathsep}{place}/other.")
    assert refusal(table("~")).endswith(f"{os.pathsep}{place}/other.")
    assert refusal(table("/rows.csv")).endswith(f"{os.pathsep}/rows.csv.")


def test_a_path_is_refused_before_it_is_looked_for(place: Path) -> None:
    there, absent = (refusal(table(f"../other/{name}.csv")) for name in ("rows", "none"))
    assert absent == there.replace("rows.csv", "none.csv")


@pytest.mark.parametrize("allowed", [["other"], ["more", "other"], ["other", "", "more"]])
def test_one_folder_or_several_can_be_allowed(place: Path, monkeypatch: pytest.MonkeyPatch, allowed: list[str]) -> None:
    monkeypatch.setenv("GRAFT_ALLOW", os.pathsep.join(str(place / name) if name else "" for name in allowed))
    for path in ("../other/rows.csv", place / "other" / "rows.csv", "~/rows.csv"):
        assert texts(path) == ["red", "blue"]
    if "more" in allowed:
        assert texts("../more/rows.csv") == ["red", "blue"]
    else:
        assert OUTSIDE in refusal(table("../more/rows.csv"))
    for path in ("../third/rows.csv", "../other-third/rows.csv", "../other/../third/rows.csv"):
        assert OUTSIDE in refusal(table(path))


def test_an_allowed_folder_may_be_written_with_dots_itself(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_ALLOW", "../home/../other")
    monkeypatch.setenv("GRAFT_DATA", "../home/../data")
    assert texts("rows.csv") == texts("../other/rows.csv") == ["red", "blue"]
    assert OUTSIDE in refusal(table("../third/rows.csv"))


def test_a_link_below_the_data_may_lead_out_but_not_what_stands_above_its_end(place: Path) -> None:
    (place / "other" / "deep").mkdir()
    (place / "other" / "deep" / "rows.csv").write_text("text,label\ndeep,warm\n")
    (place / "data" / "link").symlink_to(place / "other" / "deep")
    assert texts("link/rows.csv") == ["deep"]
    (place / "data" / "rows.csv").write_text("text,label\nown,warm\n")
    assert texts("link/../rows.csv") == ["own"], "not other/rows.csv, where the system would follow it to"
    assert OUTSIDE in refusal(table("link/../../other/rows.csv"))


def test_a_user_whose_home_is_not_known_is_no_home(place: Path) -> None:
    with pytest.raises(GraftError, match=r"~no-such-user/rows\.csv does not exist"):
        texts("~no-such-user/rows.csv")


# Packages.


@pytest.mark.parametrize("path", ["../README.md", "datasets/../../x.csv", "/etc/x.csv", "{}/data/rows.csv"])
def test_a_path_in_a_package_stays_in_its_folder(place: Path, path: str) -> None:
    given = path.format(place)
    folder = runtime.package_folder("configs")
    told = refusal(table(given, package="configs"))
    assert told.startswith(f"{given!r} is ")
    assert told.endswith(f"which is not below {folder}. Give a path inside it.")
    weights = {"kind": "package", "package": "configs", "sha256": "0" * 64}
    for fields in ({"path": given}, {"file": given}):
        with pytest.raises(GraftError, match=f"^{given!r} is .*{OUTSIDE} {folder}"):
            PackageWeights.model_validate(weights | fields).check()


def test_what_a_package_brings_needs_no_allowance(place: Path) -> None:
    assert len(texts("datasets/../datasets/tickets.csv", package="configs")) > 1000
    load("tickets_lora").backbone.check()


@pytest.mark.parametrize(("name", "file"), [("efficientnet_lite0", "weights.pth"), ("smollm2", "weights.gguf")])
def test_a_weights_file_outside_of_its_package_is_not_loaded_without_a_check_either(
    place: Path, name: str, file: str
) -> None:
    spec = published(name)
    spec["weights"]["file"] = f"{place}/other/{file}"
    with pytest.raises(GraftError, match=f"^'{place}/other/{file}' is .*{OUTSIDE}"):
        opened(spec)


# Every other field.


def pictures(folder: Path) -> Path:
    """Four files `<class>/<number>.png`; nothing here decodes them."""
    for name in ("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_where_pictures_start_is_refused_before_the_table_is_read(place: Path) -> None:
    for path in ("rows.csv", "none.csv"):
        told = refusal(table(path, columns={"image": "file"}, image_root="../other"))
        assert told.startswith(f"'../other' is {place}/other, {OUTSIDE}")


@pytest.mark.parametrize("field", ["path", "train_folder", "test_folder", "test_labels"])
def test_a_folder_of_pictures_is_refused_where_one_of_its_fields_leads_out(place: Path, field: str) -> None:
    for folder in ("data/set/train", "data/set/val", "other/train", "other/val"):
        pictures(place / folder)
    fields = {"path": "set", "train_folder": "train", "test_folder": "val"}
    assert len(ImageFolder.model_validate({"kind": "image_folder"} | fields).read().table("test")) == 4
    own = "../other" if field == "path" else "../../other/train"
    spec = ImageFolder.model_validate({"kind": "image_folder"} | fields | {field: own})
    assert refusal(spec).startswith(f"{own!r} is {place}/other")
    with pytest.raises(GraftError, match=OUTSIDE):
        spec.places()


def test_the_train_folder_that_init_writes_is_the_folder_itself(place: Path) -> None:
    pictures(place / "data" / "set")
    spec = ImageFolder.model_validate({"kind": "image_folder", "path": "set", "train_folder": "."})
    assert spec.read().table("train")["row_id"].tolist()[0] == "./cat/0.png"


@pytest.mark.parametrize("cell", ["../../../etc/x.png", "/etc/x.png", "../other/cat/0.png", "{}/other/cat/0.png"])
def test_a_cell_that_leads_out_is_refused_with_its_row(place: Path, cell: str) -> None:
    given = cell.format(place)
    pictures(place / "data")
    pictures(place / "other")
    (place / "data" / "rows.csv").write_text(f"file,label\ncat/0.png,cat\n{given},dog\n")
    for options in ({}, {"image_root": "."}):
        source = table("rows.csv", columns={"image": "file"}, **options).read()
        with pytest.raises(GraftError, match=rf"^Row row:2: picture '{given}' is /.*\.png, {OUTSIDE} GRAFT_DATA"):
            source.table("train")


def test_cells_may_lead_to_every_place_where_a_path_may(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("data/sub", "home", "other"):
        pictures(place / folder)
    (place / "data" / "sub" / "~").mkdir()
    (place / "data" / "sub" / "~" / "0.png").write_bytes(b"no home")
    names = ["../sub/cat/0.png", f"{place}/home/cat/0.png", "~/0.png", "../../other/dog/1.png"]
    (place / "data" / "sub" / "rows.csv").write_text("file,label\n" + "".join(f"{name},x\n" for name in names))
    own = table("sub/rows.csv", columns={"image": "file"})
    with pytest.raises(GraftError, match="^Row row:4: picture '../../other/dog/1.png'"):
        own.read().table("train")
    monkeypatch.setenv("GRAFT_ALLOW", str(place / "other"))
    assert own.read().table("train")["image"].tolist() == [b"cat/0.png", b"cat/0.png", b"no home", b"dog/1.png"]


def test_the_cells_of_a_table_in_a_package_stay_in_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = place / "third" / "shots"
    pictures(package)
    (place / "third" / "x.png").write_bytes(b"x")
    (package / "rows.csv").write_text("file,label\ncat/0.png,cat\n../x.png,dog\n")
    monkeypatch.syspath_prepend(place / "third")
    own = {"columns": {"image": "file"}, "package": "shots"}
    with pytest.raises(GraftError, match=f"^Row row:2: picture '../x.png' is .*{OUTSIDE} {package}"):
        table("rows.csv", **own).read().table("train")
    (package / "rows.csv").write_text("file,label\ncat/0.png,cat\n")
    assert table("rows.csv", **own).read().table("train")["image"].tolist() == [b"cat/0.png"]


def test_the_files_of_a_glue_task_stay_where_they_may_lie(place: Path) -> None:
    write_task(place / "data", "mnli", {})
    write_task(place / "other", "mnli", {})
    own, out = glue("mnli"), "../../../other/glue/MNLI"
    assert len(own.read().table("mismatched")) == len(next(own.unlabelled()["MNLI-m"]())) == 12
    assert refusal(glue("mnli", folder="../other/glue/MNLI")).startswith("'../other/glue/MNLI' is ")
    assert refusal(glue("mnli", dev=f"{out}/dev_matched.tsv")).startswith(f"'{out}/dev_matched.tsv' is ")
    more = own.model_dump()["more"]
    more["mismatched"]["tsv"] = (f"{out}/dev_mismatched.tsv",)
    assert refusal(glue("mnli", more=more)).startswith(f"'{out}/dev_mismatched.tsv' is ")
    board = own.model_dump()["board"]
    board["MNLI-m"]["tsv"] = (f"{out}/test_matched.tsv",)
    with pytest.raises(GraftError, match=f"^'{out}/test_matched.tsv' is "):
        glue("mnli", board=board).unlabelled()


def test_a_suite_names_a_glue_folder_that_leads_out(place: Path) -> None:
    recipe = load("mrpc_lora", ["dataset.folder=../other/glue/MRPC"])
    with pytest.raises(GraftError) as caught:
        check_data([recipe])
    assert str(caught.value).startswith(f"'../other/glue/MRPC' is {place}/other/glue/MRPC, {OUTSIDE}")
    assert "official files" not in str(caught.value)


def test_a_folder_of_weights_lies_where_data_may(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("data/net", "other/net"):
        (place / name).mkdir()
        (place / name / "config.json").write_text("{}")
    FolderWeights(kind="folder", path="net").check()
    for path in ("../other/net", f"{place}/other/net", "~/net"):
        weights = FolderWeights(kind="folder", path=path)
        with pytest.raises(GraftError, match=f"^{path!r} is {place}/other/net, {OUTSIDE}"):
            weights.check()
    monkeypatch.setenv("GRAFT_ALLOW", str(place / "other"))
    weights.check()


# At the terminal.


def mails(folder: Path) -> Path:
    """Forty rows that can be learnt."""
    folder.mkdir(exist_ok=True)
    (folder / "mails.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in sentences(40)))
    return folder / "mails.csv"


def test_a_command_refuses_with_exit_code_2_before_any_run(place: Path, graft: Graft) -> None:
    (place / "here" / "mine.yaml").write_text(
        "dataset: {kind: table, path: ../other/rows.csv}\nbackbone: transformer\nmethod: scratch\n"
    )
    for words in (("check", "mine.yaml"), ("finetune", "mine.yaml")):
        told = graft(*words)
        assert told.code == 2
        assert f"'../other/rows.csv' is {place}/other/rows.csv, {OUTSIDE}" in told.err
    assert not list((place / "home").rglob("*.db"))
    assert graft("show", "mine.yaml").code == 0


def test_init_of_data_outside_says_what_later_runs_need(
    place: Path, graft: Graft, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = mails(place / "other")
    monkeypatch.setenv("GRAFT_ALLOW", f"{place}/more")
    allow = f"GRAFT_ALLOW={place}/more{os.pathsep}{place}/other"
    told = graft("init", file, "--test", mails(place / "other"), "--to", "out")
    assert told.code == 0, told.err
    assert told.out.splitlines()[-4:-3] == [f"First:     export {allow}"]
    assert os.environ["GRAFT_ALLOW"] == f"{place}/more", "allowed for this look alone"

    answer = json.loads(graft("init", file, "--to", "out", "--json", "--force").out)
    assert answer["allow"] == allow
    assert read(Path(answer["dataset"]))["path"] == str(file)
    dataset = load(answer["experiment"]).dataset
    assert OUTSIDE in refusal(dataset)
    monkeypatch.setenv(*allow.split("=", 1))
    assert len(dataset.read().table("train")) == 40


def test_init_of_a_folder_of_pictures_outside_names_that_folder(place: Path, graft: Graft) -> None:
    noise = np.random.default_rng(0)
    for number in range(24):
        file = place / "other" / "shots" / ("cat", "dog")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
    told = graft("init", place / "other" / "shots", "--to", "out", "--json")
    assert told.code == 0, told.err
    assert json.loads(told.out)["allow"] == f"GRAFT_ALLOW={place}/other/shots"


def test_init_of_a_file_in_the_current_folder_works_there_without_more(
    place: Path, graft: Graft, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = mails(place / "here")
    told = graft("init", "mails.csv", "--to", "out")
    assert told.code == 0, told.err
    assert "GRAFT_ALLOW" not in told.out
    answer = json.loads(graft("init", "mails.csv", "--to", "out", "--json", "--force").out)
    assert answer["allow"] is None
    assert read(Path(answer["dataset"]))["path"] == str(file)
    dataset = load(answer["experiment"]).dataset
    assert len(dataset.read().table("train")) == 40
    monkeypatch.chdir(place / "third")
    assert OUTSIDE in refusal(dataset), "as a run of the platform, whose current folder is another"


def test_init_of_data_behind_a_link_in_the_data_folder_keeps_to_the_link(place: Path, graft: Graft) -> None:
    mails(place / "other")
    (place / "data" / "link").symlink_to(place / "other")
    answer = json.loads(graft("init", "link/mails.csv", "--to", "out", "--json").out)
    assert (answer["allow"], read(Path(answer["dataset"]))["path"]) == (None, "link/mails.csv")
    assert len(load(answer["experiment"]).dataset.read().table("train")) == 40


def test_init_refuses_the_cells_that_a_run_would_refuse(place: Path, graft: Graft) -> None:
    pictures(place / "other")
    (place / "here" / "shots.csv").write_text("file,label\n" + "../other/cat/0.png,a\n../other/dog/0.png,b\n" * 20)
    told = graft("init", "shots.csv", "--to", "out")
    assert told.code == 2
    assert f"Row row:1: picture '../other/cat/0.png' is {place}/other/cat/0.png, {OUTSIDE}" in told.err


def test_doctor_shows_what_is_allowed_if_anything_is(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> list[str]:
        return [finding.found for finding in doctor.findings() if "GRAFT_ALLOW" in finding.found]

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert told() == []
    monkeypatch.setenv("GRAFT_ALLOW", f"{place}/other")
    assert told() == [f"GRAFT_ALLOW {place}/other"]
