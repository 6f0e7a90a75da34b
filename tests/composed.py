"""`mlflow/compose.yaml` as a test reads it: its services, and one of them on this machine without Docker.

PYTEST_DONT_REWRITE: it asserts nothing.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

FOLDER = Path(__file__).parents[1] / "mlflow"
TEXT = (FOLDER / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VARIABLE = re.compile(r"\$\{(\w+):\?\}")


class Service(NamedTuple):
    """What runs in a container: its command and its variables."""

    command: list[str]
    environment: dict[str, str]


def service(name: str, given: Mapping[str, str], moved: Mapping[str, str]) -> Service:
    """A service with the variables of its env file filled in, and addresses and places as they are here."""
    text = VARIABLE.sub(lambda found: given[found[1]], json.dumps(SERVICES[name]))
    for there, here in moved.items():
        text = text.replace(there, here)
    found = json.loads(text)
    return Service(found["command"], found.get("environment", {}))


def without_address(command: list[str]) -> list[str]:
    """A server's command without the address that it listens on."""
    words = iter(command)
    kept = []
    for word in words:
        if word in {"--host", "--port"}:
            next(words)
        elif not word.startswith(("--host=", "--port=")):
            kept.append(word)
    return kept
