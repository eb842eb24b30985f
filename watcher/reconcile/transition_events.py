"""The events that `transition` folds into the state, each with the revision that it is about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TreeScanned:
    """A scan found this revision, with a newer snapshot than before."""

    revision: str


@dataclass(frozen=True, slots=True)
class BuildBegun:
    """A build of `revision` started; `forced`: even if an image of it exists."""

    revision: str
    forced: bool = False


@dataclass(frozen=True, slots=True)
class BuildProgressed:
    """The running build showed a sign of life."""


@dataclass(frozen=True, slots=True)
class BuildCancelRequested:
    """The running build is being cancelled."""


@dataclass(frozen=True, slots=True)
class BuildEnded:
    """A build produced an image."""

    revision: str
    image: str


@dataclass(frozen=True, slots=True)
class BuildFailed:
    """A build failed by the user's fault."""

    revision: str


@dataclass(frozen=True, slots=True)
class BuildCancelled:
    """The running build was cancelled, or found its tree changed."""

    revision: str


@dataclass(frozen=True, slots=True)
class BuildInfraFailed:
    """A build failed, and the user's code is not the cause: the engine went away, a bug."""

    revision: str


@dataclass(frozen=True, slots=True)
class DeployBegun:
    """A deploy of `revision` started."""

    revision: str


@dataclass(frozen=True, slots=True)
class DeployCancelRequested:
    """The running deploy is being cancelled; the previous container keeps serving."""


@dataclass(frozen=True, slots=True)
class DeployEnded:
    """The revision is live."""

    revision: str


@dataclass(frozen=True, slots=True)
class DeployFailed:
    """A deploy failed by the user's fault."""

    revision: str


@dataclass(frozen=True, slots=True)
class DeployCancelled:
    """The running deploy was cancelled."""

    revision: str


@dataclass(frozen=True, slots=True)
class DeployInfraFailed:
    """A deploy failed, and the user's code is not the cause."""

    revision: str


@dataclass(frozen=True, slots=True)
class RolledBack:
    """`revision` was live and failed in its soak time; the previous one, `serving`, has the traffic again.

    One event, because between two the failed revision would be desired, not live and not known to fail.
    Unlike `DeployFailed` it does not end a deploy: another revision can be under way.
    """

    revision: str
    serving: str | None


@dataclass(frozen=True, slots=True)
class ContainerExited:
    """The live container exited, and no other container replaced it."""

    revision: str
    image: str
    excused: bool = False  # the engine or a user stopped it


@dataclass(frozen=True, slots=True)
class LiveChanged:
    """A container of `revision` has the traffic now (None: no container): adopted, kept or restored."""

    revision: str | None


@dataclass(frozen=True, slots=True)
class LastGoodFound:
    """Nothing serves, but the image exists that was live last under an earlier daemon."""

    revision: str
    image: str


@dataclass(frozen=True, slots=True)
class HoldChanged:
    """An outside condition holds builds back (`reason`), or no longer does (empty)."""

    reason: str


@dataclass(frozen=True, slots=True)
class PauseChanged:
    """A user paused or resumed the service."""

    paused: bool


@dataclass(frozen=True, slots=True)
class RebuildRequested:
    """A user requested a new build of the desired revision, even if it is live or known to fail."""


@dataclass(frozen=True, slots=True)
class EngineRecovered:
    """The engine answers again: no need to wait any longer."""


BuildEvent = (
    BuildBegun
    | BuildProgressed
    | BuildCancelRequested
    | BuildEnded
    | BuildFailed
    | BuildCancelled
    | BuildInfraFailed
)
DeployEvent = (
    DeployBegun | DeployCancelRequested | DeployEnded | DeployFailed | DeployCancelled | DeployInfraFailed
)
ContainerEvent = RolledBack | ContainerExited | LiveChanged | LastGoodFound
OutsideEvent = TreeScanned | HoldChanged | PauseChanged | RebuildRequested | EngineRecovered
TransitionEvent = BuildEvent | DeployEvent | ContainerEvent | OutsideEvent
