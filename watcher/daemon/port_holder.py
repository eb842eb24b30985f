"""Name what has a published port of this project: a watcher of another project, or a container."""

from __future__ import annotations

from watcher.daemon.service_config import ServiceConfig
from watcher.deploy import published_addresses
from watcher.engine import Container, Engine
from watcher.front import PortInUse
from watcher.observers.humanize import short_path

_FOLDER = "com.docker.compose.project.working_dir"
_PROJECT = "com.docker.compose.project"


async def name_both(error: PortInUse, engine: Engine, config: ServiceConfig) -> PortInUse:
    """Return the error with both projects named: the one that has the port, and this one."""
    holder = error.holder or await find_container(engine, error.port)
    return PortInUse(
        error.host, error.port, holder, f"{config.spec.name} of {short_path(config.settings.root)}"
    )


async def find_container(engine: Engine, port: int) -> str:
    """Describe the container that publishes a TCP port of this machine; empty if none does."""
    for container in await engine.containers():
        if any(each.port == port and each.protocol == "tcp" for each in published_addresses(container)):
            return describe_container(container)
    return ""


def describe_container(container: Container) -> str:
    """Return the container's name and its compose project."""
    project = container.labels.get(_PROJECT, "")
    folder = container.labels.get(_FOLDER, "")
    place = f" of the compose project {project}" if project else ""
    return f"the container {container.name}{place}" + (f" in {short_path(folder)}" if folder else "")
