"""This machine's pool and the deployments of `prefect.yaml` that belong to it: made, or brought up to date.

A program of its own, which finds the server by PREFECT_API_URL: Prefect reads its settings once in a process.
"""

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from flows.platform.supervise import POOL
from tasks.frozen import GraftError

ROOT = Path(__file__).parents[2]


def offered() -> frozenset[Path]:
    """The files whose names the forms' drop-downs have: experiments and methods."""
    folders = (ROOT / "configs" / name for name in ("experiments", "methods"))
    return frozenset(file for folder in folders for file in folder.glob("*.yaml"))


def deploy(environment: Mapping[str, str]) -> None:
    """Run this program.

    Raises:
        GraftError: Prefect refuses.
    """
    told = subprocess.run(
        [sys.executable, "-m", "flows.platform.deploy"],
        env=dict(environment), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if told.returncode:
        last = (told.stderr + told.stdout).strip().splitlines()[-1:] or ["it says nothing"]
        raise GraftError(f"The deployments of prefect.yaml cannot be made: {last[0]}")


def main() -> int:
    """The pool, then its deployments; schedules stay. The exit code is Prefect's.

    A pool is one machine's: a keeper sees the processes of its own machine, and takes runs without one for dead.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    pool = WorkPoolCreate(
        name=POOL,
        type="process",
        base_job_template=ProcessWorker.get_default_base_job_template(),
        concurrency_limit=1,  # two trainings on one machine are slower than one by one
    )
    with get_client(sync_client=True) as client:
        client.create_work_pool(pool, overwrite=True)
        online = (one.name for one in client.read_workers_for_work_pool(POOL) if one.status.value == "ONLINE")
        if others := ", ".join(sorted(set(online) - {socket.gethostname()})):
            sys.stderr.write(f"The pool {POOL} has a worker already, on {others}: more machines take other pools.\n")
            return 1
    words = ("deploy", "--prefect-file", str(ROOT / "prefect.yaml"), "--name", f"*/{POOL}")
    return subprocess.run([sys.executable, "-m", "prefect", "--no-prompt", *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
