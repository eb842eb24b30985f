"""What to do next for one service: a pure state machine.

`transition` folds an event into the `State`; `decide` returns the next action. Both are functions of their
arguments alone, time included, so a test can drive ten thousand histories through them in seconds. The loop
that feeds them is `reconciler.py`.

Revisions are compared for equality only; which one is wanted is always the newest tree that was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from watcher.backoff import Backoff
from watcher.reconcile.transition_events import (
    BuildBegun,
    BuildCancelAsked,
    BuildEnded,
    BuildProgressed,
    Cancelled,
    ContainerExited,
    DeployBegun,
    DeployCancelAsked,
    DeployEnded,
    EngineBack,
    Failed,
    HoldChanged,
    InfraFailed,
    Input,
    LiveChanged,
    PauseAsked,
    RebuildAsked,
    RolledBack,
    TreeSeen,
)

__all__ = [
    "RETRY",
    "SILENT",
    "STABLE_AFTER",
    "SUPERSEDED_MOST",
    "Action",
    "Build",
    "BuildBegun",
    "BuildCancelAsked",
    "BuildEnded",
    "BuildLimits",
    "BuildProgressed",
    "CancelBuild",
    "Cancelled",
    "ContainerExited",
    "Deploy",
    "DeployBegun",
    "DeployCancelAsked",
    "DeployEnded",
    "EngineBack",
    "Failed",
    "GiveWay",
    "HoldChanged",
    "InfraFailed",
    "Input",
    "LiveChanged",
    "PauseAsked",
    "RebuildAsked",
    "RolledBack",
    "State",
    "TreeSeen",
    "Wait",
    "decide",
    "transition",
]

RETRY = Backoff(first=0.5, most=30.0)
"""Seconds before the engine is asked again after a failure that was not the user's."""
SUPERSEDED_MOST = 2
"""Builds in a row that may find a changed file of which no scan knows. One more is a bug, and is said."""
_SUPERSEDED_PAUSE = 4.0
"""Seconds until the last of them: a scan may wait for a burst of changes to end, and has to come first."""
SILENT = 30.0
"""Seconds without a sign of life after which a build makes way for a newer save, however long it has run.

Twice as long after each build that was stopped for that: compiling is silent, and must come to its end once.
"""
STABLE_AFTER = 60.0  # seconds a container must have lived for its loss not to count as part of a crash loop


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """How long a newer save may keep on cancelling builds."""

    max_cancels: int = 3
    max_wait: float = 10.0
    build_timeout: float = 1800.0  # seconds after which a build is ended; 0: never


@dataclass(frozen=True, slots=True)
class State:
    """Everything that decides the next action. Times are seconds of one monotonic clock."""

    wanted: str | None = None
    building: str | None = None
    building_since: float = 0.0
    building_forced: bool = False
    progress_at: float = 0.0  # when the running build last showed a sign of life
    silences: int = 0  # builds in a row that were stopped for showing none
    cancelling: bool = False
    built: tuple[str, str] | None = None  # (revision, image) that waits to be deployed
    deploying: str | None = None
    yielding: bool = False  # the running deploy was told to stop
    live: str | None = None
    failed: str | None = None  # the wanted revision, known to fail
    cancels: int = 0  # builds cancelled since the last one that ended by itself
    renewed: bool = False  # the tree was seen since the build began
    superseded: int = 0  # builds in a row that found a changed file although no scan finds a change
    troubles: int = 0  # failures in a row that were not the user's
    retry_at: float = 0.0
    lost_at: float = -STABLE_AFTER
    lost: tuple[str, str] | None = None  # (revision, image) that served last, while nothing serves
    crashes: int = 0  # live containers lost in a row, each within STABLE_AFTER of the one before
    hold: str = ""  # why nothing may begin: a git operation, a pause
    paused: bool = False
    forced: bool = False  # build although live, because somebody asked; kept until a build has answered


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
class CancelBuild:
    """Stop the running build: it is not wanted any more."""


@dataclass(frozen=True, slots=True)
class Deploy:
    """Make `image` live as `revision`."""

    revision: str
    image: str


@dataclass(frozen=True, slots=True)
class GiveWay:
    """Stop the running deploy, as soon as it only waits for its container: there is something newer."""


Action = Wait | Build | CancelBuild | Deploy | GiveWay


def decide(state: State, now: float, limits: BuildLimits = BuildLimits()) -> Action:
    """The one thing to do now."""
    if state.building and _pointless(state, now, limits):
        return CancelBuild()
    free = not state.paused and not state.hold
    if state.deploying:
        return _beside_deploy(state, now, free=free)
    if state.building:
        return Wait(until=_silent_at(state) if _can_be_silenced(state) else None)
    if state.built and free:
        return Deploy(*state.built)
    action: Action
    if free and _is_due(state):
        action = Build(state.wanted or "", forced=state.forced)
    elif state.lost:  # better than nothing, and no matter for a pause: it was live before
        action = Deploy(*state.lost)
    else:
        return Wait()
    return Wait(until=state.retry_at) if now < state.retry_at else action


def _beside_deploy(state: State, now: float, *, free: bool) -> Action:
    """What to do while a deploy runs: it may wait long, so a newer save is built meanwhile."""
    back = state.wanted == state.live is not None and state.wanted != state.deploying
    if not state.yielding and (back or (state.built and free)):
        return GiveWay()
    if state.building:
        return Wait(until=_silent_at(state) if _can_be_silenced(state) else None)
    same = state.wanted == state.deploying and not state.forced
    if same or not free or state.built or not _is_due(state):
        return Wait()
    if now < state.retry_at:
        return Wait(until=state.retry_at)
    return Build(state.wanted or "", forced=state.forced)


def _is_due(state: State) -> bool:
    """Whether the wanted revision has to be built: not live, not known to fail, not to be put back."""
    served = state.lost[0] if state.lost else None
    known = state.live, state.failed, served
    return state.wanted is not None and (state.forced or state.wanted not in known)


def _can_be_silenced(state: State) -> bool:
    """Whether the running build would make way if it showed no sign of life."""
    return state.building != state.wanted and not state.cancelling


def _silent_at(state: State) -> float:
    return state.progress_at + Backoff(first=SILENT, most=SILENT * 1024).pause(state.silences)


def _crashed(state: State, now: float, *, again: bool) -> State:
    """What served ended, or could not be put back: at first it is tried at once, then less and less often."""
    crashes = state.crashes + 1 if again else 0
    pause = RETRY.pause(crashes) if again else 0.0
    return replace(state, crashes=crashes, retry_at=now + pause, lost_at=now)


def _serving(state: State, revision: str | None) -> State:
    state = replace(state, live=revision, lost=None if revision else state.lost)
    return replace(state, built=None) if revision == state.wanted else state


def _known_to_fail(state: State, revision: str) -> State:
    return replace(state, failed=revision) if revision == state.wanted else state


def _pointless(state: State, now: float, limits: BuildLimits) -> bool:
    """Whether the running build should make way: for a newer save, or for whoever asked by hand."""
    if state.cancelling:
        return False
    if state.paused:
        return True
    asked = state.forced and state.building == state.wanted
    if asked and not state.building_forced:  # a rebuild begins at once, not after what runs already
        return True
    if state.wanted == state.live and not asked:  # there is nothing to build at all, or something else
        return True
    if state.building == state.wanted:
        return False
    quick = state.cancels < limits.max_cancels and now - state.building_since < limits.max_wait
    return quick or now >= _silent_at(state)


def transition(state: State, event: Input, now: float) -> State:  # noqa: PLR0912 - one case per input
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
            back = revision == state.live or (state.deploying == revision and state.built)
            return replace(state, built=None) if back else state
        case BuildBegun(revision, forced):
            return replace(
                state,
                building=revision,
                building_forced=forced,
                building_since=now,
                progress_at=now,
                cancelling=False,
                renewed=False,
            )
        case BuildProgressed():
            return replace(state, progress_at=now)
        case BuildCancelAsked():
            silent = state.building != state.wanted and now >= _silent_at(state)
            return replace(state, cancelling=True, silences=state.silences + silent)
        case BuildEnded(revision, image):
            # What was being cancelled and ended all the same would only keep the newer save waiting.
            late = state.cancelling and revision != state.wanted
            older = state.deploying == state.wanted != revision  # the tree went back while that goes live
            unwanted = (
                late
                or older
                or (state.wanted == state.live and not (state.forced and revision == state.wanted))
            )
            return replace(
                state,
                building=None,
                cancelling=False,
                cancels=state.cancels + 1 if late else 0,
                superseded=0,
                silences=0,
                forced=state.forced and not (revision == state.wanted and state.building_forced),
                built=None if unwanted else (revision, image),
            )
        case DeployBegun(revision):
            return replace(state, deploying=revision, built=None, yielding=False)
        case DeployCancelAsked():
            return replace(state, yielding=True)
        case DeployEnded(revision):
            failed = None if revision == state.wanted else state.failed
            # Only now the engine has done all of its part: where a build succeeds a start may still fail.
            state = replace(state, deploying=None, yielding=False, troubles=0)
            return replace(state, live=revision, failed=failed, lost=None)
        case Failed(revision, of_deploy=True):
            if state.lost and state.deploying == state.lost[0] == revision:
                state = _crashed(state, now, again=True)
            state = replace(_known_to_fail(state, revision), deploying=None, yielding=False)
            return replace(state, cancels=0, troubles=0)
        case Failed(revision):
            return replace(
                _known_to_fail(state, revision),
                building=None,
                cancelling=False,
                cancels=0,
                superseded=0,
                silences=0,
                forced=state.forced and not (revision == state.wanted and state.building_forced),
            )
        case RolledBack(revision, serving):
            return _serving(_known_to_fail(state, revision), serving)
        case Cancelled(of_deploy=True):
            return replace(state, deploying=None, yielding=False)
        case Cancelled(revision):
            if state.cancelling:
                newer = revision != state.wanted
                return replace(state, building=None, cancelling=False, cancels=state.cancels + newer)
            # The tree changed under the build. The next look will say so; until then this revision cannot be
            # built, and trying again at once would only find that out once more.
            superseded = 0 if state.renewed else state.superseded + 1
            pause = RETRY.first if superseded < SUPERSEDED_MOST else _SUPERSEDED_PAUSE
            return replace(state, building=None, retry_at=now + pause, superseded=superseded)
        case InfraFailed(of_deploy=of_deploy):
            state = replace(state, troubles=state.troubles + 1, retry_at=now + RETRY.pause(state.troubles))
            if of_deploy:
                return replace(state, deploying=None, yielding=False)
            return replace(state, building=None, cancelling=False, superseded=0)
        case ContainerExited(revision, image, excused):
            state = replace(state, live=None, lost=(revision, image))
            return _crashed(state, now, again=not excused and now - state.lost_at < STABLE_AFTER)
        case LiveChanged(revision):
            return _serving(state, revision)
        case HoldChanged(reason):
            return replace(state, hold=reason)
        case PauseAsked(paused):
            return replace(state, paused=paused)
        case RebuildAsked():
            return replace(state, forced=True, failed=None, retry_at=now)
        case EngineBack():
            # What ended when the engine did is no fault of the app's.
            return replace(state, retry_at=now, crashes=0, lost_at=now - STABLE_AFTER)
