"""What a build or deploy came to: pure functions from its result to an event, an outcome and a failure."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass, replace

from watcher.errors import (
    EngineTrouble,
    EngineUnavailable,
    Failure,
    RegistryTrouble,
    Superseded,
    UserError,
    WatcherError,
)
from watcher.observers import humanize
from watcher.observers.events import (
    BuildFinished,
    BuildOutcome,
    DeployFinished,
    DeployOutcome,
    EngineDown,
    Event,
    InternalError,
)
from watcher.reconcile.ports import Built, Deployed
from watcher.reconcile.state_machine import RETRY, SUPERSEDED_MOST, State
from watcher.reconcile.transition import transition
from watcher.reconcile.transition_events import (
    BuildBegun,
    BuildCancelled,
    BuildEnded,
    BuildEvent,
    BuildFailed,
    BuildInfraFailed,
    ContainerExited,
    DeployBegun,
    DeployCancelled,
    DeployEnded,
    DeployEvent,
    DeployFailed,
    DeployInfraFailed,
    TransitionEvent,
)


@dataclass(frozen=True, slots=True)
class Situation:
    """Where and when work ended. `by_hand`: a user cancelled it, not a newer save."""

    service: str
    state: State
    now: float
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class BuildVerdict:
    """The meaning of a build's result; `report` is an event to emit in addition."""

    event: BuildEvent
    outcome: BuildOutcome
    failure: Failure | None = None
    report: Event | None = None


@dataclass(frozen=True, slots=True)
class DeployVerdict:
    """The meaning of a deploy's result; `report` is an event to emit in addition."""

    event: DeployEvent
    outcome: DeployOutcome
    failure: Failure | None = None
    report: Event | None = None


def judge_build(revision: str, result: Built | BaseException, situation: Situation) -> BuildVerdict:
    """Return what the result of building `revision` means."""
    match result:
        case Built():
            outcome = BuildOutcome.REUSED if result.reused else BuildOutcome.BUILT
            return BuildVerdict(BuildEnded(revision, result.image), outcome)
        case asyncio.CancelledError() if situation.by_hand:
            failure = _cancelled_by_hand("build")
            return BuildVerdict(BuildFailed(revision), BuildOutcome.CANCELLED, failure)
        case asyncio.CancelledError():
            return BuildVerdict(BuildCancelled(revision), BuildOutcome.CANCELLED)
        case UserError():
            return BuildVerdict(BuildFailed(revision), BuildOutcome.FAILED, result.failure)
        case Superseded():
            return _judge_superseded(revision, result, situation)
        case _:
            failure, report = explain_error("build", result, situation)
            return BuildVerdict(BuildInfraFailed(revision), BuildOutcome.ERROR, failure, report)


def judge_deploy(revision: str, result: Deployed | BaseException, situation: Situation) -> DeployVerdict:
    """Return what the result of deploying `revision` means."""
    match result:
        case Deployed():
            return DeployVerdict(DeployEnded(revision), result.outcome)
        case asyncio.CancelledError() if situation.by_hand:
            failure = _cancelled_by_hand("deploy")
            return DeployVerdict(DeployFailed(revision), DeployOutcome.CANCELLED, failure)
        case asyncio.CancelledError():
            return DeployVerdict(DeployCancelled(revision), DeployOutcome.CANCELLED)
        case UserError():
            event = DeployFailed(revision)
            return DeployVerdict(
                event, DeployOutcome.FAILED, name_crash_loop(result.failure, event, situation)
            )
        case _:
            failure, report = explain_error("deploy", result, situation)
            return DeployVerdict(DeployInfraFailed(revision), DeployOutcome.ERROR, failure, report)


def build_finished(
    service: str, revision: str, result: object, verdict: BuildVerdict, *, seconds: float
) -> BuildFinished:
    """Return the event that ends a build of `seconds`."""
    built = result if isinstance(result, Built) else Built("")
    return BuildFinished(
        service=service,
        revision=revision,
        outcome=verdict.outcome,
        seconds=seconds,
        image=built.image,
        context_bytes=built.context_bytes,
        steps=built.steps,
        cached_steps=built.cached_steps,
        failure=verdict.failure,
    )


def deploy_finished(
    service: str, revision: str, image: str, result: object, verdict: DeployVerdict, *, seconds: float
) -> DeployFinished:
    """Return the event that ends a deploy of `seconds`."""
    deployed = result if isinstance(result, Deployed) else Deployed("", verdict.outcome)
    return DeployFinished(
        service=service,
        revision=revision,
        image=image,
        outcome=verdict.outcome,
        seconds=seconds,
        container=deployed.container,
        phases=deployed.phases,
        failure=verdict.failure,
    )


def name_broken_work(begun: BuildBegun | DeployBegun, error: BaseException | None) -> TransitionEvent:
    """Return the event for work that never reported its end; without an `error` it was cancelled."""
    build, revision = isinstance(begun, BuildBegun), begun.revision
    if error is None:
        return BuildCancelled(revision) if build else DeployCancelled(revision)
    return BuildInfraFailed(revision) if build else DeployInfraFailed(revision)


def _cancelled_by_hand(what: str) -> Failure:
    hint = "the next save builds again, and so does `watcher rebuild`"
    return Failure("cancelled", f"the {what} was cancelled by hand", hint=hint)


def _judge_superseded(revision: str, error: Superseded, situation: Situation) -> BuildVerdict:
    """Return a cancelled build; a bug if builds find a change again and again and no scan finds one."""
    event = BuildCancelled(revision)
    times = transition(situation.state, event, situation.now).superseded
    if times <= SUPERSEDED_MOST:
        return BuildVerdict(event, BuildOutcome.CANCELLED)
    text = f"{times} builds in a row were dropped ({error}), and no scan finds a change"
    failure = Failure("bug", text, hint="`watcher rebuild` tries again immediately; please report this")
    report = InternalError(service=situation.service, where="build", traceback=text)
    return BuildVerdict(BuildInfraFailed(revision), BuildOutcome.ERROR, failure, report)


def explain_timeout(seconds: float) -> Failure:
    """Return the failure of a build that took longer than `build.timeout`."""
    return Failure(
        "build",
        f"the build was ended because it took longer than {humanize.seconds(seconds)}",
        hint="build.timeout allows more (0: no end); `watcher rebuild` tries again",
    )


def explain_error(where: str, error: BaseException, situation: Situation) -> tuple[Failure, Event | None]:
    """Return the failure for an error that is not the user's, and an event to emit in addition."""
    pause = RETRY.pause(situation.state.infra_failures)
    match error:
        case EngineUnavailable():
            report = EngineDown(service=situation.service, reason=str(error), retry_in=pause)
            return Failure("engine", str(error)), report
        case EngineTrouble():
            text = f"{error}: the {where} is tried again in {humanize.seconds(pause)}"
            return Failure("engine", text, hint=error.hint), None
        case RegistryTrouble():
            text = f"{error}: the {where} is tried again in {humanize.seconds(pause)}"
            return Failure("engine", text, hint=error.hint), None
        case WatcherError():
            return Failure("engine", f"the {where} could not be carried out: {error}"), None
    text = "".join(traceback.format_exception(error))
    failure = Failure("bug", f"an error of the watcher itself in the {where}: {error!r}")
    return failure, InternalError(service=situation.service, where=where, traceback=text)


def name_crash_loop(failure: Failure, event: ContainerExited | DeployFailed, situation: Situation) -> Failure:
    """Return the failure, with the number of crashes and the next start if `event` continues a crash loop."""
    after = transition(situation.state, event, situation.now)
    if after.lost is None or after.crashes <= situation.state.crashes:
        return failure
    times, pause = after.crashes + 1, humanize.seconds(after.retry_at - situation.now)
    text = f"{failure.summary} ({times} times in a row: a crash loop; it is started again in {pause})"
    return replace(failure, summary=text)
