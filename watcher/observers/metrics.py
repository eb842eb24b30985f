"""Prometheus metrics: events counted, timed and measured. Every metric is defined once, in `SPECS`.

Base units, `_total` on counters, few and bounded labels. A gauge whose value is not known is absent.
Nothing here asks the engine: a scrape only prints what events have told.
"""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from watcher.observers.events import (
    BuildCachePruned,
    BuildFinished,
    BuildOutcome,
    BuildStarted,
    ConfigurationRefused,
    ContainerLost,
    DaemonStarted,
    DeployFinished,
    DeployOutcome,
    DiskMeasured,
    EngineDown,
    EngineUp,
    Event,
    FrontExchange,
    FrontHeld,
    FrontOld,
    FrontRefused,
    GoCacheTrimmed,
    ImageSized,
    InternalError,
    LoopLag,
    Paused,
    Pruned,
    ServiceStarted,
    SourceEvents,
    SourceGone,
    SourceMode,
    SourceScanned,
    StepFinished,
    Wanted,
    short,
)
from watcher.observers.revision_state import GOOD_DEPLOYS, Standing
from watcher.observers.service_status import code_class

BUILD_BUCKETS = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60, 120, 300, 600)
SHORT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
MOST_VALUES = 20  # of a label that the project names (stages, reasons); what comes later is "other"


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric: name, type, help text, labels, and for a histogram its buckets."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ("service",)
    buckets: tuple[float, ...] = ()


def _counter(name: str, text: str, *labels: str) -> Spec:
    return Spec(name, "counter", text, ("service", *labels))


def _gauge(name: str, text: str, *labels: str) -> Spec:
    return Spec(name, "gauge", text, ("service", *labels))


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = BUILD_BUCKETS) -> Spec:
    return Spec(name, "histogram", text, ("service", *labels), buckets)


INFO = Spec("watcher_info", "gauge", "The running watcher: always 1.", ("version", "python"))
ENGINE_UP = Spec("watcher_engine_up", "gauge", "Whether the container engine answered when last asked.", ())
REFUSED_CONFIGURATION = Spec(
    "watcher_configuration_refused",
    "gauge",
    "Whether the configuration files were refused as last saved.",
    (),
)
BUGS = Spec("watcher_internal_errors_total", "counter", "Errors of the watcher itself.", ("where",))
LAG = Spec(
    "watcher_event_loop_lag_seconds",
    "gauge",
    "Longest delay of the watcher's event loop within the last 20 seconds.",
    (),
)

BUILDS = _counter("watcher_builds_total", "Builds that ended.", "outcome")
BUILD_TIME = _histogram("watcher_build_duration_seconds", "Time a build took, by how it ended.", "outcome")
BUILDING = _gauge("watcher_builds_in_progress", "Builds that run now.")
STEPS = _counter("watcher_build_steps_total", "Build steps that ended, taken from the cache or not.", "stage")
HITS = _counter("watcher_build_cache_hits_total", "Build steps taken from the cache.", "stage")
STEP_TIME = _histogram(
    "watcher_build_step_duration_seconds", "Time of build steps that ran and went well.", "stage"
)
SENT = _counter("watcher_build_sent_bytes_total", "Bytes of build context sent to the engine.")
CONTEXT = _gauge("watcher_context_bytes", "Size of the tree, all files that may enter the build context.")
IMAGE_SIZE = _gauge("watcher_image_size_bytes", "Size of the newest image, the sum of its layers.", "stage")
IMAGE_BUDGET = _gauge(
    "watcher_image_budget_bytes", "Largest size allowed for the final image, if one is set."
)

DEPLOYS = _counter("watcher_deploys_total", "Deploys that ended.", "outcome")
DEPLOY_TIME = _histogram("watcher_deploy_duration_seconds", "Time a deploy took, by how it ended.", "outcome")
PHASE_TIME = _histogram("watcher_deploy_phase_duration_seconds", "Time of each part of a deploy.", "phase")
SAVE_TO_LIVE = _histogram(
    "watcher_save_to_live_seconds", "Time from the first save of a change to the new version answering."
)
LOST = _counter("watcher_container_losses_total", "Live containers that ended without being asked to.")
STALE = _gauge("watcher_stale", "Whether what serves differs from the tree and its configuration.")
PAUSED = _gauge("watcher_paused", "Whether building was paused by hand.")
LIVE_AT = _gauge("watcher_live_revision_timestamp_seconds", "When the live revision went live.")
CHANGED_AT = _gauge("watcher_last_change_timestamp_seconds", "When the tree last changed.")

PRUNED = _counter("watcher_pruned_images_total", "Images removed by pruning.", "kind", "reason")
PRUNED_BYTES = _counter("watcher_prune_freed_bytes_total", "Bytes given back by pruning.", "kind", "reason")
KEPT = _gauge("watcher_kept_images", "Images that the last prune left, by why.", "kind", "reason")
KEPT_BYTES = _gauge(
    "watcher_kept_image_bytes", "Size of the images that the last prune left.", "kind", "reason"
)
DISK = _gauge(
    "watcher_disk_bytes",
    "What the project holds on the engine's disk, by kind; `others` is what all others hold there.",
    "kind",
)

FS_EVENTS = _counter("watcher_source_events_total", "File-system notifications received.")
RESCANS = _counter("watcher_source_rescans_total", "Looks at the tree.", "reason")
SCAN_TIME = _histogram(
    "watcher_source_scan_duration_seconds", "Time of a look at the tree.", buckets=SHORT_BUCKETS
)
POLLING = _gauge("watcher_source_polling", "Whether changes are found by polling, for lack of events.")

REQUESTS = _counter("watcher_front_requests_total", "Requests answered by the container.", "code_class")
REFUSED = _counter("watcher_front_refused_total", "Requests that the front answered itself.", "reason")
HELD = _gauge("watcher_front_held_requests", "Requests that wait for a container now.")
OLD = _gauge(
    "watcher_front_old_connections",
    "Requests and connections that versions before the live one still have.",
    "port",
)
REQUEST_TIME = _histogram(
    "watcher_front_request_duration_seconds",
    "Time of a request in the front, waiting included; tunnels are left out.",
    buckets=SHORT_BUCKETS,
)
HOLD_TIME = _histogram(
    "watcher_front_hold_duration_seconds", "Time that held requests waited.", buckets=SHORT_BUCKETS
)

SPECS: tuple[Spec, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Spec))

_IMAGE_KINDS = ("final", "builder")
_PRUNED_FOR = (("final", "superseded"), ("builder", "untagged"))
_FREED_FOR = (*_PRUNED_FOR, ("step", "superseded"), ("go-cache", "unused"), ("build-cache", "unused"))
_CODE_CLASSES = ("2xx", "3xx", "4xx", "5xx")
_REFUSALS = ("timeout", "limit", "malformed", "backend", "drain", "gone")
PLACES = ("build", "deploy", "chores", "loop", "logs")  # where an error of the watcher itself is caught


class Metrics:
    """An observer that keeps the metrics in `registry`, with those of the process beside them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._counters: dict[Spec, Counter] = {}
        self._gauges: dict[Spec, Gauge] = {}
        self._histograms: dict[Spec, Histogram] = {}
        for spec in SPECS:
            self._define(spec)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._standing: defaultdict[str, Standing] = defaultdict(Standing)
        self._seen: defaultdict[str, set[str]] = defaultdict(set)
        self._kept: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            **dict.fromkeys((FrontExchange, FrontHeld, FrontOld, FrontRefused), self._front),
            **dict.fromkeys((SourceEvents, SourceScanned, SourceMode), self._source),
            **dict.fromkeys((BuildStarted, StepFinished, BuildFinished), self._build),
            **dict.fromkeys((DaemonStarted, EngineUp, EngineDown, InternalError, LoopLag), self._daemon),
            **dict.fromkeys((ImageSized, ContainerLost, Paused, Wanted), self._rest),
            ServiceStarted: self._service,
            DeployFinished: self._deploy,
            Pruned: self._pruned,
            BuildCachePruned: self._cache_pruned,
            GoCacheTrimmed: self._cache_pruned,
            DiskMeasured: self._disk,
        }

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
                pass  # would show 0 before anything is known; `_set` defines it with its first value

    def notify(self, event: Event) -> None:
        """Count, time and measure `event`."""
        handle = self._handlers.get(type(event))
        if handle:
            handle(event)
        if event.service and isinstance(event, Wanted | DeployFinished | ContainerLost | SourceGone):
            self._stand(event, event.service)
        elif isinstance(event, ConfigurationRefused):
            self._set(REFUSED_CONFIGURATION, bool(event.reason))
            for name in self._standing:
                self._stand(event, name)

    def _daemon(self, event: DaemonStarted | EngineUp | EngineDown | InternalError | LoopLag) -> None:
        match event:
            case DaemonStarted():
                self._set(INFO, 1, event.version, platform.python_version())
                self._set(REFUSED_CONFIGURATION, 0)
                for place in PLACES:
                    self._counters[BUGS].labels(self._bounded("where", place))
            case InternalError():
                self._count(BUGS, self._bounded("where", event.where))
            case LoopLag():
                self._set(LAG, event.seconds)
            case _:
                self._set(ENGINE_UP, isinstance(event, EngineUp))

    def _rest(self, event: ImageSized | ContainerLost | Paused | Wanted) -> None:
        name = event.service
        match event:
            case ImageSized():
                self._set(IMAGE_SIZE, event.size, name, self._bounded("image", event.stage))
            case ContainerLost():
                self._count(LOST, name)
            case Paused():
                self._set(PAUSED, event.paused, name)
            case Wanted():
                self._set(CHANGED_AT, event.saved_at, name)

    def _service(self, event: ServiceStarted) -> None:
        """Zeros for what may come, so that the first of each is an increase."""
        name = event.service
        for build in BuildOutcome:
            self._counters[BUILDS].labels(name, build)
        for deploy in DeployOutcome:
            self._counters[DEPLOYS].labels(name, deploy)
        for kind, reason in _PRUNED_FOR:
            self._counters[PRUNED].labels(name, kind, self._bounded("cause", reason))
        for kind, reason in _FREED_FOR:
            self._counters[PRUNED_BYTES].labels(
                name, self._bounded("kind", kind), self._bounded("cause", reason)
            )
        for code in _CODE_CLASSES:
            self._counters[REQUESTS].labels(name, code)
        for reason in _REFUSALS:
            self._counters[REFUSED].labels(name, self._bounded("refused", reason))
        self._counters[RESCANS].labels(name, self._bounded("reason", "overflow"))
        for spec in (LOST, FS_EVENTS, SENT):
            self._counters[spec].labels(name)
        for spec in (SAVE_TO_LIVE, REQUEST_TIME, HOLD_TIME, SCAN_TIME):
            self._histograms[spec].labels(name)
        self._histograms[BUILD_TIME].labels(name, BuildOutcome.BUILT)
        self._histograms[DEPLOY_TIME].labels(name, DeployOutcome.LIVE)
        for spec in (BUILDING, PAUSED, HELD):
            self._set(spec, 0, name)
        self._set(IMAGE_BUDGET, event.image_budget, name)

    def _build(self, event: BuildStarted | StepFinished | BuildFinished) -> None:
        name = event.service
        match event:
            case BuildStarted():
                self._set(BUILDING, 1, name)
            case StepFinished():
                stage = self._bounded("stage", event.stage or "internal")
                self._count(STEPS, name, stage)
                self._count(HITS, name, stage, by=event.cached)
                if not event.cached and not event.error:
                    self._observe(STEP_TIME, event.seconds, name, stage, revision=event.revision)
            case BuildFinished():
                self._set(BUILDING, 0, name)
                self._count(BUILDS, name, event.outcome)
                self._observe(BUILD_TIME, event.seconds, name, event.outcome, revision=event.revision)
                self._count(SENT, name, by=event.context_bytes)

    def _deploy(self, event: DeployFinished) -> None:
        name = event.service
        self._count(DEPLOYS, name, event.outcome)
        self._observe(DEPLOY_TIME, event.seconds, name, event.outcome, revision=event.revision)
        if event.outcome is DeployOutcome.LIVE:
            for phase, seconds in event.phases:
                bounded = self._bounded("phase", phase)
                self._observe(PHASE_TIME, seconds, name, bounded, revision=event.revision)
        if event.outcome in GOOD_DEPLOYS and event.save_to_live is not None:
            self._observe(SAVE_TO_LIVE, event.save_to_live, name, revision=event.revision)

    def _stand(self, event: Event, name: str) -> None:
        standing = self._standing[name]
        standing.fold(event)
        self._set(STALE, standing.stale, name)
        self._set(LIVE_AT, standing.live.since if standing.live else None, name)

    def _cache_pruned(self, event: BuildCachePruned | GoCacheTrimmed) -> None:
        cache = "go-cache" if isinstance(event, GoCacheTrimmed) else "build-cache"
        kind, reason = self._bounded("kind", cache), self._bounded("cause", "unused")
        self._count(PRUNED_BYTES, event.service, kind, reason, by=event.freed)

    def _disk(self, event: DiskMeasured) -> None:
        kinds = {
            "images": event.images,
            "steps": event.steps,
            "go-cache": event.go_cache,
            "module-cache": event.module_cache,
            "others": event.others,
        }
        for kind, size in kinds.items():
            self._set(DISK, size, event.service, kind)

    def _pruned(self, event: Pruned) -> None:
        """Split what was freed: a build step's record is freed whole, images share layers and the rest."""
        name = event.service
        sizes: defaultdict[tuple[str, str], int] = defaultdict(int)
        kept: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for item in event.items:
            key = (self._bounded("kind", item.kind), self._bounded("cause", item.cause))
            if item.removed:
                sizes[key] += item.size
                if item.kind in _IMAGE_KINDS:
                    self._count(PRUNED, name, *key)
            elif item.kind in _IMAGE_KINDS:
                kept[key].append(item.size)
        steps = {key: size for key, size in sizes.items() if key[0] == "step"}
        rest = max(0, event.freed - sum(steps.values()))
        total = sum(sizes.values()) - sum(steps.values())
        for key, size in sizes.items():
            share = rest * size / total if total else 0.0
            self._count(PRUNED_BYTES, name, *key, by=steps.get(key, share))
        for key in self._kept[name] - kept.keys():
            self._set(KEPT, None, name, *key)
            self._set(KEPT_BYTES, None, name, *key)
        for key, found in kept.items():
            self._set(KEPT, len(found), name, *key)
            self._set(KEPT_BYTES, sum(found), name, *key)
        self._kept[name] = set(kept)

    def _source(self, event: SourceEvents | SourceScanned | SourceMode) -> None:
        name = event.service
        match event:
            case SourceEvents():
                self._count(FS_EVENTS, name, by=event.count)
            case SourceMode():
                self._set(POLLING, event.mode == "polling", name)
            case SourceScanned():
                self._count(RESCANS, name, self._bounded("reason", event.reason))
                self._observe(SCAN_TIME, event.seconds, name)
                self._set(CONTEXT, event.context_bytes, name)

    def _front(self, event: FrontExchange | FrontHeld | FrontOld | FrontRefused) -> None:
        name = event.service
        match event:
            case FrontExchange():
                self._count(REQUESTS, name, code_class(event.code))
                if event.code >= 200:
                    self._observe(REQUEST_TIME, event.seconds, name)
                if event.held:
                    self._observe(HOLD_TIME, event.held, name)
            case FrontHeld():
                self._set(HELD, event.held, name)
            case FrontOld():
                self._set(OLD, event.connections, name, str(event.port))
            case FrontRefused():
                self._count(REFUSED, name, self._bounded("refused", event.reason))

    def _count(self, spec: Spec, *labels: str, by: float = 1) -> None:
        self._counters[spec].labels(*labels).inc(by)

    def _observe(self, spec: Spec, seconds: float, *labels: str, revision: str = "") -> None:
        exemplar = {"revision": short(revision)} if revision else None
        self._histograms[spec].labels(*labels).observe(seconds, exemplar)

    def _set(self, spec: Spec, value: float | None, *labels: str) -> None:
        if spec not in self._gauges and value is not None:
            self._gauges[spec] = Gauge(spec.name, spec.help, registry=self._registry)
        if value is None:
            self._gauges[spec].remove(*labels)
        else:
            gauge = self._gauges[spec]
            (gauge.labels(*labels) if labels else gauge).set(value)

    def _bounded(self, label: str, value: str) -> str:
        seen = self._seen[label]
        if value in seen or len(seen) < MOST_VALUES:
            seen.add(value)
            return value
        return "other"


class _WithoutCreated:
    """A registry without the `_created` samples: the plain text format would make gauges of them."""

    def __init__(self, registry: Collector) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            family.samples = [s for s in family.samples if s.name != f"{family.name}_created"]
            yield family


def expose(registry: CollectorRegistry, accept: str = "") -> tuple[bytes, str]:
    """The metrics in the best format that an `Accept` header allows, and its content type.

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
