"""Real servers on a free port of loopback, in processes of their own.

No fixtures; its assertions tell of a server that did not start.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows.quiet import SETTINGS

SETTINGS_FILE = Path(__file__).parents[1] / "mlflow" / "server.env"
PREFECT = ("prefect", "server", "start")
MLFLOW = ("mlflow", "--env-file", str(SETTINGS_FILE), "server", "--workers", "1")
SCORING = ("mlflow", "models", "serve", "--env-manager", "local", "--workers", "1")
HEALTH = {"prefect": "/api/health", "mlflow": "/health"}


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    server: Sequence[str], folder: Path, *words: str, environment: Mapping[str, str] | None = None, port: int = 0
) -> Iterator[str]:
    """`PREFECT`, `MLFLOW` or `SCORING`, its log in a folder; gives its address, and ends it. `port` 0: a free one."""
    port = port or free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", *server, "--host", "127.0.0.1", "--port", str(port), *words]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=os.environ | SETTINGS | dict(environment or {}), stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait(address + HEALTH[server[0]], process, folder / "log")
        yield address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(900):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"the server did not start: {log.read_text()}")
