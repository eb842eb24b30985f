"""What to do next for one service: a pure state machine.

`transition` (in `transition.py`) folds an event into the `State`; `decide` returns the next action. Both are
functions of their arguments alone, time included, so a test drives ten thousand histories through them in
seconds. The loop that feeds them is `reconciler.py`.

Revisions are compared for equality only; the desired one is always that of the newest scan.
"""

from __future__ import annotations

from dataclasses import dataclass

from watcher.backoff import Backoff

RETRY = Backoff(first=0.5, most=30.0)
"""Seconds before a retry after a failure that was not the user's."""
SUPERSEDED_MOST = 2
"""Builds in a row that can find a changed file of which no scan knows. One more is reported as a bug."""
SUPERSEDED_PAUSE = 4.0
"""Seconds before the last of them: a scan can wait for a burst of changes to end, and has to come first."""
SILENT_AFTER = 30.0
"""Seconds without a sign of life after which a build is cancelled for a newer save, however long it has run.

Twice as long after each build that was cancelled for this: compiling is silent, and must end once.
"""
STABLE_AFTER = 60.0  # seconds a container must have lived for its exit not to count as part of a crash loop


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """How long newer saves can cancel builds, and how long a build can take."""

    max_cancels: int = 3
    max_wait: float = 10.0
    build_timeout: float = 1800.0  # seconds; 0: no limit


@dataclass(frozen=True, slots=True)
class State:
    """Everything that decides the next action. Times are seconds of one monotonic clock."""

    desired: str | None = None
    building: str | None = None
    building_since: float = 0.0
    building_forced: bool = False
    progress_at: float = 0.0  # when the running build last showed a sign of life
    silences: int = 0  # builds in a row that were cancelled for showing none
    cancelling: bool = False
    built: tuple[str, str] | None = None  # (revision, image) that waits to be deployed
    deploying: str | None = None
    yielding: bool = False  # the running deploy is being cancelled
    live: str | None = None
    failed: str | None = None  # the desired revision, known to fail
    cancels: int = 0  # builds cancelled since the last one that ended by itself
    rescanned: bool = False  # a scan found a new snapshot since the build started
    superseded: int = 0  # builds in a row that found a changed file although no scan finds a change
    infra_failures: int = 0  # failures in a row that were not the user's
    retry_at: float = 0.0
    lost_at: float = -STABLE_AFTER
    lost: tuple[str, str] | None = None  # (revision, image) that served last, while nothing serves
    last_good: tuple[str, str] | None = None  # the same of an earlier daemon, for a tree that cannot be built
    crashes: int = 0  # live containers lost in a row, each within STABLE_AFTER of the one before
    hold: str = ""  # why no build starts: a git operation
    paused: bool = False
    forced: bool = False  # a rebuild was requested, and no build has answered the request yet

    @property
    def needed_revisions(self) -> frozenset[str | None]:
        """Return the revisions whose trees are still needed."""
        built = self.built[0] if self.built else None
        return frozenset((self.desired, self.building, self.deploying, built))


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until` (monotonic seconds; None: before the next event)."""

    until: float | None = None


@dataclass(frozen=True, slots=True)
class Build:
    """Build `revision`; `forced`: even if an image of it exists."""

    revision: str
    forced: bool = False


@dataclass(frozen=True, slots=True)
class CancelBuild:
    """Cancel the running build: its result is not needed any more."""


@dataclass(frozen=True, slots=True)
class Deploy:
    """Make `image` live as `revision`."""

    revision: str
    image: str


@dataclass(frozen=True, slots=True)
class CancelDeploy:
    """Cancel the running deploy as soon as it only waits for its container: there is something newer."""


Action = Wait | Build | CancelBuild | Deploy | CancelDeploy


def decide(state: State, now: float, limits: BuildLimits = BuildLimits()) -> Action:
    """Return the one thing to do now."""
    if state.building and _should_cancel(state, now, limits):
        return CancelBuild()
    free = not state.paused and not state.hold
    if state.deploying:
        return _decide_during_deploy(state, now, free=free)
    if state.building:
        return Wait(until=silent_at(state) if _can_become_silent(state) else None)
    if state.built and free:
        return Deploy(*state.built)
    action: Action
    if state.last_good and _cannot_be_built(state):
        action = Deploy(*state.last_good)
    elif free and _must_build(state):
        action = Build(state.desired or "", forced=state.forced)
    elif state.lost:  # better than nothing, and independent of a pause: it was live before
        action = Deploy(*state.lost)
    else:
        return Wait()
    return Wait(until=state.retry_at) if now < state.retry_at else action


def _decide_during_deploy(state: State, now: float, *, free: bool) -> Action:
    """Return what to do while a deploy runs: it can take long, so a newer save is built in the background."""
    back = state.desired == state.live is not None and state.desired != state.deploying
    if not state.yielding and (back or (state.built and free)):
        return CancelDeploy()
    if state.building:
        return Wait(until=silent_at(state) if _can_become_silent(state) else None)
    same = state.desired == state.deploying and not state.forced
    if same or not free or state.built or not _must_build(state):
        return Wait()
    if now < state.retry_at:
        return Wait(until=state.retry_at)
    return Build(state.desired or "", forced=state.forced)


def _must_build(state: State) -> bool:
    """Return whether the desired revision needs a build: it is not live, not failed, not to be restored."""
    served = state.lost[0] if state.lost else None
    known = state.live, state.failed, served
    return state.desired is not None and (state.forced or state.desired not in known)


def _cannot_be_built(state: State) -> bool:
    """Return whether a build of the desired revision, or its deploy, has failed while nothing is live.

    After the first failure that was not the user's, too, but not after a second one: that was perhaps the
    deploy of the last good image, which must not keep builds from being tried.
    """
    if state.desired is None or state.live is not None:
        return False
    return state.failed == state.desired or state.infra_failures == 1


def _should_cancel(state: State, now: float, limits: BuildLimits) -> bool:
    """Return whether to cancel the running build: for a newer save, a pause or a rebuild."""
    if state.cancelling:
        return False
    if state.paused:
        return True
    requested = state.forced and state.building == state.desired
    if requested and not state.building_forced:  # a rebuild starts now, not after the running build
        return True
    if state.desired == state.live and not requested:  # nothing needs a build
        return True
    if state.building == state.desired:
        return False
    quick = state.cancels < limits.max_cancels and now - state.building_since < limits.max_wait
    return quick or now >= silent_at(state)


def _can_become_silent(state: State) -> bool:
    """Return whether the running build would be cancelled if it showed no sign of life."""
    return state.building != state.desired and not state.cancelling


def silent_at(state: State) -> float:
    """Return when the running build counts as silent, unless it shows a sign of life."""
    return state.progress_at + Backoff(first=SILENT_AFTER, most=SILENT_AFTER * 1024).pause(state.silences)
