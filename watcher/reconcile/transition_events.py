"""The events that `state_machine.transition` folds into its state, in the order in which they happened."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TreeSeen:
    """The tree was looked at: it has this revision, and a newer snapshot than before."""

    revision: str


@dataclass(frozen=True, slots=True)
class BuildBegun:
    """A build of `revision` was started; `forced`: even if an image of it exists."""

    revision: str
    forced: bool = False


@dataclass(frozen=True, slots=True)
class BuildProgressed:
    """The running build showed a sign of life."""


@dataclass(frozen=True, slots=True)
class BuildCancelAsked:
    """The running build was told to stop."""


@dataclass(frozen=True, slots=True)
class BuildEnded:
    """A build gave an image."""

    revision: str
    image: str


@dataclass(frozen=True, slots=True)
class DeployBegun:
    """A deploy of `revision` was started."""

    revision: str


@dataclass(frozen=True, slots=True)
class DeployCancelAsked:
    """The running deploy was told to stop; the container before serves on."""


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
    """`revision` was live and failed in its soak time; the one before it, `serving`, has the traffic again.

    One input, since between two the failed revision would be wanted, not live and not known to fail. Unlike
    `Failed` this is not the end of a build or deploy: one of another revision may be going on.
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
    """A build or deploy failed by nobody's fault: the engine went away, a bug."""

    revision: str
    of_deploy: bool = False


@dataclass(frozen=True, slots=True)
class ContainerExited:
    """The live container, of this revision and image, is gone, and no other took its place."""

    revision: str
    image: str
    excused: bool = False  # the engine or somebody at it ended it


@dataclass(frozen=True, slots=True)
class LiveChanged:
    """A container of `revision` has the traffic now (None: no container has): adopted, kept or put back."""

    revision: str | None


@dataclass(frozen=True, slots=True)
class HoldChanged:
    """Something outside forbids to begin (`reason`), or no longer does (empty)."""

    reason: str


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """Somebody paused or resumed the service."""

    paused: bool


@dataclass(frozen=True, slots=True)
class RebuildAsked:
    """Somebody wants the wanted revision built again, whatever is known of it."""


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
