"""The endpoints over the models on duty. A caller gets answers, or one line that says what to do; never a trace."""

from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException as Refusal  # the router's own too

from flows.serving.door import door, lets_in
from flows.serving.pages import PREDICT, front, state
from flows.serving.service import Service

UNTOLD = ("Not Found", "Method Not Allowed")  # the router's own words


def app_of(service: Service) -> FastAPI:
    """The application. FastAPI's own pages of documentation load scripts from elsewhere: `/` takes their place."""
    app = FastAPI(title="Graft", docs_url=None, redoc_url=None)
    app.middleware("http")(door(service))
    app.exception_handler(Refusal)(_refused)
    places = service.roster.places

    @app.get("/", response_class=PlainTextResponse)
    async def about() -> str:
        """What there is to ask."""
        return front(service.roster)

    @app.get("/health")
    async def health(request: Request) -> JSONResponse:
        """200 if every model answers, 503 before; who does not know the password is told that alone."""
        ready = service.roster.ready
        told: dict[str, Any] = {"status": "ready" if ready else "loading"}
        if lets_in(request, service.auth):
            told["models"] = [state(name, place) for name, place in places.items()]
        return JSONResponse(told, 200 if ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(service.meters.text(), media_type=CONTENT_TYPE_LATEST)

    @app.post("/predict/{name}", **PREDICT)
    async def predict(name: str, request: Request) -> JSONResponse:
        """Ask a model."""
        return JSONResponse(await service.answer(name, request))

    @app.post("/predict", **PREDICT)
    async def predict_one(request: Request) -> JSONResponse:
        """Ask the model, where one is served."""
        if len(places) != 1:
            raise HTTPException(404, f"{len(places)} models are served: ask /predict/NAME of {', '.join(places)}.")
        return JSONResponse(await service.answer(next(iter(places)), request))

    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    told = f"{error.detail}. GET / says what there is." if error.detail in UNTOLD else error.detail
    return JSONResponse({"error": told}, error.status_code, error.headers)
