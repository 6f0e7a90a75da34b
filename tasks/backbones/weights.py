"""Where pretrained weights come from: the hub at a pinned commit, a local folder, or a Python package."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tasks import hub, runtime
from tasks.frozen import Frozen, GraftError

PretrainedOn = Annotated[
    tuple[str, ...] | None,
    Field(description="the published collections that the weights were trained on; not known if not given"),
]


class HubWeights(Frozen):
    """A repository on the hub."""

    kind: Literal["hub"]
    id: str
    revision: hub.Revision

    def check(self) -> None:
        """Raise a GraftError if the weights cannot be had; quick."""
        hub.check(self.id, self.revision)


class FolderWeights(Frozen):
    """A folder as `save_pretrained` leaves it; relative to GRAFT_DATA."""

    kind: Literal["folder"]
    path: str

    def check(self) -> None:
        """Raise a GraftError if the weights cannot be had; quick."""
        if not (self.folder() / "config.json").is_file():
            raise GraftError(f"{self.folder()} holds no config.json. Relative paths start at GRAFT_DATA.")

    def folder(self) -> Path:
        """The folder itself."""
        return runtime.data_path(self.path)


class PackageWeights(Frozen):
    """Files that an installed Python package brings; `sha256` is the weights file's."""

    kind: Literal["package"]
    package: str
    path: str = "."
    file: str = "model.safetensors"
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    def folder(self) -> Path:
        """The folder that holds the file."""
        return runtime.data_path(self.path, within=[runtime.package_folder(self.package)])

    def place(self) -> Path:
        """The file itself."""
        return runtime.data_path(self.file, self.folder(), [runtime.package_folder(self.package)])

    def check(self) -> None:
        """Raise a GraftError if the package is missing or its file is not the one that the config pins."""
        file = self.place()
        if not file.is_file():
            raise GraftError(f"Package {self.package!r} has no file {self.path}/{self.file}. Is its version right?")
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != self.sha256:
            raise GraftError(f"{file} has sha256 {found}, but the config pins {self.sha256}. Reinstall the package.")


Weights = Annotated[HubWeights | FolderWeights | PackageWeights, Field(discriminator="kind")]


@contextmanager
def explained(weights: Weights, place: str) -> Iterator[None]:
    """Loading errors as a GraftError that names the hub repository, or the folder or file."""
    if isinstance(weights, HubWeights):
        with hub.explained(weights.id, weights.revision):
            yield
        return
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise GraftError(f"{place} cannot be loaded: {reason}") from error
