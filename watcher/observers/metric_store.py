"""The values of the metrics in a Prometheus registry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from watcher.observers.events import short
from watcher.observers.metric_specs import Spec

MOST_VALUES = 20  # of a label that the project names (stages, reasons); what comes later is "other"


class MetricStore:
    """Count, observe and set the metrics of `specs` in `registry`.

    A gauge without labels appears with its first value. `None` removes a gauge: its value is not known.
    """

    def __init__(self, registry: CollectorRegistry, specs: Iterable[Spec]) -> None:
        self._registry = registry
        self._counters: dict[Spec, Counter] = {}
        self._gauges: dict[Spec, Gauge] = {}
        self._histograms: dict[Spec, Histogram] = {}
        self._seen: defaultdict[str, set[str]] = defaultdict(set)
        for spec in specs:
            self._define(spec)

    def _define(self, spec: Spec) -> None:
        match spec.type:
            case "counter":
                self._counters[spec] = Counter(spec.name, spec.help, spec.labels, registry=self._registry)
            case "histogram":
                self._histograms[spec] = Histogram(
                    spec.name, spec.help, spec.labels, registry=self._registry, buckets=spec.buckets
                )
            case _ if spec.labels:
                self._gauges[spec] = Gauge(spec.name, spec.help, spec.labels, registry=self._registry)
            case _:
                pass  # would show 0 before anything is known; `set_gauge` defines it with its first value

    def start(self, spec: Spec, *labels: str) -> None:
        """Expose a counter or histogram as 0: its first change is then an increase."""
        (self._histograms if spec in self._histograms else self._counters)[spec].labels(*labels)

    def count(self, spec: Spec, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        self._counters[spec].labels(*labels).inc(by)

    def observe(self, spec: Spec, seconds: float, *labels: str, revision: str = "") -> None:
        """Add a duration to a histogram, with the revision as its exemplar."""
        exemplar = {"revision": short(revision)} if revision else None
        self._histograms[spec].labels(*labels).observe(seconds, exemplar)

    def set_gauge(self, spec: Spec, value: float | None, *labels: str) -> None:
        """Set a gauge; None removes it."""
        if spec not in self._gauges and value is not None:
            self._gauges[spec] = Gauge(spec.name, spec.help, registry=self._registry)
        if value is None:
            self._gauges[spec].remove(*labels)
        else:
            gauge = self._gauges[spec]
            (gauge.labels(*labels) if labels else gauge).set(value)

    def remove_service(self, name: str) -> None:
        """Expose nothing more of a service."""
        for spec, metric in (*self._counters.items(), *self._gauges.items(), *self._histograms.items()):
            if "service" in spec.labels:
                metric.remove_by_labels({"service": name})

    def bound_label(self, label: str, value: str) -> str:
        """Return the value, or `other` once the label has `MOST_VALUES` of them."""
        seen = self._seen[label]
        if value in seen or len(seen) < MOST_VALUES:
            seen.add(value)
            return value
        return "other"
