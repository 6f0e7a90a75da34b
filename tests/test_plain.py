"""The check of kept files itself: it takes plain data and refuses pickles, whatever their name."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from plain import check_plain
from safetensors.torch import save

WEIGHTS = {"weight": torch.ones(3)}
PLAIN = {
    "a.safetensors": save(WEIGHTS),
    "none.safetensors": save({}),
    "a.json": b'{"a": [1, 2]}',
    "a.yaml": b"a: 1\n",
    "MLmodel": b"flavors: {}\n",
    "chat_template.jinja": b"{% for message in messages %}{{ message }}{% endfor %}",
    "README.md": "# A page, ü\n".encode(),
    "requirements.txt": b"accelerate==1.0\ntorch==2.0\n",
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_data_are_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PLAIN[name])
    check_plain(tmp_path / name)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_under_any_name(tmp_path: Path, name: str, protocol: int) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"a": [1, "two", Path("/")]}, protocol))
    with pytest.raises(AssertionError, match="is a pickle"):
        check_plain(tmp_path / name)


@pytest.mark.parametrize("name", PLAIN)
def test_what_torch_saves_is_refused_under_any_name(tmp_path: Path, name: str) -> None:
    torch.save(WEIGHTS, tmp_path / name)
    with pytest.raises(AssertionError, match="is an archive"):
        check_plain(tmp_path / name)


def test_what_stands_behind_the_tensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(PLAIN["a.safetensors"] + pickle.dumps({}))
    with pytest.raises(AssertionError, match="more than tensors"):
        check_plain(tmp_path / "a.safetensors")


def test_an_unknown_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(json.dumps({}).encode())
    with pytest.raises(AssertionError, match="of no known form"):
        check_plain(tmp_path / "a.bin")
