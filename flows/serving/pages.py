"""What the server says of itself, to people and to programs."""

from typing import Any
from urllib.parse import quote

from tasks.serving.asked import EXAMPLE, ROWS, Row
from tasks.serving.roster import Place, Roster

ENDPOINTS = f"""
  POST /predict/NAME  what a model answers to 1 to {ROWS} rows; /predict where one model is served
                      send {EXAMPLE}
                      or the field image: the picture's file in base64
  GET  /health        versions, since when, the last reload; 503 until all are loaded
  GET  /metrics       numbers for Prometheus
  GET  /openapi.json  these endpoints for programs
"""
SAMPLES = {"text": "my parcel never came", "text_pair": "it was never sent", "image": "%s"}
ROWS_SCHEMA = {"type": "array", "minItems": 1, "maxItems": ROWS, "items": Row.model_json_schema()}
BODY_SCHEMA = {"type": "object", "required": ["rows"], "properties": {"rows": ROWS_SCHEMA}}
ANSWER = {
    "model": "tickets",
    "version": 3,
    "answers": [{"label": "refund", "confidence": 0.9, "probabilities": {"refund": 0.9, "order": 0.1}}],
}
PREDICT: dict[str, Any] = {
    "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {"schema": BODY_SCHEMA}}}},
    "responses": {
        200: {"content": {"application/json": {"example": ANSWER}}},
        "4XX": {"description": "the request cannot be used; `error` says why in one line"},
        503: {"description": "too much waits: ask again after the seconds of Retry-After"},
    },
}


def front(roster: Roster) -> str:
    """What there is to ask."""
    models = [
        f"  {name}/{place.held.version.version} takes {' and '.join(place.held.inputs)}"
        f"{'' if place.fixed else '; a new champion takes over'}"
        for name, place in roster.places.items()
    ]
    return "\n".join(["Graft serves", *models]) + "\n" + ENDPOINTS


def curl(address: str, name: str, inputs: tuple[str, ...], locked: bool) -> str:
    """A command that asks a model something."""
    row = ", ".join(f'"{field}": "{SAMPLES[field]}"' for field in inputs)
    body, asking = f"'{{\"rows\": [{{{row}}}]}}'", "curl -u USER:PASSWORD" if locked else "curl"
    if "image" in inputs:  # by a pipe: a picture is longer than an argument may be
        return f"""printf {body} "$(base64 < FILE | tr -d '\\n')" | {asking} {address}/predict/{quote(name)} -d @-"""
    return f"{asking} {address}/predict/{quote(name)} -d {body}"


def state(name: str, place: Place) -> dict[str, Any]:
    """A model's part of /health."""
    held = place.held
    return {
        "model": name,
        "version": held.version.version,
        "takes": held.inputs,
        "since": held.since.isoformat(timespec="seconds"),
        "follows_champion": not place.fixed,
        "reloads": place.reloads,
        "last_reload": place.reloaded.isoformat(timespec="seconds") if place.reloaded else None,
        "failed_reloads": place.failures,
        "trouble": place.trouble or None,
    }
