"""What the service counts, as Prometheus reads it.

Each service has a registry of its own. No label is ever what a caller wrote: addresses stand there as the
templates of their routes, and methods that nobody knows as one.
"""

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import clock
from rules import deliveries, growth, listing, outbox, statistics
from rules.refusals import Refusal
from web.readiness import OK, Readiness

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """What one running service has counted since it started."""

    def __init__(self, readiness: Readiness) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_Standing(readiness))
        labels = ["method", "route", "status"]
        self._requests = Counter("invite_api_requests", "Requests answered.", labels, registry=self._registry)
        self._seconds = Histogram(
            "invite_api_request_seconds",
            "How long requests took, until the answer began.",
            ["route"],
            registry=self._registry,
            buckets=SECONDS,
        )
        self._refusals = Counter("invite_api_refusals", "Calls refused.", ["reason"], registry=self._registry)
        for each in _kinds(Refusal):
            self._refusals.labels(each.__name__)  # at 0, so that the first one is seen to be one more
        self._found: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request, by the template of its route."""
        labels = (method if method in METHODS else "other", route, status)
        found = self._found.get(labels)
        if found is None:  # looking a label up takes longer than counting
            found = self._requests.labels(*labels), self._seconds.labels(route)
            self._found[labels] = found
        found[0].inc()
        found[1].observe(seconds)

    def refused(self, refusal: Refusal) -> None:
        """Count a refusal, by its kind."""
        self._refusals.labels(type(refusal).__name__).inc()

    def page(self) -> bytes:
        """All of it, in Prometheus' text format; needs a unit of work."""
        return generate_latest(self._registry)


class _Standing(Collector):
    """What the database knows, asked when it is to be shown."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def describe(self) -> list[Metric]:
        """Nothing beforehand: it would ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Invites, redemptions, growth, mail, webhooks, and whether all is well."""
        yield _gauge("invite_api_invites", "Invites, by what can be done with them.", "state", listing.by_state())
        used = statistics.redemptions()
        yield CounterMetricFamily("invite_api_redemptions", "Uses of invites, ever.", value=used)
        meaning = "People who joined within a day in the branch of inviters that grew fastest."
        yield GaugeMetricFamily("invite_api_fastest_branch_people", meaning, value=growth.most_in_a_day())
        yield from _mail()
        yield from _webhooks()
        checks = {name: float(said == OK) for name, said in self._readiness.look().items()}
        yield _gauge("invite_api_ready", "Whether a check of /ready finds nothing wrong.", "check", checks)


def _mail() -> Iterator[Metric]:
    mail = outbox.summary()
    age = (clock.now() - mail.oldest).total_seconds() if mail.oldest else 0
    counted = {"untried": float(mail.waiting - mail.failed), "failed": float(mail.failed)}
    yield _gauge("invite_api_outbox_letters", "Mail that waits: not tried yet, or tried in vain.", "state", counted)
    yield GaugeMetricFamily("invite_api_outbox_oldest_seconds", "For how long the oldest mail has waited.", value=age)


def _webhooks() -> Iterator[Metric]:
    found = deliveries.summary()
    age = (clock.now() - found.oldest).total_seconds() if found.oldest else 0
    yield _gauge("invite_api_webhooks", "Webhooks, by how they are.", "state", dict(found.webhooks))
    counted = {"untried": float(found.untried), "failed": float(found.failed)}
    yield _gauge("invite_api_deliveries", "Deliveries that wait: not tried yet, or tried in vain.", "state", counted)
    meaning = "How long ago the oldest event happened that nobody has tried to deliver."
    yield GaugeMetricFamily("invite_api_deliveries_oldest_seconds", meaning, value=age)


def _gauge(name: str, meaning: str, label: str, values: dict[str, float] | dict[str, int]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, meaning, labels=[label])
    for each, value in values.items():
        gauge.add_metric([each], value)
    return gauge


def _kinds(parent: type[Refusal]) -> Iterator[type[Refusal]]:
    for each in parent.__subclasses__():
        yield each
        yield from _kinds(each)
