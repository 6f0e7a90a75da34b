"""The hub, always at a pinned commit: its clients' many errors become one line with the next step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tasks import runtime
from tasks.frozen import GraftError

if TYPE_CHECKING:
    from datasets import DatasetDict

Revision = Annotated[
    str,
    Field(pattern="^[0-9a-f]{40}$", description="the full commit id: a branch moves, and the weights with it"),
]


@contextmanager
def explained(repo: str, revision: str) -> Iterator[None]:
    """Turn what the hub's clients raise into a GraftError that names the repository and the cause."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except (OSError, ValueError, KeyError, HfHubHTTPError) as error:
        causes = list(_chain(error))
        if any(isinstance(cause, RevisionNotFoundError) for cause in causes):
            reason = f"has no revision {revision}. Copy the full commit id from the repository's history"
        elif any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
            reason = "does not exist or is private. Check the id, or set HF_TOKEN"
        elif any(_unreachable(cause) for cause in causes):
            why = (
                "HF_HUB_OFFLINE is set. Run once with a network, or unset it"
                if runtime.offline()
                else "the hub cannot be reached. `graft doctor` looks closer"
            )
            reason = f"is not in the local cache and {why}"
        else:
            told = str(error).partition("\n")[0]
            reason = f"cannot be loaded ({type(error).__name__}: {told}). See `graft doctor`"
        raise GraftError(f"Hub repository {repo!r} {reason}.") from error


def _unreachable(error: BaseException) -> bool:
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    known = isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled | ConnectionError)
    return known or "connect" in type(error).__name__.lower()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def reachable() -> bool:
    """Whether the hub answers at all, within five seconds; its clients would try for half a minute."""
    import httpx
    from huggingface_hub import constants

    if runtime.offline():
        return False
    try:
        httpx.head(constants.ENDPOINT, timeout=5)
    except httpx.HTTPError:
        return False
    return True


def check(repo: str, revision: str) -> None:
    """Fetch the repository's smallest file, config.json, at the revision: fails in seconds, not after an hour.

    Raises:
        GraftError: no such repository or revision, or neither network nor cache.
    """
    from huggingface_hub import hf_hub_download

    with explained(repo, revision):
        hf_hub_download(repo, "config.json", revision=revision, local_files_only=not reachable())


def dataset(repo: str, revision: str, config: str | None) -> "DatasetDict":
    """All splits of a data set at a pinned commit.

    Its files are fetched by commit and read from their folder: asked by name without a network,
    `load_dataset` would give whatever revision it had read last.
    """
    from datasets import load_dataset
    from huggingface_hub import snapshot_download

    wanted = ["README.md", f"{config}/*"] if config else None
    with explained(repo, revision):
        folder = snapshot_download(
            repo, repo_type="dataset", revision=revision, allow_patterns=wanted, local_files_only=not reachable()
        )
        return load_dataset(folder, config)
