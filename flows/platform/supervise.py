"""Supervisor (supervisord.org) as Graft uses it: the programs that it keeps alive, and how to talk to it."""

import configparser
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

import psutil

from flows.platform.place import MARK, Platform
from tasks import runtime
from tasks.frozen import GraftError

SERVERS = ("prefect", "mlflow")  # the others start when these answer
POOL = "local"
SETTINGS = Path(__file__).parents[2] / "mlflow" / "server.env"
LOG_BYTES, LOGS = "5MB", "2"  # a program's log, and how many older ones
STOP = 10  # seconds that a program has to end by itself


def commands(platform: Platform) -> dict[str, Sequence[str]]:
    """What each program is."""
    python = sys.executable
    return {
        **(_servers(platform, platform.host) if platform.host else {}),
        "worker": (
            python, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name",
            socket.gethostname(),
        ),
        "keeper": (python, "-m", "flows.platform.keeper"),
    }  # fmt: skip


def _servers(platform: Platform, host: str) -> dict[str, Sequence[str]]:
    python, home = sys.executable, runtime.home()
    lock = ("--app-name", "basic-auth") if platform.locked else ()
    return {
        "prefect": (
            python, "-m", "prefect", "server", "start", "--host", host, "--port", str(platform.prefect_port),
        ),
        "mlflow": (
            python, "-m", "mlflow", "--env-file", str(SETTINGS), "server", *lock, "--workers", "1", "--host", host,
            "--port", str(platform.mlflow_port), "--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}",
            "--no-serve-artifacts", "--default-artifact-root", str(home / "artifacts"),  # found without a server, too
        ),
    }  # fmt: skip


def configuration(platform: Platform) -> configparser.RawConfigParser:
    """supervisord's file. No variable stands in it: the programs inherit them."""
    made = configparser.RawConfigParser()
    made["unix_http_server"] = {"file": str(platform.wire), "chmod": "0700"}
    made["supervisord"] = {
        "nodaemon": "true",
        "logfile": str(platform.logs / "supervision.log"),
        "logfile_maxbytes": LOG_BYTES,
        "logfile_backups": LOGS,
        "pidfile": str(platform.folder / "supervisor.pid"),
        "silent": "true",
    }
    factory = "supervisor.rpcinterface:make_main_rpcinterface"
    made["rpcinterface:supervisor"] = {"supervisor.rpcinterface_factory": factory}
    for name, command in commands(platform).items():
        made[f"program:{name}"] = {
            "command": " ".join(_quoted(word) for word in command),
            "autostart": "true" if name in SERVERS else "false",
            "autorestart": "true",
            "startsecs": "3",
            "startretries": "1000",
            "stopasgroup": "true",
            "killasgroup": "true",
            "stopwaitsecs": str(STOP),
            "redirect_stderr": "true",
            "stdout_logfile": str(platform.logs / f"{name}.log"),
            "stdout_logfile_maxbytes": LOG_BYTES,
            "stdout_logfile_backups": LOGS,
        }
    return made


def _quoted(word: str) -> str:
    return '"' + word.replace("%", "%%").replace('"', '\\"') + '"'


def start(platform: Platform, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """supervisord as a process of its own session: a Ctrl-C in the terminal reaches it through `graft up` alone."""
    platform.logs.mkdir(parents=True, exist_ok=True)
    file = platform.folder / "supervisor.conf"
    with file.open("w") as opened:
        configuration(platform).write(opened)
    platform.wire.unlink(missing_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)],
        env=dict(environment) | {MARK: str(platform.folder)},
        stdin=subprocess.DEVNULL,
        stdout=(platform.logs / "supervisor.log").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


class Supervisor:
    """A platform's supervisor, asked over its socket."""

    def __init__(self, platform: Platform) -> None:
        from supervisor.xmlrpc import SupervisorTransport

        self._platform = platform
        proxy = ServerProxy("http://127.0.0.1", transport=SupervisorTransport(None, None, f"unix://{platform.wire}"))
        self._asked: Any = proxy.supervisor

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self._asked.getState()["statename"] == "RUNNING")
        except (OSError, Fault):
            return False

    @property
    def pid(self) -> int:
        """Its process."""
        return int(self._asked.getPID())

    def programs(self) -> dict[str, dict[str, Any]]:
        """What it says of each program: statename, pid, start (seconds since 1970), description."""
        return {found["name"]: found for found in self._asked.getAllProcessInfo()}

    def begin(self) -> None:
        """Start the programs that do not start by themselves, and wait until they have run for their first seconds."""
        for found in self._asked.startAllProcesses(True):
            if found["description"] != "OK":
                name = found["name"]
                raise GraftError(f"{name} cannot be started: {found['description']}. {self.told(name)}")

    def stop(self) -> None:
        """End all programs and the supervisor, and wait for that."""
        try:
            pid = self.pid
            self._asked.shutdown()
        except (OSError, Fault):
            return
        until = time.monotonic() + 3 * STOP  # programs end one after another
        while time.monotonic() < until and _there(pid):
            time.sleep(0.1)

    def told(self, name: str) -> str:
        """Where a program's own words are, and the last of them."""
        file = self._platform.logs / f"{name}.log"
        lines = file.read_text(errors="replace").strip().splitlines() if file.exists() else []
        return f"Its log is {file}" + (f"; it ends: {lines[-1]}" if lines else ".")


def _there(pid: int) -> bool:
    """Whether a process lives; one that has ended and that nobody has asked after does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
