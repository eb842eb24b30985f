"""A network made ready beforehand: it is most of a container's start, and the same each time.

A pause container (Kubernetes' term), which only sleeps, holds the network, its aliases and the
published loopback port; the next container of the service only joins it. One is made after each deploy, never
on the way of one. What cannot live with it goes without: the recipe says so, or the engine does.
"""

from __future__ import annotations

import asyncio
import secrets

from watcher import labels
from watcher.deploy.model import ContainerRecipe, Published
from watcher.deploy.owned import OwnContainers
from watcher.engine import Engine, EngineError
from watcher.errors import EngineUnavailable


class PauseContainers:
    """Prepare one pause container ahead. It is used once and removed with the container that joined it."""

    def __init__(self, engine: Engine, own: OwnContainers) -> None:
        self._engine, self._own = engine, own
        self._ready: tuple[str, str, bool] | None = None  # (id, digest of its recipe, whether it has names)
        self._making = asyncio.Lock()
        self._unfit: set[str] = set()  # images without a program that sleeps, by id

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the pause container's id, when there is one."""
        return (self._ready[0],) if self._ready else ()

    @property
    def busy(self) -> bool:
        """Return whether one is being created and has no known id yet."""
        return self._making.locked()

    async def make(self, recipe: ContainerRecipe, image: str, publish: Published, *, named: bool) -> None:
        """Have one ready for the next deploy, if that is possible; never raises for the engine's sake."""
        async with self._making:
            if self._ready or not recipe.allows_pause_container(named=named) or image in self._unfit:
                return
            name = f"{labels.PAUSE_NAME}{secrets.token_hex(6)}"
            own = labels.pause_labels(recipe.project, recipe.service)
            body = recipe.pause_config(image, publish, own, named=named)
            container = ""
            try:
                container = await self._own.create(name, body, platform=recipe.platform)
                await self._engine.start(container)
                found = await self._engine.container(container)
            except (EngineError, EngineUnavailable) as error:
                if isinstance(error, EngineError):
                    self._unfit.add(image)
                await self._remove(container)
                return
            if found and found.running:
                self._ready = (container, recipe.digest, named)
            else:
                self._unfit.add(image)
                await self._remove(container)

    async def take(self, recipe: ContainerRecipe, *, named: bool) -> str:
        """Return the pause container, which the caller owns from now on; empty if none fits."""
        if self._ready is None:
            return ""
        (container, *made_by), self._ready = self._ready, None
        found = await self._engine.container(container)
        fits = recipe.allows_pause_container(named=named) and made_by == [recipe.digest, named]
        if fits and found and found.running:
            return container
        await self._remove(container)
        return ""

    async def close(self) -> None:
        """Remove the pause container."""
        async with self._making:
            ready, self._ready = self._ready, None
            if ready:
                await self._remove(ready[0])

    async def _remove(self, container: str) -> None:
        if not container:
            return
        try:
            await self._own.remove(container)
        except (EngineError, EngineUnavailable):
            return  # found by its labels later
