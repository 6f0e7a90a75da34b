"""New processes for proofs: one that starts from nothing, or a fork of one that has libraries loaded and nothing else.

To import what loads a model takes longer than to load it. So a server imports it once, beside whatever goes on, and
forks itself for each proof: a fork knows no network, no hub and no data, as a process that starts from nothing.
"""

import atexit
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from tasks import runtime

LOWER = 10  # the server's priority, so that its imports take idle time from whatever goes on
HUB_CACHES = ("HF_HOME", "HF_HUB_CACHE")
ROOT = str(Path(__file__).parents[1])


def run(module: str, *words: str, hub: bool = False) -> str | None:
    """Run `main(*words)` of one of Graft's modules in a process that starts from nothing.

    It has no data and no GPU, and no hub unless `hub` says so.

    Returns:
        None if it ended well, else the last line that it said.
    """
    with tempfile.TemporaryDirectory() as empty:
        begins = f"from {module} import main; import sys; main(*sys.argv[1:])"
        command = [sys.executable, "-c", begins, *words]
        done = subprocess.run(command, env=_alone(empty, hub), capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else _last(done.stderr)


class Server:
    """A process of libraries, which runs `main` of Graft's modules in forks of itself: no data, no GPU and no hub."""

    def __init__(self) -> None:
        self._empty = tempfile.TemporaryDirectory()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tasks.fresh"], env=_alone(self._empty.name), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        atexit.register(self.close)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def load(self, modules: Sequence[str]) -> None:
        """Import these in the server, without waiting for it; every later fork has them."""
        with self._lock:
            self._tell({"load": list(modules)})

    def run(self, module: str, *words: str) -> str | None:
        """As `run`, in a fork of the server."""
        with self._lock, tempfile.NamedTemporaryFile("r") as said:
            environment = _alone(self._empty.name)
            self._tell({"run": module, "words": words, "environment": environment, "said": said.name})
            assert self._process.stdout
            status = self._process.stdout.readline()
            return None if status == "0\n" else _last(said.read())

    def _tell(self, job: object) -> None:
        assert self._process.stdin
        with suppress(OSError):  # it has died; whoever waits for an answer is told by its end
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()

    def close(self) -> None:
        """End it; a proof that it runs goes on to its own end."""
        atexit.unregister(self.close)
        self._process.kill()
        self._process.communicate()
        self._empty.cleanup()


_servers: list[Server] = []


def server() -> Server | None:
    """This process's server, started if need be; None where a process with libraries cannot be forked safely."""
    if sys.platform != "linux":
        return None
    if _servers and not _servers[0].alive:
        _servers.pop().close()
    if not _servers:
        _servers.append(Server())
    return _servers[0]


def _alone(empty: str, hub: bool = False) -> dict[str, str]:
    alone = {"GRAFT_DATA": empty, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ROOT}
    alone |= {} if hub else {"HF_HUB_OFFLINE": "1"} | dict.fromkeys(HUB_CACHES, empty)
    return {**os.environ, **alone, "MLFLOW_TRACKING_URI": runtime.tracking_uri()}


def _last(said: str) -> str:
    return (said.strip().splitlines() or ["its process ended without a word; perhaps it was killed for memory."])[-1]


def _serve() -> None:
    """Do what the lines of stdin say, one after another, until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    os.nice(LOWER)
    for line in sys.stdin:
        job = json.loads(line)
        for name in job.get("load", ()):
            importlib.import_module(name)
        if "run" in job:
            if not (fork := os.fork()):
                _fork(job["run"], job["words"], job["environment"], job["said"])
            print(os.waitpid(fork, 0)[1], file=answers, flush=True)


def _fork(module: str, words: Sequence[str], environment: dict[str, str], said: str) -> NoReturn:
    """Run the module, and end at once: to take down all libraries in order would take longer than the proof."""
    status = 1
    try:
        with open(said, "w") as out:
            for stream in (1, 2):
                os.dup2(out.fileno(), stream)
        os.environ.clear()
        os.environ.update(environment)
        importlib.import_module(module).main(*words)
        status = 0
    except SystemExit as error:
        print(error, file=sys.stderr)
    finally:
        if sys.exc_info()[0]:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
