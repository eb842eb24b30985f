"""Keeping the engine's build cache small, on a real engine: only records that the test made can be hit."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from tests.leftovers import records, remove_since
from watcher.builder.connection import BuildkitConnection
from watcher.buildkit import MemorySource, SolveRequest, UsageInfo
from watcher.engine import DockerEngine
from watcher.observers.events import BuildCachePruned, Event
from watcher.prune.build_cache import BuildCache, TrimResult

pytestmark = pytest.mark.engine


class Told:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
async def connection() -> AsyncIterator[BuildkitConnection]:
    engine = await DockerEngine.open(None)
    made = BuildkitConnection(engine.endpoint, engine)
    yield made
    await made.close()
    await engine.close()


async def made(connection: BuildkitConnection) -> tuple[UsageInfo, UsageInfo]:
    """A step's record and that of a cache mount, both new."""
    client, mark = await connection.client(), uuid.uuid4().hex
    for run in (f"--mount=type=cache,target=/c-{mark} touch /c-{mark}/x", f"echo {mark} >/x"):
        source = MemorySource({"Dockerfile": f"FROM alpine\nRUN {run}\n".encode()})
        await client.solve(
            SolveRequest(context=source, dockerfile=source, shared_key=mark, exporter=""), lambda _: None
        )
    while True:  # as long as the build holds a step, its record goes by another id
        mine = [each for each in await client.disk_usage() if mark in each.description]
        if not any(each.in_use for each in mine):
            break
        await asyncio.sleep(0.02)
    (mount,) = [each for each in mine if each.kind == "exec.cachemount"]
    step = next(each for each in mine if each.kind == "regular" and f"echo {mark}" in each.description)
    return step, mount


async def ids(connection: BuildkitConnection) -> set[str]:
    return {each.id for each in await (await connection.client()).disk_usage()}


def cache(
    connection: BuildkitConnection, told: Told, record: UsageInfo, *, keep: int, unused: float
) -> BuildCache:
    only = (f"id=={record.id}",)
    return BuildCache(connection, told, service="s", keep=keep, unused=unused, only=only)


async def test_what_was_used_lately_stays(connection: BuildkitConnection) -> None:
    told = Told()
    step, _ = await made(connection)
    assert await cache(connection, told, step, keep=0, unused=3600).trim() == TrimResult(0, 0)
    assert step.id in await ids(connection)
    assert told.events == []


async def test_what_the_size_leaves_room_for_stays(connection: BuildkitConnection) -> None:
    step, _ = await made(connection)
    assert await cache(connection, Told(), step, keep=1 << 50, unused=0).trim() == TrimResult(0, 0)
    assert step.id in await ids(connection)


async def test_what_is_neither_goes_and_is_told_but_no_cache_mount(connection: BuildkitConnection) -> None:
    told = Told()
    step, mount = await made(connection)
    assert await cache(connection, told, mount, keep=0, unused=0).trim() == TrimResult(0, 0)
    assert (await cache(connection, told, mount, keep=0, unused=0).measure()).over == 0
    if step.shared:  # the containerd store says so of steps that no image has, and then they stay
        pytest.skip("the engine takes the step's record for one that an image shares")
    assert (await cache(connection, told, step, keep=0, unused=3600).measure()).over == 0
    assert (await cache(connection, told, step, keep=1 << 50, unused=0).measure()).over == 0
    foretold = await cache(connection, told, step, keep=0, unused=0).measure()
    done = await cache(connection, told, step, keep=0, unused=0).trim()
    assert foretold.holds >= foretold.over == done.freed
    left = await ids(connection)
    assert done.records == 1
    assert step.id not in left
    assert mount.id in left
    (event,) = told.events
    assert isinstance(event, BuildCachePruned)
    assert (event.records, event.freed) == (1, done.freed)
    await (await connection.client()).prune([f"id=={mount.id}"])


async def test_the_tests_remove_the_records_that_they_added_and_no_other(
    connection: BuildkitConnection,
) -> None:
    client = await connection.client()
    older, _ = await made(connection)
    before = await records(client)
    step, mount = await made(connection)
    added = await records(client) - before
    gone = await remove_since(client, before)
    left = await records(client)
    assert before <= left
    assert older.id in left
    assert mount.id not in left
    assert (step.id in left) == step.shared
    assert gone.records == len(added - left)
    assert (await remove_since(client, left)).records == 0
