"""Everything that can happen, as frozen events.

Stages (tree, build, deploy, prune, front) never log, count or print. They hand one of these values to
an `Observer`; metrics, log, console and status page are observers. Times are Unix seconds (`at`) and
durations are seconds; sizes are bytes; a revision is 64 hex digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from watcher.errors import Diagnostic as Diagnostic  # noqa: PLC0414 - observers know it from here
from watcher.errors import Failure as Failure  # noqa: PLC0414
from watcher.observers.dependency_events import DependencyChanged as DependencyChanged  # noqa: PLC0414
from watcher.observers.dependency_events import DependencyRemoved as DependencyRemoved  # noqa: PLC0414
from watcher.observers.event_base import Event as Event  # noqa: PLC0414 - observers know these from here
from watcher.observers.event_base import Fanout as Fanout  # noqa: PLC0414
from watcher.observers.event_base import Observer as Observer  # noqa: PLC0414
from watcher.observers.humanize import short as short  # noqa: PLC0414
from watcher.observers.prune_events import BuildCachePruned as BuildCachePruned  # noqa: PLC0414
from watcher.observers.prune_events import DiskMeasured as DiskMeasured  # noqa: PLC0414
from watcher.observers.prune_events import GoCacheTrimmed as GoCacheTrimmed  # noqa: PLC0414
from watcher.observers.prune_events import Pruned as Pruned  # noqa: PLC0414
from watcher.observers.prune_events import PrunedItem as PrunedItem  # noqa: PLC0414


class BuildOutcome(StrEnum):
    """How a build ended."""

    BUILT = "built"  # a build ran and gave an image
    REUSED = "reused"  # an image of this revision existed already: nothing was built
    FAILED = "failed"  # the user's code or Dockerfile
    CANCELLED = "cancelled"  # a newer save
    ERROR = "error"  # the engine or a bug


class DeployOutcome(StrEnum):
    """How a deploy ended."""

    LIVE = "live"  # the new container has the traffic
    UNCHANGED = "unchanged"  # same image as the live one: nothing was replaced
    ADOPTED = "adopted"  # the container was there already when the daemon started
    FAILED = "failed"  # the new container never became ready; the old one serves on
    CANCELLED = "cancelled"  # by a newer save, by hand, or by a stop; the old container keeps serving
    ROLLED_BACK = "rolled_back"  # it died after the switch; the last good one is back
    ERROR = "error"  # the engine or a bug


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs between two trees."""

    path: str
    verb: str  # added | changed | removed
    kind: str  # go | module | env | dockerfile | other


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
    """The desired, the live or the failed revision changed. Only the reconciler emits it.

    It precedes the event that says why, so whoever hears of that knows what follows from it.
    `failed` is the desired revision once it is known to fail. `saved_at` is when the first change of the
    desired tree was noticed (Unix seconds).
    """

    desired: str | None
    live: str | None
    failed: str | None
    saved_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Event):
    """A build waits for something outside: a git operation, files still being written, a pause."""

    reason: str  # empty when the hold ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Event):
    """Building was paused or resumed by hand."""

    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStarted(Event):
    """A build of `revision` started."""

    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStepStarted(Event):
    """A step of the running build started."""

    revision: str
    step: str  # digest: identity of the step within the build
    name: str  # as BuildKit names it: "[builder 5/5] RUN go build …"
    stage: str  # "builder", "final", "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStepFinished(Event):
    """A step ended; `error` is empty when it went well."""

    revision: str
    step: str
    name: str
    stage: str
    seconds: float
    cached: bool
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStepProgress(Event):
    """How much of a base image has come from its registry: `done` of `total` bytes, as far as is known."""

    revision: str
    step: str
    name: str
    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStepOutput(Event):
    """Lines that a step printed."""

    revision: str
    step: str
    text: str
    stage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFinished(Event):
    """A build ended. `image` is set when it gave one; `failure` when it did not."""

    revision: str
    outcome: BuildOutcome
    seconds: float
    image: str = ""
    context_bytes: int = 0  # bytes of context that travelled to the engine
    steps: int = 0
    cached_steps: int = 0
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSized(Event):
    """The size of an image of this service is known: sum over its layers, equal on every image store."""

    stage: str  # base | builder | final
    revision: str
    image: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployStarted(Event):
    """A container of `image` is being brought up."""

    revision: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployFinished(Event):
    """A deploy ended. `save_to_live` is set when it answered a save; the phases are seconds by name."""

    revision: str
    image: str
    outcome: DeployOutcome
    seconds: float
    container: str = ""
    save_to_live: float | None = None
    phases: tuple[tuple[str, float], ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerLost(Event):
    """The live container exited, or was stopped or removed by another program."""

    revision: str
    container: str
    failure: Failure
    image: str = ""  # what it ran: another container of it can take its place
    excused: bool = False  # the engine or one of its clients ended it; the program is not at fault


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPaused(Event):
    """The live container was paused or unpaused (`docker pause`); `name` is the container's."""

    container: str
    name: str
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOutput(Event):
    """Lines that the live container printed."""

    container: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLag(Event):
    """`seconds` is the longest delay of the event loop within the last 20 seconds."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontExchange(Event):
    """The front finished one exchange (or tunnel, then `code` is 101 or 0 for raw TCP)."""

    code: int
    seconds: float
    held: float = 0.0
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontHeld(Event):
    """The number of requests that wait in the front for a container."""

    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontOld(Event):
    """How many requests and connections of one listening port older versions still have after a switch."""

    port: int
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontRefused(Event):
    """The front answered itself: `reason` is timeout | limit | malformed | backend | drain | gone."""

    reason: str
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalError(Event):
    """A bug: the loop went on."""

    where: str
    traceback: str
