"""Define the interface to the container engine: the `Engine` protocol. Its values are in `values`.

"Not found" and "in use" are values where they are normal, never exceptions. Every method of `Engine` raises
EngineUnavailable if the engine does not respond and EngineError if it refuses.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any, BinaryIO, Protocol, TypeVar

from watcher.engine.archive import ByteReader
from watcher.engine.values import (
    Container,
    ContainerCommand,
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

Result = TypeVar("Result")


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

    async def read_image(self, image: str, visit: Callable[[ByteReader], Result]) -> Result | None:
        """Return what `visit` makes of the image's archive, in a thread; None if the image does not exist.

        `visit` may raise Unreadable. If the call is cancelled, its next read raises that.
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
        self, ref: str, *, platform: str = "", progress: Callable[[PullProgress], None] | None = None
    ) -> None:
        """Pull an image; raise EngineError with the reason of the registry or the engine.

        A pull of which nothing arrives for minutes is an error too. `progress` is called twice a second.
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
