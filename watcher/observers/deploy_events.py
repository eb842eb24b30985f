"""Events of deploys and of live containers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from watcher.errors import Failure
from watcher.observers.event_base import Event


class DeployOutcome(StrEnum):
    """How a deploy ended."""

    LIVE = "live"  # the new container has the traffic
    UNCHANGED = "unchanged"  # same image as the live one: nothing was replaced
    ADOPTED = "adopted"  # the container was there already when the daemon started
    FAILED = "failed"  # the new container never became ready; the old one serves on
    CANCELLED = "cancelled"  # by a newer save, by hand, or by a stop; the old container keeps serving
    ROLLED_BACK = "rolled_back"  # it died after the switch; the last good one is back
    ERROR = "error"  # the engine or a bug


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
