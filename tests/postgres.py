"""A real PostgreSQL on a free port of loopback, with the databases that `mlflow/compose.yaml` makes.

PYTEST_DONT_REWRITE: it asserts nothing.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import free_port

USER = "graft"
PASSWORD = "known to this test alone"
DATABASES = Path(__file__).parents[1] / "mlflow" / "databases.sql"
CARELESS = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")  # nothing here outlives the test


@dataclass(frozen=True)
class Postgres:
    """A server's address and its programs; `scripts` is where `pg_dump` and `psql` are."""

    port: int
    scripts: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, database: str, query: str) -> list[str]:
        """The rows that answer a query."""
        return self.run("psql", "--dbname", database, "-Atc", query).decode().splitlines()

    def run(self, program: str, *words: str, stdin: bytes = b"") -> bytes:
        """One of PostgreSQL's client programs, as the user: what it prints."""
        place = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": USER, "PGPASSWORD": PASSWORD}
        command = [str(self.scripts / program), *words]
        return subprocess.run(command, env=os.environ | place, input=stdin, capture_output=True, check=True).stdout


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, or None where it is not installed."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return places[-1] if places and (places[-1] / "postgres").exists() else None


def _owner() -> int:
    """Who runs it: PostgreSQL refuses root."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()


@contextmanager
def postgres(scripts: Path) -> Iterator[Postgres]:
    """A server with the databases `prefect`, `mlflow` and `auth`, which asks for a password; ends with the block."""
    owner = _owner()
    made = Postgres(free_port(), scripts)
    with tempfile.TemporaryDirectory(prefix="graft-postgres-") as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        for place in (folder, folder / "password"):
            os.chown(place, owner, -1)
        _init(folder, scripts, owner)
        yield from _served(made, folder, owner)


def _init(folder: Path, scripts: Path, owner: int) -> None:
    words = ("--username", USER, "--auth", "scram-sha-256", "--pwfile", str(folder / "password"), "--no-sync")
    command = [str(scripts / "initdb"), "--pgdata", str(folder / "data"), *words, "--encoding", "UTF8", "--locale", "C"]
    subprocess.run(command, user=owner, cwd=folder, capture_output=True, check=True)


def _served(made: Postgres, folder: Path, owner: int) -> Iterator[Postgres]:
    settings = (f"port={made.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", *CARELESS)
    command = [str(made.scripts / "postgres"), "-D", str(folder / "data")]
    for setting in settings:
        command += ["-c", setting]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, user=owner, cwd=folder, stdout=log, stderr=log)
    try:
        _wait(made, process, folder / "log")
        made.run("createdb", "prefect")
        made.run("psql", "--dbname", "prefect", "--set", "ON_ERROR_STOP=1", "--file", str(DATABASES))
        yield made
    finally:
        process.send_signal(signal.SIGINT)  # its fast shutdown
        process.wait(30)


def _wait(made: Postgres, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            made.ask("postgres", "SELECT 1")
        except subprocess.CalledProcessError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")
