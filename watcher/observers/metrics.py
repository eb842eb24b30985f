"""Prometheus metrics: events counted, timed and measured.

A gauge without a known value is absent. A scrape prints what events have set.
"""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from watcher.observers.events import (
    BuildCachePruned,
    BuildFinished,
    BuildOutcome,
    BuildStarted,
    BuildStepFinished,
    ConfigurationRefused,
    ContainerLost,
    DaemonStarted,
    DependencyChanged,
    DependencyRemoved,
    DeployFinished,
    DeployOutcome,
    DesiredChanged,
    DiskMeasured,
    EngineDown,
    EngineUp,
    Event,
    FrontExchange,
    FrontHeld,
    FrontOld,
    FrontRefused,
    GoCacheTrimmed,
    ImageExplained,
    ImageSized,
    InternalError,
    LoopLag,
    Paused,
    Pruned,
    RevisionStateChanged,
    ServiceRemoved,
    ServiceStarted,
    SourceEvents,
    SourceGone,
    SourceMode,
    SourceScanned,
    SuggestionMeasured,
)
from watcher.observers.front_events import REFUSALS
from watcher.observers.metric_specs import (
    BUGS,
    BUILD_TIME,
    BUILDING,
    BUILDS,
    CHANGED_AT,
    CONTEXT,
    DEPENDENCY_RESTARTS,
    DEPENDENCY_UP,
    DEPLOY_TIME,
    DEPLOYS,
    DISK,
    ENGINE_UP,
    FS_EVENTS,
    HELD,
    HITS,
    HOLD_TIME,
    IMAGE_BUDGET,
    IMAGE_COMPONENT,
    IMAGE_SIZE,
    IMAGE_SUGGESTED,
    INFO,
    KEPT,
    KEPT_BYTES,
    LAG,
    LIVE_AT,
    LOST,
    OLD,
    PAUSED,
    PHASE_TIME,
    POLLING,
    PRUNED,
    PRUNED_BYTES,
    REFUSED,
    REFUSED_CONFIGURATION,
    REQUEST_TIME,
    REQUESTS,
    RESCANS,
    SAVE_TO_LIVE,
    SCAN_TIME,
    SENT,
    SPECS,
    STALE,
    STEP_TIME,
    STEPS,
)
from watcher.observers.metric_store import MetricStore
from watcher.observers.revision_state import GOOD_DEPLOYS
from watcher.observers.service_status import code_class
from watcher.observers.status_board import StatusBoard

_IMAGE_KINDS = ("final", "builder")
_PRUNED_FOR = (("final", "superseded"), ("builder", "untagged"))
_FREED_FOR = (*_PRUNED_FOR, ("step", "superseded"), ("go-cache", "unused"), ("build-cache", "unused"))
_CODE_CLASSES = ("2xx", "3xx", "4xx", "5xx")
GOOD_DEPENDENCIES = ("running", "checking", "healthy", "completed", "unused")
PLACES = ("build", "deploy", "chores", "loop", "logs")  # where an error of the watcher itself is caught


class Metrics:
    """An observer that updates the metrics in `registry`, which also gets those of the process."""

    def __init__(self, registry: CollectorRegistry, board: StatusBoard) -> None:
        """`board` gets each event before this does."""
        self._board = board
        self._store = MetricStore(registry, SPECS)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._kept: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self._restarts: dict[str, int] = {}  # by dependency
        self._components: dict[str, tuple[str, ...]] = {}  # of images, by service
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            **dict.fromkeys((FrontExchange, FrontHeld, FrontOld, FrontRefused), self._record_front),
            **dict.fromkeys((SourceEvents, SourceScanned, SourceMode), self._record_source),
            **dict.fromkeys((BuildStarted, BuildStepFinished, BuildFinished), self._record_build),
            **dict.fromkeys(
                (DaemonStarted, EngineUp, EngineDown, InternalError, LoopLag), self._record_daemon
            ),
            ImageExplained: self._record_components,
            **dict.fromkeys((ImageSized, ContainerLost, Paused, DesiredChanged), self._record_service),
            ServiceStarted: self._start_service,
            ServiceRemoved: self._remove_service,
            DeployFinished: self._record_deploy,
            Pruned: self._record_pruned,
            BuildCachePruned: self._cache_pruned,
            GoCacheTrimmed: self._cache_pruned,
            DiskMeasured: self._record_disk,
            DependencyChanged: self._record_dependency,
            DependencyRemoved: self._forget_dependency,
        }

    def notify(self, event: Event) -> None:
        """Count, time and measure `event`."""
        handle = self._handlers.get(type(event))
        if handle:
            handle(event)
        if isinstance(event, RevisionStateChanged | DeployFinished | SourceGone):
            self._update_revisions(event.service)
        elif isinstance(event, SuggestionMeasured):
            self._update_suggestion(event.service)
        elif isinstance(event, ConfigurationRefused):
            self._store.set_gauge(REFUSED_CONFIGURATION, bool(event.reason))
            for service in self._board.status.services:
                self._update_revisions(service.name)

    def _record_daemon(self, event: DaemonStarted | EngineUp | EngineDown | InternalError | LoopLag) -> None:
        match event:
            case DaemonStarted():
                self._store.set_gauge(INFO, 1, event.version, platform.python_version())
                self._store.set_gauge(REFUSED_CONFIGURATION, 0)
                for place in PLACES:
                    self._store.start(BUGS, self._store.bound_label("where", place))
            case InternalError():
                self._store.count(BUGS, self._store.bound_label("where", event.where))
            case LoopLag():
                self._store.set_gauge(LAG, event.seconds)
            case _:
                self._store.set_gauge(ENGINE_UP, isinstance(event, EngineUp))

    def _record_service(self, event: ImageSized | ContainerLost | Paused | DesiredChanged) -> None:
        name = event.service
        match event:
            case ImageSized():
                self._store.set_gauge(
                    IMAGE_SIZE, event.size, name, self._store.bound_label("image", event.stage)
                )
            case ContainerLost():
                self._store.count(LOST, name)
            case Paused():
                self._store.set_gauge(PAUSED, event.paused, name)
            case DesiredChanged():
                self._store.set_gauge(CHANGED_AT, event.saved_at, name)

    def _record_components(self, event: ImageExplained) -> None:
        """Expose the components of the newest image alone: their names come and go."""
        before = self._components.get(event.service, ())
        self._components[event.service] = tuple(name for name, _ in event.components)
        for name in before:
            self._store.set_gauge(IMAGE_COMPONENT, None, event.service, name)
        for name, size in event.components:
            self._store.set_gauge(IMAGE_COMPONENT, size, event.service, name)

    def _remove_service(self, event: ServiceRemoved) -> None:
        self._components.pop(event.service, None)
        self._store.remove_service(event.service)

    def _start_service(self, event: ServiceStarted) -> None:
        """Expose zeros: the first change of each metric is then an increase."""
        name = event.service
        for build in BuildOutcome:
            self._store.start(BUILDS, name, build)
        for deploy in DeployOutcome:
            self._store.start(DEPLOYS, name, deploy)
        for kind, reason in _PRUNED_FOR:
            self._store.start(PRUNED, name, kind, self._store.bound_label("cause", reason))
        for kind, reason in _FREED_FOR:
            self._store.start(
                PRUNED_BYTES,
                name,
                self._store.bound_label("kind", kind),
                self._store.bound_label("cause", reason),
            )
        for code in _CODE_CLASSES:
            self._store.start(REQUESTS, name, code)
        for reason in REFUSALS:
            self._store.start(REFUSED, name, self._store.bound_label("refused", reason))
        self._store.start(RESCANS, name, self._store.bound_label("reason", "overflow"))
        for spec in (LOST, FS_EVENTS, SENT):
            self._store.start(spec, name)
        for spec in (SAVE_TO_LIVE, REQUEST_TIME, HOLD_TIME, SCAN_TIME):
            self._store.start(spec, name)
        self._store.start(BUILD_TIME, name, BuildOutcome.BUILT)
        self._store.start(DEPLOY_TIME, name, DeployOutcome.LIVE)
        for spec in (BUILDING, PAUSED, HELD):
            self._store.set_gauge(spec, 0, name)
        self._store.set_gauge(IMAGE_BUDGET, event.image_budget, name)

    def _record_build(self, event: BuildStarted | BuildStepFinished | BuildFinished) -> None:
        name = event.service
        match event:
            case BuildStarted():
                self._store.set_gauge(BUILDING, 1, name)
            case BuildStepFinished():
                stage = self._store.bound_label("stage", event.stage or "internal")
                self._store.count(STEPS, name, stage)
                self._store.count(HITS, name, stage, by=event.cached)
                if not event.cached and not event.error:
                    self._store.observe(STEP_TIME, event.seconds, name, stage, revision=event.revision)
            case BuildFinished():
                self._store.set_gauge(BUILDING, 0, name)
                self._store.count(BUILDS, name, event.outcome)
                self._store.observe(BUILD_TIME, event.seconds, name, event.outcome, revision=event.revision)
                self._store.count(SENT, name, by=event.context_bytes)

    def _record_deploy(self, event: DeployFinished) -> None:
        name = event.service
        self._store.count(DEPLOYS, name, event.outcome)
        self._store.observe(DEPLOY_TIME, event.seconds, name, event.outcome, revision=event.revision)
        if event.outcome is DeployOutcome.LIVE:
            for phase, seconds in event.phases:
                bounded = self._store.bound_label("phase", phase)
                self._store.observe(PHASE_TIME, seconds, name, bounded, revision=event.revision)
        if event.outcome in GOOD_DEPLOYS and event.save_to_live is not None:
            self._store.observe(SAVE_TO_LIVE, event.save_to_live, name, revision=event.revision)

    def _update_revisions(self, name: str) -> None:
        if service := self._board.service(name):
            self._store.set_gauge(STALE, service.stale, name)
            self._store.set_gauge(LIVE_AT, service.live.since if service.live else None, name)
        self._update_suggestion(name)

    def _update_suggestion(self, name: str) -> None:
        """Expose what was measured on the live revision only."""
        if (service := self._board.service(name)) and (found := service.suggestion):
            self._store.set_gauge(IMAGE_SUGGESTED, found.after if found.current else None, name)

    def _cache_pruned(self, event: BuildCachePruned | GoCacheTrimmed) -> None:
        cache = "go-cache" if isinstance(event, GoCacheTrimmed) else "build-cache"
        kind, reason = self._store.bound_label("kind", cache), self._store.bound_label("cause", "unused")
        self._store.count(PRUNED_BYTES, event.service, kind, reason, by=event.freed)

    def _record_disk(self, event: DiskMeasured) -> None:
        kinds = {
            "images": event.images,
            "steps": event.steps,
            "go-cache": event.go_cache,
            "module-cache": event.module_cache,
            "others": event.others,
        }
        for kind, size in kinds.items():
            self._store.set_gauge(DISK, size, event.service, kind)

    def _record_dependency(self, event: DependencyChanged) -> None:
        self._store.set_gauge(DEPENDENCY_UP, event.state in GOOD_DEPENDENCIES, event.name)
        self._store.start(DEPENDENCY_RESTARTS, event.name)
        more = event.restarts - self._restarts.get(event.name, 0)
        self._store.count(DEPENDENCY_RESTARTS, event.name, by=max(0, more))
        self._restarts[event.name] = event.restarts

    def _forget_dependency(self, event: DependencyRemoved) -> None:
        self._store.set_gauge(DEPENDENCY_UP, None, event.name)

    def _record_pruned(self, event: Pruned) -> None:
        """Split what was freed: a build step's record is freed whole, images share layers and the rest."""
        name = event.service
        sizes: defaultdict[tuple[str, str], int] = defaultdict(int)
        kept: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for item in event.items:
            key = (self._store.bound_label("kind", item.kind), self._store.bound_label("cause", item.cause))
            if item.removed:
                sizes[key] += item.size
                if item.kind in _IMAGE_KINDS:
                    self._store.count(PRUNED, name, *key)
            elif item.kind in _IMAGE_KINDS:
                kept[key].append(item.size)
        steps = {key: size for key, size in sizes.items() if key[0] == "step"}
        rest = max(0, event.freed - sum(steps.values()))
        total = sum(sizes.values()) - sum(steps.values())
        for key, size in sizes.items():
            share = rest * size / total if total else 0.0
            self._store.count(PRUNED_BYTES, name, *key, by=steps.get(key, share))
        for key in self._kept[name] - kept.keys():
            self._store.set_gauge(KEPT, None, name, *key)
            self._store.set_gauge(KEPT_BYTES, None, name, *key)
        for key, found in kept.items():
            self._store.set_gauge(KEPT, len(found), name, *key)
            self._store.set_gauge(KEPT_BYTES, sum(found), name, *key)
        self._kept[name] = set(kept)

    def _record_source(self, event: SourceEvents | SourceScanned | SourceMode) -> None:
        name = event.service
        match event:
            case SourceEvents():
                self._store.count(FS_EVENTS, name, by=event.count)
            case SourceMode():
                self._store.set_gauge(POLLING, event.mode == "polling", name)
            case SourceScanned():
                self._store.count(RESCANS, name, self._store.bound_label("reason", event.reason))
                self._store.observe(SCAN_TIME, event.seconds, name)
                self._store.set_gauge(CONTEXT, event.context_bytes, name)

    def _record_front(self, event: FrontExchange | FrontHeld | FrontOld | FrontRefused) -> None:
        name = event.service
        match event:
            case FrontExchange():
                self._store.count(REQUESTS, name, code_class(event.code))
                if event.code >= 200:
                    self._store.observe(REQUEST_TIME, event.seconds, name)
                if event.held:
                    self._store.observe(HOLD_TIME, event.held, name)
            case FrontHeld():
                self._store.set_gauge(HELD, event.held, name)
            case FrontOld():
                self._store.set_gauge(OLD, event.connections, name, str(event.port))
            case FrontRefused():
                self._store.count(REFUSED, name, self._store.bound_label("refused", event.reason))
