"""Define the values of a compose file: frozen, complete and independent of the syntax in the file.

Short and long syntax, `extends`, `include`, env files and variables are resolved; every path is absolute.
Sizes are bytes and durations seconds. None means not set: the default of the image or the engine applies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from watcher.compose.build_spec import BuildSpec
from watcher.compose.specparts import BlockIo, ContainerFile, DeviceRequest, Hook

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]
Protocol = Literal["tcp", "udp", "sctp"]


@dataclass(frozen=True, slots=True, order=True)
class PortSpec:
    """One port of the container and its host port. A range of container ports becomes several of these.

    An empty `host_ip` is every address of the host; a `host_port` of None lets the engine pick one. With
    `last_host_port` it is any free port from `host_port` to that one. `app_protocol` is copied from the file.
    """

    container_port: int
    protocol: Protocol = "tcp"
    host_ip: str = ""
    host_port: int | None = None
    app_protocol: str = ""
    last_host_port: int | None = None

    @property
    def host_ports(self) -> str:
        """Return the host port or range in the form of the Engine API; "" for any port."""
        if self.last_host_port is not None:
            return f"{self.host_port}-{self.last_host_port}"
        return "" if self.host_port is None else str(self.host_port)

    def __str__(self) -> str:
        """Return the short syntax."""
        host = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip
        ends = [host] if host else []
        if host or self.host_port is not None:
            ends.append(self.host_ports)
        ends.append(str(self.container_port))
        return ":".join(ends) + ("" if self.protocol == "tcp" else f"/{self.protocol}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MountSpec:
    """One entry of `volumes`, `secrets` or `configs`.

    `source` is an absolute path on the host (bind), the engine's name of a volume (volume; empty for an
    anonymous one) or empty (tmpfs).
    """

    type: Literal["bind", "volume", "tmpfs"]
    target: str
    source: str = ""
    read_only: bool = False
    create_host_path: bool = True
    propagation: str = ""
    selinux: str = ""
    recursive: str = ""
    no_copy: bool = False
    subpath: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    tmpfs_size: int = 0
    tmpfs_mode: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A network of the service. `key` is its name in the file, `network` its name at the engine."""

    key: str
    network: str
    aliases: tuple[str, ...] = ()
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: tuple[str, ...] = ()
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    gw_priority: int = 0
    interface_name: str = ""
    mac_address: str = ""
    service_alias: bool = True  # whether the name of the service is an alias


@dataclass(frozen=True, slots=True)
class Dependency:
    """The condition that another service must meet before this one starts."""

    condition: Condition = "service_started"
    restart: bool = False
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSpec:
    """A health check; durations in seconds. An empty `test` is that of the image; `("NONE",)` disables it."""

    test: tuple[str, ...] = ()
    interval: float | None = None
    timeout: float | None = None
    start_period: float | None = None
    start_interval: float | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLimits:
    """The limits of the container. 0 and None: no limit."""

    memory: int = 0
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    cpuset: str = ""
    pids: int | None = None
    oom_kill_disable: bool = False
    oom_score_adj: int = 0
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # name -> (soft, hard)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service. Without an image in the file, `image` is `<project>-<service>`, as with compose v2.

    A value of None in `environment` removes a variable of the image. `restart` is `(policy, maximum of
    tries)`. `devices` holds (host path, container path, permissions). Links are (container, alias).
    `left_to_compose` is the reason why only docker compose can start this service; it is empty for most.
    """

    name: str
    project_name: str
    image: str
    build: BuildSpec | None = None
    container_name: str | None = None
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    ports: tuple[PortSpec, ...] = ()
    expose: tuple[tuple[int, Protocol], ...] = ()
    mounts: tuple[MountSpec, ...] = ()
    volumes_from: tuple[str, ...] = ()  # container[:ro]
    files: tuple[ContainerFile, ...] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    networks: tuple[Attachment, ...] = ()  # the main one first
    network_mode: str = ""
    mac_address: str = ""
    links: tuple[tuple[str, str], ...] = ()
    external_links: tuple[tuple[str, str], ...] = ()
    depends_on: Mapping[str, Dependency] = field(default_factory=dict)
    healthcheck: HealthSpec | None = None
    restart: tuple[str, int] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    logging: tuple[str, Mapping[str, str]] | None = None  # driver, options
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    block_io: BlockIo = field(default_factory=BlockIo)
    replicas: int = 1
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    stop_signal: str | None = None
    stop_grace_period: float | None = None
    user: str = ""
    working_dir: str = ""
    hostname: str = ""
    domainname: str = ""
    platform: str = ""
    pull_policy: str = ""  # missing (or empty), always, never, build, refresh
    pull_after: float = 0.0  # seconds after which `refresh` pulls again
    runtime: str = ""
    init: bool | None = None
    tty: bool = False
    stdin_open: bool = False
    privileged: bool = False
    read_only: bool = False
    shm_size: int = 0
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    devices: tuple[tuple[str, str, str], ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    extra_hosts: tuple[tuple[str, str], ...] = ()
    group_add: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    storage_opt: Mapping[str, str] = field(default_factory=dict)
    cgroup: str = ""
    cgroup_parent: str = ""
    ipc: str = ""
    pid: str = ""
    uts: str = ""
    userns_mode: str = ""
    left_to_compose: str = ""

    @property
    def default_name(self) -> str:
        """Return the name of the container: that of the file, or the default of compose v2."""
        return self.replica_name(1)

    def replica_name(self, number: int) -> str:
        """Return the name of one of the containers, counted from 1."""
        return self.container_name or f"{self.project_name}-{self.name}-{number}"

    @property
    def side_by_side_conflicts(self) -> tuple[str, ...]:
        """Return why two containers of this service cannot run side by side; empty if they can."""
        reasons = []
        if self.network_mode == "host" or self.network_mode.startswith("container:"):
            reasons.append(f"network_mode is {self.network_mode}")
        reasons += [
            f"it has a fixed address on the network {each.key}"
            for each in self.networks
            if each.ipv4_address or each.ipv6_address or each.link_local_ips or each.mac_address
        ]
        if self.mac_address:
            reasons.append(f"its mac_address is {self.mac_address}")
        reasons += [
            f"it publishes {port}"
            for port in self.ports
            if port.protocol != "tcp" and port.host_port is not None
        ]
        return tuple(reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One address range of a network."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    aux_addresses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """A network of the project. `name` is its name at the engine; an external one must exist."""

    key: str
    name: str
    external: bool = False
    driver: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    internal: bool = False
    attachable: bool = False
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ipam_driver: str = ""
    ipam_options: Mapping[str, str] = field(default_factory=dict)
    subnets: tuple[Subnet, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """A volume of the project. `name` is its name at the engine; an external one must exist."""

    key: str
    name: str
    external: bool = False
    driver: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeProject:
    """The services of a compose file to manage, with all that they need.

    `managed` names the services to build and deploy. `services` holds these and those they depend on, in the
    order in which they start; `others` names what else is in the file.
    `networks` and `volumes` are those that these services use. `files` are all files that were read or looked
    for, so that a change of any of them (also the coming of a missing `.env`) is a reason to load again.
    """

    name: str
    file: Path
    directory: Path
    managed: tuple[str, ...]
    services: Mapping[str, ServiceSpec]
    networks: Mapping[str, NetworkSpec]
    volumes: Mapping[str, VolumeSpec]
    files: tuple[Path, ...]
    config_files: tuple[Path, ...]
    warnings: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def managed_services(self) -> tuple[ServiceSpec, ...]:
        """Return the services to build and deploy, in the order in which they start."""
        return tuple(self.services[name] for name in self.managed)

    @property
    def dependencies(self) -> tuple[ServiceSpec, ...]:
        """Return the services that are only started, in the order in which they start."""
        return tuple(spec for name, spec in self.services.items() if name not in self.managed)

    def needs(self, name: str) -> frozenset[str]:
        """Return the services that one of this name depends on, directly or through others."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            new = self.services[waiting.pop()].depends_on.keys() & self.services.keys() - found
            found |= new
            waiting += new
        return frozenset(found)


def with_tag(reference: str) -> str:
    """Return an image's reference with its tag; `latest` if it has none."""
    return reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"
