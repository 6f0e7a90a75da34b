"""Where weights come from: packages checked by hash, folders, the hub at a pinned commit, online and off."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hub import Hub, files_of
from small import BACKBONES, Bench
from test_backbones import ADAPTER, opened, published

from tasks.backbones.weights import PackageWeights
from tasks.frozen import GraftError

pytest_plugins = ["small"]

NOWHERE = "0" * 40
REPOS = {"encoder": "acme/text", "cnn": "acme/image"}


def test_a_package_file_with_another_hash_is_refused() -> None:
    weights = PackageWeights.model_validate(published("minilm")["weights"] | {"sha256": "0" * 64})
    with pytest.raises(GraftError, match="has sha256 53aa5117.*, but the config pins 0000"):
        weights.check()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"package": "no_such_package"}, "'no_such_package' is not installed"),
        ({"file": "none.safetensors"}, "has no file model/none.safetensors"),
    ],
)
def test_a_missing_package_or_file_is_named(change: dict[str, str], said: str) -> None:
    with pytest.raises(GraftError, match=said):
        PackageWeights.model_validate(published("minilm")["weights"] | change).check()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "test_resnet"}, "holds a test_efficientnet, but the backbone's name is 'test_resnet'"),
        ({"key_map": "efficientnet_pytorch"}, "cannot be loaded: Error.* in loading state_dict"),
        ({"weights": "bert"}, "bert cannot be loaded"),
        (
            {"weights": "vit", "name": "test_vit"},
            "takes pictures of 96 pixels only. Set image_size: 96",
        ),
    ],
)
def test_weights_that_do_not_fit_the_description_are_refused(bench: Bench, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(GraftError, match=said):
        opened(bench.backbone("cnn", **changes))


def test_an_unknown_architecture_is_refused_with_the_nearest() -> None:
    spec = published("efficientnet_lite0") | {"name": "tf_eficientnet_lite0"}
    with pytest.raises(GraftError, match="Nearest: tf_efficientnet_lite0"):
        ADAPTER.validate_python(spec).check()


def test_a_folder_that_holds_no_model_is_named(bench: Bench) -> None:
    spec = bench.backbone("encoder") | {"weights": {"kind": "folder", "path": str(bench.zoo / "pictures")}}
    with pytest.raises(GraftError, match="pictures holds no config.json"):
        ADAPTER.validate_python(spec).check()


# The hub, in processes of their own (tests/pinned.py): its clients read settings at import.


@dataclass
class Phases:
    """What both processes answered, and what the stand-in was asked."""

    online: dict[str, Any]
    offline: dict[str, Any]
    requests: list[str]
    shas: dict[str, str]


@pytest.fixture(scope="module")
def phases(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Phases:
    work = tmp_path_factory.mktemp("weights")
    plan: dict[str, Any] = {}
    shas = {}

    with Hub(work / "served") as hub:
        for name, repo in REPOS.items():
            folder = zoo / str(BACKBONES[name]["weights"])
            shas[name] = hub.add("model", repo, files_of(folder))
            uncached = hub.add("model", f"{repo}-kept", files_of(folder))
            places = {
                "folder": {"kind": "folder", "path": str(folder)},
                "hub": {"kind": "hub", "id": repo, "revision": shas[name]},
                "no revision": {"kind": "hub", "id": repo, "revision": NOWHERE},
                "no repository": {"kind": "hub", "id": "acme/none", "revision": NOWHERE},
                "kept": {"kind": "hub", "id": f"{repo}-kept", "revision": uncached},
            }
            plan[name] = {key: BACKBONES[name] | {"weights": weights} for key, weights in places.items()}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))}
        kept |= {"HF_HOME": str(work / "cache"), "HF_HUB_DISABLE_XET": "1", "HF_ENDPOINT": hub.url}
        kept |= {"NO_PROXY": "127.0.0.1", "PYTHONPATH": str(Path(__file__).parents[1])}
        (work / "plan.json").write_text(json.dumps(plan))
        command = [sys.executable, str(Path(__file__).with_name("pinned.py")), str(work)]
        done = subprocess.run(command, env=kept, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr[-4000:]
    online, offline = (json.loads((work / f"{phase}.json").read_text()) for phase in ("online", "offline"))
    return Phases(online, offline, hub.requests, shas)


@pytest.mark.parametrize("name", REPOS)
def test_hub_weights_are_those_of_the_folder_online_and_again_offline(phases: Phases, name: str) -> None:
    online, offline = phases.online[name], phases.offline[name]
    assert online["hub"] == online["folder"] == offline["hub"] == offline["folder"]


@pytest.mark.parametrize("name", REPOS)
def test_the_hub_is_asked_for_the_pinned_commit_alone(phases: Phases, name: str) -> None:
    asked = [r for r in phases.requests if f"/{REPOS[name]}/" in r and NOWHERE not in r]
    assert asked
    assert all(phases.shas[name] in r for r in asked)


@pytest.mark.parametrize("name", REPOS)
def test_a_missing_revision_or_repository_is_named_with_the_next_step(phases: Phases, name: str) -> None:
    said = f"Hub repository '{REPOS[name]}' has no revision {NOWHERE}. Copy the full commit id"
    assert all(text.startswith(said) for text in phases.online[name]["no revision"])
    missing = phases.online[name]["no repository"]
    assert missing.startswith("Hub repository 'acme/none' does not exist or is private. Check the id, or set")


@pytest.mark.parametrize("name", REPOS)
def test_offline_what_is_not_cached_is_named_with_the_next_step(phases: Phases, name: str) -> None:
    said = f"Hub repository '{REPOS[name]}-kept' is not in the local cache and HF_HUB_OFFLINE is set. Run once"
    assert all(text.startswith(said) for text in phases.offline[name]["not cached"])
