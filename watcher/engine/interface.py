"""Define the interface to the container engine: the `Engine` protocol and its values.

"Not found" and "in use" are values where they are normal, never exceptions. Every method of `Engine` raises
EngineUnavailable if the engine does not respond and EngineError if it refuses.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, BinaryIO, Protocol

from watcher.errors import WatcherError

# The engine's name of its architecture (moby, pkg/platform, from `uname -m`) -> Go's name.
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "i686": "386",
}
CONTAINERD = "containerd"  # `SystemInfo.store` of engines with the containerd image store


class EngineError(WatcherError):
    """The engine refused a request; the message is the engine's own."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Removal(StrEnum):
    """The result of a request to remove an object."""

    REMOVED = "removed"
    GONE = "gone"
    IN_USE = "in use"


@dataclass(frozen=True, slots=True)
class SystemInfo:
    """Version and environment of an engine. `store` is overlay2, containerd …; `host` is its host name."""

    version: str
    api: str
    store: str
    endpoint: str
    architecture: str
    data_root: str = ""
    host: str = ""
    clock: float = 0.0  # the engine's clock, Unix seconds
    id: str = ""  # the engine's id, the same at every endpoint

    @property
    def identity(self) -> str:
        """Return what identifies the engine: its id, or its endpoint if it has none."""
        return self.id or self.endpoint

    @property
    def platform(self) -> str:
        """Return its native platform, like `linux/amd64`."""
        return f"linux/{_ARCHITECTURES.get(self.architecture, self.architecture)}"


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the engine's store.

    `created` and `tagged` (when a tag last moved to it; 0 in lists) are Unix seconds. `digests` are
    references by digest (`repository@sha256:…`). `size` is the engine's figure in bytes: on the containerd
    store it differs from `Engine.image_size` and in lists includes packed and unpacked content. `parent` is
    set only by the classic builder and by commit.
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
    last_step: str = ""  # the result of `Engine.last_step`; empty if not requested
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
    health: str = ""  # "" without a health check, else starting | healthy | unhealthy
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
    networks: frozenset[str] = frozenset()  # names and ids of current and configured networks

    @property
    def running(self) -> bool:
        """Return whether the container's process runs."""
        return self.state == "running"

    @property
    def paused(self) -> bool:
        """Return whether its process is frozen by `docker pause`."""
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
    """A record of the build cache. `shared`: an image uses its bytes too. `size` is in bytes."""

    id: str
    kind: str  # regular | source.local | exec.cachemount | frontend | internal | …
    description: str
    size: int
    in_use: bool
    shared: bool


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume; `size` is in bytes, `used` is whether a container uses it."""

    name: str
    labels: Mapping[str, str]
    size: int
    used: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """The disk usage of the engine in bytes. `layers` are all image layers, each counted once.

    `alone` is the size of the layers in no other image, by image id. `written` (data written by containers,
    by id) and `volumes` are set only on request.
    """

    layers: int
    cache: tuple[CacheRecord, ...] = ()
    alone: Mapping[str, int] = field(default_factory=dict)
    written: Mapping[str, int] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to write into a container."""

    path: str
    content: bytes = field(repr=False)
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


@dataclass(frozen=True, slots=True)
class ContainerCommand:
    """A command to run in a container. Empty fields are those of the container."""

    words: tuple[str, ...]
    user: str = ""
    workdir: str = ""
    environment: tuple[str, ...] = ()  # NAME=value
    privileged: bool = False


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """An event of a container."""

    action: str  # start | die | oom | health_status: unhealthy | destroy | …
    container: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Printed:
    """A line of a container's log, with Unix seconds by the engine's clock, 0 if unknown."""

    at: float
    text: str


class Engine(Protocol):
    """The operations of a container engine."""

    async def info(self) -> SystemInfo:
        """Return the engine's version and environment."""
        ...

    async def image(self, ref: str) -> Image | None:
        """Return the image with that id or reference; None if there is none."""
        ...

    async def images(self, *, labels: Sequence[str] = (), dangling: bool | None = None) -> list[Image]:
        """Return images with all `labels` ("key" or "key=value"), without env, user, onbuild, healthcheck."""
        ...

    async def image_size(self, image: str) -> int | None:
        """Return its size in bytes as in `docker images` of the classic store; None if it does not exist.

        That is the sum of the file sizes in its layers, equal on every image store. On the containerd store
        the image is read once for this, which can take seconds; if that fails, it is the disk usage.
        """
        ...

    async def remove_image(self, ref: str) -> Removal:
        """Remove one image by id, or one of its tags, never with force."""
        ...

    async def usage(self, *, whole: bool = False) -> Usage:
        """Return the disk usage of images and build cache; with `whole` also of containers and volumes.

        Slow after many builds, and with large volumes. EngineError: the engine could not compute it, which
        happens on the containerd store during builds.
        """
        ...

    async def last_step(self, image: str) -> str:
        """Return the last step in the image's history; empty if the image does not exist."""
        ...

    async def tag(self, image: str, ref: str) -> None:
        """Point the tag `ref` to `image`; raise EngineError if the image does not exist."""
        ...

    async def containers(self, *, labels: Sequence[str] = ()) -> list[Container]:
        """Return containers in any state with all `labels`; only names, images, labels, states and ports."""
        ...

    async def container(self, ref: str) -> Container | None:
        """Return one container by id or name, with health and ports; None if there is none."""
        ...

    async def create(self, name: str, config: Mapping[str, Any], *, platform: str | None = None) -> str:
        """Create a container from an Engine API body and return its id; raise EngineError with the reason."""
        ...

    async def start(self, container: str) -> None:
        """Start a container; raise EngineError with the engine's reason."""
        ...

    async def stop(self, container: str, timeout: float) -> None:
        """Stop a container, and kill it after `timeout` seconds; no error if it does not exist."""
        ...

    async def remove(self, container: str, *, volumes: bool = True) -> Removal:
        """Remove a stopped container, never with force; a running one is in use.

        With `volumes` its anonymous volumes are removed too, unless another container uses them or the engine
        refuses.
        """
        ...

    async def rename(self, container: str, name: str) -> None:
        """Rename a container; raise EngineError if the name is taken."""
        ...

    async def connect(self, container: str, network: str, endpoint: Mapping[str, Any]) -> None:
        """Attach a container to another network; `endpoint` is EndpointSettings of the API."""
        ...

    async def put_files(self, container: str, files: Sequence[NewFile]) -> None:
        """Write files into a container and create their folders. Raises EngineError."""
        ...

    async def execute(self, container: str, command: ContainerCommand) -> tuple[int, tuple[str, ...]]:
        """Run a command in a running container; return its exit status and last lines. Raises EngineError."""
        ...

    async def disconnect(self, container: str, network: str) -> None:
        """Detach a container from a network; no error if it is not attached."""
        ...

    async def logs(self, container: str, *, tail: int) -> tuple[str, ...]:
        """Return the last `tail` lines of the container's log, both streams."""
        ...

    def follow(self, container: str, *, since: float, tail: int) -> AsyncGenerator[Sequence[Printed]]:
        """Stream the log of a container, both streams, starting with at most `tail` existing lines.

        Only lines at or after `since` (Unix seconds); 0 for all. Ends when the container ends or is removed
        or the engine disconnects; raises EngineError if the logging driver cannot be read. The buffer is
        limited: a container that prints faster than the batches are consumed is read later.
        """
        ...

    async def pull(
        self, ref: str, *, platform: str = "", progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Pull an image; raise EngineError with the reason of the registry or the engine.

        `progress` is called with received and known bytes, at most twice a second.
        """
        ...

    async def load(self, archive: BinaryIO) -> None:
        """Load the images of a docker archive, from the current position; raise EngineError."""
        ...

    async def ensure_network(self, config: Mapping[str, Any]) -> None:
        """Create the network of the API body, unless one with its name exists."""
        ...

    async def networks(self, *, labels: Sequence[str] = ()) -> list[Network]:
        """Return networks with all `labels` ("key" or "key=value")."""
        ...

    async def remove_network(self, network: str) -> Removal:
        """Remove a network by its id; in use while a running container is attached to it.

        The engine does not count stopped containers: see `Container.networks`.
        """
        ...

    async def ensure_volume(self, config: Mapping[str, Any]) -> None:
        """Create the volume of the API body, unless one with its name exists."""
        ...

    def events(self, *, labels: Sequence[str], since: float) -> AsyncIterator[EngineEvent]:
        """Stream container events from `since` (Unix seconds) on; raise EngineUnavailable at the end."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
