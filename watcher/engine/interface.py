"""The container engine, as this program needs it: values and the port that stages see.

"Not found" and "in use" are values where they are normal, never exceptions. Every method of `Engine` raises
EngineUnavailable when the engine does not answer and EngineError when it refuses.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, BinaryIO, Protocol

from watcher.errors import WatcherError

# What an engine calls its machine, and Go (moby, pkg/platform, as `uname -m` has it).
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "i686": "386",
}
CONTAINERD = "containerd"  # `SystemInfo.store` of engines with the containerd image store


class EngineError(WatcherError):
    """The engine refused a request; the message is the engine's own sentence."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Removal(StrEnum):
    """What became of a request to remove something."""

    REMOVED = "removed"
    GONE = "gone"
    IN_USE = "in use"


@dataclass(frozen=True, slots=True)
class SystemInfo:
    """Version and environment of an engine. `store` is overlay2, containerd …; `host` its machine's name."""

    version: str
    api: str
    store: str
    endpoint: str
    architecture: str
    data_root: str = ""
    host: str = ""
    clock: float = 0.0  # the engine's own time, Unix seconds: what it compares creation times with
    id: str = ""  # the engine's own id, which stays the same wherever it is reached

    @property
    def identity(self) -> str:
        """What tells it from other engines: its id, and where it is when it has none."""
        return self.id or self.endpoint

    @property
    def platform(self) -> str:
        """The platform that it builds for and runs natively, like `linux/amd64`."""
        return f"linux/{_ARCHITECTURES.get(self.architecture, self.architecture)}"


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the engine's store.

    `created` and `tagged` (when a tag last moved to it; 0 in lists) are Unix seconds. `digests` are names by
    digest (`repository@sha256:…`). `size` is the engine's own figure in bytes: on the containerd store
    another one than `Engine.image_size`, in lists all that the image occupies, packed and unpacked. `parent`
    is set by the classic builder and by commit only.
    """

    id: str
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    onbuild: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] = ()
    workdir: str = ""
    command: tuple[str, ...] = ()  # ENTRYPOINT, then CMD
    os: str = "linux"
    parent: str = ""
    digests: tuple[str, ...] = ()
    tagged: float = 0.0
    last_step: str = ""  # as `Engine.last_step` says; empty where it was not asked for
    size: int = 0


@dataclass(frozen=True, slots=True)
class Container:
    """A container in any state. `ports` maps "9000/tcp" to the addresses published on the host.

    `changed` is when it was last created, started or ended (Unix seconds); in lists, when it was created.
    """

    id: str
    name: str
    image: str
    labels: Mapping[str, str]
    state: str  # created | running | paused | restarting | removing | exited | dead
    health: str = ""  # "" when there is no health check, else starting | healthy | unhealthy
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    ports: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)  # network name -> IP address
    healthcheck: tuple[str, ...] = ()
    changed: float = 0.0
    joined: str = ""  # id of the container that owns its network, with its ports and addresses
    volumes: tuple[str, ...] = ()  # names of its anonymous volumes; not in lists
    generated_volumes: Mapping[str, str] = field(default_factory=dict)  # target -> volume the engine named
    networks: frozenset[str] = frozenset()  # names and ids of those that it is or will be attached to

    @property
    def running(self) -> bool:
        """Whether the container's process runs."""
        return self.state == "running"

    @property
    def paused(self) -> bool:
        """Whether its process is there, frozen by `docker pause`."""
        return self.state == "paused"


@dataclass(frozen=True, slots=True)
class Network:
    """A network. `created` is Unix seconds."""

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """A record of the build cache. `shared`: an image holds its bytes too. `size` is bytes."""

    id: str
    kind: str  # regular | source.local | exec.cachemount | frontend | internal | …
    description: str
    size: int
    in_use: bool
    shared: bool


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume; `size` is bytes, `used` whether a container has it."""

    name: str
    labels: Mapping[str, str]
    size: int
    used: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """What the engine's store holds, in bytes. `layers` are all image layers, each counted once.

    `alone` has, by image id, what no other image holds. `written` (what containers wrote, by their ids) and
    `volumes` are there only when they were asked for.
    """

    layers: int
    cache: tuple[CacheRecord, ...] = ()
    alone: Mapping[str, int] = field(default_factory=dict)
    written: Mapping[str, int] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is written into a container."""

    path: str
    content: bytes = field(repr=False)
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


@dataclass(frozen=True, slots=True)
class ContainerCommand:
    """What is run in a container. What is empty is as the container has it."""

    words: tuple[str, ...]
    user: str = ""
    workdir: str = ""
    environment: tuple[str, ...] = ()  # NAME=value
    privileged: bool = False


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """Something that happened to a container."""

    action: str  # start | die | oom | health_status: unhealthy | destroy | …
    container: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Printed:
    """A line that a container printed, and when: Unix seconds by the engine's clock, 0 when not known."""

    at: float
    text: str


class Engine(Protocol):
    """What the stages ask of a container engine."""

    async def info(self) -> SystemInfo:
        """What the engine is."""
        ...

    async def image(self, ref: str) -> Image | None:
        """The image of that id or reference; None when there is none."""
        ...

    async def images(self, *, labels: Sequence[str] = (), dangling: bool | None = None) -> list[Image]:
        """Images that carry all `labels` ("key" or "key=value"), without env, user, onbuild, healthcheck."""
        ...

    async def image_size(self, image: str) -> int | None:
        """Its size in bytes as `docker images` of the classic store shows it; None when gone.

        That is the sum of its layers' files, the same on every image store. On the containerd store the
        image is read for it, once, which can take seconds. If that fails, it is the blocks on the disk.
        """
        ...

    async def remove_image(self, ref: str) -> Removal:
        """Remove one image by id, or one tag of it, never with force."""
        ...

    async def usage(self, *, whole: bool = False) -> Usage:
        """What images and build cache occupy; with `whole` containers and volumes too.

        Slow when much was built since it was last asked, and with large volumes. EngineError: it could not
        be summed up, which happens on the containerd store while others build.
        """
        ...

    async def last_step(self, image: str) -> str:
        """What made the image out of the one below it, as its history says; empty when it is gone."""
        ...

    async def tag(self, image: str, ref: str) -> None:
        """Let `ref` name `image`; raises EngineError when the image is gone."""
        ...

    async def containers(self, *, labels: Sequence[str] = ()) -> list[Container]:
        """Containers in any state that carry all `labels`; names, images, labels, states, ports only."""
        ...

    async def container(self, ref: str) -> Container | None:
        """One container by id or name, with health and ports; None when there is none."""
        ...

    async def create(self, name: str, config: Mapping[str, Any], *, platform: str | None = None) -> str:
        """Create a container from an Engine API body; its id. Raises EngineError with the engine's reason."""
        ...

    async def start(self, container: str) -> None:
        """Start a container; raises EngineError with the engine's reason."""
        ...

    async def stop(self, container: str, timeout: float) -> None:
        """Ask it to stop and kill it `timeout` seconds later; fine when it is gone."""
        ...

    async def remove(self, container: str, *, volumes: bool = True) -> Removal:
        """Remove a container that does not run, never with force; one that runs is in use.

        With `volumes` its anonymous ones go with it, unless another container uses them or the engine
        refuses.
        """
        ...

    async def rename(self, container: str, name: str) -> None:
        """Give a container another name; raises EngineError when the name is taken."""
        ...

    async def connect(self, container: str, network: str, endpoint: Mapping[str, Any]) -> None:
        """Attach a container to one more network; `endpoint` is the API's EndpointSettings."""
        ...

    async def put_files(self, container: str, files: Sequence[NewFile]) -> None:
        """Write files into a container; the folders that they need are made. Raises EngineError."""
        ...

    async def execute(self, container: str, command: ContainerCommand) -> tuple[int, tuple[str, ...]]:
        """Run a command in a running container; its exit status and its last lines. Raises EngineError."""
        ...

    async def disconnect(self, container: str, network: str) -> None:
        """Take a container off a network; fine when it is not on it."""
        ...

    async def logs(self, container: str, *, tail: int) -> tuple[str, ...]:
        """The last `tail` lines the container printed, both streams."""
        ...

    def follow(self, container: str, *, since: float, tail: int) -> AsyncGenerator[Sequence[Printed]]:
        """What a container prints as it comes, both streams: first at most `tail` lines that are there.

        Only what it printed at `since` (Unix seconds) or later; 0 for all. Ends when the container ends, is
        gone, or the engine disconnects; raises EngineError when its logging driver cannot be read. A
        container that prints faster than the batches are taken is read later, not kept in memory.
        """
        ...

    async def pull(
        self, ref: str, *, platform: str = "", progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Pull an image; raises EngineError with the registry's or the engine's reason.

        `progress` gets the bytes that have arrived and those that are known of, at most twice a second.
        """
        ...

    async def load(self, archive: BinaryIO) -> None:
        """Load the images of a docker archive, read from the file's position; raises EngineError."""
        ...

    async def ensure_network(self, config: Mapping[str, Any]) -> None:
        """Make the network that the API's body describes, unless there is one of its name."""
        ...

    async def networks(self, *, labels: Sequence[str] = ()) -> list[Network]:
        """Networks that carry all `labels` ("key" or "key=value")."""
        ...

    async def remove_network(self, network: str) -> Removal:
        """Remove a network by its id; in use while a running container is attached to it.

        The engine does not count a container that is stopped: see `Container.networks`.
        """
        ...

    async def ensure_volume(self, config: Mapping[str, Any]) -> None:
        """Make the volume that the API's body describes, unless there is one of its name."""
        ...

    def events(self, *, labels: Sequence[str], since: float) -> AsyncIterator[EngineEvent]:
        """Container events from `since` (Unix seconds) on; raises EngineUnavailable when the stream ends."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
