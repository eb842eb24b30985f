"""What an older engine would drop without a word: so that it can be refused before, by name.

The versions are those of moby's docs/api/version-history.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from watcher.compose.spec import ComposeProject, MountSpec, NetworkSpec, ServiceSpec
from watcher.errors import ConfigError

Api = tuple[int, int]


def check_api(project: ComposeProject, api: str) -> None:
    """Raise ConfigError for the first thing that an engine of this API version (`1.41`) does not know."""
    major, _, minor = api.partition(".")
    have = (int(major), int(minor or 0))
    for path, need in needs(project):
        if have < need:
            rule = f"is dropped by this engine: it needs API {need[0]}.{need[1]}, the engine has {api}"
            raise ConfigError(path, None, rule)


def needs(project: ComposeProject) -> Iterator[tuple[str, Api]]:
    """What is used that API 1.41 does not know: its path, and the first version that does."""
    for spec in project.services.values():
        yield from _service(spec)
    for network in project.networks.values():
        yield from _network(network)


def _service(spec: ServiceSpec) -> Iterator[tuple[str, Api]]:
    if spec.healthcheck and spec.healthcheck.start_interval is not None:
        yield f"services.{spec.name}.healthcheck.start_interval", (1, 44)
    for mount in spec.mounts:
        yield from _mount(f"services.{spec.name}.volumes ({mount.target})", mount)


def _mount(path: str, mount: MountSpec) -> Iterator[tuple[str, Api]]:
    if mount.recursive in ("writable", "readonly"):
        yield f"{path}.bind.recursive", (1, 44)
    if mount.subpath:
        yield f"{path}.volume.subpath", (1, 45)


def _network(network: NetworkSpec) -> Iterator[tuple[str, Api]]:
    if network.enable_ipv4 is False and not network.external:
        yield f"networks.{network.key}.enable_ipv4", (1, 48)
