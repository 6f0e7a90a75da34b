"""The door of the server: who comes in, what went wrong unforeseen, how many came and how long it took."""

import base64
import logging
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from flows.serving.service import Service

Next = Callable[[Request], Awaitable[Response]]

log = logging.getLogger("graft.serve")


def door(service: Service) -> Callable[[Request, Next], Awaitable[Response]]:
    """What every request passes on its way in and its answer on the way out."""

    async def passed(request: Request, inner: Next) -> Response:
        began = time.perf_counter()
        try:
            public = request.url.path == "/health"
            response = await inner(request) if public or lets_in(request, service.auth) else _locked()
        except ClientDisconnect:
            response = Response(status_code=400)
        except Exception as error:  # noqa: BLE001  # any at all: the log has it, the caller its number
            response = _failed(error)
        if request.url.path.startswith("/predict"):
            model = getattr(request.state, "model", "")
            service.meters.requests.labels(model, response.status_code).inc()
            service.meters.seconds.observe(time.perf_counter() - began)
        return response

    return passed


def lets_in(request: Request, auth: tuple[str, str] | None) -> bool:
    """Whether the caller knows the user and the password, if they are asked for."""
    if auth is None:
        return True
    wanted = base64.b64encode(":".join(auth).encode())
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    return kind.lower() == "basic" and secrets.compare_digest(given.encode(), wanted)


def _locked() -> Response:
    told = {"error": "This server asks for the user and the password of its GRAFT_AUTH, e.g. curl -u USER:PASSWORD."}
    return JSONResponse(told, 401, {"WWW-Authenticate": 'Basic realm="graft"'})


def _failed(error: Exception) -> Response:
    """What nobody foresaw. Its message may quote a caller's text: the log has its type and its place alone."""
    number = secrets.token_hex(4)
    log.error("error %s: %s\n%s", number, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    return JSONResponse({"error": f"The server failed. Its log tells more under error {number}."}, 500)
