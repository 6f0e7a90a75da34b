"""The registry: versions of models and where their files are; two aliases, candidate and champion."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from tasks import runtime, tracking
from tasks.frozen import GraftError
from tasks.results import Registered
from tasks.verify import load

CANDIDATE, CHAMPION = "candidate", "champion"


def crown(name: str, version: int) -> None:
    """Move the alias champion; `tasks.champion` is who may."""
    with tracking.explained():
        tracking.client().set_registered_model_alias(name, CHAMPION, str(version))


def describe(candidate: Registered, tags: Mapping[str, str]) -> None:
    """Set tags of a version, under their own names."""
    with tracking.explained():
        for key, value in tags.items():
            tracking.client().set_model_version_tag(candidate.name, str(candidate.version), key, value)


def version(name: str, number: int) -> Registered:
    """A version by its number.

    Raises:
        GraftError: there is none; the error lists those that there are.
    """
    with tracking.explained():
        known = [model.name for model in tracking.client().search_registered_models(f"name = '{name}'")]
        found = {int(v.version): v for v in tracking.client().search_model_versions(f"name = '{name}'")}
    if number not in found:
        there = f"Versions of {name!r}: {', '.join(map(str, sorted(found))) or 'none'}." if known else "No such model."
        raise GraftError(f"{name}/{number} is no registered version in {runtime.tracking_uri()}. {there}")
    return _registered(found[number])


def champion(name: str) -> Registered | None:
    """The version that has the alias champion; None if there is none."""
    try:
        return _registered(tracking.client().get_model_version_by_alias(name, CHAMPION))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _registered(found: Any) -> Registered:
    uri = f"models:/{found.name}/{found.version}"
    return Registered(name=found.name, version=int(found.version), uri=uri, run_id=found.run_id)


def champion_data(name: str) -> dict[str, Any] | None:
    """The summary of the rows that the champion was trained on; None if there is no champion, or none was kept."""
    held = champion(name)
    return tracking.kept(held.run_id, tracking.SUMMARY) if held else None


def champion_trained_on(name: str) -> tuple[str, int, str] | None:
    """The fingerprint, the seed and the hash of the rows of the champion's run; None if there is no champion."""
    held = champion(name)
    if held is None:
        return None
    with tracking.explained():
        found = tracking.client().get_run(held.run_id).data
    return found.tags.get("graft.fingerprint", ""), int(found.params["seed"]), found.tags.get("graft.hashes", "")


def folder_of(version: Registered, into: Path | None = None) -> Path:
    """The saved model of a version, on this machine's disk: a copy in the folder `into` if one is given."""
    mlflow.set_tracking_uri(runtime.tracking_uri())
    with tracking.explained():
        place = mlflow.artifacts.download_artifacts(version.uri, dst_path=str(into) if into else None)
    return Path(place) / "artifacts" / "model"


def model_folder(ref: str) -> Path:
    """The saved model of a version, on this machine's disk; `registered` says how it is named, and what is raised."""
    return folder_of(registered(ref))


def registered(ref: str) -> Registered:
    """The version that a person means by `name` (its champion), `name/3` or a run's id.

    Raises:
        GraftError: there is none; the error lists the registered models.
    """
    name, _, number = ref.partition("/")
    client = tracking.client()
    with tracking.explained():
        known = sorted(model.name for model in client.search_registered_models())
        versions = []
        if name in known:
            wanted = number or client.get_registered_model(name).aliases.get(CHAMPION)
            versions = [v for v in client.search_model_versions(f"name = '{name}'") if str(v.version) == str(wanted)]
        elif re.fullmatch("[0-9a-f]{32}", ref):
            versions = client.search_model_versions(f"run_id = '{ref}'")
    if not versions:
        raise GraftError(
            f"{ref!r} is no registered model with a champion, no version of one (name/3), and no run with one in "
            f"{runtime.tracking_uri()}. Models there: {', '.join(known) or 'none yet'}."
        )
    return _registered(versions[0])


def run_of(ref: str) -> str:
    """The id of the run that `name/version` came from; a run's id is given back.

    Raises:
        GraftError: there is none, or only a name was given: a champion moves. The error lists the model's versions.
    """
    if re.fullmatch("[0-9a-f]{32}", ref):
        return ref
    name, _, number = ref.partition("/")
    with tracking.explained():
        versions = {int(v.version): v.run_id for v in tracking.client().search_model_versions(f"name = '{name}'")}
    if not number.isdecimal() or int(number) not in versions:
        there = ", ".join(f"{name}/{version}" for version in sorted(versions)) or "none"
        wrong = "is no version" if number else "names no version, and a champion moves"
        raise GraftError(
            f"{ref!r} {wrong}. Give name/version, or an MLflow run's id. Versions of {name!r} in "
            f"{runtime.tracking_uri()}: {there}."
        )
    return str(versions[int(number)])


def load_model(name: str, version: str | None = None) -> Any:
    """A registered model as `mlflow.pyfunc` loads it: the champion, or a version by number.

    Raises:
        GraftError: there is no such model or version; the error lists those that exist.
    """
    mlflow.set_tracking_uri(runtime.tracking_uri())
    try:
        return load(f"models:/{name}/{version}" if version else f"models:/{name}@{CHAMPION}")
    except MlflowException as error:
        known = ", ".join(sorted(model.name for model in tracking.client().search_registered_models())) or "none yet"
        wanted = f"version {version}" if version else "champion"
        raise GraftError(
            f"Model {name!r} has no {wanted} in {runtime.tracking_uri()}. Models there: {known}. "
            "Train one with `graft finetune`, or pass --version."
        ) from error
