"""The status document: what `/api/status` answers, `watcher status` prints and the page shows.

Field names are stable within one `schema_version`; fields are added, never renamed or removed.
Times are Unix seconds, durations seconds, sizes bytes, revisions 64 hex digits. `null` means "not known".
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from watcher.observers.dependency_schema import DependencyInfo as DependencyInfo  # noqa: PLC0414 - a part
from watcher.observers.events import BuildOutcome, DeployOutcome

SCHEMA_VERSION: Literal[1] = 1

Phase = Literal["starting", "live", "building", "deploying", "failed", "held", "paused", "waiting", "down"]
"""One word for a service.

starting: nothing is known yet · live: the live revision equals the tree · building, deploying: in progress ·
failed: the tree does not build or does not run, or the configuration is refused · held: the build waits for
something outside, the tree cannot be scanned, or the live container is paused · paused: by the user ·
waiting: a build is due · down: the engine does not answer.
"""


class Model(BaseModel):
    """Base of all parts: they are made from events, and the schema shows their docstrings."""

    model_config = ConfigDict(use_attribute_docstrings=True, from_attributes=True)


class DiagnosticInfo(Model):
    """One place in a file."""

    file: str
    """Relative to the project's folder if `known`; if not, as the tool printed it."""
    line: int
    """1-based; 0 when unknown."""
    column: int
    """1-based; 0 when unknown."""
    message: str
    said: str = ""
    """The file as the tool printed it."""
    known: bool = True
    """Whether `file` is known to be a file of the user's."""


class FailureInfo(Model):
    """Why something failed."""

    kind: str
    """compile | build | container | cancelled | config | engine | tree | bug"""
    summary: str
    lines: list[str] = []
    """The tool's own lines."""
    diagnostics: list[DiagnosticInfo] = []
    hint: str = ""


class ErrorReport(Model):
    """The last failure of a service. It stays after it was fixed, with `resolved_at` set."""

    at: float
    revision: str
    stage: Literal["build", "deploy", "container"]
    failure: FailureInfo
    resolved_at: float | None = None


class ChangeInfo(Model):
    """One path that differs between two trees."""

    path: str
    verb: str
    """added | changed | removed"""
    kind: str
    """go | module | env | dockerfile | other"""


class DesiredInfo(Model):
    """The tree's revision."""

    revision: str
    at: float
    saved_at: float
    """When the first change of this tree was noticed."""
    summary: str
    changes: list[ChangeInfo]
    """The first 50 changes."""
    change_count: int


class StepInfo(Model):
    """One step of a build."""

    id: str
    name: str
    stage: str
    started_at: float
    seconds: float | None = None
    """Null while it runs."""
    cached: bool = False
    error: str = ""
    done: int = 0
    """Bytes pulled so far, if the step pulls a base image."""
    total: int = 0
    """Bytes to pull, as far as known; 0 if the step pulls nothing."""


class DeployInfo(Model):
    """How the image of a build went live."""

    outcome: DeployOutcome
    at: float
    seconds: float
    save_to_live: float | None = None
    phases: dict[str, float] = {}


class BuildInfo(Model):
    """One build, running or ended."""

    id: int
    """Counts up from 1 over the builds of all services while the daemon lives."""
    service: str
    revision: str
    summary: str
    """What changed."""
    started_at: float
    finished_at: float | None = None
    seconds: float | None = None
    outcome: BuildOutcome | None = None
    """Null while it runs."""
    image: str = ""
    image_size: int | None = None
    context_bytes: int = 0
    """Bytes of build context sent to the engine."""
    step_count: int = 0
    cached_steps: int = 0
    steps: list[StepInfo] = []
    failure: FailureInfo | None = None
    deploy: DeployInfo | None = None


class DeployingInfo(Model):
    """A deploy that runs."""

    revision: str
    image: str
    started_at: float


class LiveInfo(Model):
    """The live container."""

    revision: str
    """Empty for a container that an unknown program started."""
    image: str
    container: str
    since: float


class ImageInfo(Model):
    """The newest image of a stage with a known size."""

    image: str
    revision: str
    at: float
    size: int
    previous_size: int | None = None
    change: int | None = None
    """`size - previous_size`"""


class PrunedItemInfo(Model):
    """One object that the prune examined."""

    kind: str
    """final | builder | container | tag"""
    id: str
    name: str
    size: int
    removed: bool
    reason: str
    cause: str = ""
    """The reason in one word: superseded, untagged, live, in-use, young, …"""


class PruneInfo(Model):
    """The last prune."""

    at: float
    seconds: float
    freed: int
    removed: int
    """Number of objects removed."""
    items: list[PrunedItemInfo]


class DiskInfo(Model):
    """Disk usage of the project on the engine, in bytes, at the last measurement."""

    at: float
    images: int
    """In layers of this project's images that no other image has; shared layers count as `others`."""
    steps: int
    """In build steps that are proven to be this project's, without what images hold."""
    go_cache: int | None = None
    """The Go build caches that the project uses, shared ones too; null while that is not known."""
    module_cache: int | None = None
    """The Go module caches that the project uses, shared ones too; null while that is not known."""
    others: int
    """Everything else on the engine: other images, layers that several images share, other build cache."""
    go_cache_max: int = 0
    """The bound of `go_cache` (`prune.go_cache_max`); 0 for none."""
    steps_stay: str = ""
    """Why superseded build steps are not removed; empty where they are."""


class SourceInfo(Model):
    """How the tree is watched, and the result of the last scan."""

    mode: Literal["events", "polling"] | None = None
    mode_reason: str = ""
    events: int = 0
    rescans: int = 0
    files: int | None = None
    context_bytes: int | None = None
    scanned_at: float | None = None
    scan_seconds: float | None = None
    scan_reason: str = ""
    problems: list[str] = []
    scanning: int | None = None
    """Files read so far by a long scan; null if there is none."""
    gone: str = ""
    """Why the tree cannot be scanned now; empty when it can."""


class FrontInfo(Model):
    """Traffic of the published port since the daemon started."""

    requests: dict[str, int] = {}
    """Exchanges by class of answer: 1xx … 5xx, raw for tunnels of something other than HTTP."""
    refused: dict[str, int] = {}
    """Requests that the front answered without the container, by reason."""
    held: int = 0
    """Requests that are waiting for a container."""
    held_total: int = 0
    """Requests that waited and were then answered."""
    longest_hold: float = 0.0
    old_connections: int = 0
    """Requests and connections that previous versions still have."""


class SuggestionInfo(Model):
    """What the final image would have with the changes that `watcher doctor --measure` found."""

    revision: str
    """The revision that was measured."""
    current: bool = False
    """Whether that is the live revision."""
    measured_at: float
    before: int
    after: int
    names: list[str]
    """The changes."""


class ServiceStatus(Model):
    """Everything about one service."""

    name: str
    phase: Phase = "starting"
    urls: list[str] = []
    compose_file: str = ""
    image: str = ""
    container: str = ""
    desired: DesiredInfo | None = None
    building: BuildInfo | None = None
    deploying: DeployingInfo | None = None
    live: LiveInfo | None = None
    failed: str | None = None
    """The desired revision, if it is known to fail."""
    last_good: str | None = None
    """The revision that was live last under an earlier daemon; it serves if the tree cannot be built."""
    refused: str = ""
    """Why what the configuration files say of this service is not in force; empty when it is."""
    stale: bool | None = None
    """Whether the live revision differs from tree and configuration; null while the tree is not known."""
    stale_since: float | None = None
    held: str = ""
    """Why no build starts; empty if nothing prevents one."""
    paused: bool = False
    container_paused: bool = False
    """Whether the live container is paused (`docker pause`): requests wait until it is unpaused."""
    last_build: BuildInfo | None = None
    last_error: ErrorReport | None = None
    save_to_live: float | None = None
    """Seconds from the last save that went live to the new version answering."""
    images: dict[str, ImageInfo] = {}
    """By stage: base, builder, final."""
    suggestion: SuggestionInfo | None = None
    """What makes the final image smaller; null until `watcher doctor --measure` was run."""
    last_prune: PruneInfo | None = None
    disk: DiskInfo | None = None
    """Disk usage of the project; null until it was measured."""
    source: SourceInfo = SourceInfo()
    front: FrontInfo = FrontInfo()


class DaemonInfo(Model):
    """The daemon's process."""

    version: str = ""
    project: str = ""
    url: str = ""
    started_at: float | None = None
    boot: str
    """Changes with every start of the daemon."""
    stopping: str = ""
    """Why it is stopping; empty while it runs."""
    refused: str = ""
    """Why not all of the configuration files is in force; `refused` of a service if it is concerned."""
    internal_errors: int = 0


class EngineInfo(Model):
    """The container engine."""

    up: bool | None = None
    version: str = ""
    store: str = ""
    endpoint: str = ""
    reason: str = ""
    """Why it does not answer."""
    since: float | None = None


class NoticeInfo(Model):
    """A sentence for the user."""

    at: float
    service: str
    level: Literal["info", "warning", "error"]
    text: str


class Status(Model):
    """The whole document."""

    schema_version: Literal[1] = SCHEMA_VERSION
    daemon: DaemonInfo
    engine: EngineInfo = EngineInfo()
    services: list[ServiceStatus] = []
    dependencies: list[DependencyInfo] = []
    notices: list[NoticeInfo] = []
    """The last 20."""
