"""What the reconciler works with: the values it passes on, and the ports that build, deploy and tidy up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from watcher.observers.events import DeployOutcome

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Scan(Generic[S]):
    """One look at the tree: its revision, the snapshot to build from, when it was saved (Unix seconds).

    `saved` is the same moment on the monotonic clock; None where no save is answered: the first scan, a
    rebuild.
    """

    revision: str
    snapshot: S
    saved_at: float
    saved: float | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """An image. `reused`: it was there already; bytes of context that travelled; steps and cache hits."""

    image: str
    reused: bool = False
    context_bytes: int = 0
    steps: int = 0
    cached_steps: int = 0


@dataclass(frozen=True, slots=True)
class Deployed:
    """A live container, and how long each phase took (seconds by name)."""

    container: str
    outcome: DeployOutcome
    phases: tuple[tuple[str, float], ...] = ()


class Builder(Protocol[S]):
    """Revision → image."""

    async def build(self, scan: Scan[S], *, forced: bool) -> Built:
        """Build, or find the image; raises UserError, Superseded, EngineUnavailable. Cancelling stops it."""
        ...


class Deployer(Protocol):
    """Image → a healthy container that receives the traffic."""

    @property
    def live(self) -> str | None:
        """The revision that serves now."""
        ...

    @property
    def waiting(self) -> bool:
        """Whether a deploy only waits for its container to answer: then it may be cancelled."""
        ...

    async def deploy(self, revision: str, image: str) -> Deployed:
        """Make it live; raises UserError (the last good one serves on) or EngineUnavailable.

        Cancelling it while it is `waiting` removes what it made, and leaves live what was.
        """
        ...


class Chores(Protocol[S]):
    """Work for idle times."""

    def deployed(self) -> None:
        """A revision went live; returns at once."""
        ...

    async def run(self, scan: Scan[S] | None) -> None:
        """Do what is due; `look` is set after a deploy. May be cancelled at any point."""
        ...
