"""From a request to its answers: the model of that name, the body, the rows, the queue."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException, Request

from flows.serving.meters import Meters, OnDuty
from tasks.frozen import GraftError
from tasks.serving import asked
from tasks.serving.batches import Batches, Full
from tasks.serving.models import Loaded
from tasks.serving.roster import Roster

INSIDE = 256  # requests at once; more are told to come again
READERS = 2  # threads that read bodies and look at pictures: each may hold a large one
SECONDS = 30.0  # in which a body must have come
AGAIN = {"Retry-After": "1"}


@dataclass
class Service:
    """All that the endpoints share.

    `most` is the largest body in bytes; `auth` the user and the password that are asked for, None if anybody may ask.
    """

    roster: Roster
    batches: Batches
    meters: Meters
    most: int
    auth: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        self.meters.registry.register(OnDuty(self.roster))
        self._readers = ThreadPoolExecutor(READERS, "graft-readers")
        self._inside = 0

    async def answer(self, name: str, request: Request) -> dict[str, Any]:
        """What one version, the one that holds the name as the request comes, answers to all of its rows.

        Raises:
            HTTPException: no such model (404), the body does not come (408), is too large (413) or cannot be used
                (422), or too much waits (503).
        """
        model = self._held(name)
        request.state.model = name
        if self._inside >= INSIDE:
            raise HTTPException(503, f"{INSIDE} requests are under way. Ask again in a second.", AGAIN)
        self._inside += 1
        try:
            async with asyncio.timeout(SECONDS):
                body = await _body(request, self.most)
            answers = await self._answers(model, body)
        except TimeoutError as error:
            raise HTTPException(408, f"The body did not come within {SECONDS:g} seconds. Send it again.") from error
        except Full as error:
            raise HTTPException(503, str(error), AGAIN) from error
        except GraftError as error:
            raise HTTPException(422, str(error)) from error
        finally:
            self._inside -= 1
        self.meters.rows.labels(name).inc(len(answers))
        return {"model": name, "version": model.version.version, "answers": answers}

    async def _answers(self, model: Loaded, body: bytes) -> list[dict[str, Any]]:
        reading = self._readers.submit(asked.columns, body, model.version.name, model.inputs)
        rows = await asyncio.wrap_future(reading)
        return await asyncio.wrap_future(self.batches.ask(model, rows))

    def _held(self, name: str) -> Loaded:
        if place := self.roster.places.get(name):
            return place.held
        raise HTTPException(404, f"No model {name[:100]!r} is served. Models here: {', '.join(self.roster.places)}.")


async def _body(request: Request, most: int) -> bytes:
    """The body, given up as soon as it is said or seen to be too large."""
    told = HTTPException(413, f"The body has more than {most / 2**20:g} MiB. Send fewer rows at once.")
    if int(request.headers.get("content-length", 0)) > most:
        raise told
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise told
    return bytes(body)
