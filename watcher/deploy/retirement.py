"""Work that a deploy leaves behind: containers that drain and go, background tasks."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

from watcher.deploy.address_container import AddressContainer
from watcher.deploy.model import ContainerRecipe, DeployPolicy, Live
from watcher.deploy.owned import OwnContainers
from watcher.deploy.slow_stop import announce_slow_stop, announce_wait
from watcher.engine import Engine, EngineError
from watcher.errors import EngineUnavailable
from watcher.front import Backend, Front
from watcher.observers import humanize
from watcher.observers.events import InternalError, Notice, Observer, short

MOVING = 600.0  # seconds for an up- or download in a replaced container to finish


class Retirement:
    """Drains and removes the old containers of one service."""

    def __init__(
        self,
        recipe: ContainerRecipe,
        *,
        own: OwnContainers,
        fronts: Mapping[int, Front],
        policy: DeployPolicy,
        observer: Observer,
        engine: Engine,
        address: AddressContainer,
    ) -> None:
        self._recipe, self._policy = recipe, policy
        self._engine, self._address = engine, address
        self._own, self._fronts, self._observer = own, fronts, observer
        self._tasks: set[asyncio.Task[None]] = set()
        self._retiring: set[str] = set()

    def reconfigure(
        self, recipe: ContainerRecipe, *, fronts: Mapping[int, Front], policy: DeployPolicy
    ) -> None:
        """Continue with these; a drain in progress continues unchanged."""
        self._recipe, self._fronts, self._policy = recipe, fronts, policy

    @property
    def retiring(self) -> frozenset[str]:
        """Ids of the containers that are drained or stopped now."""
        return frozenset(self._retiring)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start background work; a failure is notified even when no caller awaits it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            text = "".join(traceback.format_exception(error))
            self._observer.notify(InternalError(service=self._recipe.service, where="deploy", traceback=text))

    def retire(self, old: Live) -> None:
        """Drain a container that no longer gets traffic, then remove it."""
        self._retiring.add(old.id)
        self.spawn(self._drain_and_remove(old))

    async def drain(self, old: Live, moving: float = MOVING) -> None:
        """Wait until the requests of a container have finished, within limits; no front sends it new ones.

        What still moves when `deploy.drain` is over gets up to `moving` seconds more. TLS, HTTP/2 and other
        connections that only the app can end well stay open: `stop` ends them.
        """
        served = await self._served_by(old)
        reports = await asyncio.gather(
            *(front.drain(backend, self._policy.drain, moving) for front, backend in served)
        )
        if cut := sum(report.cut for report in reports):
            text = (
                f"{humanize.count(cut, 'connection')} to revision {short(old.revision)} ended with its time"
            )
            self._notify(
                "info", f"{text}: open for {self._policy.drain:g} s after it was replaced (deploy.drain)"
            )
        if left := sum(report.left for report in reports):
            open_ = (
                f"{left} TLS, HTTP/2 or raw TCP connections are still open at revision {short(old.revision)}"
            )
            stop = f"has {self._recipe.stop_timeout:g} s to end them"
            self._notify("info", f"{open_}: its program is told to stop (SIGTERM) and {stop}")

    async def stop(self, old: Live, *, awaited: bool = True) -> None:
        """Stop a container that was drained, and end what its program has left open.

        `awaited`: see `stop_container`.
        """
        try:
            await self.stop_container(old, awaited=awaited)
        finally:
            served = await self._served_by(old)
            ended = await asyncio.gather(*(front.cut(backend) for front, backend in served))
            if cut := sum(ended):
                text = f"{cut} TLS, HTTP/2 or raw TCP connections to revision {short(old.revision)} were cut"
                self._notify("warning", f"{text}: its program stopped without ending them")

    async def stop_container(self, old: Live, *, awaited: bool = True) -> None:
        """Run the `pre_stop` commands and stop a container.

        If something is `awaited` that cannot go on before, a line says so when that takes long.
        """
        recipe, name = self._recipe, f"the container of revision {short(old.revision)}"
        announced = announce_slow_stop(partial(self._notify, "info"), name, recipe.stop_timeout)
        with announced if awaited else contextlib.nullcontext():
            await recipe.stopping(old.id)
            await self._own.stop(old.id, recipe.stop_timeout)

    def _notify(self, level: str, text: str) -> None:
        self._observer.notify(Notice(service=self._recipe.service, level=level, text=text))

    async def _served_by(self, old: Live) -> list[tuple[Front, Backend]]:
        """Return the backends of a container, each with a front that possibly has connections to it."""
        reached = [(front, backend) for front in self._fronts.values() for backend in old.backends.values()]
        reached += await self._address.leave(old.id)
        return [(front, backend) for front, backend in reached if front.started and backend != front.backend]

    async def _drain_and_remove(self, old: Live) -> None:
        try:
            await asyncio.gather(self.drain(old), self._drain_services(old))
            with contextlib.suppress(EngineError, EngineUnavailable):
                await self.stop(old, awaited=False)
                await self._own.remove(old.id)
        finally:
            self._retiring.discard(old.id)
            self._address.forget(old.id)

    async def _drain_services(self, old: Live) -> None:
        """Wait until the connections of other services to it have ended, within the limit."""
        with contextlib.suppress(EngineError, EngineUnavailable):
            if found := await self._engine.container(old.id):
                await self._address.drain(found, self._policy.drain)

    async def discard(self, container: str) -> None:
        """Remove a container immediately, even if the caller is cancelled; ignore an engine that is away.

        What stays is found by its labels (`ContainerDeployer.remove_orphans`).
        """
        await asyncio.shield(self.spawn(self._try_discard(container)))

    async def _try_discard(self, container: str) -> None:
        with contextlib.suppress(EngineError, EngineUnavailable):
            await self._own.remove(container)
        self._address.forget(container)

    async def done(self) -> None:
        """Return when all work has ended; transfers are not waited for."""
        for front in (*self._fronts.values(), *self._address.exposed_fronts.values()):
            front.hurry()
        with announce_wait(partial(self._notify, "info"), self._describe_retiring):
            while self._tasks:
                await asyncio.wait(self._tasks)

    def _describe_retiring(self) -> str:
        number = len(self._retiring)
        limit = self._policy.drain + self._recipe.stop_timeout
        earlier = f"waiting for {humanize.count(number, 'replaced container')} to answer open requests"
        return f"{earlier} and stop, at most {limit:g} s" if number else ""
