"""The address of a service on the project's networks, which stays while containers come and go.

An address container has the names of the service and forwards to the live container (`forwarding.py`). The
containers of the service have none of these names: a new one is found only once it is live, also by clients
that never look a name up again. Where this cannot be, containers have the names themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from watcher import labels
from watcher.deploy import ready
from watcher.deploy.exposed_fronts import ExposedFronts
from watcher.deploy.forwarding import (
    IMAGE,
    address_body,
    apply_command,
    drain_command,
    empty_image,
    endpoints_digest,
    forward_rules,
    with_system,
)
from watcher.deploy.model import ContainerRecipe, ForwardTarget
from watcher.deploy.network_sockets import NetworkSockets
from watcher.deploy.owned import OwnContainers
from watcher.engine import Container, Engine, EngineError
from watcher.errors import EngineUnavailable
from watcher.front import Backend, Front

STARTING = 10.0  # seconds for a container without a port that can be asked
LOG_LINES = 3


class AddressContainer:
    """The address container of one service. `point` says where it forwards to, and never waits.

    `warn` gets what a user should know.
    """

    def __init__(
        self,
        engine: Engine,
        own: OwnContainers,
        warn: Callable[[str], None],
        sockets: NetworkSockets | None = None,
        exposed: ExposedFronts | None = None,
    ) -> None:
        """Without `sockets` no front listens in its network, without `exposed` none for exposed ports."""
        self._engine, self._own, self._warn = engine, own, warn
        self._sockets, self._fronts = sockets, dict[int, Front]()
        self._exposed = exposed if sockets else None
        if sockets:
            sockets.on_end = self._request
        self._id = self._digest = ""  # the digest of its endpoints
        self._recipe: ContainerRecipe | None = None
        self._impossible: set[str] = set()  # digests of endpoints that the engine refused
        self._making = asyncio.Lock()
        self._wanted = ForwardTarget()  # the container to forward to
        self._asked = self._applied = 0  # number of the last call of `point`, and of the one in force
        self._worker: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._serving = True

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the address container's id, when there is one."""
        return (self._id,) if self._id else ()

    @property
    def busy(self) -> bool:
        """Return whether one is being created and has no known id yet."""
        return self._making.locked()

    # The container.

    async def ensure(self, recipe: ContainerRecipe, *, look: bool = False) -> bool:
        """Have one; return whether there is one. Raises EngineUnavailable.

        That it runs is looked at only if asked for: its end is an event, and a deploy should not wait.
        """
        async with self._making:
            self._recipe = recipe
            endpoints = recipe.address_endpoints
            if not endpoints and self._id:
                before, self._id = self._id, ""
                await self._discard(before)
            if not endpoints or endpoints_digest(endpoints) in self._impossible:
                return False
            digest = endpoints_digest(endpoints)
            same = self._id != "" and self._digest == digest
            if same and (not look or await self._fits(self._id, endpoints)):
                await self._open_sockets()
                return True
            before, self._id, self._digest = self._id, "", digest
            try:
                self._id = await self._find(endpoints) or await self._make(recipe, endpoints)
            except EngineError as error:
                self._impossible.add(digest)
                self._warn(
                    f"{recipe.service} has no address of its own for other services: each deploy changes it, "
                    f"and a new container is found before it answers ({error})"
                )
            if before:
                await self._discard(before)
            await self._open_sockets()
        self._request()
        await self.settled()
        return bool(self._id)

    async def serve(self, fronts: Mapping[int, Front]) -> None:
        """Have these fronts serve their ports here too."""
        self._fronts = dict(fronts)
        if self._id:
            async with self._making:
                await self._open_sockets()

    async def _open_sockets(self) -> None:
        if self._sockets is None or not self._id:
            return
        before = self._sockets.ports
        with contextlib.suppress(EngineUnavailable):  # the kernel forwards instead
            await self._sockets.open(self._id, {**self.exposed_fronts, **self._fronts})
        if self._sockets.ports != before:
            self._request()

    async def withdraw(self) -> None:
        """Have the kernel forward all ports from now on; the fronts serve the connections that they have."""
        self._serving = False
        self._request()
        await self.settled()

    async def adopt(self, recipe: ContainerRecipe) -> None:
        """Go on with the one of the daemon before. Raises EngineUnavailable."""
        async with self._making:
            self._recipe = recipe
            if recipe.address_endpoints:
                self._id = await self._find(recipe.address_endpoints)
                self._digest = endpoints_digest(recipe.address_endpoints)

    async def _find(self, endpoints: Mapping[str, object]) -> str:
        for item in await self._own.address_containers():
            if await self._fits(item.id, endpoints):
                return item.id
        return ""

    async def _fits(self, container: str, endpoints: Mapping[str, object]) -> bool:
        found = await self._engine.container(container)
        return (
            found is not None
            and found.running
            and found.labels.get(labels.CONFIG) == endpoints_digest(endpoints)  # type: ignore[arg-type]
            and endpoints.keys() <= found.addresses.keys()
        )

    async def _make(self, recipe: ContainerRecipe, endpoints: Mapping[str, Mapping[str, object]]) -> str:
        own = labels.address_labels(recipe.project, recipe.service)
        try:
            return await self._make_from(await self._image(), address_body(endpoints, own), endpoints)
        except EngineError:
            if await self._engine.image(IMAGE):
                raise
        # `watcher down` of another project has just removed the image.
        return await self._make_from(await self._image(), address_body(endpoints, own), endpoints)

    async def _make_from(
        self, image: str, rest: Mapping[str, Any], endpoints: Mapping[str, Mapping[str, object]]
    ) -> str:
        body = {**rest, "Image": image}
        more = self._sockets.mounts if self._sockets else {}
        if self._sockets:
            with contextlib.suppress(OSError):
                self._sockets.prepare()
        for optional, mounts in ((True, more), (True, {}), (False, more), (False, {})):
            container = ""
            try:
                name = f"{labels.ADDRESS_NAME}{secrets.token_hex(6)}"
                container = await self._own.create(name, with_system(body, optional=optional, more=mounts))
                for network in [*endpoints][1:]:
                    await self._engine.connect(container, network, endpoints[network])
                await self._engine.start(container)
                await self._apply(container, ForwardTarget())
            except BaseException as error:
                await self._discard(container)
                if isinstance(error, EngineError) and (optional or mounts) and "source path" in str(error):
                    continue  # the host has no such folder
                raise
            return container
        raise AssertionError("the last try ends it")

    async def _image(self) -> str:
        found = await self._engine.image(IMAGE)
        if found is None:
            await self._engine.load(io.BytesIO(empty_image((await self._engine.info()).platform)))
            found = await self._engine.image(IMAGE)
        if found is None:
            raise EngineError(f"{IMAGE} is gone, although it was loaded")
        return found.id

    async def _discard(self, container: str) -> None:
        if container:
            with contextlib.suppress(EngineError, EngineUnavailable):  # found by its labels later
                await self._own.remove(container)

    async def check(self) -> None:
        """See that it runs and forwards, after events got lost. Raises EngineUnavailable."""
        if self._id and self._recipe:
            await self.ensure(self._recipe, look=True)

    async def close(self, *, remove: bool) -> None:
        """End background work, and the container if asked to."""
        self._closing.set()
        if self._sockets:
            await self._sockets.close()
        for task in (self._starting, self._asking):
            if task:
                task.cancel()
        await self.settled()
        async with self._making:
            if remove:
                container, self._id = self._id, ""
                await self._discard(container)

    # Where it forwards to.

    def point(self, target: ForwardTarget) -> None:
        """Forward new connections to this container; hold them if there is none."""
        self._wanted = target
        if self._exposed and not target.id:
            self._exposed.hold()
        self._request()

    def refresh(self) -> None:
        """Look the container's address up again: it was started again."""
        self._request()

    def _request(self) -> None:
        self._asked += 1
        if self._id and (self._worker is None or self._worker.done()):
            self._worker = asyncio.create_task(self._follow())

    async def settled(self) -> None:
        """Return when what was asked for is in force."""
        while self._worker and not self._worker.done():
            await asyncio.wait([self._worker])

    async def until_reached(self) -> None:
        """Return when other services reach what is live; the front's ports lead there at its switch."""
        if not self._fronts or not (self._sockets and self._sockets.ports):
            await self.settled()

    async def _follow(self) -> None:
        while self._applied != self._asked and self._id:
            asked, wanted = self._asked, self._wanted
            try:
                await self._apply(self._id, wanted)
            except EngineUnavailable:
                return  # `check` repeats it
            except EngineError as error:
                self._warn(f"other services do not reach the live container by its name: {error}")
                return
            self._applied = asked
            if self._starting:
                self._starting.cancel()
            self._starting = asyncio.create_task(self._end_start(asked)) if wanted.starting else None
            if self._exposed and self._exposed.waits:
                if self._asking:
                    self._asking.cancel()
                self._asking = asyncio.create_task(self._ask(self._exposed))

    async def _end_start(self, asked: int) -> None:
        await asyncio.sleep(STARTING)
        if asked == self._asked and self._id:
            with contextlib.suppress(EngineError, EngineUnavailable):
                await self._apply(self._id, replace(self._wanted, starting=False))

    async def _ask(self, exposed: ExposedFronts) -> None:
        if await exposed.ask(STARTING):
            self._request()  # the kernel forwards the ports that nothing answers on

    async def _lead(self, exposed: ExposedFronts, target: ForwardTarget, live: Container) -> None:
        """Have fronts serve the ports that the live container exposes."""
        if self._recipe is None or self._recipe.ports or not self._serving:
            return
        if await exposed.prepare(live.exposed):
            async with self._making:
                await self._open_sockets()
        if address := ready.find_address(self._recipe, live):
            exposed.begin(live.id, address, target.revision, exposed=live.exposed, answered=target.answered)

    async def _apply(self, holder: str, target: ForwardTarget) -> None:
        own = await self._engine.container(holder)
        live = await self._engine.container(target.id) if target.id else None
        if self._exposed and live and live.running:
            await self._lead(self._exposed, target, live)
        reached = live.addresses if live and live.running else {}
        served = self._sockets.ports if self._sockets and self._serving else frozenset()
        served -= self._exposed.silent - self._fronts.keys() if self._exposed else frozenset()
        here = own.addresses if own else {}
        unserved = forward_rules(here, reached, starting=False)
        rules = forward_rules(here, reached, starting=target.starting, served=served)
        status, lines = await self._engine.execute(holder, apply_command(rules, unserved))
        if status:
            said = lines or await self._engine.logs(holder, tail=LOG_LINES)
            raise EngineError(" ".join(said) or "iptables failed")

    @property
    def exposed_fronts(self) -> Mapping[int, Front]:
        """The fronts of ports that the service only exposes; the caller closes them."""
        return self._exposed.fronts if self._exposed else {}

    async def leave(self, container: str) -> list[tuple[Front, Backend]]:
        """Send this container no requests of other services; return where it was reached, by which front."""
        if self._exposed is None:
            return []
        await self.settled()
        return self._exposed.leave(container)

    def forget(self, container: str) -> None:
        """This container is gone."""
        if self._exposed:
            self._exposed.forget(container)

    async def drain(self, found: Container, seconds: float) -> None:
        """Wait until no other service has a connection to this container, at most so long."""
        if self._id and found.addresses and not self._closing.is_set():
            command = drain_command([*found.addresses.values()], seconds)
            await self._until_closing(self._engine.execute(self._id, command))

    async def _until_closing(self, work: Awaitable[object]) -> None:
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self._closing.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, EngineError | EngineUnavailable):
                raise outcome
