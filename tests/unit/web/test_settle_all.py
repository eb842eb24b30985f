"""Waiting for all services: the outcome is that of the worst, and nothing waits for what cannot come."""

from __future__ import annotations

import asyncio

import pytest

from tests.facts import missing
from watcher.cli.status_text import render_lines
from watcher.observers.events import (
    BuildStarted,
    ConfigurationRefused,
    DaemonStarted,
    DeployFinished,
    DeployOutcome,
    DeployStarted,
    DesiredChanged,
    Event,
    Held,
    RevisionStateChanged,
    ServiceRemoved,
)
from watcher.observers.status_board import StatusBoard
from watcher.reconcile.tree_watcher import NoLongerManaged
from watcher.web.stream import settle_all, settle_everything


def made(*events: Event) -> StatusBoard:
    board = StatusBoard()
    board.notify(DaemonStarted(version="1", project="/p", url="http://x/", services=("a", "b")))
    for service in ("a", "b"):
        board.notify(DesiredChanged(service=service, revision="r", changes=(), summary="", saved_at=0.0))
    for event in events:
        board.notify(event)
    return board


def live(service: str) -> tuple[Event, ...]:
    deployed = DeployFinished(
        service=service, revision="r", image="i", outcome=DeployOutcome.LIVE, seconds=1.0, container="c"
    )
    return state(service, live="r"), deployed


def state(service: str, *, live: str | None = None, failed: str | None = None) -> RevisionStateChanged:
    return RevisionStateChanged(service=service, desired="r", live=live, failed=failed, saved_at=0.0)


async def look(service: str) -> str:
    return "r"


async def test_all_are_live_when_each_is() -> None:
    board = made(*live("a"), *live("b"))
    async with asyncio.timeout(30):
        settled = await settle_all(board, ["a", "b"], look, 20.0)
    assert settled.outcome == "live"
    assert [(each.service, each.outcome) for each in settled.services] == [("a", "live"), ("b", "live")]


async def test_one_that_failed_decides_and_what_waits_for_it_is_not_waited_for() -> None:
    board = made(state("a", failed="r"))
    async with asyncio.timeout(30):
        settled = await settle_all(board, ["a", "b"], look, 3600.0)
    assert (settled.service, settled.outcome) == ("a", "failed")
    assert [(each.service, each.outcome) for each in settled.services] == [("a", "failed"), ("b", "timeout")]


async def test_a_service_whose_tree_is_not_known_yet_is_waited_for_until_the_time_is_over() -> None:
    board = StatusBoard()
    board.notify(DaemonStarted(version="1", project="/p", url="http://x/", services=("a",)))
    async with asyncio.timeout(30):
        settled = await settle_all(board, ["a"], look, 0.0)
    assert [(each.service, each.outcome) for each in settled.services] == [("a", "timeout")]


async def test_a_service_that_failed_is_waited_for_while_it_is_built_again() -> None:
    board = made(state("a", failed="r"), *live("b"), BuildStarted(service="a", revision="r"))
    task = asyncio.create_task(settle_all(board, ["a", "b"], look, 3600.0))
    for _ in range(20):  # turns of the loop: enough to hear of the failure
        await asyncio.sleep(0)
    assert not task.done()
    for event in live("a"):
        board.notify(event)
    async with asyncio.timeout(30):
        assert (await task).outcome == "live"


async def test_a_build_that_runs_is_waited_for_although_another_service_has_failed() -> None:
    board = made(state("a", failed="r"), BuildStarted(service="b", revision="r"))
    task = asyncio.create_task(settle_all(board, ["a", "b"], look, 3600.0))
    for _ in range(20):  # turns of the loop: enough to hear of the failure
        await asyncio.sleep(0)
    assert not task.done()
    for event in live("b"):
        board.notify(event)
    async with asyncio.timeout(30):
        settled = await task
    assert [(each.service, each.outcome) for each in settled.services] == [("a", "failed"), ("b", "live")]


@pytest.mark.parametrize(
    ("work", "outcome"),
    [
        ((DeployStarted(service="b", revision="r", image="i"),), "live"),
        ((Held(service="b", reason="waiting for a build slot: a builds"),), "live"),
        (
            (
                DeployStarted(service="b", revision="r", image="i"),
                Held(service="b", reason="waiting until a is live, as depends_on asks"),
            ),
            "timeout",
        ),
    ],
)
async def test_work_that_ends_by_itself_is_waited_for_although_another_service_has_failed(
    work: tuple[Event, ...], outcome: str
) -> None:
    board = made(state("a", failed="r"), *work)
    task = asyncio.create_task(settle_all(board, ["a", "b"], look, 3600.0, idle_seconds=0.05, poll=0.01))
    done, _ = await asyncio.wait([task], timeout=0.5)
    assert bool(done) == (outcome == "timeout")
    for event in (Held(service="b", reason=""), *live("b")):
        board.notify(event)
    async with asyncio.timeout(30):
        settled = await task
    assert [each.outcome for each in settled.services] == ["failed", outcome]
    assert ("a is live" in settled.services[1].waiting) is (outcome == "timeout")


async def test_a_refused_change_fails_those_that_it_concerns_and_a_wait_for_all() -> None:
    board = made(*live("a"), *live("b"))
    board.notify(ConfigurationRefused(reason="the port is taken", services=("b",)))
    refused = [(service.name, service.refused, service.phase) for service in board.status.services]
    assert refused == [("a", "", "live"), ("b", "the port is taken", "failed")]
    settled = await settle_all(board, ["a", "b"], look, 20.0)
    assert (settled.service, settled.outcome) == ("b", "failed")
    assert [each.outcome for each in settled.services] == ["live", "failed"]
    board.notify(ConfigurationRefused(reason="services.c.build: no such folder", services=()))
    assert [service.phase for service in board.status.services] == ["live", "live"]
    settled = await settle_all(board, ["a", "b"], look, 20.0)
    assert (settled.service, settled.outcome) == ("", "failed")
    assert settled.failure is not None
    assert "services.c.build" in settled.failure.summary
    assert any(
        missing(line, "configuration", "refused", "services.c.build", "no such folder") == []
        for line in render_lines(board.status, 0.0)
    )
    board.notify(ConfigurationRefused(reason=""))
    assert (await settle_all(board, ["a", "b"], look, 20.0)).outcome == "live"


async def test_a_service_that_leaves_during_the_wait_is_not_waited_for() -> None:
    board = made(*live("a"))

    async def look_and_remove(service: str) -> str:
        board.notify(ServiceRemoved(service="b"))
        if service == "b":
            raise NoLongerManaged("b is no longer managed")
        return "r"

    settled = await settle_everything(board, ["a", "b"], look_and_remove, 20.0)
    assert (settled.outcome, [each.service for each in settled.services]) == ("live", ["a"])
    waiting = made(*live("a"))
    task = asyncio.create_task(settle_everything(waiting, ["a", "b"], look, 3600.0))
    await asyncio.wait([task], timeout=0.05)
    waiting.notify(ServiceRemoved(service="b"))
    async with asyncio.timeout(30):
        settled = await task
    assert (settled.outcome, [each.service for each in settled.services]) == ("live", ["a"])


@pytest.mark.parametrize("names", [["a"], ["a", "b"]])
async def test_a_service_that_comes_during_the_wait_is_waited_for_too(names: list[str]) -> None:
    board = made(*live("a"), *live("b"))
    if names == ["a"]:
        board.notify(ServiceRemoved(service="b"))

    async def look_and_add(service: str) -> str:
        board.notify(DesiredChanged(service="c", revision="r", changes=(), summary="", saved_at=0.0))
        return "r"

    task = asyncio.create_task(settle_everything(board, names, look_and_add, 3600.0))
    done, _ = await asyncio.wait([task], timeout=0.2)
    assert not done
    for event in live("c"):
        board.notify(event)
    async with asyncio.timeout(30):
        settled = await task
    assert settled.outcome == "live"
    assert [each.service for each in settled.services] == [*names, "c"]
