"""The metrics as text, in the format that the scraper asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

MetricRegistry = CollectorRegistry
"""What holds the metrics of a daemon; only the observers know whose class it is."""


class _WithoutCreated:
    """A registry without the `_created` samples: the plain text format would make gauges of them."""

    def __init__(self, registry: Collector) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            family.samples = [s for s in family.samples if s.name != f"{family.name}_created"]
            yield family


def expose_metrics(registry: CollectorRegistry, accept: str = "") -> tuple[bytes, str]:
    """Return the metrics in the best format that an `Accept` header allows, and its content type.

    OpenMetrics carries exemplars and created timestamps, the plain text format neither.
    """
    encode: Callable[[Collector], bytes]
    try:
        encode, content_type = choose_encoder(accept)
    except (ValueError, TypeError):  # a version that is no number
        encode, content_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
    if content_type.startswith("application/openmetrics-text"):
        return encode(registry), content_type
    return encode(_WithoutCreated(registry)), content_type
