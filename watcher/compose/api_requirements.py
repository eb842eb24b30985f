"""Find the keys that an older engine would drop silently, to refuse them by name.

The versions are those of moby's docs/api/version-history.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from watcher.compose.spec import ComposeProject, MountSpec, NetworkSpec, ServiceSpec
from watcher.errors import ConfigError

Api = tuple[int, int]


def check_api(project: ComposeProject, api: str) -> None:
    """Raise ConfigError for the first key that an engine with this API version (`1.41`) does not support.

    The dependencies are not checked here: see `missing_api`.
    """
    for network in project.networks.values():
        _check_requirements(_network_requirements(network), api)
    for spec in project.managed_services:
        if rule := missing_api(spec, api):
            raise rule


def missing_api(spec: ServiceSpec, api: str) -> ConfigError | None:
    """Return the error for the first key of a service that this API version does not support, or None."""
    try:
        _check_requirements(_service_requirements(spec), api)
    except ConfigError as error:
        return error
    return None


def _check_requirements(needed: Iterator[tuple[str, Api]], api: str) -> None:
    major, _, minor = api.partition(".")
    have = (int(major), int(minor or 0))
    for path, need in needed:
        if have < need:
            rule = f"is not supported by this engine: it needs API {need[0]}.{need[1]}, the engine has {api}"
            raise ConfigError(path, None, rule)


def _service_requirements(spec: ServiceSpec) -> Iterator[tuple[str, Api]]:
    at = f"services.{spec.name}"
    if spec.healthcheck and spec.healthcheck.start_interval is not None:
        yield f"{at}.healthcheck.start_interval", (1, 44)
    if spec.annotations:
        yield f"{at}.annotations", (1, 43)
    if any(request.driver == "cdi" for request in spec.device_requests):
        yield f"{at}.devices", (1, 44)
    for network in spec.networks:
        if network.gw_priority:
            yield f"{at}.networks.{network.key}.gw_priority", (1, 48)
        if network.interface_name:
            yield f"{at}.networks.{network.key}.interface_name", (1, 49)
        if network.mac_address:
            yield f"{at}.networks.{network.key}.mac_address", (1, 44)
    for mount in spec.mounts:
        yield from _mount_requirements(f"{at}.volumes ({mount.target})", mount)


def _mount_requirements(path: str, mount: MountSpec) -> Iterator[tuple[str, Api]]:
    if mount.recursive in ("writable", "readonly"):
        yield f"{path}.bind.recursive", (1, 44)
    if mount.subpath:
        yield f"{path}.volume.subpath", (1, 45)


def _network_requirements(network: NetworkSpec) -> Iterator[tuple[str, Api]]:
    if network.enable_ipv4 is False and not network.external:
        yield f"networks.{network.key}.enable_ipv4", (1, 48)
