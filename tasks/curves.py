"""A run's curves: noted in a file at once, sent by a thread of their own, so that no training waits for MLflow."""

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from tasks.files import disk_error, write_file
from tasks.frozen import GraftError
from tasks.tracking import Unreachable, send

AGAIN = 2.0  # seconds until the next try
PATIENCE = 1800.0  # seconds that the end of a training waits for MLflow to take the rest

Row = tuple[int, str, float, int]  # step, name, value, milliseconds since 1970


class Curves:
    """Rows wait until a checkpoint makes them final; then they are sent, as often as it takes.

    A row keeps its time, and MLflow takes the same row twice as once: neither a crash nor a server that answers too
    late does harm. What was once final stays, even where its steps run again because their checkpoint was damaged.
    """

    def __init__(self, run_id: str, file: Path) -> None:
        self._run_id, self._file = run_id, file
        self._mark = file.with_suffix(".shipped")  # holds the step of the last row that MLflow may have
        self._known = 0  # up to this step, a process before this one has noted the rows
        self._waiting: list[Row] = []
        self._final: list[Row] = []
        self._changed = threading.Condition()
        self._refused: GraftError | None = None
        self._sender: threading.Thread | None = None

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Values after so many steps: noted in the file at once, sent later."""
        if step <= self._known:
            return
        now = time.time_ns() // 1_000_000
        rows = [(step, name, value, now) for name, value in values.items()]
        try:
            with self._file.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        except OSError as error:
            raise disk_error(self._file, error) from error
        self._waiting += rows

    def forget_after(self, step: int) -> None:
        """On resume: rows up to the checkpoint, or once final, wait again, since it is not known which were sent."""
        lines = self._file.read_text().splitlines(keepends=True) if self._file.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith("\n")]  # a kill may have torn the last
        shipped = int(self._mark.read_text()) if self._mark.exists() else 0
        self._waiting = [tuple(row) for row in rows if row[0] <= max(step, shipped)]
        self._known = self._waiting[-1][0] if self._waiting else 0
        write_file(self._file, "".join(json.dumps(row) + "\n" for row in self._waiting).encode())

    def ship(self) -> None:
        """What waits is final and goes out.

        Raises:
            GraftError: MLflow refused rows before these, or the disk is full.
        """
        if self._waiting:
            write_file(self._mark, str(self._waiting[-1][0]).encode())
        with self._changed:
            if self._refused:
                raise self._refused
            self._final += self._waiting
            self._waiting = []
            if self._final and self._sender is None:
                self._sender = threading.Thread(target=self._send, daemon=True)
                self._sender.start()

    def settle(self, patience: float = PATIENCE) -> None:
        """Wait until MLflow has all that is final.

        Raises:
            GraftError: it refuses, or has not answered for `patience` seconds.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._refused or not self._final, patience)
            if self._refused:
                raise self._refused
            if self._final:
                raise GraftError(
                    f"MLflow has not answered for {patience:.0f} s. All is kept: start it and give the same command "
                    "again."
                )

    def _send(self) -> None:
        """Send what is final until nothing is left of it."""
        while rows := self._next():
            try:
                send(self._run_id, rows)
            except Unreachable:
                time.sleep(AGAIN)
                continue
            except GraftError as error:
                self._refused = error
            with self._changed:
                del self._final[: len(rows)]
                self._changed.notify_all()

    def _next(self) -> tuple[Row, ...]:
        with self._changed:
            if not self._final:
                self._sender = None
            return tuple(self._final)
