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
class _BuildStepEvent(Event):
    """A step of the running build."""

    revision: str
    step: str  # digest: identity of the step within the build
    name: str  # as BuildKit names it: "[builder 5/5] RUN go build …"
    stage: str  # "builder", "final", "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStepStarted(_BuildStepEvent):
    """A step of the running build started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStepFinished(_BuildStepEvent):
    """A step ended; `error` is empty if it succeeded."""

    seconds: float
    cached: bool
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStepProgress(_BuildStepEvent):
    """A base image is being pulled: `done` of `total` bytes so far, as far as they are known."""

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
    """A build ended. `image` is set if it succeeded, `failure` if it failed."""

    revision: str
    outcome: BuildOutcome
    seconds: float
    image: str = ""
    context_bytes: int = 0  # bytes of context sent to the engine
    steps: int = 0
    cached_steps: int = 0
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class ComponentChange:
    """A package, a kind of bytes or a file of an image whose size changed; 0: not there."""

    name: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class ComponentBudget:
    """A component of an image that is larger than `image.components` allows."""

    name: str
    size: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageExplained(Event):
    """What a final image consists of: its largest components and the others, which add up to `size`.

    `changes` since the image of revision `before` are largest first. `over` are exceeded budgets.
    """

    revision: str
    image: str
    size: int
    components: tuple[tuple[str, int], ...]
    before: str = ""
    changes: tuple[ComponentChange, ...] = ()
    over: tuple[ComponentBudget, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SuggestionMeasured(Event):
    """`watcher doctor --measure` has built the final image of `revision` with the changes in `names`.

    `before` and `after` are its sizes in bytes, `measured_at` is Unix seconds.
    """

    revision: str
    measured_at: float
    before: int
    after: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSized(Event):
    """The size of an image of this service is known: sum over its layers, equal on every image store."""

    stage: str  # base | builder | final
    revision: str
    image: str
    size: int
