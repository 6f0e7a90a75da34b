"""The server's numbers in Prometheus' format, in a registry of their own."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tasks.serving.roster import Roster

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Meters:
    """What was asked, how it was answered, and how long that took."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counter(
            "graft_requests", "Requests for answers by model and status", ["model", "status"], registry=own
        )
        self.rows = Counter("graft_rows", "Rows answered", ["model"], registry=own)
        self.seconds = Histogram(
            "graft_request_seconds", "Seconds until a request was answered", registry=own, buckets=SECONDS
        )
        self.batches = Histogram(
            "graft_batch_rows", "Rows that went through a network together", registry=own, buckets=ROWS
        )

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)


class OnDuty(Collector):
    """The versions that answer now, and how often they changed, read from the roster when somebody asks."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        info = GaugeMetricFamily("graft_model_info", "1 for the version that answers", labels=["model", "version"])
        changes = CounterMetricFamily("graft_reloads", "New champions by outcome", labels=["model", "outcome"])
        for name, place in self._roster.places.items():
            info.add_metric([name, str(place.held.version.version)], 1)
            changes.add_metric([name, "loaded"], place.reloads)
            changes.add_metric([name, "failed"], place.failures)
        yield info
        yield changes
