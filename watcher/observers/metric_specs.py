"""Every metric, declared once: name, type, help text and labels.

Base units, `_total` on counters, few and bounded labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BUILD_BUCKETS = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60, 120, 300, 600)
SHORT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric: name, type, help text, labels, and for a histogram its buckets."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ("service",)
    buckets: tuple[float, ...] = ()


SPECS: list[Spec] = []  # every metric, in the order of declaration


def _declare(spec: Spec) -> Spec:
    SPECS.append(spec)
    return spec


def _global_gauge(name: str, text: str, *labels: str) -> Spec:
    return _declare(Spec(name, "gauge", text, labels))


def _counter(name: str, text: str, *labels: str) -> Spec:
    return _declare(Spec(name, "counter", text, ("service", *labels)))


def _gauge(name: str, text: str, *labels: str) -> Spec:
    return _declare(Spec(name, "gauge", text, ("service", *labels)))


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = BUILD_BUCKETS) -> Spec:
    return _declare(Spec(name, "histogram", text, ("service", *labels), buckets))


INFO = _global_gauge("watcher_info", "The running watcher: always 1.", "version", "python")
ENGINE_UP = _global_gauge("watcher_engine_up", "Whether the container engine answered the last request.")
REFUSED_CONFIGURATION = _global_gauge(
    "watcher_configuration_refused", "Whether the configuration files were refused as last saved."
)
BUGS = _declare(Spec("watcher_internal_errors_total", "counter", "Errors of the watcher itself.", ("where",)))
LAG = _global_gauge(
    "watcher_event_loop_lag_seconds", "Longest delay of the watcher's event loop in the last 20 seconds."
)
DEPENDENCY_UP = _global_gauge(
    "watcher_dependency_up",
    "Whether a dependency is as it should be: it runs and is not unhealthy, or it has completed.",
    "dependency",
)
DEPENDENCY_RESTARTS = _declare(
    Spec(
        "watcher_dependency_restarts_total",
        "counter",
        "Dependencies that ended by themselves and were started again.",
        ("dependency",),
    )
)

BUILDS = _counter("watcher_builds_total", "Builds that ended.", "outcome")
BUILD_TIME = _histogram("watcher_build_duration_seconds", "Time a build took, by how it ended.", "outcome")
BUILDING = _gauge("watcher_builds_in_progress", "Running builds.")
STEPS = _counter("watcher_build_steps_total", "Build steps that ended, cached or not.", "stage")
HITS = _counter("watcher_build_cache_hits_total", "Build steps taken from the cache.", "stage")
STEP_TIME = _histogram(
    "watcher_build_step_duration_seconds", "Time of build steps that ran and succeeded.", "stage"
)
SENT = _counter("watcher_build_sent_bytes_total", "Bytes of build context sent to the engine.")
CONTEXT = _gauge("watcher_context_bytes", "Size of the tree: all files that can enter the build context.")
IMAGE_SIZE = _gauge("watcher_image_size_bytes", "Size of the newest image, the sum of its layers.", "stage")
IMAGE_COMPONENT = _gauge(
    "watcher_image_component_bytes",
    "Bytes of the largest modules, kinds of bytes and files of the final image; `other` is the rest.",
    "component",
)
IMAGE_SUGGESTED = _gauge(
    "watcher_image_suggested_bytes",
    "Size of the final image with what `watcher doctor --measure` found for the live revision.",
)
IMAGE_BUDGET = _gauge(
    "watcher_image_budget_bytes", "Largest size allowed for the final image, if one is set."
)

DEPLOYS = _counter("watcher_deploys_total", "Deploys that ended.", "outcome")
DEPLOY_TIME = _histogram("watcher_deploy_duration_seconds", "Time a deploy took, by how it ended.", "outcome")
PHASE_TIME = _histogram("watcher_deploy_phase_duration_seconds", "Time of each part of a deploy.", "phase")
SAVE_TO_LIVE = _histogram(
    "watcher_save_to_live_seconds",
    "Time from the first save of a change to the first answer of the new version.",
)
LOST = _counter(
    "watcher_container_losses_total", "Live containers that exited, or that another program stopped."
)
STALE = _gauge("watcher_stale", "Whether the live revision differs from the tree and its configuration.")
PAUSED = _gauge("watcher_paused", "Whether builds are paused.")
LIVE_AT = _gauge("watcher_live_revision_timestamp_seconds", "When the live revision went live.")
CHANGED_AT = _gauge("watcher_last_change_timestamp_seconds", "When the tree last changed.")

PRUNED = _counter("watcher_pruned_images_total", "Images removed by pruning.", "kind", "reason")
PRUNED_BYTES = _counter("watcher_prune_freed_bytes_total", "Bytes freed by pruning.", "kind", "reason")
KEPT = _gauge("watcher_kept_images", "Images that the last prune kept.", "kind", "reason")
KEPT_BYTES = _gauge(
    "watcher_kept_image_bytes", "Size of the images that the last prune kept.", "kind", "reason"
)
DISK = _gauge(
    "watcher_disk_bytes",
    "Disk usage of the project on the engine by kind, of images only layers that no other image has, "
    "of Go caches also shared ones; `others` is everything else.",
    "kind",
)

FS_EVENTS = _counter("watcher_source_events_total", "File-system notifications received.")
RESCANS = _counter("watcher_source_rescans_total", "Scans of the tree.", "reason")
SCAN_TIME = _histogram(
    "watcher_source_scan_duration_seconds", "Time of a scan of the tree.", buckets=SHORT_BUCKETS
)
POLLING = _gauge("watcher_source_polling", "Whether the tree is polled because events do not arrive.")

REQUESTS = _counter("watcher_front_requests_total", "Requests answered by the container.", "code_class")
REFUSED = _counter("watcher_front_refused_total", "Requests that the front answered itself.", "reason")
HELD = _gauge("watcher_front_held_requests", "Requests that are waiting for a container.")
OLD = _gauge(
    "watcher_front_old_connections",
    "Requests and connections that previous versions still have.",
    "port",
)
REQUEST_TIME = _histogram(
    "watcher_front_request_duration_seconds",
    "Time of a request in the front, waiting included, without tunnels.",
    buckets=SHORT_BUCKETS,
)
HOLD_TIME = _histogram(
    "watcher_front_hold_duration_seconds", "Time that held requests waited.", buckets=SHORT_BUCKETS
)
