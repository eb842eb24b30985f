"""Find the services that a refused change of the configuration concerns: those that it would have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from watcher.compose import ComposeProject
from watcher.errors import ConfigError
from watcher.settings import Settings

Configured = tuple[Settings, ComposeProject]


def find_concerned(
    force: Callable[[str], Configured],
    settings: Settings,
    load: Callable[[str], ComposeProject],
    names: Iterable[str],
) -> tuple[str, ...]:
    """Return which of the services `names` are not in force as the files now say.

    `force` returns what is in force for a service, `load` reads one service and what it needs from the files
    and raises ConfigError.
    """
    return tuple(name for name in names if _differs(name, force(name), settings, load))


def _differs(name: str, force: Configured, settings: Settings, load: Callable[[str], ComposeProject]) -> bool:
    before, project = force
    if before.for_service(name) != settings.for_service(name):
        return True
    try:
        found = load(name)
    except ConfigError:
        return True
    return _part_of(project, name) != _part_of(found, name)


def _part_of(project: ComposeProject, name: str) -> object:
    """Return everything of a project that decides how this service runs."""
    if name not in project.services:
        return None
    specs = [project.services[each] for each in sorted({name, *project.needs(name)})]
    networks = {network.key for spec in specs for network in spec.networks}
    volumes = {mount.source for spec in specs for mount in spec.mounts}
    return (
        project.name,
        specs,
        [project.networks[key] for key in sorted(networks & project.networks.keys())],
        [volume for volume in project.volumes.values() if volume.name in volumes],
    )
