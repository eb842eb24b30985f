"""The deployer's world in memory: an engine, fronts that note where they point, programs that do as told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from tests.fake_engine import FakeEngine, Program
from watcher import labels
from watcher.deploy import ContainerDeployer, DeployPolicy, Published
from watcher.deploy.network_sockets import NetworkSockets
from watcher.deploy.probe import ProbeResult
from watcher.engine import Container, Engine, EngineEvent
from watcher.errors import EngineUnavailable, UserError
from watcher.front import Backend, DrainReport, Front
from watcher.observers.events import ContainerLost, DeployFinished, Event, InternalError, Notice
from watcher.reconcile.ports import Deployed

E = TypeVar("E", bound=Event)
NAME, PORT, HOST_PORT = "box", 9000, 9000


@dataclass
class Recipe:
    """What a container is made of."""

    name: str = NAME
    project: str = "project"
    service: str = "app"
    digest: str = "as told"
    ports: tuple[int, ...] = (PORT,)
    completes: bool = False
    written: tuple[str, ...] = ()
    exposed: tuple[int, ...] = ()
    exclusive: bool = False  # then it publishes a UDP port of the host
    stop_timeout: float = 10.0
    network: str | None = None
    platform: str | None = None
    prepared: int = 0
    pause_container: bool = False
    pid: str = ""  # as in the compose file
    address_endpoints: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    named: list[bool] = field(default_factory=list)  # of each container: whether it has the service's names

    def allows_pause_container(self, *, named: bool) -> bool:
        return self.pause_container

    @property
    def published(self) -> Published:
        return dict.fromkeys(self.ports, (("127.0.0.1", HOST_PORT),))

    def config(
        self,
        image: str,
        publish: Published,
        extra_labels: Mapping[str, str],
        joins: str = "",
        *,
        named: bool = True,
    ) -> Mapping[str, Any]:
        self.named.append(named)
        if joins:
            host = {"NetworkMode": f"container:{joins}", "PidMode": self.pid}
            return {"Image": image, "Labels": dict(extra_labels), "HostConfig": host}
        bindings = {
            f"{port}/tcp": [{"HostIp": host, "HostPort": str(number or "")} for host, number in bound]
            for port, bound in publish.items()
        }
        if self.exclusive:
            bindings["53/udp"] = [{"HostIp": "", "HostPort": "53"}]
        endpoints: dict[str, Any] = {self.network: {}} if self.network else {}
        return {
            "Image": image,
            "Labels": dict(extra_labels),
            "ExposedPorts": {f"{port}/tcp": {} for port in (*self.ports, *self.exposed)},
            "HostConfig": {"PortBindings": bindings, "PidMode": self.pid},
            "NetworkingConfig": {"EndpointsConfig": endpoints},
        }

    def pause_config(
        self, image: str, publish: Published, own_labels: Mapping[str, str], *, named: bool = True
    ) -> Mapping[str, Any]:
        return {**self.config(image, publish, own_labels), "Entrypoint": ["sleep"]}

    async def prepare(self) -> None:
        self.prepared += 1

    async def created(self, container: str, *, named: bool = True) -> None:
        await asyncio.sleep(0)

    async def started(self, container: str) -> None:
        await asyncio.sleep(0)

    async def stopping(self, container: str) -> None:
        await asyncio.sleep(0)


@dataclass
class NotedFront:
    """A front that notes where it points; `busy` backends have requests under way until they are let go."""

    backend: Backend | None = None
    pointed: list[str | None] = field(default_factory=list)
    drained: list[Backend] = field(default_factory=list)
    started: bool = True
    left: int = 0  # connections that only the program can end: one of two is open still when it has stopped
    stopped_when_cut: list[bool] = field(default_factory=list)
    has_stopped: Callable[[], bool] = lambda: True

    async def start(self) -> None:
        await asyncio.sleep(0)

    def switch(self, backend: Backend | None) -> None:
        self.backend = backend
        self.pointed.append(backend.revision if backend else None)

    def hurry(self) -> None:
        pass

    async def drain(self, backend: Backend, timeout: float, moving: float = 0.0) -> DrainReport:
        if backend == self.backend:
            raise ValueError("it is where requests go")
        await asyncio.sleep(timeout / 2)
        self.drained.append(backend)
        return DrainReport(timeout / 2, 0, 0, self.left)

    async def cut(self, backend: Backend) -> int:
        if backend == self.backend:
            raise ValueError("it is where requests go")
        await asyncio.sleep(0)
        self.stopped_when_cut.append(self.has_stopped())
        return self.left // 2


class Faulty:
    """The engine as one daemon reaches it: `rule` may let a call fail, before or after it had its effect.

    It is asked with the number of the call, its name, and whether the effect is there already.
    """

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self.calls = 0
        self.rule: Callable[[int, str, bool], Exception | None] = lambda *_: None
        self.killed = False
        self.over = asyncio.Event()  # the test: what was killed may be cleared away

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._engine, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            number = self.calls
            await self._meet(number, name, done=False)
            answer = await method(*args, **kwargs)
            await self._meet(number, name, done=True)
            return answer

        return call

    async def _meet(self, number: int, name: str, *, done: bool) -> None:
        if not self.killed and (error := self.rule(number, name, done)):
            raise error
        if self.killed:  # a process that was killed does nothing any more, not even clean up
            await self.over.wait()
            raise EngineUnavailable("the daemon was killed")


class Daemon:
    """A deployer and those who listen to it, for as long as one process lives."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.engine = Faulty(world.engine)
        self.front = NotedFront()
        self.told: list[Event] = []
        self.deployer = ContainerDeployer(
            world.recipe,
            engine=cast(Engine, self.engine),
            fronts={PORT: cast(Front, self.front)} if world.fronts else {},
            policy=world.policy,
            observer=self,
            on_lost=self.told.append,
            on_rolled_back=self.told.append,
            references=lambda: world.references,
            sockets=world.sockets,
            make_front=world.make_front,
        )
        self.tasks: set[asyncio.Task[Any]] = set()

    def notify(self, event: Event) -> None:
        self.told.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.told if isinstance(event, kind)]

    async def start(self) -> None:
        await self.deployer.remove_conflicting()
        await self.deployer.adopt()
        self.spawn(self._follow())

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        return task

    async def _follow(self) -> None:
        """As the daemon does it: levels first, then events; when the engine is back, levels again."""
        wanted = [f"{labels.PROJECT}={self.world.recipe.project}"]
        while True:
            try:
                await self.deployer.check()
                await self.deployer.remove_orphans()
                async for event in self.world.engine.events(labels=wanted, since=self.world.engine.clock()):
                    await self._take(event)
            except EngineUnavailable:
                await asyncio.sleep(0.5)

    async def _take(self, event: EngineEvent) -> None:
        if not self.engine.killed:
            await self.deployer.take(event)

    def kill(self) -> None:
        """As `kill -9` does it: nothing more happens, nothing is cleaned up."""
        self.engine.killed = True

    async def bury(self) -> None:
        """Clear away the tasks of a killed one, when the test is over."""
        self.engine.over.set()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.deployer.close(stop=False)

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.deployer.close(stop=True)


class World:
    """One engine; daemons come and go."""

    def __init__(self, *, fronts: bool = True) -> None:
        self.fronts = fronts
        self.now = 1_000_000.0
        self.engine = FakeEngine(clock=lambda: self.now)
        self.recipe = Recipe()
        self.policy = DeployPolicy(startup_timeout=30.0, soak=3.0, drain=10.0)
        self.references: tuple[str, ...] = ()  # names of the image that follow what is live
        self.silent: set[str] = set()  # images whose programs never answer
        self.sockets: NetworkSockets | None = None  # with them fronts listen in networks too
        self.make_front: Callable[[int], Front] | None = None  # makes fronts for exposed ports
        self.strangers: dict[str, Container] = {}
        self.daemon: Daemon | None = None
        self.daemons: list[Daemon] = []

    async def begin(self) -> Daemon:
        """A new process, which has adopted what is there."""
        self.daemon = Daemon(self)
        self.daemons.append(self.daemon)
        await self.daemon.start()
        return self.daemon

    def image(self, *, exit_code: int | None = None, silent: bool = False) -> str:
        image = self.engine.add_image()
        self.engine.programs[image] = Program(exit_code, ("what it says",))
        if silent:
            self.silent.add(image)
        return image

    async def stranger(self, name: str, **config: Any) -> str:
        """A container that somebody else made."""
        image = self.engine.add_image()
        container = await self.engine.create(name, {"Image": image, **config})
        await self.engine.start(container)
        found = await self.engine.container(container)
        assert found
        self.strangers[container] = found
        return container

    async def deploy(self, revision: str, image: str) -> Deployed | UserError | EngineUnavailable:
        assert self.daemon
        try:
            return await self.daemon.deployer.deploy(revision, image)
        except (UserError, EngineUnavailable) as error:
            return error

    async def good(self, revision: str, image: str | None = None) -> str:
        """Deploy what must go live; the container's id."""
        deployed = await self.deploy(revision, image or self.image())
        assert isinstance(deployed, Deployed), deployed
        return deployed.container

    async def settle(self, seconds: float = 120.0) -> None:
        """Let everything that is under way end: soak, drain, retries."""
        await asyncio.sleep(seconds)

    async def answer(self, host: str, port: int, path: str | None) -> ProbeResult:
        """What a program says on a published port, or on its own at an address of its container."""
        await asyncio.sleep(0.001)
        for box in await self.mine():
            published = any(port == number for bound in box.ports.values() for _, number in bound)
            if published or (host in box.addresses.values() and port == PORT):
                return ProbeResult(box.image not in self.silent, "it was asked")
        return ProbeResult(ready=False, text="refused")

    def notices(self) -> list[str]:
        """What the daemon told people."""
        return [notice.text for notice in self.daemon.of(Notice)] if self.daemon else []

    async def mine(self) -> list[Container]:
        """Our containers, with their details."""
        listed = await self.engine.containers(
            labels=labels.service_filter(self.recipe.project, self.recipe.service)
        )
        found = [await self.engine.container(item.id) for item in listed]
        return [item for item in found if item]

    async def nothing_left(self) -> None:
        assert await self.mine() == []
        assert await self.holders() == []

    async def holders(self) -> list[Container]:
        """Our containers that only hold a network."""
        return await self.engine.containers(
            labels=labels.pause_filter(self.recipe.project, self.recipe.service)
        )

    async def named(self) -> dict[str, str]:
        """Our containers: name → state."""
        return {item.name: item.state for item in await self.mine()}

    def say_unhealthy(self, container: str) -> None:
        box = self.engine._boxes[container]
        box.shown = replace(box.shown, health="unhealthy")
        self.engine.say(container, "health_status: unhealthy")

    async def serving(self) -> str | None:
        """The revision that a client reaches: over the front, or at the published port."""
        assert self.daemon
        for box in await self.mine():
            if not box.running or box.image in self.silent:
                continue
            numbers = {number for bound in box.ports.values() for _, number in bound}
            reached = self.daemon.front.backend.port if self.daemon.front.backend else None
            if (reached if self.fronts else HOST_PORT) in numbers:
                return box.labels[labels.REVISION]
        return None

    async def hold(self) -> None:
        """What must be true whenever nothing is under way."""
        assert self.daemon
        await self.untouched()
        mine, live, lost = await self.mine(), self.daemon.deployer.container, self.daemon.deployer.lost
        kept = {item.id for item in (live, lost) if item}
        holders = {item.id for item in await self.holders()}
        spare = holders - {item.joined for item in mine}
        assert len(spare) <= 1, "more than the one spare network"
        assert {item.id for item in mine} <= kept, "something is left behind"
        healthy = [item for item in mine if self.healthy(item)]
        if healthy:
            assert await self.serving() == healthy[0].labels[labels.REVISION], "it has not the traffic"
        assert (live is not None) == bool(healthy)

    def healthy(self, box: Container) -> bool:
        """Whether it runs, answers, and has a network."""
        return box.running and box.image not in self.silent and bool(box.ports)

    async def untouched(self) -> None:
        for container, before in self.strangers.items():
            assert await self.engine.container(container) == before, "a stranger's container was touched"

    async def end(self) -> None:
        """Clear away; no daemon may have had a bug."""
        for daemon in self.daemons:
            assert daemon.of(InternalError) == []
            daemon.engine.killed = True
            await daemon.bury()


def outcomes(daemon: Daemon) -> list[str]:
    """What was told beside the deploys themselves: losses, roll-backs, warnings."""
    said = []
    for event in daemon.told:
        match event:
            case ContainerLost(revision=revision):
                said.append(f"lost {revision}")
            case DeployFinished(revision=revision, outcome=outcome):
                said.append(f"{outcome} {revision}")
            case Notice(text=text):
                said.append(text)
    return said
