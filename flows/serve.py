"""`graft serve`: registered models behind HTTP, their champions followed."""

import logging
import os
import signal
import socket
from collections.abc import Sequence
from typing import Any

import uvicorn
from rich.console import Console

from flows.platform.place import AUTH, LOCAL, auth_needed, url_of
from flows.platform.ports import bound
from flows.serving.app import app_of
from flows.serving.meters import Meters
from flows.serving.pages import curl, front
from flows.serving.service import Service
from tasks.frozen import GraftError
from tasks.serving.batches import Batches
from tasks.serving.roster import Roster

screen = Console(stderr=True, highlight=False, soft_wrap=True)


def refs(names: Sequence[str], version: int) -> list[str]:
    """What is asked for, as `Roster` takes it; `version` 0 is none.

    Raises:
        GraftError: a version is given for several models, or twice.
    """
    if not version:
        return list(names)
    if len(names) != 1 or "/" in names[0]:
        raise GraftError(f"--version {version} is of one model. Of several, give NAME/VERSION, e.g. mails/3.")
    return [f"{names[0]}/{version}"]


def serve(
    refs: Sequence[str], host: str, port: int, rows: int, wait_ms: float, megabytes: float, reload_seconds: float
) -> None:
    """Load the models, then answer until Ctrl-C or SIGTERM; what was taken by then is answered.

    Args:
        refs: `name` for its champion, `name/3` for a version.
        host: the address to listen on.
        port: 0 for any that is free.
        rows: go through a network at once, at most.
        wait_ms: milliseconds that a row waits for others.
        megabytes: of the largest body, in MiB.
        reload_seconds: between two looks at the champions.

    Raises:
        GraftError: the port is in use, the address is open and no password is set, or a model cannot be loaded.
    """
    auth = _auth(host)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # it is asked again soon anyway
    with _listener(host, port) as listener:
        meters = Meters()
        batches = Batches(rows, wait_ms / 1000, seen=meters.batches.observe)
        roster = Roster(refs, batches)
        with screen.status(f"loading {', '.join(refs)}"):
            roster.load()
        service = Service(roster, batches, meters, int(megabytes * 2**20), auth)
        roster.follow(reload_seconds)
        _listen(service, listener, url_of(host, listener.getsockname()[1]))
        roster.stop()
        batches.close()


def _auth(host: str) -> tuple[str, str] | None:
    if os.environ.get(AUTH):
        return auth_needed()
    if host not in LOCAL:
        raise GraftError(
            f"--host {host} opens the models to the network: set {AUTH}=user:password, which callers then give, "
            "or leave --host out (127.0.0.1)."
        )
    return None


def _listener(host: str, port: int) -> socket.socket:
    """The port is had before the models are loaded, which takes time; it answers once they are."""
    found = bound(host, port)
    if found is None:
        raise GraftError(f"Port {port} is in use by another program. Give --port another one, or 0 for any.")
    return found


def _listen(service: Service, listener: socket.socket, address: str) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("graft.serve").setLevel(logging.INFO)
    listener.listen()
    screen.print(f"{front(service.roster)}\nAt {address}. Ctrl-C stops it. Try:\n", markup=False)
    for name, place in service.roster.places.items():
        screen.print(f"  {curl(address, name, place.held.inputs, service.auth is not None)}", markup=False)
    settings = uvicorn.Config(app_of(service), log_config=None, access_log=False, lifespan="off")
    signal.signal(signal.SIGTERM, _stop)
    try:
        uvicorn.Server(settings).run([listener])
    except KeyboardInterrupt:
        screen.print("Stopped: what was asked is answered.")


def _stop(*_: Any) -> None:
    """uvicorn ends in peace, then raises again the signal that ended it."""
    raise KeyboardInterrupt
