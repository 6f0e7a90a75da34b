"""The ports that the platform's servers listen on."""

import errno
import socket

from flows.platform.place import Platform
from tasks.frozen import GraftError

PORTS = {"prefect": 4200, "mlflow": 5000}
NEAR = 50  # ports after the usual one that are tried


def port_of(host: str, name: str, asked: int | None, before: Platform | None) -> int:
    """The port of a server: the one asked for, or that of `before`, or the first free one from the usual one on.

    Raises:
        GraftError: it is in use, or all are; the address is none of this machine's.
    """
    if asked is not None:
        if not _free(host, asked):
            raise GraftError(f"Port {asked} is in use by another program. Give --{name}-port another, or leave it out.")
        return asked
    usual = PORTS[name]
    last = {"prefect": before.prefect_port, "mlflow": before.mlflow_port}[name] if before and before.host else usual
    for port in [last, *range(usual, usual + NEAR)]:
        if _free(host, port):
            return int(port)
    raise GraftError(f"All ports from {usual} to {usual + NEAR - 1} are in use. Give --{name}-port a free one.")


def _free(host: str, port: int) -> bool:
    probe = bound(host, port)
    if probe:
        probe.close()
    return probe is not None


def bound(host: str, port: int) -> socket.socket | None:
    """A socket that has the port, and does not listen yet; None if another program has it.

    Raises:
        GraftError: the address is none of this machine's.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, OverflowError) as error:
        raise GraftError(f"--host {host} with port {port} is no address: {error}.") from error
    probe = socket.socket(family, kind)
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(address)
    except OSError as error:
        probe.close()
        if isinstance(error, PermissionError):
            raise GraftError(f"Port {port} is kept for the system. Use one above 1023.") from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise GraftError(f"--host {host} is no address of this machine.") from error
        return None
    return probe
