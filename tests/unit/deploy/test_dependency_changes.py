"""The compose file changes while dependencies start: what runs follows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.fake_engine import Program
from tests.unit.deploy.test_dependencies import SIMPLE, Rig, until
from watcher import compose
from watcher.deploy.dependency_graph import NodeState
from watcher.deploy.dependency_watch import DependencyWatch
from watcher.engine import EngineError, EngineEvent
from watcher.errors import UserError
from watcher.observers.events import DependencyRemoved

MISSING = SIMPLE.replace("image: db", "image: slow")
WAITS = """
  api: {build: ., depends_on: [cache]}
  cache: {image: cache, depends_on: {db: {condition: service_healthy}}}
  db: {image: db}
"""


class SlowRegistry:
    """A registry whose pulls end when `answer` is called."""

    def __init__(self) -> None:
        self.pulled: list[str] = []
        self._answered = asyncio.Event()
        self._then: Callable[[], None] = lambda: None

    def answer(self, then: Callable[[], None]) -> None:
        self._then = then
        self._answered.set()

    async def pull(self, ref: str, **_: object) -> None:
        self.pulled.append(ref)
        await self._answered.wait()
        self._then()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def registry(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> SlowRegistry:
    rig.load(SIMPLE)
    rig.images["slow"] = ""
    made = SlowRegistry()
    monkeypatch.setattr(rig.engine, "pull", made.pull)
    return made


async def test_a_corrected_image_does_not_wait_for_the_pull_of_the_wrong_one(
    rig: Rig, registry: SlowRegistry
) -> None:
    dependencies = rig.load(MISSING)
    deploy = asyncio.create_task(dependencies.require("api"))
    await until(lambda: registry.pulled == ["slow"])
    dependencies.reconfigure(rig.read(SIMPLE), ["api"])
    await asyncio.wait_for(deploy, 10)
    assert (await rig.box("shop-db-1")).running
    assert registry.pulled == ["slow"]


async def test_a_dependency_that_left_the_file_while_it_was_pulled_is_not_started(
    rig: Rig, registry: SlowRegistry
) -> None:
    dependencies = rig.load(MISSING)
    start = asyncio.create_task(dependencies.bring_up())
    await until(lambda: registry.pulled == ["slow"])
    dependencies.reconfigure(rig.read("\n  api: {build: .}\n"), ["api"])
    await asyncio.wait_for(start, 10)
    registry.answer(lambda: None)
    await dependencies.bring_up()
    assert await rig.names() == []
    assert [event.name for event in rig.events if isinstance(event, DependencyRemoved)] == ["db"]


async def test_one_that_leaves_the_file_stops_no_other_that_waits(rig: Rig) -> None:
    dependencies = rig.load(WAITS, db=Program(health="starting"))
    start = asyncio.create_task(dependencies.bring_up())
    await until(lambda: rig.states("db")[-1:] == ["checking"])
    dependencies.reconfigure(
        rig.read("\n  api: {build: ., depends_on: [cache]}\n  cache: {image: cache}\n"), ["api"]
    )
    await asyncio.wait_for(start, 10)
    assert (await rig.box("shop-cache-1")).running


async def test_the_error_of_an_earlier_file_is_not_that_of_the_one_in_force(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Creating a container is not cut off as a pull is: it ends by itself, here with an error."""
    dependencies = rig.load(SIMPLE)
    create, refuse = rig.engine.create, asyncio.Event()

    async def create_slowly(*args: object, **options: object) -> str:
        if not refuse.is_set():
            await refuse.wait()
            raise EngineError("the name is in use", 409)
        return await create(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.engine, "create", create_slowly)
    deploy = asyncio.create_task(dependencies.require("api"))
    await until(lambda: rig.states("db")[-1:] == ["starting"])
    dependencies.reconfigure(rig.read(SIMPLE.replace("LEVEL-OF-DB", "two")), ["api"])
    refuse.set()
    await asyncio.wait_for(deploy, 10)
    assert (await rig.box("shop-db-1")).running


async def test_one_that_another_client_started_is_not_shown_as_broken(rig: Rig) -> None:
    rig.images["slow"] = ""
    dependencies = rig.load(MISSING)
    with pytest.raises(UserError, match="api needs db"):
        await dependencies.require("api")
    await dependencies.publish_states()
    assert rig.states("db")[-1] == NodeState.BROKEN
    image = rig.engine.add_image(tags=("slow",))
    rig.engine.programs[image] = Program()
    found = {compose.PROJECT_LABEL: "shop", compose.SERVICE_LABEL: "db", compose.ONE_OFF_LABEL: "False"}
    box = await rig.engine.create("shop-db-1", {"Image": "slow", "Labels": found})
    await rig.engine.start(box)
    watch = DependencyWatch(dependencies, rig.engine, rig)
    await watch.handle_event(EngineEvent("start", box, found))
    assert rig.states("db")[-1] == NodeState.RUNNING


async def test_one_that_is_managed_from_now_on_is_no_longer_shown_as_a_dependency(rig: Rig) -> None:
    dependencies = rig.load(SIMPLE)
    await dependencies.require("api")
    dependencies.reconfigure(dependencies.project, ["api", "db"])
    await dependencies.publish_states()
    assert [event.name for event in rig.events if isinstance(event, DependencyRemoved)] == ["db"]


async def test_a_change_of_the_file_leaves_one_start_that_waits(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    dependencies = rig.load(WAITS, db=Program(health="starting"))
    watch, running = DependencyWatch(dependencies, rig.engine, rig), 0
    bring_up = dependencies.bring_up

    async def counted(names: Sequence[str] | None) -> tuple[str, ...]:
        nonlocal running
        running += 1
        try:
            return await bring_up(names)
        finally:
            running -= 1

    monkeypatch.setattr(dependencies, "bring_up", counted)
    for _ in range(3):
        watch.apply_changes()
        await until(lambda: rig.states("db")[-1:] == ["checking"])
    await until(lambda: running == 1)
    rig.engine.set_health("shop-db-1", "healthy")
    await until(lambda: running == 0)
    assert (await rig.box("shop-cache-1")).running
