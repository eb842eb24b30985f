"""What the result of a build or deploy means: the event for the loop, the outcome, what the user reads."""

from __future__ import annotations

import asyncio

import pytest

from watcher.errors import (
    EngineTrouble,
    EngineUnavailable,
    Failure,
    RegistryTrouble,
    Superseded,
    UserError,
    WatcherError,
)
from watcher.observers.events import BuildOutcome, DeployOutcome, EngineDown, InternalError
from watcher.reconcile.ports import Built, Deployed
from watcher.reconcile.state_machine import RETRY, SUPERSEDED_MOST, State
from watcher.reconcile.transition_events import (
    BuildCancelled,
    BuildEnded,
    BuildFailed,
    BuildInfraFailed,
    DeployCancelled,
    DeployEnded,
    DeployFailed,
    DeployInfraFailed,
)
from watcher.reconcile.verdicts import Situation, explain_error, explain_timeout, judge_build, judge_deploy

NOW = Situation("web", State(desired="r", building="r"), 100.0)
BY_HAND = Situation("web", State(desired="r", building="r"), 100.0, by_hand=True)
FAULT = Failure("compile", "main.go:1: no", hint="mend it")


@pytest.mark.parametrize(
    ("result", "event", "outcome"),
    [
        (Built("i"), BuildEnded("r", "i"), BuildOutcome.BUILT),
        (Built("i", reused=True), BuildEnded("r", "i"), BuildOutcome.REUSED),
        (asyncio.CancelledError(), BuildCancelled("r"), BuildOutcome.CANCELLED),
        (Superseded("main.go changed"), BuildCancelled("r"), BuildOutcome.CANCELLED),
    ],
)
def test_a_build_that_is_nobodys_fault(result: object, event: object, outcome: BuildOutcome) -> None:
    verdict = judge_build("r", result, NOW)  # type: ignore[arg-type]
    assert (verdict.event, verdict.outcome, verdict.failure, verdict.report) == (event, outcome, None, None)


def test_a_deploy_that_is_nobodys_fault() -> None:
    adopted = judge_deploy("r", Deployed("c", DeployOutcome.ADOPTED, ()), NOW)
    assert (adopted.event, adopted.outcome, adopted.failure) == (
        DeployEnded("r"),
        DeployOutcome.ADOPTED,
        None,
    )
    cancelled = judge_deploy("r", asyncio.CancelledError(), NOW)
    assert (cancelled.event, cancelled.outcome, cancelled.failure) == (
        DeployCancelled("r"),
        DeployOutcome.CANCELLED,
        None,
    )


def test_what_is_cancelled_by_hand_has_failed_until_the_next_save() -> None:
    build, deploy = (judge("r", asyncio.CancelledError(), BY_HAND) for judge in (judge_build, judge_deploy))
    assert (build.event, build.outcome) == (BuildFailed("r"), BuildOutcome.CANCELLED)
    assert (deploy.event, deploy.outcome) == (DeployFailed("r"), DeployOutcome.CANCELLED)
    for verdict, what in ((build, "build"), (deploy, "deploy")):
        assert verdict.failure
        assert verdict.failure.kind == "cancelled"
        assert what in verdict.failure.summary


def test_a_fault_of_the_user_is_shown_as_it_is() -> None:
    build, deploy = (judge("r", UserError(FAULT), NOW) for judge in (judge_build, judge_deploy))
    assert (build.event, build.outcome, build.failure) == (BuildFailed("r"), BuildOutcome.FAILED, FAULT)
    assert (deploy.event, deploy.outcome, deploy.failure) == (DeployFailed("r"), DeployOutcome.FAILED, FAULT)


TROUBLES = [
    (EngineUnavailable("nobody is at home"), "engine", "nobody is at home", EngineDown),
    (EngineTrouble("no space left", "remove something"), "engine", "no space left", None),
    (RegistryTrouble("the registry is silent"), "engine", "the registry is silent", None),
    (WatcherError("the daemon said no"), "engine", "the daemon said no", None),
    (ZeroDivisionError("division by zero"), "bug", "division by zero", InternalError),
]


@pytest.mark.parametrize(("error", "kind", "said", "report"), TROUBLES)
def test_trouble_of_others_is_tried_again_and_named(
    error: Exception, kind: str, said: str, report: type | None
) -> None:
    build, deploy = judge_build("r", error, NOW), judge_deploy("r", error, NOW)
    assert (build.event, build.outcome) == (BuildInfraFailed("r"), BuildOutcome.ERROR)
    assert (deploy.event, deploy.outcome) == (DeployInfraFailed("r"), DeployOutcome.ERROR)
    for verdict in (build, deploy):
        assert verdict.failure
        assert verdict.failure.kind == kind
        assert said in verdict.failure.summary
        assert verdict.failure.hint == getattr(error, "hint", "")
        assert type(verdict.report) is (report or type(None))
    if kind != "engine" or report is None:
        assert build.failure
        assert deploy.failure
        assert "build" in build.failure.summary
        assert "deploy" in deploy.failure.summary


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_the_pause_until_the_next_try_grows_with_the_failures(failures: int) -> None:
    situation = Situation("web", State(infra_failures=failures), 100.0)
    _, report = explain_error("build", EngineUnavailable("away"), situation)
    assert isinstance(report, EngineDown)
    assert (report.service, report.reason, report.retry_in) == ("web", "away", RETRY.pause(failures))


def test_a_bug_has_its_place_and_traceback() -> None:
    try:
        raise ZeroDivisionError("oh")
    except ZeroDivisionError as error:
        _, report = explain_error("build", error, NOW)
    assert isinstance(report, InternalError)
    assert (report.service, report.where) == ("web", "build")
    assert "test_a_bug_has_its_place_and_traceback" in report.traceback


def test_builds_that_are_dropped_again_and_again_are_a_bug() -> None:
    for before in range(SUPERSEDED_MOST + 1):
        situation = Situation("web", State(desired="r", building="r", superseded=before), 100.0)
        verdict = judge_build("r", Superseded("main.go changed"), situation)
        if before < SUPERSEDED_MOST:
            assert verdict.outcome is BuildOutcome.CANCELLED
        else:
            assert (verdict.event, verdict.outcome) == (BuildInfraFailed("r"), BuildOutcome.ERROR)
            assert verdict.failure
            assert verdict.failure.kind == "bug"
            assert "main.go changed" in verdict.failure.summary
            assert verdict.failure.summary.startswith(str(SUPERSEDED_MOST + 1))
            assert isinstance(verdict.report, InternalError)


def test_a_build_that_took_too_long_names_its_limit_and_setting() -> None:
    failure = explain_timeout(90)
    assert failure.kind == "build"
    assert "1 min 30 s" in failure.summary or "90 s" in failure.summary
    assert "build.timeout" in failure.hint
