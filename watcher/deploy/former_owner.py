"""Whether a container uses parts of another one that is gone: a network, IPC or PID namespace, volumes.

The engine connects these when a container is created or started. When the other one is created again, for
example by `docker compose up --force-recreate`, a container goes on with the parts of the former one. When
the other one restarts, its namespaces are new ones too: a container in the former network reaches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from watcher.compose import ServiceSpec
from watcher.engine import Container, Engine

_CONTAINER = "container:"


async def uses_former_owner(engine: Engine, spec: ServiceSpec, item: Container) -> bool:
    """Return whether `item`, a container of the service, is to be replaced. Raises EngineUnavailable."""
    name = _owner_of(spec.network_mode)
    if name and item.joined:
        owner = await engine.container(name)
        if owner is None or owner.id != item.joined:
            return True
    for name in filter(None, map(_owner_of, (spec.network_mode, spec.ipc, spec.pid))):
        owner = await engine.container(name)
        if owner and owner.running and item.running and owner.changed > item.changed:
            return True  # a namespace ends with the process that it was made for
    for text in spec.volumes_from:
        owner = await engine.container(text.partition(":")[0])
        if owner and owner.created > item.created:
            return True
    return False


def is_older(item: Container, owner: Container | None) -> bool:
    """Return whether `item` was started before the container of a service that it follows was created."""
    return owner is not None and owner.running and owner.created > item.changed


def with_owner_ids(spec: ServiceSpec, ids: Mapping[str, str]) -> ServiceSpec:
    """Return the service with ids in place of the names of containers whose parts it uses.

    Another program's container can have the name of a managed service: `docker compose up` creates one.
    """

    def resolve(mode: str) -> str:
        name = _owner_of(mode)
        return f"{_CONTAINER}{ids[name]}" if name in ids else mode

    parts = (text.partition(":") for text in spec.volumes_from)
    return replace(
        spec,
        network_mode=resolve(spec.network_mode),
        ipc=resolve(spec.ipc),
        pid=resolve(spec.pid),
        volumes_from=tuple(ids.get(name, name) + colon + mode for name, colon, mode in parts),
    )


def _owner_of(mode: str) -> str:
    return mode.removeprefix(_CONTAINER) if mode.startswith(_CONTAINER) else ""
