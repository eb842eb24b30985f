"""Translate a `ServiceSpec` into the bodies of the Engine API.

Field names are those of moby's api/swagger.yaml; the values follow docker/compose, pkg/compose/create.go. API
1.41 (engine 20.10) and later accept everything here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from watcher.compose.hostconfig import (
    block_io_limits,
    drop_empty,
    health_check,
    name_resolution,
    resource_limits,
    restart_policy,
    security_options,
)
from watcher.compose.spec import Attachment, MountSpec, ServiceSpec

Published = Mapping[int, Sequence[tuple[str, int]]]  # TCP port of the container -> (address, port; 0 = any)


def container_config(
    spec: ServiceSpec,
    *,
    image: str,
    name: str,
    labels: Mapping[str, str],
    publish: Published | None = None,
    named: bool = True,
) -> dict[str, Any]:
    """Return the body of `POST /containers/create`.

    `named`: other containers find it by the names of the service, from the moment it starts.

    `publish` replaces `published(spec)` as the addresses of TCP ports; ports of other protocols are always
    published as in the file. `labels` override the labels of the service. The body holds only the main
    network; connect those of `additional_networks` before the start.
    """
    body: dict[str, Any] = {
        "Image": image,
        "Env": [key if value is None else f"{key}={value}" for key, value in spec.environment.items()],
        "Labels": {**spec.labels, **labels},
        "ExposedPorts": _exposed_ports(spec),
        "HostConfig": _host_config(spec, publish),
        "NetworkingConfig": {"EndpointsConfig": _main_endpoint(spec, name, named=named)},
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin_open,
        **drop_empty(
            Hostname=spec.hostname,
            Domainname=spec.domainname,
            User=spec.user,
            WorkingDir=spec.working_dir,
            StopSignal=spec.stop_signal,
            MacAddress=spec.mac_address,  # older engines read it only here, API 1.44 also at the network
        ),
    }
    if spec.command is not None:
        body["Cmd"] = list(spec.command)
    if spec.entrypoint is not None:
        body["Entrypoint"] = list(spec.entrypoint)
    if spec.stop_grace_period is not None:
        body["StopTimeout"] = int(spec.stop_grace_period)
    if spec.healthcheck is not None:
        body["Healthcheck"] = health_check(spec.healthcheck)
    return body


def _host_config(spec: ServiceSpec, publish: Published | None) -> dict[str, Any]:
    """Return the part of the body that concerns the host: networks, mounts, limits, security."""
    host: dict[str, Any] = {
        "NetworkMode": _network_mode(spec),
        "PortBindings": _port_bindings(spec, publish),
        "Binds": [_bind_string(each) for each in spec.mounts if not _needs_mount(each)],
        "Mounts": [_mount_body(each) for each in spec.mounts if _needs_mount(each)],
        "Tmpfs": dict(spec.tmpfs),
        "RestartPolicy": restart_policy(spec),
        **resource_limits(spec.limits),
        **block_io_limits(spec.block_io),
        **security_options(spec),
        **name_resolution(spec),
        **drop_empty(
            ShmSize=spec.shm_size,
            Runtime=spec.runtime,
            StorageOpt=dict(spec.storage_opt),
            CgroupParent=spec.cgroup_parent,
            Annotations=dict(spec.annotations),
            VolumesFrom=list(spec.volumes_from),
        ),
    }
    if spec.logging is not None:
        host["LogConfig"] = {"Type": spec.logging[0], "Config": dict(spec.logging[1])}
    if spec.init is not None:
        host["Init"] = spec.init
    return host


def with_shared_network(body: Mapping[str, Any], other: str) -> dict[str, Any]:
    """Return `body` for a container that shares the network of the container `other`.

    Network settings are not allowed in this mode (moby, runconfig/hostconfig_unix.go).
    """
    host = {**body["HostConfig"], "NetworkMode": f"container:{other}", "PortBindings": {}}
    dropped = ("NetworkingConfig", "ExposedPorts")
    return {**{key: value for key, value in body.items() if key not in dropped}, "HostConfig": host}


def pause_config(body: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of a pause container: it only sleeps and holds the network and ports of `body`."""
    network = {key: body["HostConfig"][key] for key in ("NetworkMode", "PortBindings")}
    return {
        "Image": body["Image"],
        "Entrypoint": ["sleep"],
        "Cmd": ["2147483647"],  # seconds: not every busybox has `sleep infinity`
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": dict(labels),
        "ExposedPorts": body["ExposedPorts"],
        "HostConfig": network,
        "NetworkingConfig": body["NetworkingConfig"],
    }


def can_share_network(spec: ServiceSpec) -> bool:
    """Return whether a container can use the network of a pause container without losing a setting.

    A host name, a fixed address or DNS settings would have to be those of the pause container.
    """
    names = (
        spec.hostname,
        spec.domainname,
        spec.uts,
        spec.dns,
        spec.dns_opt,
        spec.dns_search,
        spec.extra_hosts,
    )
    plain = len(spec.networks) == 1 and not any(
        each.ipv4_address
        or each.ipv6_address
        or each.link_local_ips
        or each.driver_opts
        or each.mac_address
        or each.interface_name
        for each in spec.networks
    )
    tcp = all(port.protocol == "tcp" for port in spec.ports)
    net = any(name.startswith("net.") for name in spec.sysctls)
    linked = spec.links or spec.external_links or spec.mac_address
    return plain and tcp and not net and not linked and not any(names) and not spec.network_mode


def published(spec: ServiceSpec) -> dict[int, tuple[tuple[str, int], ...]]:
    """Return the TCP ports that the file publishes: container port → (address, host port) pairs.

    An empty address means all addresses of the host, port 0 any free one. Ports with a range of host ports
    are left out: none of the range is chosen yet.
    """
    found: dict[int, tuple[tuple[str, int], ...]] = {}
    for port in spec.ports:
        if port.protocol == "tcp" and port.last_host_port is None:
            address = (port.host_ip, port.host_port or 0)
            found[port.container_port] = (*found.get(port.container_port, ()), address)
    return found


def address_endpoints(spec: ServiceSpec) -> dict[str, dict[str, Any]]:
    """Return the endpoint settings of a container that only has the service's names, by network."""
    return {each.network: {"Aliases": _names_of(spec, each, spec.default_name)} for each in spec.networks}


def additional_networks(spec: ServiceSpec, name: str, *, named: bool = True) -> dict[str, dict[str, Any]]:
    """Return the bodies of `POST /networks/{id}/connect` for all networks but the main one, by network.

    API 1.41 accepts only one network when a container is created.
    """
    return {each.network: _endpoint_settings(spec, each, name, named=named) for each in spec.networks[1:]}


def config_digest(spec: ServiceSpec) -> str:
    """Return a stable digest of all settings that decide how the container runs; 64 hex digits.

    The build section and the dependencies are not part of it.
    """
    decides = dataclasses.replace(spec, build=None, depends_on={}, pull_policy="", pull_after=0.0, replicas=1)
    text = json.dumps(dataclasses.asdict(decides), sort_keys=True, default=_json_default)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# Parts of the container's body.


def _network_mode(spec: ServiceSpec) -> str:
    return spec.networks[0].network if spec.networks else spec.network_mode


def _names_of(spec: ServiceSpec, network: Attachment, name: str) -> list[str]:
    own = (spec.name,) if network.service_alias else ()
    return list(dict.fromkeys((name, *own, *network.aliases)))


def _main_endpoint(spec: ServiceSpec, name: str, *, named: bool) -> dict[str, Any]:
    return {each.network: _endpoint_settings(spec, each, name, named=named) for each in spec.networks[:1]}


def _endpoint_settings(spec: ServiceSpec, network: Attachment, name: str, *, named: bool) -> dict[str, Any]:
    main = network == spec.networks[0]
    options = dict(network.driver_opts)
    if network.interface_name:
        options["com.docker.network.endpoint.ifname"] = network.interface_name
    endpoint: dict[str, Any] = {
        "Aliases": _names_of(spec, network, name) if named else [],
        **drop_empty(
            Links=[f"{other}:{alias}" for other, alias in (*spec.links, *spec.external_links)],
            MacAddress=network.mac_address or (spec.mac_address if main else ""),
            GwPriority=network.gw_priority,
            DriverOpts=options,
        ),
    }
    addresses = drop_empty(
        IPv4Address=network.ipv4_address,
        IPv6Address=network.ipv6_address,
        LinkLocalIPs=list(network.link_local_ips),
    )
    if addresses:
        endpoint["IPAMConfig"] = addresses
    return endpoint


def _port_bindings(spec: ServiceSpec, tcp: Published | None) -> dict[str, list[dict[str, str]]]:
    """Return the published ports. The engine picks a free port of a range, as with docker compose."""
    found = {
        f"{port}/tcp": [
            {"HostIp": address, "HostPort": str(number) if number else ""} for address, number in addresses
        ]
        for port, addresses in (tcp or {}).items()
    }
    for port in spec.ports:
        if tcp is None or port.protocol != "tcp":
            key = f"{port.container_port}/{port.protocol}"
            found.setdefault(key, []).append({"HostIp": port.host_ip, "HostPort": port.host_ports})
    return found


def _exposed_ports(spec: ServiceSpec) -> dict[str, dict[str, str]]:
    ports: Iterable[tuple[int, str]] = [
        *((each.container_port, each.protocol) for each in spec.ports),
        *spec.expose,
    ]
    return {f"{port}/{protocol}": {} for port, protocol in ports}


def _needs_mount(mount: MountSpec) -> bool:
    """Return whether a mount cannot be written as `source:target:options`.

    That form makes the engine create a missing host directory.
    """
    if ":" in mount.source or ":" in mount.target or (not mount.source and mount.type == "volume"):
        return True
    if mount.type == "bind":
        return not mount.create_host_path or bool(mount.recursive)
    return mount.type == "tmpfs" or bool(mount.subpath or mount.labels)


def _bind_string(mount: MountSpec) -> str:
    options = [
        "ro" if mount.read_only else "rw",
        mount.selinux,
        mount.propagation,
        "nocopy" if mount.no_copy else "",
    ]
    return f"{mount.source}:{mount.target}:{','.join(filter(None, options))}"


def _mount_body(mount: MountSpec) -> dict[str, Any]:
    body: dict[str, Any] = {"Type": mount.type, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.source:
        body["Source"] = mount.source
    match mount.type:
        case "bind":
            options = drop_empty(
                Propagation=mount.propagation,
                CreateMountpoint=mount.create_host_path,
                NonRecursive=mount.recursive == "disabled",
                ReadOnlyNonRecursive=mount.recursive == "writable",
                ReadOnlyForceRecursive=mount.recursive == "readonly",
            )
            return body | ({"BindOptions": options} if options else {})
        case "volume":
            options = drop_empty(NoCopy=mount.no_copy, Subpath=mount.subpath, Labels=dict(mount.labels))
            return body | ({"VolumeOptions": options} if options else {})
        case "tmpfs":
            options = drop_empty(SizeBytes=mount.tmpfs_size, Mode=mount.tmpfs_mode)
            return body | ({"TmpfsOptions": options} if options else {})


def _json_default(value: object) -> object:
    return str(value) if isinstance(value, Path) else repr(value)
