"""Where pretrained weights come from: the hub at a pinned commit, a local folder, or a Python package."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tasks import hub, runtime
from tasks.files import stamp, write_file
from tasks.frozen import Frozen, GraftError

PretrainedOn = Annotated[
    tuple[str, ...] | None,
    Field(description="the published collections that the weights were trained on; not known if not given"),
]

READ = {".safetensors", ".bin", ".pth", ".gguf", ".json", ".txt", ".model"}  # weights, configuration, tokenizer


class HubWeights(Frozen):
    """A repository on the hub."""

    kind: Literal["hub"]
    id: str
    revision: hub.Revision

    def check(self) -> None:
        """Raise a GraftError if the weights cannot be had; quick."""
        hub.check(self.id, self.revision)

    def content(self) -> str:
        """The repository's commit: it names the content of all its files, the large ones by their sha256."""
        return f"{self.id} at {self.revision}"


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

    def content(self) -> str:
        """The hash of the files as they are now."""
        self.check()
        return _content(self.folder())


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

    def content(self) -> str:
        """The hash of the files as they are now, whatever the config pins."""
        self._there()
        return _content(self.folder())

    def check(self) -> None:
        """Raise a GraftError if the package is missing or its file is not the one that the config pins."""
        file = self._there()
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != self.sha256:
            raise GraftError(f"{file} has sha256 {found}, but the config pins {self.sha256}. Reinstall the package.")

    def _there(self) -> Path:
        file = self.place()
        if not file.is_file():
            raise GraftError(f"Package {self.package!r} has no file {self.path}/{self.file}. Is its version right?")
        return file


Weights = Annotated[HubWeights | FolderWeights | PackageWeights, Field(discriminator="kind")]


def _content(folder: Path) -> str:
    """16 hex digits of the names and the content of the files that say what the network is and how it is fed."""
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix in READ and file.is_file())
        told = [f"{file.name} {_hashed(file)}" for file in files]
    except OSError as error:
        raise GraftError(f"{error.filename} cannot be read: {error.strerror}.") from error
    return f"sha256 {hashlib.sha256(chr(10).join(told).encode()).hexdigest()[:16]}"


def _hashed(file: Path) -> str:
    """A file's sha256; it is read again only if it may have changed."""
    mark = stamp(file)
    note = runtime.home() / "hashes" / hashlib.sha256(str(mark).encode()).hexdigest()[:32]
    if mark and note.exists():
        return note.read_text()
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if mark:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_file(note, found.encode())
    return found


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


class NoWeights(Frozen):
    """A backbone that starts from nothing."""

    pretrained: ClassVar[bool] = False
    pretrained_on: ClassVar[tuple[str, ...]] = ()

    def check(self) -> None:
        """Nothing is fetched."""

    def content(self) -> str:
        """There are no weights before training."""
        return "none"
