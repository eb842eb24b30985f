"""The values that the reconciler passes on, and the interfaces that build, deploy and tidy up for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from watcher.observers.events import DeployOutcome

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Scan(Generic[S]):
    """The result of one scan: a revision, the snapshot to build from, when it was saved (Unix seconds).

    `saved` is the same moment on the monotonic clock; None if a build of it answers no save: after the first
    scan, or a rebuild.
    """

    revision: str
    snapshot: S
    saved_at: float
    saved: float | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """An image, the bytes of context that were sent, steps and cache hits. `reused`: it existed already."""

    image: str
    reused: bool = False
    context_bytes: int = 0
    steps: int = 0
    cached_steps: int = 0


@dataclass(frozen=True, slots=True)
class Deployed:
    """A live container, and the seconds that each phase took, by name."""

    container: str
    outcome: DeployOutcome
    phases: tuple[tuple[str, float], ...] = ()


class Builder(Protocol[S]):
    """Builds the image of a revision."""

    async def build(self, scan: Scan[S], *, forced: bool) -> Built:
        """Return the image of this scan, built or found; `forced` builds it in any case. Can be cancelled.

        Raises UserError, Superseded, EngineUnavailable.
        """
        ...


class Deployer(Protocol):
    """Replaces the live container by a healthy one of another image, which then receives the traffic."""

    @property
    def live(self) -> str | None:
        """Return the revision that receives the traffic; None if none does."""
        ...

    @property
    def waiting(self) -> bool:
        """Return whether a deploy only waits for its container to answer; then it can be cancelled."""
        ...

    async def deploy(self, revision: str, image: str) -> Deployed:
        """Make the image live. Raises UserError (the last good container keeps serving), EngineUnavailable.

        Cancelling it while it is `waiting` removes the new container; the old one stays live.
        """
        ...


class Chores(Protocol[S]):
    """Work for idle times."""

    def deployed(self) -> None:
        """Note that a revision went live; returns immediately."""
        ...

    async def run(self, scan: Scan[S] | None) -> None:
        """Do what is due; `scan` is set after a deploy. Can be cancelled at any point."""
        ...
