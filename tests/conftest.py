"""What all tests share: a home of their own, and the real data where it lies."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is loaded: workers share the cores and do not fight over them
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _allowed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """GRAFT_ALLOW: the folder in which all of pytest's temporary ones lie, as a user allows a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_ALLOW", str(tmp_path_factory.getbasetemp()))
        yield


@pytest.fixture(autouse=True)
def _quiet_tokenizers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def _own_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's `set_tracking_uri` writes this variable: a test would go on with the home of the one before."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """GRAFT_HOME, of this test alone."""
    folder = tmp_path / "home"
    monkeypatch.setenv("GRAFT_HOME", str(folder))
    return folder


@pytest.fixture
def data_folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """GRAFT_DATA, the folder of the real data sets; the test is skipped where there is none."""
    folder = Path(os.environ.get("GRAFT_DATA") or Path(__file__).parents[2] / "shared" / "data").absolute()
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist; set GRAFT_DATA")
    monkeypatch.setenv("GRAFT_DATA", str(folder))
    return folder
