"""What a deploy is made of: the recipe for containers, how patient to be, the container that serves."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from watcher.engine import Container
from watcher.front import Backend

Published = Mapping[int, Sequence[tuple[str, int]]]  # container port -> addresses on the host; port 0 = any


class ContainerRecipe(Protocol):
    """What a container of the service is made of, except its image."""

    @property
    def name(self) -> str:
        """Return the name that the live container has."""
        ...

    @property
    def project(self) -> str:
        """Project id."""
        ...

    @property
    def service(self) -> str:
        """Service of the compose file."""
        ...

    @property
    def digest(self) -> str:
        """Digest over all that decides how the container runs."""
        ...

    @property
    def ports(self) -> tuple[int, ...]:
        """TCP ports of the container that the front serves; the first one is asked for readiness."""
        ...

    @property
    def published(self) -> Published:
        """Return where the compose file publishes these ports."""
        ...

    @property
    def exclusive(self) -> bool:
        """Return whether two of them cannot run at once: both need the same port or address of the host."""
        ...

    @property
    def written(self) -> tuple[str, ...]:
        """Volumes and folders of the host that its program may write; two containers would share them."""
        ...

    @property
    def completes(self) -> bool:
        """Return whether it is a job: others wait until it has ended with exit status 0."""
        ...

    @property
    def stop_timeout(self) -> float:
        """Seconds that the program has to stop."""
        ...

    @property
    def network(self) -> str | None:
        """Return a network over which the container is reached by its address; None: over loopback ports."""
        ...

    @property
    def platform(self) -> str | None:
        """Return the platform to create it for; None for the engine's own."""
        ...

    @property
    def address_endpoints(self) -> Mapping[str, Mapping[str, Any]]:
        """Endpoint settings of a container that has the service's names, by network; empty: none can."""
        ...

    def allows_pause_container(self, *, named: bool) -> bool:
        """Return whether its network can be prepared, and shared with a pause container.

        `named`: other services look the network up by the names of the service.
        """
        ...

    def config(
        self,
        image: str,
        publish: Published,
        extra_labels: Mapping[str, str],
        joins: str = "",
        *,
        named: bool = True,
    ) -> Mapping[str, Any]:
        """Return the Engine API's body for creating it; `joins` is the container that shares its network.

        `named`: other services find it by the names of the service.
        """
        ...

    def pause_config(
        self, image: str, publish: Published, own_labels: Mapping[str, str], *, named: bool = True
    ) -> Mapping[str, Any]:
        """Return the body for a pause container that does nothing but hold the network."""
        ...

    async def prepare(self) -> None:
        """Bring up what it needs: networks, volumes, services it depends on."""
        ...

    async def created(self, container: str, *, named: bool = True) -> None:
        """Finish a created container that does not run yet: further networks, files."""
        ...

    async def started(self, container: str) -> None:
        """Do what is to be done in a container that has just been started; raises UserError."""
        ...

    async def stopping(self, container: str) -> None:
        """Do what is to be done in a container before it is stopped."""
        ...


@dataclass(frozen=True, slots=True)
class DeployPolicy:
    """How patient a deploy is; seconds."""

    ready_path: str | None = None
    protocol: str = "auto"  # of the port that is asked; tcp: a connection that stays open is an answer
    startup_timeout: float = 30.0
    soak: float = 3.0
    drain: float = 10.0


@dataclass(frozen=True, slots=True)
class Live:
    """A container that serves."""

    id: str
    image: str
    revision: str
    digest: str
    backends: Mapping[int, Backend]
    since: float  # monotonic seconds
    mounted: str = ""  # digest over the sources that were mounted into it
    answered: tuple[int, ...] = ()  # ports that are not published, and answered before it became live

    def as_revision(self, revision: str) -> Live:
        """Return the same container, known to be of another revision too."""
        backends = {port: replace(backend, revision=revision) for port, backend in self.backends.items()}
        return replace(self, revision=revision, backends=backends)


@dataclass(frozen=True, slots=True)
class ForwardTarget:
    """The container that other services are to reach; with an empty `id` their connections are held.

    `answered` are ports without a published address that it is known to answer on. `starting`: it is
    possibly not listening yet.
    """

    id: str = ""
    revision: str = ""
    answered: tuple[int, ...] = ()
    starting: bool = False


def has_completed(found: Container) -> bool:
    """Return whether a job's container ended well."""
    return found.state == "exited" and found.exit_code == 0


class Phases:
    """Seconds per phase, by name."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.done: tuple[tuple[str, float], ...] = ()

    def mark(self, name: str) -> None:
        """The phase `name` ends now."""
        now = time.monotonic()
        self.done = (*self.done, (name, now - self._last))
        self._last = now


def backends(
    recipe: ContainerRecipe, found: Container, revision: str, ports: Collection[int] = ()
) -> dict[int, Backend]:
    """Return where the running container's ports are reached: over the recipe's network, or as published.

    `ports` are asked for instead of the recipe's, of a container that was made by another one.
    """
    reached = {}
    for port in ports or recipe.ports:
        bound = found.ports.get(f"{port}/tcp", ())
        if recipe.network and recipe.network in found.addresses:
            reached[port] = Backend(found.addresses[recipe.network], port, revision)
        elif bound:
            host, host_port = bound[0]
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
            reached[port] = Backend(host, host_port, revision)
    return reached
