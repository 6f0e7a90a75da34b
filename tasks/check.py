"""The rows of a run looked through before a minute is spent on training them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks import checks, near, runtime
from tasks.checks.drift import drift, summary
from tasks.checks.subject import Subject
from tasks.files import write_file
from tasks.findings import CHECKS, Checked, Finding
from tasks.recipe import Recipe
from tasks.results import Prepared
from tasks.screen import bar
from tasks.steps import step

VERSION = 1  # of the checks: findings of another one are not used again


@step
def check(
    data: Prepared,
    recipe: Recipe,
    champion: Mapping[str, Any] | None = None,
    refused: Sequence[Finding] = (),
) -> Checked:
    """Look for what would spoil a training or its score.

    Findings are kept by the content of the rows and all that the checks depend on: the same again costs nothing.

    Args:
        data: what `prepare` left.
        recipe: the run's; its data set says which errors are allowed.
        champion: the `summary` of the rows that the champion was trained on, if there is one.
        refused: findings on rows that `prepare` would not take (see `tasks.checks.refused`).

    Returns:
        one finding for each of `CHECKS`, in their order; `Checked.require` then stops what must not be trained on.
    """
    file = runtime.home() / "checks" / f"{_mark(data, recipe)}.json"
    kept = _read(file) or _write(file, _looked_through(data, recipe))
    own = {found.check: found for found in (*kept.findings, drift(kept.summary, champion))}
    own |= {found.check: _joined(found, own[found.check]) for found in refused}
    allowed = [
        own[name].model_copy(update={"allowed": own[name].severity == "error" and name in recipe.dataset.allow})
        for name in CHECKS
    ]
    return kept.model_copy(update={"findings": tuple(allowed)})


def _joined(refused: Finding, other: Finding) -> Finding:
    """An error on rows that were refused, with what the check found among the others."""
    more = f" {other.about}" if other.severity in {"error", "warning", "note"} else ""
    return refused.model_copy(update={"about": f"{refused.about}{more}"})


def _looked_through(data: Prepared, recipe: Recipe) -> Checked:
    findings = []
    with bar("check", len(checks.ALL)) as shown:

        def tell(figures: str) -> None:
            shown.advance(f"{looking.__name__} {figures}", steps=0)

        subject = Subject(data, recipe.dataset, recipe.backbone, recipe.method.pretrained, tell)
        for looking in checks.ALL:
            tell("")
            findings.append(looking(subject))
            shown.advance()
    return Checked(
        findings=tuple(findings),
        summary=summary(subject),
        origin=data.origin,
        revision=data.revision,
        hashes=data.hashes,
    )


def _mark(data: Prepared, recipe: Recipe) -> str:
    """16 hex digits of the rows, and of all else that the findings depend on."""
    spec, backbone = recipe.dataset, recipe.backbone
    told = [
        VERSION,
        data.model_dump(mode="json", exclude={"folder"}),
        spec.show_examples,
        backbone.model_dump(mode="json", exclude={"about"}),
        recipe.method.pretrained,
        [near.SIMILAR, near.CORRELATED, near.TEXTS, near.CHARACTERS],
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _read(file: Path) -> Checked | None:
    """What was kept, or None if nothing was or it is damaged."""
    try:
        return Checked.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _write(file: Path, checked: Checked) -> Checked:
    file.parent.mkdir(exist_ok=True)
    write_file(file, checked.model_dump_json().encode())
    return checked
