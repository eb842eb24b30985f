"""The containers of one service that are proven to be the watcher's; no others are stopped, renamed, removed.

A container is proven when this process created it, or by its labels (`engine/ownership.py`). An id never
changes its owner, so what is proven once is not asked for again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from watcher import labels
from watcher.engine import Container, Engine, EngineError, Removal
from watcher.engine.ownership import proven_containers


class NotOurs(EngineError):
    """A container is not proven to be the watcher's, so it is left alone."""

    def __init__(self, container: str) -> None:
        super().__init__(f"container {container[:12]} is not proven to be the watcher's; it is left alone")


class OwnContainers:
    """Lists, and changes, the watcher's own containers of one service. `stop` to `rename` raise NotOurs."""

    def __init__(self, engine: Engine, project: str, service: str) -> None:
        self._engine = engine
        self._app = labels.service_filter(project, service)
        self._pause_filter = labels.pause_filter(project, service)
        self._address_filter = labels.address_filter(project, service)
        self._proven: set[str] = set()
        self._holders: dict[str, str] = {}  # container -> the one that holds its network

    async def create(
        self, name: str, config: Mapping[str, Any], *, platform: str | None = None, joins: str = ""
    ) -> str:
        """Create a container from an Engine API body with an image id; raises EngineError."""
        proof = labels.proof_labels(config["Image"])
        body = {**config, "Labels": {**(config.get("Labels") or {}), **proof}}
        container = await self._engine.create(name, body, platform=platform)
        self._proven.add(container)
        if joins:
            self._holders[container] = joins
        return container

    async def apps(self) -> list[Container]:
        """Return the containers that run the service, in any state; names, labels and states only."""
        return await self._list_proven(self._app)

    async def pause_containers(self) -> list[Container]:
        """Return the containers that only hold a network for one of the service."""
        return await self._list_proven(self._pause_filter)

    async def address_containers(self) -> list[Container]:
        """Return the containers that have the service's names and its address."""
        return await self._list_proven(self._address_filter)

    async def details(self) -> list[Container]:
        """Return the containers that run the service, with all that is known of them."""
        found = [await self._engine.container(item.id) for item in await self.apps()]
        for item in found:
            if item and item.joined:
                self._holders[item.id] = item.joined
        return [item for item in found if item]

    async def _list_proven(self, selector: Sequence[str]) -> list[Container]:
        found = proven_containers(await self._engine.containers(labels=selector), self._proven)
        self._proven |= {item.id for item in found}
        return found

    async def owns(self, container: str) -> bool:
        """Return whether the container is proven to be ours."""
        if container not in self._proven:
            await self.apps()
            await self.pause_containers()
            await self.address_containers()
        return container in self._proven

    async def _check_owned(self, container: str) -> None:
        if not await self.owns(container):
            raise NotOurs(container)

    async def stop(self, container: str, patience: float) -> None:
        """Ask it to stop and kill it `patience` seconds later; fine when it is gone."""
        await self._check_owned(container)
        await self._engine.stop(container, patience)

    async def rename(self, container: str, name: str) -> None:
        """Give it another name; raises EngineError when the name is taken."""
        await self._check_owned(container)
        await self._engine.rename(container, name)

    async def remove(self, container: str) -> None:
        """Kill it if it runs, and remove it together with the container that holds its network."""
        await self._check_owned(container)
        found = await self._engine.container(container)
        holder = found.joined if found else self._holders.get(container, "")
        await self._end_container(container, found)
        self._holders.pop(container, None)
        if holder and await self.owns(holder):
            await self._end_container(holder, await self._engine.container(holder))

    async def _end_container(self, container: str, found: Container | None) -> None:
        if found is None:
            return
        if found.state not in ("created", "exited", "dead"):
            await self._engine.stop(container, 0.0)
        if await self._engine.remove(container) is Removal.IN_USE:
            # It was started in between, or is being removed already.
            await self._engine.stop(container, 0.0)
            await self._engine.remove(container)


async def used_networks(engine: Engine) -> frozenset[str]:
    """Ids and names of the networks that any container has, also one that is stopped.

    The engine removes a network as soon as none of them runs; the others could not be started again then.
    """
    return frozenset(name for item in await engine.containers() for name in item.networks)
