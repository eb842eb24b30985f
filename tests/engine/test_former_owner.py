"""What the engine says of containers that use parts of another one, which is created again."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from watcher import compose
from watcher.deploy.former_owner import uses_former_owner
from watcher.engine import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]

TEXT = """
services:
  owner: {{image: alpine, container_name: {name}-owner, ipc: shareable}}
  net: {{image: alpine, network_mode: "service:owner"}}
  ipc: {{image: alpine, ipc: "service:owner"}}
  pid: {{image: alpine, pid: "service:owner"}}
  volumes: {{image: alpine, volumes_from: [owner]}}
  none: {{image: alpine, depends_on: [owner]}}
  app: {{build: ., depends_on: [net, ipc, pid, volumes, none]}}
"""
OWNER: dict[str, Any] = {"HostConfig": {"IpcMode": "shareable"}, "Volumes": {"/data": {}}}


@pytest.fixture
async def engine() -> AsyncIterator[DockerEngine]:
    made = await DockerEngine.open()
    yield made
    await made.close()


async def test_a_container_whose_owner_was_created_again_or_restarted_is_to_be_replaced(
    engine: DockerEngine, tmp_path: Path
) -> None:
    name = f"owner-{uuid.uuid4().hex[:8]}"
    owner = f"{name}-owner"
    (tmp_path / "compose.yaml").write_text(TEXT.format(name=name))
    services = compose.load(tmp_path / "compose.yaml", env={"COMPOSE_PROJECT_NAME": name}).services
    parts: dict[str, dict[str, Any]] = {
        "net": {"NetworkMode": f"container:{owner}"},
        "ipc": {"IpcMode": f"container:{owner}"},
        "pid": {"PidMode": f"container:{owner}"},
        "volumes": {"VolumesFrom": [owner]},
        "none": {},
    }
    found = await engine.image("alpine")
    assert found
    common = {"Image": found.id, "Cmd": ["sleep", "1000"]}
    made: dict[str, str] = {}

    async def find_outdated() -> set[str]:
        outdated = set()
        for part in parts:
            item = await engine.container(made[part])
            assert item
            if await uses_former_owner(engine, services[part], item):
                outdated.add(part)
        return outdated

    async def remove(container: str) -> None:
        await engine.stop(container, 0.0)
        await engine.remove(container)

    async def create_owner() -> None:
        made["owner"] = await engine.create(owner, {**common, **OWNER})
        await engine.start(made["owner"])

    try:
        await create_owner()
        for part, host in parts.items():
            made[part] = await engine.create(f"{name}-{part}", {**common, "HostConfig": host})
            await engine.start(made[part])
        assert await find_outdated() == set()
        await remove(made["owner"])
        await create_owner()
        # A container in a PID namespace ends with its first process: it is started again anyway.
        assert await find_outdated() - {"pid"} == {"net", "ipc", "volumes"}
        for part in ("net", "ipc"):
            await remove(made[part])
            made[part] = await engine.create(f"{name}-{part}", {**common, "HostConfig": parts[part]})
            await engine.start(made[part])
        assert await find_outdated() - {"pid"} == {"volumes"}
        await engine.stop(made["owner"], 0.0)
        await engine.start(made["owner"])
        assert await find_outdated() - {"pid"} == {"net", "ipc", "volumes"}, "the owner has restarted"
    finally:
        await asyncio.gather(*(remove(container) for container in made.values()))
