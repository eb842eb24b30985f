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
    """Revision → image."""

    async def build(self, scan: Scan[S], *, forced: bool) -> Built:
        """Build, or find the image; raises UserError, Superseded, EngineUnavailable. Can be cancelled."""
        ...


class Deployer(Protocol):
    """Image → a healthy container that receives the traffic."""

    @property
    def live(self) -> str | None:
        """The revision that has the traffic now."""
        ...

    @property
    def waiting(self) -> bool:
        """Whether a deploy only waits for its container to answer; then it can be cancelled."""
        ...

    async def deploy(self, revision: str, image: str) -> Deployed:
        """Make it live; raises UserError (the last good container keeps serving) or EngineUnavailable.

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
