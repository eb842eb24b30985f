"""What to do next for one service: a pure state machine.

`step` folds what happened into the `State`; `decide` says what to do about it. Both are functions of their
arguments alone, time included, so that a test can drive ten thousand histories through them in seconds.
The loop that feeds them is `reconcile.py`.

Revisions are compared for equality only; which one is wanted is always the newest tree that was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

RETRY_FIRST = 0.5  # seconds before the engine is asked again after a failure that was not the user's
RETRY_MOST = 30.0
CALM = 60.0  # seconds a container must have lived for its loss not to count as part of a crash loop


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a newer save may keep on cancelling builds."""

    max_cancels: int = 3
    max_wait: float = 10.0


@dataclass(frozen=True, slots=True)
class State:
    """Everything that decides the next action. Times are seconds of one monotonic clock."""

    wanted: str | None = None
    building: str | None = None
    building_since: float = 0.0
    cancelling: bool = False
    built: tuple[str, str] | None = None  # (revision, image) that waits to be deployed
    deploying: str | None = None
    live: str | None = None
    failed: str | None = None  # the wanted revision, known to fail
    cancels: int = 0  # builds cancelled since the last one that ended by itself
    troubles: int = 0  # failures in a row that were not the user's
    retry_at: float = 0.0
    lost_at: float = -CALM
    hold: str = ""  # why nothing may begin: a git operation, a pause
    paused: bool = False
    forced: bool = False  # build although live, because somebody asked


@dataclass(frozen=True, slots=True)
class TreeSeen:
    """The tree was looked at and has this revision."""

    revision: str


@dataclass(frozen=True, slots=True)
class BuildBegun:
    """A build of `revision` was started."""

    revision: str


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
class DeployEnded:
    """The revision is live."""

    revision: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A build or deploy of `revision` failed by the user's fault; the live one serves on."""

    revision: str
    live: str | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The running build was cancelled, or found its tree changed."""

    revision: str


@dataclass(frozen=True, slots=True)
class Troubled:
    """A build or deploy failed by nobody's fault: the engine went away, a bug."""

    revision: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The live container is gone."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A container of `revision` (None: of an unknown one) was found serving when the daemon started."""

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
    | BuildCancelAsked
    | BuildEnded
    | DeployBegun
    | DeployEnded
    | Failed
    | Cancelled
    | Troubled
    | Lost
    | Adopted
    | HoldChanged
    | PauseAsked
    | RebuildAsked
    | EngineBack
)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until` (monotonic seconds; None: before something happens)."""

    until: float | None = None


@dataclass(frozen=True, slots=True)
class Build:
    """Build `revision`; `forced`: even if an image of it exists."""

    revision: str
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the running build: it is not wanted any more."""


@dataclass(frozen=True, slots=True)
class Deploy:
    """Make `image` live as `revision`."""

    revision: str
    image: str


Action = Wait | Build | Cancel | Deploy


def decide(state: State, now: float, limits: Limits = Limits()) -> Action:
    """The one thing to do now."""
    if state.deploying:  # a deploy is never interrupted half-way
        return Wait()
    if state.building:
        return Cancel() if _pointless(state, now, limits) else Wait()
    if state.wanted is None or state.paused or state.hold:
        return Wait()
    if state.built:
        return Deploy(*state.built)
    if state.forced:
        return Build(state.wanted, forced=True)
    if state.wanted in (state.live, state.failed):
        return Wait()
    if now < state.retry_at:
        return Wait(until=state.retry_at)
    return Build(state.wanted)


def _pointless(state: State, now: float, limits: Limits) -> bool:
    """Whether the running build should make way for a newer save."""
    if state.cancelling or state.building == state.wanted:
        return False
    if state.wanted == state.live:  # the tree is back at what serves: there is nothing to build at all
        return True
    return state.cancels < limits.max_cancels and now - state.building_since < limits.max_wait


def step(state: State, event: Input, now: float) -> State:  # noqa: PLR0912 - one case per input
    """The state after `event`."""
    match event:
        case TreeSeen(revision):
            if revision == state.wanted:
                return state
            state = replace(state, wanted=revision, failed=None)
            # A built image that waits is newer than the live one and may go live, unless the tree went back.
            return replace(state, built=None) if revision == state.live else state
        case BuildBegun(revision):
            return replace(state, building=revision, building_since=now, cancelling=False, forced=False)
        case BuildCancelAsked():
            return replace(state, cancelling=True)
        case BuildEnded(revision, image):
            unwanted = state.wanted == state.live != revision
            return replace(
                state, building=None, cancels=0, troubles=0, built=None if unwanted else (revision, image)
            )
        case DeployBegun(revision):
            return replace(state, deploying=revision, built=None)
        case DeployEnded(revision):
            return replace(state, deploying=None, live=revision, failed=None)
        case Failed(revision, live):
            failed = revision if revision == state.wanted else state.failed
            return replace(state, building=None, deploying=None, cancels=0, failed=failed, live=live)
        case Cancelled():
            # An ending that nobody asked for is the tree changing under the build: the next look will say so.
            count = state.cancels + 1 if state.cancelling else state.cancels
            return replace(state, building=None, cancelling=False, cancels=count)
        case Troubled():
            pause = min(RETRY_MOST, RETRY_FIRST * 2**state.troubles)
            return replace(
                state, building=None, deploying=None, troubles=state.troubles + 1, retry_at=now + pause
            )
        case Lost():
            again = now - state.lost_at < CALM
            troubles = state.troubles + 1 if again else 0
            pause = min(RETRY_MOST, RETRY_FIRST * 2**troubles) if again else 0.0
            return replace(state, live=None, troubles=troubles, retry_at=now + pause, lost_at=now)
        case Adopted(revision):
            return replace(state, live=revision)
        case HoldChanged(reason):
            return replace(state, hold=reason)
        case PauseAsked(paused):
            return replace(state, paused=paused)
        case RebuildAsked():
            return replace(state, forced=True, failed=None, retry_at=now)
        case EngineBack():
            return replace(state, retry_at=now)
