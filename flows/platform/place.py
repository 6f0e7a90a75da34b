"""Where a home's platform lies, at which addresses, and with which password it is reached."""

import hashlib
import os
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from tasks import runtime
from tasks.frozen import Frozen, GraftError

MARK = "GRAFT_PLATFORM"  # in the environment of every process of a platform: its folder
AUTH = "GRAFT_AUTH"  # user:password of both pages
LOCAL = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")
SHORTEST = 12  # characters of a password; MLflow's own rule


class Platform(Frozen):
    """A platform's folder below the home and the addresses of its two servers.

    `host`: the address that its own servers listen on; None where it has but a worker for servers elsewhere.
    `locked`: both servers ask for a password.
    """

    folder: Path
    host: str | None
    prefect_url: str
    mlflow_url: str
    locked: bool = False

    @property
    def prefect_port(self) -> int:
        """The port of the Prefect server."""
        return urlsplit(self.prefect_url).port or 80

    @property
    def mlflow_port(self) -> int:
        """The port of the MLflow server."""
        return urlsplit(self.mlflow_url).port or 80

    @property
    def prefect_page(self) -> str:
        """Where browsers find Prefect."""
        return self._page(self.prefect_url)

    @property
    def mlflow_page(self) -> str:
        """Where browsers find MLflow."""
        return self._page(self.mlflow_url)

    def _page(self, url: str) -> str:
        """The machine's name in place of loopback, if it listens on all its addresses."""
        return url.replace("127.0.0.1", socket.getfqdn()) if self.host in EVERYWHERE else url

    @property
    def wire(self) -> Path:
        """Where the supervisor listens. A socket's path may have a hundred characters: the folder may have more."""
        short = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"graft-{os.getuid()}-{short}.sock"

    @property
    def logs(self) -> Path:
        """The programs' logs."""
        return self.folder / "logs"

    def clients(self) -> dict[str, str]:
        """The variables by which Graft, Prefect and MLflow find these servers and are let in.

        Raises:
            GraftError: the servers ask for a password and GRAFT_AUTH has none.
        """
        found = {"PREFECT_API_URL": f"{self.prefect_url}/api", "MLFLOW_TRACKING_URI": self.mlflow_url}
        if not self.locked:
            return found
        user, password = auth_needed()
        return found | {
            "PREFECT_API_AUTH_STRING": f"{user}:{password}",
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": password,
        }


def auth_needed() -> tuple[str, str]:
    """The user and the password of GRAFT_AUTH.

    Raises:
        GraftError: it is not set or not of this form; its value is not told.
    """
    user, colon, password = os.environ.get(AUTH, "").partition(":")
    if not (user and colon and len(password) >= SHORTEST):
        raise GraftError(f"{AUTH} must be user:password, the password of {SHORTEST} characters or more.")
    return user, password


def url_of(host: str, port: int) -> str:
    """The address at which this machine reaches its own server, whatever address that listens on."""
    reached = "127.0.0.1" if host in (*EVERYWHERE, *LOCAL) else host
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"


def folder() -> Path:
    """The platform's folder in the home."""
    return runtime.home() / "platform"


def kept() -> Platform | None:
    """The platform that was last started in this home; whether it still runs is another question."""
    file = folder() / "platform.json"
    try:
        return Platform.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):  # none, or another version's
        return None


def needed() -> Platform:
    """The platform of this home.

    Raises:
        GraftError: none was ever started.
    """
    found = kept()
    if found is None:
        raise GraftError(f"No platform was started in {runtime.home()} yet. `graft up` starts one.")
    return found
