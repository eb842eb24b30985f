"""Define the values of a container engine: images, containers, networks, disk usage and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

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
    product: str = "Docker"

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
    entrypoint: tuple[str, ...] = ()
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
    exposed: tuple[int, ...] = ()  # TCP ports that its program is said to listen on; not in lists
    changed: float = 0.0
    created: float = 0.0  # Unix seconds; not in lists
    joined: str = ""  # id of the container that owns its network, with its ports and addresses
    pid_owner: str = ""  # id or name of the container that owns its PID namespace; not in lists
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
class PullProgress:
    """The bytes of an image that were received and that are known of; `silent`: seconds without any news."""

    received: int
    known: int
    silent: float


@dataclass(frozen=True, slots=True)
class Printed:
    """A line of a container's log, with Unix seconds by the engine's clock, 0 if unknown."""

    at: float
    text: str
