"""Events of builds and their steps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from watcher.errors import Failure
from watcher.observers.event_base import Event


class BuildOutcome(StrEnum):
    """How a build ended."""

    BUILT = "built"  # a build ran and gave an image
    REUSED = "reused"  # an image of this revision existed already: nothing was built
    FAILED = "failed"  # the user's code or Dockerfile
    CANCELLED = "cancelled"  # a newer save
    ERROR = "error"  # the engine or a bug


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
