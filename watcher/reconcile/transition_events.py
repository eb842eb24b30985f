"""The events that `state_machine.transition` folds into its state, in the order in which they happened."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TreeSeen:
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
class BuildCancelAsked:
    """The running build is being cancelled."""


@dataclass(frozen=True, slots=True)
class BuildEnded:
    """A build produced an image."""

    revision: str
    image: str


@dataclass(frozen=True, slots=True)
class DeployBegun:
    """A deploy of `revision` started."""

    revision: str


@dataclass(frozen=True, slots=True)
class DeployCancelAsked:
    """The running deploy is being cancelled; the previous container keeps serving."""


@dataclass(frozen=True, slots=True)
class DeployEnded:
    """The revision is live."""

    revision: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A build or deploy of `revision` failed by the user's fault."""

    revision: str
    of_deploy: bool = False


@dataclass(frozen=True, slots=True)
class RolledBack:
    """`revision` was live and failed in its soak time; the previous one, `serving`, has the traffic again.

    One event, because between two the failed revision would be desired, not live and not known to fail.
    Unlike `Failed` it does not end a build or deploy: another revision can be building.
    """

    revision: str
    serving: str | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The running build or deploy was cancelled, or the build found its tree changed."""

    revision: str
    of_deploy: bool = False


@dataclass(frozen=True, slots=True)
class InfraFailed:
    """A build or deploy failed, and the user's code is not the cause: the engine went away, a bug."""

    revision: str
    of_deploy: bool = False


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
class HoldChanged:
    """An outside condition holds builds back (`reason`), or no longer does (empty)."""

    reason: str


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """A user paused or resumed the service."""

    paused: bool


@dataclass(frozen=True, slots=True)
class RebuildAsked:
    """A user asked for a new build of the desired revision, even if it is live or known to fail."""


@dataclass(frozen=True, slots=True)
class EngineBack:
    """The engine answers again: no need to wait any longer."""


Input = (
    TreeSeen
    | BuildBegun
    | BuildProgressed
    | BuildCancelAsked
    | BuildEnded
    | DeployBegun
    | DeployCancelAsked
    | DeployEnded
    | Failed
    | RolledBack
    | Cancelled
    | InfraFailed
    | ContainerExited
    | LiveChanged
    | HoldChanged
    | PauseAsked
    | RebuildAsked
    | EngineBack
)
