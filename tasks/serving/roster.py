"""The models on duty: each is a fixed version, or the champion of its name, whichever that is now."""

import io
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Thread

from PIL import Image

from tasks import registry, tracking
from tasks.backbones.network import Rows
from tasks.frozen import GraftError
from tasks.results import Registered
from tasks.serving.batches import Batches
from tasks.serving.models import Loaded, Shared

AGAIN = 60.0  # seconds until a version that did not load is tried again

log = logging.getLogger("graft.serve")


@dataclass
class Place:
    """A name that is served: what answers under it, and what became of the last looks at its champion.

    Attributes:
        held: what answers now; replaced at once, never changed.
        fixed: whether it stays this version.
        trouble: why it is not the champion, or may not be; empty if it is.
        reloads: how often a new champion took over.
        failures: how often one could not be loaded.
        reloaded: when one last took over.
    """

    held: Loaded
    fixed: bool
    trouble: str = ""
    reloads: int = 0
    failures: int = 0
    reloaded: datetime | None = None
    _failed: tuple[int, float] = (0, 0.0)  # the version, and when

    def may_load(self, version: int) -> bool:
        """Whether a version is to be tried: it has not just failed."""
        failed, when = self._failed
        return version != failed or time.monotonic() > when + AGAIN

    def fail(self, version: int) -> None:
        """Note that a version did not load."""
        self.failures += 1
        self._failed = (version, time.monotonic())

    def take(self, new: Loaded) -> None:
        """Let a new champion answer from now on."""
        self.held, self.reloads, self.reloaded = new, self.reloads + 1, datetime.now(UTC)


class Roster:
    """All names that are served, by name; a thread follows their champions.

    Args:
        refs: `name` for its champion, `name/3` for a version, or a run's id for its version.
        batches: where the models compute.
    """

    def __init__(self, refs: Sequence[str], batches: Batches) -> None:
        self._refs, self._batches, self._shared = refs, batches, Shared()
        self._stop = Event()
        self.places: dict[str, Place] = {}

    @property
    def ready(self) -> bool:
        """Whether every model is loaded."""
        return len(self.places) == len(self._refs)

    def load(self) -> None:
        """Find all versions, then load them one by one.

        Raises:
            GraftError: one is not registered, or two have one name, before any is loaded; or one cannot be loaded.
        """
        versions = [registry.registered(ref) for ref in self._refs]
        names = [version.name for version in versions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise GraftError(f"Model {twice[0]!r} is given twice. A name has one version at a time: leave one out.")
        for ref, version in zip(self._refs, versions, strict=True):
            self.places[version.name] = Place(self._loaded(version), fixed=ref != version.name)

    def follow(self, seconds: float) -> None:
        """Look at the champions every so many seconds, until `stop`."""
        Thread(target=self._follow, args=(seconds,), name="graft-champions", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def look(self) -> None:
        """Look once at every champion; where it is another one, load it beside the old one and let it take over.

        Whatever fails is noted in the place and in the log, and what it holds goes on.
        """
        for name, place in self.places.items():
            if place.fixed:
                continue
            try:
                self._look(name, place)
            except Exception as error:  # noqa: BLE001  # any at all: it is told, and the old version answers
                told = str(error) if isinstance(error, GraftError) else f"{type(error).__name__}: {error}"
                trouble = f"Version {place.held.version.version} goes on: {told.splitlines()[0]}"
                if trouble != place.trouble:
                    log.warning("%s: %s", name, trouble)
                place.trouble = trouble

    def _follow(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            self.look()

    def _look(self, name: str, place: Place) -> None:
        with tracking.explained():
            champion = registry.champion(name)
        if champion is None:
            raise GraftError(f"{name!r} has no champion any more.")
        if champion.version != place.held.version.version:
            if not place.may_load(champion.version):
                return
            before = place.held.version.version
            place.take(self._tried(champion, place))
            log.info("%s: version %d answers instead of %d", name, champion.version, before)
        place.trouble = ""

    def _tried(self, version: Registered, place: Place) -> Loaded:
        try:
            return self._loaded(version)
        except BaseException:
            place.fail(version.version)
            raise

    def _loaded(self, version: Registered) -> Loaded:
        """A version that has answered once already: the first answer is slow, and may fail."""
        new = self._shared.load(version)
        self._batches.ask(new, _any_row(new.inputs)).result()
        return new


def _any_row(inputs: tuple[str, ...]) -> Rows:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "PNG")
    return {name: [picture.getvalue() if name == "image" else "a text"] for name in inputs}
