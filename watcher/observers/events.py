"""Everything that can happen, as frozen events.

Stages (tree, build, deploy, prune, front) never log, count or print. They hand one of these values to
an `Observer`; metrics, log, console and status page are observers. Times are Unix seconds (`at`) and
durations are seconds; sizes are bytes; a revision is 64 hex digits.
"""

from __future__ import annotations

from dataclasses import dataclass

from watcher.errors import Diagnostic as Diagnostic  # noqa: PLC0414 - observers know it from here
from watcher.errors import Failure as Failure  # noqa: PLC0414
from watcher.observers.build_events import BuildFinished as BuildFinished  # noqa: PLC0414
from watcher.observers.build_events import BuildOutcome as BuildOutcome  # noqa: PLC0414
from watcher.observers.build_events import BuildStarted as BuildStarted  # noqa: PLC0414
from watcher.observers.build_events import BuildStepFinished as BuildStepFinished  # noqa: PLC0414
from watcher.observers.build_events import BuildStepOutput as BuildStepOutput  # noqa: PLC0414
from watcher.observers.build_events import BuildStepProgress as BuildStepProgress  # noqa: PLC0414
from watcher.observers.build_events import BuildStepStarted as BuildStepStarted  # noqa: PLC0414
from watcher.observers.build_events import ComponentBudget as ComponentBudget  # noqa: PLC0414
from watcher.observers.build_events import ComponentChange as ComponentChange  # noqa: PLC0414
from watcher.observers.build_events import ImageExplained as ImageExplained  # noqa: PLC0414
from watcher.observers.build_events import ImageSized as ImageSized  # noqa: PLC0414
from watcher.observers.build_events import SuggestionMeasured as SuggestionMeasured  # noqa: PLC0414
from watcher.observers.dependency_events import DependencyChanged as DependencyChanged  # noqa: PLC0414
from watcher.observers.dependency_events import DependencyRemoved as DependencyRemoved  # noqa: PLC0414
from watcher.observers.deploy_events import ContainerLost as ContainerLost  # noqa: PLC0414
from watcher.observers.deploy_events import ContainerOutput as ContainerOutput  # noqa: PLC0414
from watcher.observers.deploy_events import ContainerPaused as ContainerPaused  # noqa: PLC0414
from watcher.observers.deploy_events import DeployFinished as DeployFinished  # noqa: PLC0414
from watcher.observers.deploy_events import DeployOutcome as DeployOutcome  # noqa: PLC0414
from watcher.observers.deploy_events import DeployStarted as DeployStarted  # noqa: PLC0414
from watcher.observers.event_base import Event as Event  # noqa: PLC0414 - observers know these from here
from watcher.observers.event_base import Fanout as Fanout  # noqa: PLC0414
from watcher.observers.event_base import Observer as Observer  # noqa: PLC0414
from watcher.observers.front_events import FrontExchange as FrontExchange  # noqa: PLC0414
from watcher.observers.front_events import FrontHeld as FrontHeld  # noqa: PLC0414
from watcher.observers.front_events import FrontOld as FrontOld  # noqa: PLC0414
from watcher.observers.front_events import FrontRefused as FrontRefused  # noqa: PLC0414
from watcher.observers.humanize import short as short  # noqa: PLC0414
from watcher.observers.prune_events import BuildCachePruned as BuildCachePruned  # noqa: PLC0414
from watcher.observers.prune_events import DiskMeasured as DiskMeasured  # noqa: PLC0414
from watcher.observers.prune_events import GoCacheTrimmed as GoCacheTrimmed  # noqa: PLC0414
from watcher.observers.prune_events import Pruned as Pruned  # noqa: PLC0414
from watcher.observers.prune_events import PrunedItem as PrunedItem  # noqa: PLC0414


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs between two trees."""

    path: str
    verb: str  # added | changed | removed
    kind: str  # go | module | env | dockerfile | other


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStarting(Event):
    """The settings of `watcher run` are accepted; `project` is its folder. The first event."""

    version: str
    project: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStarted(Event):
    """The daemon is up; `url` is the status page, `services` are those that it manages."""

    version: str
    project: str
    url: str
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStopping(Event):
    """The daemon has been asked to stop; `reason` is a signal name or a sentence."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStarted(Event):
    """A service is being kept: where it listens and what it is made of."""

    urls: tuple[str, ...]
    compose_file: str
    image: str
    container: str
    image_budget: int | None = None  # largest size of the final image that is allowed, where one is set


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRemoved(Event):
    """A service is no longer managed: the compose file or the settings dropped it at run time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """A sentence for the user, shown once: a placeholder base image, an ignored option, a warning."""

    level: str  # info | warning | error
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineUp(Event):
    """The engine answers."""

    version: str
    store: str  # overlay2 | containerd | …
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDown(Event):
    """The engine does not answer; `retry_in` seconds until the next try."""

    reason: str
    retry_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationRefused(Event):
    """The configuration files were saved with something that cannot be used, so it is not in force."""

    reason: str  # empty once the files are in force again
    services: tuple[str, ...] | None = None  # that it would have changed; None: all that are managed


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceGone(Event):
    """The tree cannot be scanned, so its revision is not known."""

    reason: str  # empty when it can be scanned again


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMode(Event):
    """How changes are noticed from now on."""

    mode: str  # events | polling
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEvents(Event):
    """`count` file-system notifications arrived since the last event of this type."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceScanned(Event):
    """The tree was scanned. `reason` is event | timer | overflow | start | request | …"""

    reason: str
    full: bool
    seconds: float
    files: int
    context_bytes: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceScanning(Event):
    """A scan takes long; `files` were read so far."""

    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredChanged(Event):
    """The tree has a new revision. `saved_at` is when its first change was noticed (Unix seconds)."""

    revision: str
    changes: tuple[Change, ...]
    summary: str
    saved_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionStateChanged(Event):
    """The desired, the live, the failed or the last good revision changed. Only the reconciler emits it.

    It precedes the event that explains it, so observers of that event know the new state.
    `failed` is the desired revision once it is known to fail. `saved_at` is when the first change of the
    desired tree was noticed (Unix seconds). `last_good` was live last under an earlier daemon, and is
    deployed while nothing is live and the desired revision cannot be.
    """

    desired: str | None
    live: str | None
    failed: str | None
    saved_at: float
    last_good: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Event):
    """A build waits for something outside: a git operation, or other builds that have all slots."""

    reason: str  # empty when the hold ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Event):
    """Building was paused or resumed by hand."""

    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLag(Event):
    """`seconds` is the longest delay of the event loop within the last 20 seconds."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalError(Event):
    """A bug: the loop went on."""

    where: str
    traceback: str
