from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from tests.unit.deploy.virtual import VirtualLoop
from tests.unit.deploy.world import World
from watcher.deploy import probe


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The world of these tests is in memory: its clock jumps. A module with REAL_CLOCK has threads."""
    if getattr(getattr(item, "module", None), "REAL_CLOCK", False):
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualLoop}


@pytest.fixture(autouse=True)
def no_docker_compose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No program of this machine is asked for the hashes of docker compose."""
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))


@pytest.fixture(params=[False, True], ids=["own-network", "pause-container"])
async def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """An engine in memory, and one service behind the front; its network is made ready beforehand, or not."""
    made = World()
    made.recipe.pause_container = request.param
    monkeypatch.setattr(probe, "probe_http", made.answer)
    yield made
    await made.end()


@pytest.fixture
async def recreating(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """An engine in memory, and one service that publishes its port itself."""
    made = World(fronts=False)
    monkeypatch.setattr(probe, "probe_http", made.answer)
    yield made
    await made.end()


@pytest.fixture(params=["recreate", "exclusive"])
async def in_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """As before; or a service behind the front that publishes a UDP port beside it."""
    exclusive = request.param == "exclusive"
    made = World(fronts=exclusive)
    made.recipe.exclusive = exclusive
    monkeypatch.setattr(probe, "probe_http", made.answer)
    yield made
    await made.end()
