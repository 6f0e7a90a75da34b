"""What a flow run notes of itself in the home, so that others can find its process, its work and its MLflow run."""

import os
from pathlib import Path

import psutil
from pydantic import ValidationError

from flows.platform.place import folder
from tasks.files import write_file
from tasks.frozen import Frozen


class Underway(Frozen):
    """A flow run's own note: its process and when that began, and the work and MLflow run once there are such."""

    flow_run: str
    pid: int
    began: float
    work: Path | None = None
    run_id: str | None = None

    @property
    def progress(self) -> str:
        """Changes with every checkpoint and every finished stage."""
        if self.work is None:
            return ""
        places = [*self.work.glob("checkpoints/step-*"), *self.work.glob("*.json")]
        return " ".join(sorted(place.name for place in places if "writing" not in place.name))

    def processes(self) -> list[psutil.Process]:
        """Its process and all below it, if it is still the one that wrote this."""
        try:
            own = psutil.Process(self.pid)
            if abs(own.create_time() - self.began) > 1 or own.status() == psutil.STATUS_ZOMBIE:
                return []
            return [own, *own.children(recursive=True)]
        except psutil.Error:
            return []


def note(flow_run: str, work: Path | None = None, run_id: str | None = None) -> None:
    """Write this process's note."""
    own = Underway(flow_run=flow_run, pid=os.getpid(), began=psutil.Process().create_time(), work=work, run_id=run_id)
    file = _file(flow_run)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, own.model_dump_json().encode())


def of(flow_run: str) -> Underway | None:
    """A flow run's note, if it has written one in this home."""
    try:
        return Underway.model_validate_json(_file(flow_run).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def by_mlflow(run_id: str) -> Underway | None:
    """The note of the flow run that has this MLflow run, the newest if there are several."""
    files = sorted(_file("x").parent.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    notes = (of(file.stem) for file in files)
    return next((found for found in notes if found and found.run_id == run_id), None)


def _file(flow_run: str) -> Path:
    return folder() / "runs" / f"{flow_run}.json"
