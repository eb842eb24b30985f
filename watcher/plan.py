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
SUPERSEDED_MOST = 2
"""Builds in a row that may find a changed file of which no scan knows. One more is a bug, and is said."""
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
    renewed: bool = False  # the tree was seen since the build began
    superseded: int = 0  # builds in a row that found a changed file although no scan finds a change
    troubles: int = 0  # failures in a row that were not the user's
    retry_at: float = 0.0
    lost_at: float = -CALM
    lost: tuple[str, str] | None = None  # (revision, image) that served last, while nothing serves
    losses: int = 0  # live containers lost in a row, each within CALM of the one before
    hold: str = ""  # why nothing may begin: a git operation, a pause
    paused: bool = False
    forced: bool = False  # build although live, because somebody asked; kept until a build has answered


@dataclass(frozen=True, slots=True)
class TreeSeen:
    """The tree was looked at: it has this revision, and a newer snapshot than before."""

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
    """A build or deploy of `revision` failed by the user's fault."""

    revision: str


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
    """The running build was cancelled, or found its tree changed."""

    revision: str


@dataclass(frozen=True, slots=True)
class Troubled:
    """A build or deploy failed by nobody's fault: the engine went away, a bug."""

    revision: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The live container, of this revision and image, is gone, and no other took its place."""

    revision: str
    image: str


@dataclass(frozen=True, slots=True)
class Serving:
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
    | BuildCancelAsked
    | BuildEnded
    | DeployBegun
    | DeployEnded
    | Failed
    | RolledBack
    | Cancelled
    | Troubled
    | Lost
    | Serving
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
    free = not state.paused and not state.hold
    if state.built and free:
        return Deploy(*state.built)
    served = state.lost[0] if state.lost else None
    action: Action
    if state.wanted is not None and free and (state.forced or state.wanted not in _known(state, served)):
        action = Build(state.wanted, forced=state.forced)
    elif state.lost:  # better than nothing, and no matter for a pause: it was live before
        action = Deploy(*state.lost)
    else:
        return Wait()
    return Wait(until=state.retry_at) if now < state.retry_at else action


def _known(state: State, served: str | None) -> tuple[str | None, ...]:
    """Revisions that need no build: live, known to fail, or to be put back as it is."""
    return state.live, state.failed, served


def retry_pause(failures: int) -> float:
    """Seconds to wait after one more failure than `failures` in a row."""
    return min(RETRY_MOST, RETRY_FIRST * 2.0 ** min(failures, 16))


def _crashed(state: State, now: float, *, again: bool) -> State:
    """What served ended, or could not be put back: at first it is tried at once, then less and less often."""
    losses = state.losses + 1 if again else 0
    pause = retry_pause(losses) if again else 0.0
    return replace(state, losses=losses, retry_at=now + pause, lost_at=now)


def _serving(state: State, revision: str | None) -> State:
    state = replace(state, live=revision, lost=None if revision else state.lost)
    return replace(state, built=None) if revision == state.wanted else state


def _known_to_fail(state: State, revision: str) -> State:
    return replace(state, failed=revision) if revision == state.wanted else state


def _pointless(state: State, now: float, limits: Limits) -> bool:
    """Whether the running build should make way for a newer save."""
    if state.cancelling:
        return False
    asked = state.forced and state.building == state.wanted
    if state.wanted == state.live and not asked:  # there is nothing to build at all, or something else
        return True
    if state.building == state.wanted:
        return False
    return state.cancels < limits.max_cancels and now - state.building_since < limits.max_wait


def step(state: State, event: Input, now: float) -> State:  # noqa: PLR0912 - one case per input
    """The state after `event`."""
    match event:
        case TreeSeen(revision):
            state = replace(state, renewed=True)
            if revision == state.wanted:
                # What a build found changed is known now.
                return replace(state, superseded=0, retry_at=now) if state.superseded else state
            # Another tree may well be the cure of whatever is being waited out: it is tried at once.
            state = replace(state, wanted=revision, failed=None, retry_at=now, superseded=0)
            # A built image that waits is newer than the live one and may go live, unless the tree went back.
            return replace(state, built=None) if revision == state.live else state
        case BuildBegun(revision):
            return replace(state, building=revision, building_since=now, cancelling=False, renewed=False)
        case BuildCancelAsked():
            return replace(state, cancelling=True)
        case BuildEnded(revision, image):
            # What was being cancelled and ended all the same would only keep the newer save waiting.
            late = state.cancelling and revision != state.wanted
            unwanted = late or (
                state.wanted == state.live and not (state.forced and revision == state.wanted)
            )
            return replace(
                state,
                building=None,
                cancelling=False,
                cancels=state.cancels + 1 if late else 0,
                troubles=0,
                superseded=0,
                forced=state.forced and revision != state.wanted,
                built=None if unwanted else (revision, image),
            )
        case DeployBegun(revision):
            return replace(state, deploying=revision, built=None)
        case DeployEnded(revision):
            failed = None if revision == state.wanted else state.failed
            return replace(state, deploying=None, live=revision, failed=failed, lost=None)
        case Failed(revision):
            if state.lost and state.deploying == state.lost[0] == revision:
                state = _crashed(state, now, again=True)
            return replace(
                _known_to_fail(state, revision),
                building=None,
                deploying=None,
                cancelling=False,
                cancels=0,
                superseded=0,
                forced=state.forced and revision != state.wanted,
            )
        case RolledBack(revision, serving):
            return _serving(_known_to_fail(state, revision), serving)
        case Cancelled():
            if state.cancelling:
                return replace(state, building=None, cancelling=False, cancels=state.cancels + 1)
            # The tree changed under the build. The next look will say so; until then this revision cannot be
            # built, and trying again at once would only find that out once more.
            superseded = 0 if state.renewed else state.superseded + 1
            return replace(state, building=None, retry_at=now + RETRY_FIRST, superseded=superseded)
        case Troubled():
            pause = retry_pause(state.troubles)
            return replace(
                state,
                building=None,
                deploying=None,
                cancelling=False,
                superseded=0,
                troubles=state.troubles + 1,
                retry_at=now + pause,
            )
        case Lost(revision, image):
            state = replace(state, live=None, lost=(revision, image))
            return _crashed(state, now, again=now - state.lost_at < CALM)
        case Serving(revision):
            return _serving(state, revision)
        case HoldChanged(reason):
            return replace(state, hold=reason)
        case PauseAsked(paused):
            return replace(state, paused=paused)
        case RebuildAsked():
            return replace(state, forced=True, failed=None, retry_at=now)
        case EngineBack():
            return replace(state, retry_at=now)
