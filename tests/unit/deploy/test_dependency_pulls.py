"""A registry that refuses, breaks off or is silent: what can pass is tried again, and nothing else waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.facts import missing
from tests.unit.deploy.test_dependencies import Rig, until
from watcher.backoff import Backoff
from watcher.deploy.dependency_watch import DependencyWatch
from watcher.engine import EngineError, PullProgress
from watcher.errors import EngineTrouble, EngineUnavailable, RegistryTrouble, UserError
from watcher.observers.events import DependencyChanged

TEXT = """
  api: {build: ., depends_on: [db, mail]}
  db: {image: slow, depends_on: [cache]}
  cache: {image: cache}
  mail: {image: mail}
"""
AT_ONCE = Backoff(first=0.001, most=0.001)
PASSING = [
    'Get "https://registry-1.docker.io/v2/": net/http: TLS handshake timeout',
    'Get "http://127.0.0.1:5000/v2/": context deadline exceeded',
    "unexpected EOF",
    "nothing arrived for 300 s",
    "dial tcp: lookup registry.example on 127.0.0.11:53: no such host",
    "received unexpected HTTP status: 503 Service Unavailable",
]
FINAL = [
    "pull access denied for slow, repository does not exist or may require 'docker login'",
    "unauthorized: authentication required",
    "manifest for slow:latest not found: manifest unknown: manifest unknown",
]


class Registry:
    """Gives out the image `slow` after `errors`, one at each pull."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.errors: list[Exception] = []
        self.pulls = 0
        self.progress: list[PullProgress] = []
        self.silent: asyncio.Event | None = None

    async def pull(self, ref: str, *, progress: object = None, **_: object) -> None:
        self.pulls += 1
        for each in self.progress:
            assert callable(progress)
            progress(each)
        if self.silent:
            await self.silent.wait()
        if self.errors:
            raise self.errors.pop(0)
        self._rig.engine.add_image(tags=(ref,))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path)
    made.images["slow"] = ""
    made.load(TEXT)
    return made


@pytest.fixture
def registry(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Registry:
    made = Registry(rig)
    monkeypatch.setattr(rig.engine, "pull", made.pull)
    return made


@contextlib.asynccontextmanager
async def watching(rig: Rig) -> AsyncIterator[DependencyWatch]:
    watch = DependencyWatch(rig.dependencies, rig.engine, rig, AT_ONCE, AT_ONCE)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def reasons(rig: Rig, state: str) -> list[str]:
    return [e.reason for e in rig.events if isinstance(e, DependencyChanged) and e.state == state]


@pytest.mark.parametrize("why", PASSING)
async def test_a_pull_that_fails_for_a_passing_reason_is_tried_again(
    rig: Rig, registry: Registry, why: str
) -> None:
    registry.errors = [EngineError(why), EngineError(why, 500)]
    async with watching(rig):
        await until(lambda: rig.states("db")[-1:] == ["running"])
    assert registry.pulls == 3
    assert await rig.names() == ["shop-cache-1", "shop-db-1", "shop-mail-1"]
    said = [line for line in rig.lines if "cannot be pulled" in line]
    assert len(said) == 1, "the same reason is said once"
    assert said[0].startswith(f"db: its image slow cannot be pulled: {why}; ")
    assert "it is tried again" in said[0]
    assert reasons(rig, "broken")[0] == f"its image slow cannot be pulled: {why}"


@pytest.mark.parametrize("why", FINAL)
async def test_what_a_registry_refuses_for_good_is_not_asked_again(
    rig: Rig, registry: Registry, why: str
) -> None:
    """A wrong password that is repeated can lock the account."""
    registry.errors = [EngineError(why)] * 9
    async with watching(rig) as watch:
        await until(lambda: watch._bringing_up is not None and watch._bringing_up.done())
        assert registry.pulls == 1
    with pytest.raises(UserError) as caught:
        await rig.dependencies.require("api")
    assert missing(caught.value.failure.summary, "api", "db", "image slow", "cannot be pulled", why) == []
    assert caught.value.failure.hint
    assert registry.pulls == 2, "a deploy asks again: the user may have logged in"


async def test_a_deploy_is_tried_again_when_the_registry_did_not_answer(rig: Rig, registry: Registry) -> None:
    registry.errors = [EngineError("unexpected EOF")]
    with pytest.raises(
        RegistryTrouble, match="api needs db: its image slow cannot be pulled: unexpected EOF"
    ):
        await rig.dependencies.require("api")
    await rig.dependencies.require("api")
    assert rig.states("db")[-1] == "running"


async def test_a_full_disk_is_no_fault_of_the_registry(rig: Rig, registry: Registry) -> None:
    registry.errors = [EngineError("write /var/lib/docker/tmp/x: no space left on device")]
    with pytest.raises(EngineTrouble, match="no space left on device"):
        await rig.dependencies.require("api")


async def test_an_engine_that_was_away_at_the_start_is_asked_again(rig: Rig, registry: Registry) -> None:
    registry.errors = [EngineUnavailable("the engine restarts")]
    async with watching(rig):
        await until(lambda: rig.states("db")[-1:] == ["running"])


async def test_another_try_leaves_alone_what_was_stopped_on_purpose(rig: Rig, registry: Registry) -> None:
    registry.silent = asyncio.Event()
    registry.errors = [EngineError("unexpected EOF")]
    async with watching(rig):
        await until(lambda: bool(registry.pulls) and rig.states("mail")[-1:] == ["running"])
        rig.engine.stop_by_hand((await rig.box("shop-mail-1")).id)
        await until(lambda: rig.states("mail")[-1] == "stopped")
        registry.silent.set()
        await until(lambda: rig.states("db")[-1:] == ["running"])
        assert not (await rig.box("shop-mail-1")).running


async def test_a_silent_registry_holds_up_no_other_service_nor_the_end(rig: Rig, registry: Registry) -> None:
    registry.silent = asyncio.Event()
    registry.progress = [
        PullProgress(0, 0, 0.5),
        PullProgress(1_500_000, 3_000_000, 0.1),
        PullProgress(1_500_000, 3_000_000, 11.2),
        PullProgress(1_500_000, 3_000_000, 14.9),
        PullProgress(1_500_000, 3_000_000, 75.0),
    ]
    async with watching(rig):
        await until(lambda: rig.states("mail")[-1:] == ["running"] and bool(registry.pulls))
        assert rig.states("db")[-1] == "starting"
        first, moving, silent, longer = list(dict.fromkeys(reasons(rig, "starting")))[-4:]
        assert first == "pulling"
        assert missing(moving, "pulling", "1.50 MB", "3.00 MB") == []
        assert missing(silent, "1.50 MB", "3.00 MB", "nothing for 10 s") == []
        assert missing(longer, "1.50 MB", "3.00 MB", "nothing for 1 min 10 s") == []
    await asyncio.wait_for(rig.dependencies.close(stop=True), 10)
    assert await rig.names() == ["shop-cache-1", "shop-mail-1"]
