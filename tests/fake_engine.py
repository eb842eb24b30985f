"""An engine in memory that answers as a real one does; `tests/contract` holds both to the same tests.

It models the overlay2 store: a tag that moves leaves the older image behind without a name.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, TypeVar

from watcher.engine import (
    ByteReader,
    CacheRecord,
    Container,
    ContainerCommand,
    EngineError,
    EngineEvent,
    Image,
    Network,
    NewFile,
    Printed,
    PullProgress,
    Removal,
    SystemInfo,
    Usage,
)

T = TypeVar("T")


@dataclass
class Program:
    """What a container of an image does when it is started; `exit_code` None: it runs until it is stopped."""

    exit_code: int | None = None
    lines: tuple[str, ...] = ()
    health: str = ""  # of a container that was just started
    volumes: tuple[str, ...] = ()  # targets of anonymous volumes


@dataclass
class _Box:
    """A container and what the port does not show of it."""

    shown: Container
    config: Mapping[str, Any]
    printed: list[Printed] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    networks: set[str] = field(default_factory=set)


def _written(ref: str) -> str:
    return ref if ":" in ref.rpartition("/")[2] else f"{ref}:latest"


def _carries(found: Mapping[str, str], wanted: Sequence[str]) -> bool:
    pairs = (item.partition("=") for item in wanted)
    return all(name in found and (not equals or found[name] == value) for name, equals, value in pairs)


class FakeEngine:
    """The port `watcher.engine.Engine`; `add_…`, `forget` and `end` are what others do."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.programs: dict[str, Program] = {}
        self.files: dict[str, dict[str, NewFile]] = {}  # by container and path
        self.answers: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.executed: list[tuple[str, ContainerCommand]] = []
        self.archives: dict[str, bytes] = {}
        self.removed: list[str] = []  # ids and tags in the order of the requests that removed something
        self._numbers = itertools.count(1)
        self._images: dict[str, Image] = {}
        self._layers: dict[str, dict[str, int]] = {}
        self._cache: dict[str, tuple[str, int, str]] = {}
        self._boxes: dict[str, _Box] = {}
        self._networks: dict[str, Network] = {}  # by name
        self.pools = 30  # networks that there are addresses for
        self._past: list[tuple[float, Mapping[str, str], EngineEvent]] = []
        self._listeners: list[tuple[Sequence[str], asyncio.Queue[EngineEvent]]] = []

    # What others do with the engine.

    def add_image(
        self,
        *,
        tags: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        layers: Mapping[str, int] | None = None,
        created: float | None = None,
        parent: str = "",
        digests: Sequence[str] = (),
        last_step: str = "",
    ) -> str:
        """Put an image of these layers (digest -> bytes) into the store; its id."""
        image = f"sha256:{next(self._numbers):012x}".ljust(71, "0")  # unlike in the part that is shown
        made = self.clock() if created is None else created
        self._images[image] = Image(
            image,
            labels=dict(labels or {}),
            created=made,
            parent=parent,
            digests=tuple(digests),
            last_step=last_step,
        )
        self._layers[image] = dict(layers or {})
        for tag in tags:
            self.add_tag(image, tag)
        return image

    def add_cache(self, layer: str, size: int, kind: str = "regular") -> str:
        """Put a record that holds `layer` into the build cache; its id."""
        record = f"record{next(self._numbers)}"
        self._cache[record] = (layer, size, kind)
        return record

    def forget(self, image: str) -> None:
        """Let an image be gone, by somebody else's hand."""
        self._images.pop(image, None)
        self._layers.pop(image, None)

    def say(self, container: str, action: str, **attributes: str) -> None:
        """Tell the listeners that something happened to a container."""
        shown = self._boxes[container].shown
        config = self._boxes[container].config
        event = EngineEvent(
            action, shown.id, {**shown.labels, "name": shown.name, "image": config["Image"], **attributes}
        )
        self._past.append((self.clock(), shown.labels, event))
        for wanted, inbox in self._listeners:
            if _carries(shown.labels, wanted):
                inbox.put_nowait(event)

    def commit(self, container: str, *tags: str) -> str:
        """As `docker commit`: an image that has the labels of a container; its id."""
        shown = self._boxes[container].shown
        return self.add_image(tags=tags, labels=shown.labels, parent=shown.image)

    async def remove_by_force(self, container: str) -> None:
        """As `docker rm -f`."""
        self.say(container, "kill", signal="9")
        await self.stop(container, 0)
        await self.remove(container)

    def stop_by_hand(self, container: str) -> None:
        """As `docker stop`."""
        self.say(container, "kill", signal="15")
        self.end(container, 0)

    def set_health(self, container: str, health: str) -> None:
        """Let a health check end."""
        box = self._box(container)
        box.shown = replace(box.shown, health=health)
        self.say(box.shown.id, f"health_status: {health}")

    def pause(self, container: str) -> None:
        """As `docker pause`."""
        box = self._boxes[container]
        box.shown = replace(box.shown, state="paused")
        self.say(container, "pause")

    def unpause(self, container: str) -> None:
        """As `docker unpause`."""
        box = self._boxes[container]
        box.shown = replace(box.shown, state="running")
        self.say(container, "unpause")

    def end(self, container: str, exit_code: int, *, oom: bool = False) -> None:
        """Let a running container end by itself."""
        box = self._boxes[container]
        box.shown = replace(
            box.shown,
            state="exited",
            exit_code=exit_code,
            oom_killed=oom,
            ports={},
            addresses={},
            changed=self.clock(),
        )
        box.news.set()
        self.say(container, "die")

    # Images.

    async def info(self) -> SystemInfo:
        """See `Engine.info`."""
        return SystemInfo("0", "1.41", "overlay2", "fake://", "x86_64", clock=self.clock())

    def _find_image(self, ref: str) -> Image | None:
        if ref in self._images:
            return self._images[ref]
        written = _written(ref)
        return next((image for image in self._images.values() if written in image.tags), None)

    async def image(self, ref: str) -> Image | None:
        """See `Engine.image`."""
        await asyncio.sleep(0)
        return self._find_image(ref)

    async def images(self, *, labels: Sequence[str] = (), dangling: bool | None = None) -> list[Image]:
        """See `Engine.images`."""
        await asyncio.sleep(0)
        return [
            replace(image, tagged=0.0, size=sum(self._layers[image.id].values()))
            for image in self._images.values()
            if _carries(image.labels, labels)
            and (dangling is None or dangling is not bool(image.tags or image.digests))
        ]

    async def image_size(self, image: str) -> int | None:
        """See `Engine.image_size`."""
        found = self._find_image(image)
        return sum(self._layers[found.id].values()) if found else None

    async def read_image(self, image: str, visit: Callable[[ByteReader], T]) -> T | None:
        """See `Engine.read_image`: of images whose archive is in `archives`, by id."""
        found = self._find_image(image)
        content = self.archives.get(found.id) if found else None
        return None if content is None else await asyncio.to_thread(visit, io.BytesIO(content))

    async def remove_image(self, ref: str) -> Removal:
        """See `Engine.remove_image`; the rules are those of moby's daemon/images/image_delete.go."""
        await asyncio.sleep(0)
        image = self._find_image(ref)
        if image is None:
            return Removal.GONE
        used = any(box.shown.image == image.id for box in self._boxes.values())
        by_tag = ref not in self._images
        if by_tag and len(image.tags) > 1:
            left = tuple(tag for tag in image.tags if tag != _written(ref))
            self._images[image.id] = replace(image, tags=left)
        elif used or len(image.tags) > 1:
            return Removal.IN_USE
        else:
            del self._images[image.id], self._layers[image.id]
        self.removed.append(ref)
        return Removal.REMOVED

    async def usage(self, *, whole: bool = False) -> Usage:
        """See `Engine.usage`; its containers write nothing, and it has no volumes."""
        held = {layer: size for layers in self._layers.values() for layer, size in layers.items()}
        records = (
            CacheRecord(record, kind, "", size, in_use=False, shared=layer in held)
            for record, (layer, size, kind) in self._cache.items()
        )
        holders = Counter(layer for layers in self._layers.values() for layer in layers)
        alone = {
            image: sum(size for layer, size in layers.items() if holders[layer] == 1)
            for image, layers in self._layers.items()
        }
        return Usage(
            sum(held.values()), tuple(records), alone, dict.fromkeys(self._boxes, 0) if whole else {}
        )

    async def last_step(self, image: str) -> str:
        """See `Engine.last_step`."""
        found = self._find_image(image)
        return found.last_step if found else ""

    async def tag(self, image: str, ref: str) -> None:
        """See `Engine.tag`."""
        found = self._find_image(image)
        if found is None:
            raise EngineError(f"image {image} is gone", 404)
        self.add_tag(found.id, ref)

    def add_tag(self, image: str, ref: str) -> None:
        """Let `ref` name `image`, and nothing else."""
        written = _written(ref)
        for other in list(self._images.values()):
            if written in other.tags and other.id != image:
                left = tuple(tag for tag in other.tags if tag != written)
                self._images[other.id] = replace(other, tags=left)
        found = self._images[image]
        tags = tuple(dict.fromkeys((*found.tags, written)))
        self._images[image] = replace(found, tags=tags, tagged=self.clock())

    # Containers.

    def _find(self, ref: str) -> _Box | None:
        named = (box for box in self._boxes.values() if box.shown.name == ref)
        return self._boxes.get(ref) or next(named, None)

    def _box(self, ref: str) -> _Box:
        box = self._find(ref)
        if box is None:
            raise EngineError(f"No such container: {ref}", 404)
        return box

    def _free(self, name: str) -> None:
        if self._find(name):
            raise EngineError(f'Conflict. The container name "/{name}" is already in use', 409)

    async def containers(self, *, labels: Sequence[str] = ()) -> list[Container]:
        """See `Engine.containers`."""
        await asyncio.sleep(0)
        shown = (box.shown for box in self._boxes.values())
        return [
            Container(
                item.id,
                item.name,
                item.image,
                item.labels,
                item.state,
                ports={} if item.joined else item.ports,
                changed=item.changed,
                networks=frozenset(self._boxes[item.id].networks)
                | ({f"container:{item.joined}"} if item.joined else set()),
            )
            for item in shown
            if _carries(item.labels, labels)
        ]

    async def container(self, ref: str) -> Container | None:
        """See `Engine.container`."""
        await asyncio.sleep(0)
        box = self._find(ref)
        if box is None or not box.shown.joined:
            return box.shown if box else None
        holder = await self.container(box.shown.joined)
        if holder is None:
            return box.shown
        return replace(box.shown, ports=holder.ports, addresses=holder.addresses)

    async def create(self, name: str, config: Mapping[str, Any], *, platform: str | None = None) -> str:
        """See `Engine.create`."""
        image = self._find_image(config["Image"])
        if image is None:
            raise EngineError(f"No such image: {config['Image']}", 404)
        self._free(name)
        container = f"{next(self._numbers):012x}".ljust(64, "0")  # unlike in the part that is shown
        labels = {**image.labels, **(config.get("Labels") or {})}
        joined = (config.get("HostConfig") or {}).get("NetworkMode", "").partition("container:")[2]
        if owner := await self.container(joined) if joined else None:
            joined = owner.id  # as the engine stores it
        binds = [bind.split(":") for bind in (config.get("HostConfig") or {}).get("Binds") or ()]
        given = {target: source for source, target, *_ in binds}
        targets = self.programs.get(image.id, Program()).volumes
        shown = Container(
            container,
            name,
            image.id,
            labels,
            "created",
            changed=self.clock(),
            created=self.clock(),
            joined=joined,
            pid_owner=(config.get("HostConfig") or {}).get("PidMode", "").partition("container:")[2],
            exposed=tuple(int(port.partition("/")[0]) for port in config.get("ExposedPorts") or ()),
            generated_volumes={
                target: given.get(target, f"{next(self._numbers):064x}") for target in targets
            },
        )
        endpoints = (config.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
        self._boxes[container] = _Box(shown, config, networks=set(endpoints))
        return container

    async def start(self, container: str) -> None:
        """See `Engine.start`."""
        box = self._box(container)
        if box.shown.running:
            return
        holder = self._find(box.shown.joined)
        if box.shown.joined and not (holder and holder.shown.running):
            raise EngineError(f"cannot join network of a non running container: {box.shown.joined}", 409)
        addresses, ports = self._join(box), self._publish(box)
        program = self.programs.get(box.shown.image, Program())
        self.print(box.shown.id, *program.lines)
        box.shown = replace(
            box.shown,
            state="running",
            health=program.health,
            exit_code=0,
            ports=ports,
            addresses=addresses,
            changed=self.clock(),
        )
        self.say(box.shown.id, "start")
        if program.exit_code is not None:
            self.end(box.shown.id, program.exit_code)

    def _publish(self, box: _Box) -> dict[str, tuple[tuple[str, int], ...]]:
        taken = {
            port
            for other in self._boxes.values()
            for bound in other.shown.ports.values()
            for _, port in bound
        }
        ports: dict[str, tuple[tuple[str, int], ...]] = {}
        wanted = ((box.config.get("HostConfig") or {}).get("PortBindings") or {}).items()
        for name, bindings in wanted:
            bound = []
            for binding in bindings:
                first, _, last = str(binding.get("HostPort") or 0).partition("-")
                free = (number for number in range(int(first), int(last or first) + 1) if number not in taken)
                port = next(free, int(first)) or 30000 + next(self._numbers)
                if port in taken:
                    raise EngineError(f"Bind for port {port} failed: port is already allocated", 500)
                bound.append((binding.get("HostIp") or "0.0.0.0", port))
            ports[name] = tuple(bound)
        return ports

    async def stop(self, container: str, timeout: float) -> None:
        """See `Engine.stop`."""
        box = self._find(container)
        if box and (box.shown.running or box.shown.paused):
            self.end(box.shown.id, 137)

    async def remove(self, container: str, *, volumes: bool = True) -> Removal:
        """See `Engine.remove`."""
        await asyncio.sleep(0)
        box = self._find(container)
        if box is None:
            return Removal.GONE
        if box.shown.running or box.shown.paused:
            return Removal.IN_USE
        self.say(box.shown.id, "destroy")
        del self._boxes[box.shown.id]
        self.removed.append(box.shown.id)
        return Removal.REMOVED

    async def rename(self, container: str, name: str) -> None:
        """See `Engine.rename`."""
        box = self._box(container)
        self._free(name)
        box.shown = replace(box.shown, name=name)
        self.say(box.shown.id, "rename")

    async def connect(self, container: str, network: str, endpoint: Mapping[str, Any]) -> None:
        """See `Engine.connect`; of a container that does not run, the engine looks at it when it starts."""
        box = self._box(container)
        box.networks.add(network)
        if box.shown.running:
            box.shown = replace(box.shown, addresses=self._join(box))

    def _join(self, box: _Box) -> dict[str, str]:
        if missing := box.networks - self._networks.keys():
            box.networks -= missing
            raise EngineError(f"network {min(missing)} not found", 404)
        fresh = {name: f"172.20.0.{next(self._numbers) % 250 + 2}" for name in box.networks}
        return fresh | dict(box.shown.addresses)

    async def put_files(self, container: str, files: Sequence[NewFile]) -> None:
        """See `Engine.put_files`."""
        self._box(container)
        self.files.setdefault(container, {}).update({file.path: file for file in files})

    async def execute(self, container: str, command: ContainerCommand) -> tuple[int, tuple[str, ...]]:
        """See `Engine.execute`; what is to come of a command stands in `answers`, by its first word."""
        if not self._box(container).shown.running:
            raise EngineError(f"Container {container} is not running", 409)
        self.executed.append((container, command))
        return self.answers.get(command.words[0], (0, ()))

    async def disconnect(self, container: str, network: str) -> None:
        """See `Engine.disconnect`."""
        if box := self._find(container):
            box.networks.discard(network)
            left = {name: address for name, address in box.shown.addresses.items() if name in box.networks}
            box.shown = replace(box.shown, addresses=left)

    async def logs(self, container: str, *, tail: int) -> tuple[str, ...]:
        """See `Engine.logs`."""
        box = self._find(container)
        return tuple(line.text for line in box.printed[-tail:]) if box else ()

    def print(self, container: str, *lines: str) -> None:
        """Let a container print."""
        box = self._boxes[container]
        box.printed.extend(Printed(self.clock(), line) for line in lines)
        box.news.set()

    async def follow(self, container: str, *, since: float, tail: int) -> AsyncGenerator[Sequence[Printed]]:
        """See `Engine.follow`."""
        box = self._find(container)
        if box is None:
            return
        taken = max(0, len(box.printed) - tail)
        while True:
            box.news.clear()
            batch = [line for line in box.printed[taken:] if line.at >= since]
            taken = len(box.printed)
            if batch:
                yield batch
            elif not box.shown.running:
                return
            else:
                await box.news.wait()

    async def pull(
        self, ref: str, *, platform: str = "", progress: Callable[[PullProgress], None] | None = None
    ) -> None:
        """See `Engine.pull`; there is no registry."""
        raise EngineError(f"pull access denied for {ref}, repository does not exist", 404)

    async def load(self, archive: BinaryIO) -> None:
        """See `Engine.load`; the archives of tests hold nothing but tags, one a line."""
        for tag in archive.read().decode().split():
            self.add_image(tags=(tag,))

    async def ensure_network(self, config: Mapping[str, Any]) -> None:
        """See `Engine.ensure_network`."""
        name = config["Name"]
        if name in self._networks:
            return
        if len(self._networks) >= self.pools:
            text = "could not find an available, non-overlapping IPv4 address pool among the defaults"
            raise EngineError(f"{text} to assign to the network", 404)
        number = f"{next(self._numbers):064x}"
        self._networks[name] = Network(number, name, dict(config.get("Labels") or {}), self.clock())

    async def networks(self, *, labels: Sequence[str] = ()) -> list[Network]:
        """See `Engine.networks`."""
        await asyncio.sleep(0)
        return [each for each in self._networks.values() if _carries(each.labels, labels)]

    async def remove_network(self, network: str) -> Removal:
        """See `Engine.remove_network`."""
        await asyncio.sleep(0)
        found = next((each for each in self._networks.values() if each.id == network), None)
        if found is None:
            return Removal.GONE
        if any(found.name in box.networks for box in self._boxes.values() if box.shown.running):
            return Removal.IN_USE
        del self._networks[found.name]
        self.removed.append(network)
        return Removal.REMOVED

    async def ensure_volume(self, config: Mapping[str, Any]) -> None:
        """See `Engine.ensure_volume`; volumes are seen by containers only, and the fake runs none."""

    async def events(self, *, labels: Sequence[str], since: float) -> AsyncIterator[EngineEvent]:
        """See `Engine.events`."""
        listener = (labels, asyncio.Queue[EngineEvent]())
        self._listeners.append(listener)
        for at, carried, event in self._past:
            if at >= since and _carries(carried, labels):
                listener[1].put_nowait(event)
        try:
            while True:
                yield await listener[1].get()
        finally:
            self._listeners.remove(listener)

    async def close(self) -> None:
        """See `Engine.close`."""
