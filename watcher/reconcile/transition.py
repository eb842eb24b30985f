"""The state after an event: pure, one small function for each kind of event."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from watcher.reconcile.state_machine import (
    RETRY,
    STABLE_AFTER,
    SUPERSEDED_MOST,
    SUPERSEDED_PAUSE,
    State,
    silent_at,
)
from watcher.reconcile.transition_events import (
    BuildBegun,
    BuildCancelled,
    BuildCancelRequested,
    BuildEnded,
    BuildEvent,
    BuildFailed,
    BuildInfraFailed,
    BuildProgressed,
    ContainerEvent,
    ContainerExited,
    DeployBegun,
    DeployCancelled,
    DeployCancelRequested,
    DeployEnded,
    DeployEvent,
    DeployFailed,
    DeployInfraFailed,
    EngineRecovered,
    HoldChanged,
    LastGoodFound,
    LiveChanged,
    OutsideEvent,
    PauseChanged,
    RebuildRequested,
    RolledBack,
    TransitionEvent,
    TreeScanned,
)


def transition(state: State, event: TransitionEvent, now: float) -> State:
    """Return the state after `event`, which happened at `now` (seconds of the state's clock)."""
    if isinstance(event, BuildEvent):
        return _after_build(state, event, now)
    if isinstance(event, DeployEvent):
        return _after_deploy(state, event, now)
    if isinstance(event, ContainerEvent):
        return _after_container(state, event, now)
    return _after_outside(state, event, now)


def _after_build(state: State, event: BuildEvent, now: float) -> State:
    match event:
        case BuildBegun(revision, forced):
            started = replace(state, building=revision, building_forced=forced, building_since=now)
            return replace(started, progress_at=now, cancelling=False, rescanned=False)
        case BuildProgressed():
            return replace(state, progress_at=now)
        case BuildCancelRequested():
            silent = state.building != state.desired and now >= silent_at(state)
            return replace(state, cancelling=True, silences=state.silences + silent)
        case BuildEnded(revision, image):
            return _build_ended(state, revision, image)
        case BuildFailed(revision):
            return replace(_answered(_known_to_fail(state, revision), revision), cancels=0)
        case BuildCancelled(revision):
            return _build_cancelled(state, revision, now)
        case BuildInfraFailed():
            return replace(_retry_later(state, now), building=None, cancelling=False, superseded=0)
        case _:
            assert_never(event)


def _after_deploy(state: State, event: DeployEvent, now: float) -> State:
    match event:
        case DeployBegun(revision):
            return replace(state, deploying=revision, built=None, yielding=False)
        case DeployCancelRequested():
            return replace(state, yielding=True)
        case DeployEnded(revision):
            failed = None if revision == state.desired else state.failed
            # Only now has the engine done all of its part: after a good build a start can still fail.
            state = replace(state, deploying=None, yielding=False, infra_failures=0)
            return replace(state, live=revision, failed=failed, lost=None, last_good=None)
        case DeployFailed(revision):
            if state.lost and state.deploying == state.lost[0] == revision:
                state = _crashed(state, now, again=True)
            if state.last_good and state.last_good[0] == revision:
                state = replace(state, last_good=None)
            state = replace(_known_to_fail(state, revision), deploying=None, yielding=False)
            return replace(state, cancels=0, infra_failures=0)
        case DeployCancelled():
            return replace(state, deploying=None, yielding=False)
        case DeployInfraFailed():
            return replace(_retry_later(state, now), deploying=None, yielding=False)
        case _:
            assert_never(event)


def _after_container(state: State, event: ContainerEvent, now: float) -> State:
    match event:
        case RolledBack(revision, serving):
            return _live_changed(_known_to_fail(state, revision), serving)
        case ContainerExited(revision, image, excused):
            state = replace(state, live=None, lost=(revision, image))
            return _crashed(state, now, again=not excused and now - state.lost_at < STABLE_AFTER)
        case LiveChanged(revision):
            return _live_changed(state, revision)
        case LastGoodFound(revision, image):
            return replace(state, last_good=(revision, image))
        case _:
            assert_never(event)


def _after_outside(state: State, event: OutsideEvent, now: float) -> State:
    match event:
        case TreeScanned(revision):
            return _tree_scanned(state, revision, now)
        case HoldChanged(reason):
            return replace(state, hold=reason)
        case PauseChanged(paused):
            return replace(state, paused=paused)
        case RebuildRequested():
            return replace(state, forced=True, failed=None, retry_at=now)
        case EngineRecovered():
            # A container that exited together with the engine is not the app's fault.
            return replace(state, retry_at=now, crashes=0, lost_at=now - STABLE_AFTER)
        case _:
            assert_never(event)


def _tree_scanned(state: State, revision: str, now: float) -> State:
    state = replace(state, rescanned=True)
    if revision == state.desired:
        # The snapshot now holds the change that a build found.
        return replace(state, superseded=0, retry_at=now) if state.superseded else state
    # Another tree can remove the cause of a pending retry, so it is tried immediately.
    state = replace(state, desired=revision, failed=None, retry_at=now, superseded=0)
    # A built image that waits is newer than the live one and can go live, unless the tree went back.
    back = revision == state.live or (state.deploying == revision and state.built)
    return replace(state, built=None) if back else state


def _build_ended(state: State, revision: str, image: str) -> State:
    # A build that ended while it was being cancelled would only delay the newer save.
    late = state.cancelling and revision != state.desired
    older = state.deploying == state.desired != revision  # the tree went back while that goes live
    asked = state.forced and revision == state.desired
    unwanted = late or older or (state.desired == state.live and not asked)
    state = replace(
        state, cancels=state.cancels + 1 if late else 0, built=None if unwanted else (revision, image)
    )
    if state.last_good and state.last_good[1] == image:  # it is deployed as what it is now
        state = replace(state, last_good=None)
    return _answered(state, revision)


def _answered(state: State, revision: str) -> State:
    """Return the state after a build that ended by itself, with an image or with a failure."""
    forced = state.forced and not (revision == state.desired and state.building_forced)
    return replace(state, building=None, cancelling=False, superseded=0, silences=0, forced=forced)


def _build_cancelled(state: State, revision: str, now: float) -> State:
    if state.cancelling:
        newer = revision != state.desired
        return replace(state, building=None, cancelling=False, cancels=state.cancels + newer)
    # The tree changed under the build. Until the next scan this revision cannot be built, and an immediate
    # retry would only find the same change again.
    superseded = 0 if state.rescanned else state.superseded + 1
    pause = RETRY.first if superseded < SUPERSEDED_MOST else SUPERSEDED_PAUSE
    return replace(state, building=None, retry_at=now + pause, superseded=superseded)


def _retry_later(state: State, now: float) -> State:
    """Return the state after a failure that was not the user's."""
    retry_at = now + RETRY.pause(state.infra_failures)
    return replace(state, infra_failures=state.infra_failures + 1, retry_at=retry_at)


def _crashed(state: State, now: float, *, again: bool) -> State:
    """Return the state after a container exited or could not be restored; `again`: soon after the last."""
    crashes = state.crashes + 1 if again else 0
    pause = RETRY.pause(crashes) if again else 0.0
    return replace(state, crashes=crashes, retry_at=now + pause, lost_at=now)


def _live_changed(state: State, revision: str | None) -> State:
    if revision:
        state = replace(state, lost=None, last_good=None)
    state = replace(state, live=revision)
    return replace(state, built=None) if revision == state.desired else state


def _known_to_fail(state: State, revision: str) -> State:
    return replace(state, failed=revision) if revision == state.desired else state
