"""`graft up` and `graft down`: the platform of this home, from nothing to ready and back."""

import os
import secrets
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from rich.console import Console

from flows.platform import processes
from flows.platform.deploy import deploy
from flows.platform.place import AUTH, LOCAL, Platform, auth_needed, folder, kept, url_of
from flows.platform.ports import port_of
from flows.platform.supervise import Supervisor, commands, start
from tasks import runtime
from tasks.files import write_file
from tasks.frozen import GraftError

READY = 180.0  # seconds that the servers have to answer
SAYING = {  # `flows.quiet` hushes them
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
}
STEADY = {  # a server that is away for a minute stops nobody
    "PREFECT_CLIENT_MAX_RETRIES": "8",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_WORKER_QUERY_SECONDS": "3",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "8",
}

screen = Console(stderr=True, highlight=False, soft_wrap=True)


def up(host: str, prefect: int | None, mlflow: int | None) -> Platform | None:
    """Start the platform; None where it is up already.

    Raises:
        GraftError: a port is in use, a server does not start, or the address is open and no password is set.
    """
    before = kept()
    if before and Supervisor(before).alive:
        return None
    locked = bool(os.environ.get(AUTH))
    if host not in LOCAL and not locked:
        raise GraftError(
            f"--host {host} opens both pages to the network: set {AUTH}=user:password, which both then ask for, "
            "or leave --host out (127.0.0.1)."
        )
    if locked:
        auth_needed()
    _end_left_overs()
    asked = {"prefect": prefect, "mlflow": mlflow}
    chosen = {f"{name}_url": url_of(host, port_of(host, name, port, before)) for name, port in asked.items()}
    return _started(Platform(folder=folder(), host=host, locked=locked, **chosen))


def up_worker() -> Platform | None:
    """Start a worker and its keeper for servers elsewhere; None where they are up already.

    Raises:
        GraftError: the servers are not named, or do not answer.
    """
    before = kept()
    if before and Supervisor(before).alive:
        return None
    names = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")
    if missing := [name for name in names if not os.environ.get(name, "").startswith("http")]:
        raise GraftError(f"--worker needs the servers' addresses: set {' and '.join(missing)} to http://...")
    _end_left_overs()
    prefect, mlflow = (os.environ[name].removesuffix("/").removesuffix("/api") for name in names)
    locked = bool(os.environ.get(AUTH))
    return _started(Platform(folder=folder(), host=None, prefect_url=prefect, mlflow_url=mlflow, locked=locked))


def _started(platform: Platform) -> Platform:
    platform.folder.mkdir(parents=True, exist_ok=True)
    write_file(platform.folder / "platform.json", platform.model_dump_json().encode())
    passwords = platform.folder / "passwords.db"
    passwords.unlink(missing_ok=True)  # MLflow would keep the password of the first time
    own = environment(platform, passwords)
    process = start(platform, own)
    try:
        _ready(platform, process)
        with screen.status("making the deployments"):
            deploy(own)
        with screen.status("starting the worker"):
            Supervisor(platform).begin()
    except BaseException:
        Supervisor(platform).stop()
        raise
    return platform


def environment(platform: Platform, passwords: Path) -> dict[str, str]:
    """The variables of the platform's programs, and so of its runs; what the user has set is kept."""
    home, allow = runtime.home(), os.environ.get("GRAFT_ALLOW", "")
    own = {
        **platform.clients(),
        "GRAFT_HOME": str(home),
        "GRAFT_DATA": str(runtime.data_path(".")),
        "GRAFT_ALLOW": os.pathsep.join(map(os.path.abspath, filter(None, allow.split(os.pathsep)))),
        "PREFECT_HOME": str(home / "prefect"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])),
    }
    usual = {name: value for name, value in STEADY.items() if name not in os.environ}
    return {**os.environ, **usual, **SAYING, **own, **(_servers(platform, passwords) if platform.host else {})}


def _servers(platform: Platform, passwords: Path) -> dict[str, str]:
    """What its own servers need: where their pages are, and the password, of which MLflow keeps a salted hash."""
    names = [urlsplit(url).netloc for url in (platform.mlflow_url, platform.mlflow_page)]
    pages = {
        "PREFECT_UI_URL": platform.prefect_page,
        "PREFECT_SERVER_UI_API_URL": f"{platform.prefect_page}/api",
        "GRAFT_MLFLOW_PAGE": platform.mlflow_page,
    }
    if platform.host not in LOCAL:  # MLflow answers to no other names, and takes changes from no other page
        pages |= {
            "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(names),
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": platform.mlflow_page,
        }
    if not platform.locked:
        return pages
    user, password = auth_needed()
    settings = platform.folder / "mlflow-auth.ini"
    settings.write_text(f"[mlflow]\ndefault_permission = MANAGE\ndatabase_uri = sqlite:///{passwords}\n")
    return pages | {
        "PREFECT_SERVER_API_AUTH_STRING": f"{user}:{password}",
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_USERNAME": user,
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
    }


def _end_left_overs() -> None:
    """Whatever still lives of a platform whose supervisor was killed."""
    left = processes.of_platform(folder())
    if left:
        screen.print(f"{len(left)} processes are left of a platform that was killed: they are ended.")
        processes.end(left, grace=5)


def _ready(platform: Platform, supervisor: subprocess.Popen[bytes]) -> None:
    """Wait until both servers answer."""
    waiting = {"prefect": f"{platform.prefect_url}/api/health", "mlflow": f"{platform.mlflow_url}/health"}
    until = time.monotonic() + READY
    with screen.status("starting the servers") as status:
        while waiting and time.monotonic() < until:
            status.update(f"waiting for {' and '.join(waiting)}")
            if supervisor.poll() is not None:
                raise GraftError(f"The supervisor did not start. {Supervisor(platform).told('supervisor')}")
            waiting = {name: url for name, url in waiting.items() if not _answers(url)}
            time.sleep(0.3)
    if waiting:
        name, url = next(iter(waiting.items()))
        told = Supervisor(platform).told(name) if name in commands(platform) else f"It was asked at {url}."
        raise GraftError(f"{name} does not answer after {READY:.0f} s. {told}")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code < 500
    except httpx.HTTPError:
        return False


def down() -> bool:
    """Stop the platform of this home; False where none runs. Interrupted runs go on with the next `graft up`."""
    before = kept()
    was = before is not None and Supervisor(before).alive
    if before and was:
        with screen.status("stopping"):
            Supervisor(before).stop()
    left = processes.of_platform(folder())
    processes.end(left, grace=5)
    return was or bool(left)


def hold(platform: Platform) -> None:
    """Until Ctrl-C or SIGTERM, or until the platform is stopped from elsewhere."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    supervisor = Supervisor(platform)
    try:
        while supervisor.alive:
            time.sleep(1)
        screen.print("It was stopped.")
    except KeyboardInterrupt:
        screen.print("\nStopping. Runs under way go on with the next `graft up`.")
        down()
