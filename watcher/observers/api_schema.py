"""The API's other answers: builds, log lines, and the result of a request.

Field names are stable within one `schema_version`, as in the status document.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from watcher.observers.events import ImageExplained
from watcher.observers.status_schema import (
    SCHEMA_VERSION,
    BuildInfo,
    FailureInfo,
    Model,
    Phase,
    ServiceStatus,
)


class BuildList(Model):
    """The last builds of a service, or of all services, newest first."""

    schema_version: Literal[1] = SCHEMA_VERSION
    service: str
    """Empty if the builds are of several services: each names its own."""
    builds: list[BuildInfo]


class LogLine(Model):
    """One line that a build step or the live container printed."""

    seq: int
    """Counts up over all lines of the daemon's life."""
    at: float
    service: str
    source: Literal["build", "container"]
    revision: str = ""
    step: str = ""
    stage: str = ""
    container: str = ""
    text: str


class LogList(Model):
    """The newest lines, oldest first."""

    schema_version: Literal[1] = SCHEMA_VERSION
    lines: list[LogLine]
    dropped: bool
    """Whether lines after the asked `after` are no longer kept."""


class Settled(Model):
    """What became of the tree that was there when the question was asked, or of a newer one."""

    schema_version: Literal[1] = SCHEMA_VERSION
    service: str
    outcome: Literal["live", "failed", "paused", "timeout", "unknown"]
    """unknown: the tree cannot be read; `failure` holds the reason."""
    revision: str
    """The tree's revision; empty when it is not known yet."""
    failure: FailureInfo | None = None
    waiting: str = ""
    """With `timeout`, what the service waited for; empty if it was at work."""
    old_connections: int = 0
    """Requests and connections that the versions before the live one still have: those get its answers."""
    urls: list[str] = Field(default_factory=list)
    """Where the service answers once it is live."""
    services: list[Settled] = Field(default_factory=list)
    """Each service, when several were waited for; the other fields are those of the worst outcome."""


class Accepted(Model):
    """The daemon has accepted the request."""

    schema_version: Literal[1] = SCHEMA_VERSION
    service: str
    action: Literal["rebuild", "cancel", "pause", "resume", "rescan", "upgrade"]
    revision: str = ""
    """The tree's revision, after a rescan."""
    last_build: int | None = None
    """After a rebuild: the number of the last build that ended before it, for `/api/wait`."""
    problem: str = ""
    """Why this service could not be scanned, if others could."""
    services: list[Accepted] = Field(default_factory=list)
    """One entry for each service, if the request was about several; `service` is empty then."""


class ServiceSummary(Model):
    """One service in short."""

    name: str
    phase: Phase
    urls: list[str]
    revision: str
    """The live revision; empty if there is none."""
    since: float | None
    """When it went live."""
    stale: bool | None

    @classmethod
    def of(cls, found: ServiceStatus) -> ServiceSummary:
        """Return the summary of a service."""
        live = found.live
        return cls(
            name=found.name,
            phase=found.phase,
            urls=found.urls,
            revision=live.revision if live else "",
            since=live.since if live else None,
            stale=found.stale,
        )


class ServiceList(Model):
    """All managed services."""

    schema_version: Literal[1] = SCHEMA_VERSION
    services: list[ServiceSummary]


class ImageChange(Model):
    """A package, a kind of bytes or a file of an image whose size changed."""

    name: str
    before: int
    """Bytes; 0 if it was not there."""
    after: int


class ImageExplanation(Model):
    """What a final image consists of."""

    schema_version: Literal[1] = SCHEMA_VERSION
    service: str
    revision: str
    image: str
    size: int
    components: dict[str, int]
    """The largest Go modules, kinds of bytes and files, and `other`; they add up to the size."""
    before: str
    """The revision that `changes` compare with; empty if there is none."""
    changes: list[ImageChange]
    """Largest first."""

    @classmethod
    def of(cls, event: ImageExplained) -> ImageExplanation:
        """Return the document of an event."""
        changes = [
            ImageChange(name=each.name, before=each.before, after=each.after) for each in event.changes
        ]
        return cls(
            service=event.service,
            revision=event.revision,
            image=event.image,
            size=event.size,
            components=dict(event.components),
            before=event.before,
            changes=changes,
        )


class Problem(Model):
    """Why a request was refused."""

    detail: str
