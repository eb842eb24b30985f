"""Resolve references between services: links, shared volumes and shared namespaces.

The service that is referred to must start first, as with docker compose (compose-go, loader/normalize.go).
The readers return the names of services; `resolve_links` replaces them by the names of their containers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from watcher.compose.field import Field
from watcher.compose.spec import Dependency, ServiceSpec
from watcher.errors import ConfigError

SERVICE = "service:"
CONTAINER = "container:"


def read_links(field: Field) -> tuple[tuple[str, str], ...]:
    """Return `links` as (service, alias)."""
    found = []
    for item in field.items():
        name, colon, alias = item.word().partition(":")
        if not name or (colon and not alias):
            raise item.error("must be a service, or service:alias")
        found.append((name, alias or name))
    return tuple(dict.fromkeys(found))


def read_external_links(field: Field) -> tuple[tuple[str, str], ...]:
    """Return `external_links` as (container, alias)."""
    found = []
    for item in field.items():
        name, colon, alias = item.word().partition(":")
        if not name or (colon and not alias):
            raise item.error("must be a container, or container:alias")
        found.append((name, alias or name))
    return tuple(dict.fromkeys(found))


def read_volumes_from(field: Field) -> tuple[str, ...]:
    """Return the entries of `volumes_from`: `service[:ro|rw]` or `container:name[:ro|rw]`."""
    for item in field.items():
        name, _, mode = item.word().removeprefix(CONTAINER).partition(":")
        if not name or mode not in ("", "ro", "rw"):
            raise item.error("must be SERVICE or container:NAME, optionally followed by :ro or :rw")
    return field.words()


def missing_dependencies(spec: ServiceSpec) -> dict[str, Dependency]:
    """Return the services that must start first and that `depends_on` does not list."""
    restarted = Dependency(restart=True)
    found = dict.fromkeys((name for name, _ in spec.links), restarted)
    for mode in (spec.network_mode, spec.ipc, spec.pid):
        if mode.startswith(SERVICE):
            found.setdefault(mode.removeprefix(SERVICE), restarted)
    for text in spec.volumes_from:
        if not text.startswith(CONTAINER):
            found.setdefault(text.partition(":")[0], Dependency())
    return {name: each for name, each in found.items() if name not in spec.depends_on}


def find_references(spec: ServiceSpec, others: Mapping[str, ServiceSpec]) -> frozenset[str]:
    """Return the services whose namespaces or volumes a resolved service uses: it needs their container."""
    modes = (spec.network_mode, spec.ipc, spec.pid)
    used = {mode.removeprefix(CONTAINER) for mode in modes if mode.startswith(CONTAINER)}
    used |= {text.partition(":")[0] for text in spec.volumes_from}
    return frozenset(
        name for name, other in others.items() if name != spec.name and other.default_name in used
    )


def find_followers(name: str, services: Mapping[str, ServiceSpec]) -> tuple[str, ...]:
    """Return the services whose containers are replaced when that of `name` was.

    They use parts of it, or depend on it with `restart: true`, as `links` do.
    """

    def follows(spec: ServiceSpec) -> bool:
        dependency = spec.depends_on.get(name)
        return dependency is not None and (dependency.restart or name in find_references(spec, services))

    return tuple(other for other, spec in services.items() if follows(spec))


def resolve_links(spec: ServiceSpec, others: Mapping[str, ServiceSpec]) -> ServiceSpec:
    """Return the service with names of containers in place of names of services.

    A link whose alias is the name of the service is dropped: on a shared network that name resolves anyway.
    So is a link to a service that is not in `others`: a skipped, optional dependency. Raises ConfigError if
    the container of such a service is needed to create this one.
    """
    return replace(
        spec,
        links=tuple(
            (others[name].default_name, alias)
            for name, alias in spec.links
            if alias != name and name in others
        ),
        network_mode=_resolve_mode("network_mode", spec, spec.network_mode, others),
        ipc=_resolve_mode("ipc", spec, spec.ipc, others),
        pid=_resolve_mode("pid", spec, spec.pid, others),
        volumes_from=tuple(_resolve_volumes_from(spec, text, others) for text in spec.volumes_from),
    )


def _resolve_mode(key: str, spec: ServiceSpec, mode: str, others: Mapping[str, ServiceSpec]) -> str:
    name = mode.removeprefix(SERVICE)
    return mode if mode == name else CONTAINER + _container_of(key, spec, mode, others.get(name))


def _resolve_volumes_from(spec: ServiceSpec, text: str, others: Mapping[str, ServiceSpec]) -> str:
    if text.startswith(CONTAINER):
        return text.removeprefix(CONTAINER)
    name, colon, mode = text.partition(":")
    return _container_of("volumes_from", spec, text, others.get(name)) + colon + mode


def _container_of(key: str, spec: ServiceSpec, value: str, other: ServiceSpec | None) -> str:
    if other is None:
        rule = "has no container to share: the watcher does not start that service"
        raise ConfigError(f"services.{spec.name}.{key}", value, rule)
    return other.default_name
