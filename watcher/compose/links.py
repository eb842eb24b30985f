"""What ties a service to another one beside `depends_on`: links, volumes and namespaces that it shares.

Such a service must run first, as docker compose has it (compose-go, loader/normalize.go). Here it stands
under its name in the file; `resolve_links` puts its container's name there, once that is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from watcher.compose.field import Field
from watcher.compose.spec import Dependency, ServiceSpec

SERVICE = "service:"
CONTAINER = "container:"


def read_links(field: Field) -> tuple[tuple[str, str], ...]:
    """(service, alias) of `links`."""
    found = []
    for item in field.items():
        name, colon, alias = item.word().partition(":")
        if not name or (colon and not alias):
            raise item.error("must be a service, or service:alias")
        found.append((name, alias or name))
    return tuple(dict.fromkeys(found))


def read_external_links(field: Field) -> tuple[tuple[str, str], ...]:
    """(container, alias) of `external_links`."""
    found = []
    for item in field.items():
        name, colon, alias = item.word().partition(":")
        if not name or (colon and not alias):
            raise item.error("must be a container, or container:alias")
        found.append((name, alias or name))
    return tuple(dict.fromkeys(found))


def read_volumes_from(field: Field) -> tuple[str, ...]:
    """`service[:ro|rw]` or `container:name[:ro|rw]`, as they are."""
    for item in field.items():
        name, _, mode = item.word().removeprefix(CONTAINER).partition(":")
        if not name or mode not in ("", "ro", "rw"):
            raise item.error("must be a service or container:NAME, with :ro or :rw behind it if need be")
    return field.words()


def missing_dependencies(spec: ServiceSpec) -> dict[str, Dependency]:
    """The services that must run first and that `depends_on` does not name."""
    restarted = Dependency(restart=True)
    found = dict.fromkeys((name for name, _ in spec.links), restarted)
    for mode in (spec.network_mode, spec.ipc, spec.pid):
        if mode.startswith(SERVICE):
            found.setdefault(mode.removeprefix(SERVICE), restarted)
    for text in spec.volumes_from:
        if not text.startswith(CONTAINER):
            found.setdefault(text.partition(":")[0], Dependency())
    return {name: each for name, each in found.items() if name not in spec.depends_on}


def resolve_links(spec: ServiceSpec, others: Mapping[str, ServiceSpec]) -> ServiceSpec:
    """The service with the names of containers in place of those of services.

    A link by the service's own name is none: on a shared network it is found by that anyway.
    """
    return replace(
        spec,
        links=tuple((others[name].default_name, alias) for name, alias in spec.links if alias != name),
        network_mode=_resolve_mode(spec.network_mode, others),
        ipc=_resolve_mode(spec.ipc, others),
        pid=_resolve_mode(spec.pid, others),
        volumes_from=tuple(_resolve_volumes_from(text, others) for text in spec.volumes_from),
    )


def _resolve_mode(mode: str, others: Mapping[str, ServiceSpec]) -> str:
    name = mode.removeprefix(SERVICE)
    return mode if mode == name else CONTAINER + others[name].default_name


def _resolve_volumes_from(text: str, others: Mapping[str, ServiceSpec]) -> str:
    if text.startswith(CONTAINER):
        return text.removeprefix(CONTAINER)
    name, colon, mode = text.partition(":")
    return others[name].default_name + colon + mode
