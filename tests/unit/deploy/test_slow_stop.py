"""A container that does not end on the signal to stop: one line says what is waited for."""

from __future__ import annotations

import asyncio

import pytest

from tests.facts import missing
from tests.unit.deploy.test_dependencies import SIMPLE, Rig, rig  # noqa: F401  (a fixture)
from watcher.deploy.slow_stop import announce_slow_stop
from watcher.observers.events import Notice


async def test_a_slow_stop_is_announced_once() -> None:
    said: list[str] = []
    shown = asyncio.Event()

    def show(text: str) -> None:
        said.append(text)
        shown.set()

    with announce_slow_stop(show, "shop-migrate-1", 20, after=0.001):
        await asyncio.wait_for(shown.wait(), 10)
    (line,) = said
    assert missing(line, "shop-migrate-1", "0.001 s", "killed after 20 s", "stop_grace_period") == []


@pytest.mark.parametrize("grace", [10.0, 0.001])
async def test_a_stop_that_is_over_or_is_killed_soon_says_nothing(grace: float) -> None:
    said: list[str] = []
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    with announce_slow_stop(said.append, "db", grace, after=0.002):
        if grace < 0.002:  # nothing is planned, so it may take as long as it likes
            loop.call_later(0.01, over.set)
            await asyncio.wait_for(over.wait(), 10)
    over.clear()
    loop.call_later(0.01, over.set)
    await asyncio.wait_for(over.wait(), 10)
    assert said == []


async def test_a_stop_that_fails_says_nothing_later() -> None:
    said: list[str] = []
    over = asyncio.Event()
    with pytest.raises(ZeroDivisionError), announce_slow_stop(said.append, "db", 10, after=0.002):
        raise ZeroDivisionError
    asyncio.get_running_loop().call_later(0.01, over.set)
    await asyncio.wait_for(over.wait(), 10)
    assert said == []


async def test_the_end_names_the_dependency_that_it_waits_for(
    rig: Rig,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dependencies = rig.load(SIMPLE.replace("image: db,", "image: db, stop_grace_period: 30s,"))
    await dependencies.require("api")
    stop = rig.engine.stop

    async def stop_slowly(container: str, timeout: float) -> None:
        async def announced() -> None:
            while not any(isinstance(each, Notice) and "asked to stop" in each.text for each in rig.events):
                await asyncio.sleep(0.001)

        await asyncio.wait_for(announced(), 10)
        await stop(container, timeout)

    monkeypatch.setattr(rig.engine, "stop", stop_slowly)
    await dependencies.close(stop=True, say_after=0.0)
    (line,) = (each.text for each in rig.events if isinstance(each, Notice) and "asked to stop" in each.text)
    assert line.startswith("shop-db-1 still runs")
    assert line.endswith("killed after 30 s (stop_grace_period)")
