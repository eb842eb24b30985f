"""One service as compose-go describes it and as it is read here, both in one form that can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from watcher.compose import ComposeProject, ServiceSpec
from watcher.compose.spec import NetworkSpec, VolumeSpec
from watcher.compose.units import parse_duration, parse_size

PLAIN = (
    "user working_dir hostname domainname platform runtime mac_address cgroup cgroup_parent uts userns_mode"
).split()
FLAGS = ("tty", "stdin_open", "privileged", "read_only")
LISTS = "cap_add cap_drop dns dns_opt dns_search group_add device_cgroup_rules".split()
MAPPINGS = ("annotations", "storage_opt")
REFERRING = ("network_mode", "ipc", "pid")


def theirs(service: Mapping[str, Any]) -> dict[str, Any]:
    """What compose-go says of a service."""
    build = service.get("build")
    deploy = service.get("deploy") or {}
    return {
        "image": service.get("image"),
        "container_name": service.get("container_name"),
        "environment": {
            name: value for name, value in (service.get("environment") or {}).items() if value is not None
        },
        "ports": sorted(
            (each["target"], each["protocol"], each.get("host_ip", ""), str(each.get("published", "")))
            for each in service.get("ports") or []
        ),
        "expose": sorted({port for each in service.get("expose") or [] for port in _ports(str(each))}),
        "mounts": sorted(_their_mount(each) for each in service.get("volumes") or []),
        "tmpfs": sorted({each.partition(":")[0] for each in service.get("tmpfs") or []}),
        "files": sorted(
            {each.get("target") or f"/{each['source']}" for each in service.get("configs") or []}
            | {
                target
                if (target := each.get("target") or each["source"]).startswith("/")
                else f"/run/secrets/{target}"
                for each in service.get("secrets") or []
            }
        ),
        "command": service.get("command"),
        "entrypoint": service.get("entrypoint"),
        "labels": service.get("labels") or {},
        "networks": {
            key: _their_network(each or {}) for key, each in (service.get("networks") or {}).items()
        },
        "depends_on": {
            name: (each["condition"], bool(each.get("restart")), bool(each.get("required")))
            for name, each in (service.get("depends_on") or {}).items()
        },
        "links": sorted({each for each in service.get("links") or [] if not _is_own_name(each)}),
        "external_links": sorted(service.get("external_links") or []),
        "volumes_from": service.get("volumes_from") or [],
        "restart": _their_restart(service, deploy),
        "health": _their_health(service.get("healthcheck")),
        "logging": (service["logging"].get("driver", ""), service["logging"].get("options") or {})
        if service.get("logging")
        else None,
        "limits": _their_limits(service, deploy),
        "ulimits": {name: _ulimit(each) for name, each in (service.get("ulimits") or {}).items()},
        "replicas": service.get("scale", deploy.get("replicas", 1)),
        "init": service.get("init"),
        "sysctls": service.get("sysctls") or {},
        "stop_signal": service.get("stop_signal"),
        "stop_grace_period": _seconds(service.get("stop_grace_period")),
        "shm_size": _size(service.get("shm_size")),
        "security_opt": [
            each.replace(":", "=", "=" not in each) for each in service.get("security_opt") or []
        ],
        "extra_hosts": sorted(
            {each.replace(":", "=", "=" not in each) for each in service.get("extra_hosts") or []}
        ),
        "devices": sorted(
            (each["source"], each.get("target") or each["source"], each.get("permissions") or "rwm")
            for each in service.get("devices") or []
            if each["source"].startswith("/")
        ),
        **{key: service.get(key) or "" for key in (*PLAIN, *REFERRING)},
        **{key: bool(service.get(key)) for key in FLAGS},
        **{key: list(dict.fromkeys(service.get(key) or [])) for key in LISTS},
        **{key: service.get(key) or {} for key in MAPPINGS},
        "hooks": [
            [list(each["command"]) for each in service.get(key) or []] for key in ("post_start", "pre_stop")
        ],
        "build": build
        and {
            "context": build["context"],
            "dockerfile": build.get("dockerfile", ""),
            "inline": bool(build.get("dockerfile_inline")),
            "args": {name: value for name, value in (build.get("args") or {}).items() if value is not None},
            "target": build.get("target", ""),
            "tags": sorted(build.get("tags") or []),
            "labels": build.get("labels") or {},
            "contexts": build.get("additional_contexts") or {},
            "no_cache": bool(build.get("no_cache")),
            "pull": bool(build.get("pull")),
            "network": build.get("network", ""),
            "platforms": build.get("platforms") or [],
            "shm_size": _size(build.get("shm_size")),
        },
    }


def ours(spec: ServiceSpec, project: ComposeProject) -> dict[str, Any]:
    """What is read here of a service."""
    build = spec.build
    volumes = {volume.name: volume.key for volume in project.volumes.values()}
    boxes = {each.default_name: each.name for each in project.services.values()}
    files = {f.target for f in spec.files}
    listed = [mount for mount in spec.mounts if not _is_file_of_a_secret(mount)]
    limits = spec.limits
    return {
        "image": None if spec.image == f"{project.name}-{spec.name}" else spec.image,
        "container_name": spec.container_name,
        "environment": {name: value for name, value in spec.environment.items() if value is not None},
        "ports": sorted(
            (each.container_port, each.protocol, each.host_ip, each.host_ports) for each in spec.ports
        ),
        "expose": sorted(spec.expose),
        "mounts": sorted(
            (
                each.type,
                volumes.get(each.source, each.source),
                each.target,
                each.read_only,
                each.create_host_path if each.type == "bind" else False,
                each.propagation,
                each.selinux,
                each.no_copy,
                each.subpath,
                each.tmpfs_size,
                each.tmpfs_mode,
            )
            for each in listed
        ),
        "tmpfs": sorted(spec.tmpfs),
        "files": sorted(files | {each.target for each in spec.mounts if _is_file_of_a_secret(each)}),
        "command": None if spec.command is None else list(spec.command),
        "entrypoint": None if spec.entrypoint is None else list(spec.entrypoint),
        "labels": dict(spec.labels),
        "networks": {
            each.key: (
                sorted(set(each.aliases)),
                each.ipv4_address,
                each.ipv6_address,
                sorted(each.link_local_ips),
                each.priority,
                each.gw_priority,
                each.interface_name,
                each.mac_address,
                dict(each.driver_opts),
            )
            for each in spec.networks
        },
        "depends_on": {
            name: (each.condition, each.restart, each.required) for name, each in spec.depends_on.items()
        },
        "links": sorted(f"{boxes[name]}:{alias}" for name, alias in spec.links),
        "external_links": sorted(
            name if name == alias else f"{name}:{alias}" for name, alias in spec.external_links
        ),
        "volumes_from": [
            boxes[name] + colon + mode if name in boxes else f"container:{name}{colon}{mode}"
            for name, colon, mode in (each.partition(":") for each in spec.volumes_from)
        ],
        "restart": spec.restart and spec.restart[0] + (f":{spec.restart[1]}" if spec.restart[1] else ""),
        "health": spec.healthcheck
        and (
            list(spec.healthcheck.test),
            spec.healthcheck.interval,
            spec.healthcheck.timeout,
            spec.healthcheck.start_period,
            spec.healthcheck.start_interval,
            spec.healthcheck.retries,
        ),
        "logging": spec.logging and (spec.logging[0], dict(spec.logging[1])),
        "limits": (
            limits.memory,
            limits.memory_reservation,
            limits.memory_swap,
            limits.nano_cpus,
            limits.cpu_shares,
            limits.cpu_period,
            limits.cpu_quota,
            limits.cpuset,
            limits.pids or 0,
            limits.oom_kill_disable,
            limits.oom_score_adj,
        ),
        "ulimits": dict(limits.ulimits),
        "replicas": spec.replicas,
        "init": spec.init,
        "sysctls": dict(spec.sysctls),
        "stop_signal": spec.stop_signal,
        "stop_grace_period": spec.stop_grace_period,
        "shm_size": spec.shm_size,
        "security_opt": [each.replace(":", "=", "=" not in each) for each in spec.security_opt],
        "extra_hosts": sorted(f"{name}={address}" for name, address in spec.extra_hosts),
        "devices": sorted(spec.devices),
        **{key: getattr(spec, key) for key in PLAIN},
        **{key: _as_service(getattr(spec, key), boxes) for key in REFERRING},
        **{key: getattr(spec, key) for key in FLAGS},
        **{key: list(getattr(spec, key)) for key in LISTS},
        **{key: dict(getattr(spec, key)) for key in MAPPINGS},
        "hooks": [[list(each.command) for each in hooks] for hooks in (spec.post_start, spec.pre_stop)],
        "build": build
        and {
            "context": str(build.context),
            "dockerfile": "" if build.dockerfile_inline else build.dockerfile,
            "inline": bool(build.dockerfile_inline),
            "args": dict(build.args),
            "target": build.target or "",
            "tags": sorted(build.tags),
            "labels": dict(build.labels),
            "contexts": dict(build.additional_contexts),
            "no_cache": build.no_cache,
            "pull": build.pull,
            "network": build.network,
            "platforms": list(build.platforms),
            "shm_size": build.shm_size,
        },
    }


def their_resources(found: Mapping[str, Any], project: ComposeProject) -> dict[str, Any]:
    """What compose-go says of the networks and volumes that the project here uses."""
    networks, volumes = found.get("networks") or {}, found.get("volumes") or {}
    return {
        "networks": {key: _their_network_resource(networks.get(key) or {}) for key in project.networks},
        "volumes": {key: _their_resource(volumes.get(key) or {}) for key in project.volumes},
    }


def our_resources(project: ComposeProject) -> dict[str, Any]:
    """What is read here of networks and volumes."""
    return {
        "networks": {
            key: {
                **_our_resource(each),
                "internal": each.internal,
                "attachable": each.attachable,
                "ipv6": each.enable_ipv6,
                "subnets": [(one.subnet, one.gateway, one.ip_range) for one in each.subnets],
            }
            for key, each in project.networks.items()
        },
        "volumes": {key: _our_resource(each) for key, each in project.volumes.items()},
    }


def _our_resource(each: NetworkSpec | VolumeSpec) -> dict[str, Any]:
    found = {"name": each.name, "external": each.external, "driver": each.driver}
    return {**found, "driver_opts": dict(each.driver_opts), "labels": dict(each.labels)}


def _their_resource(each: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        key: each.get(key) or empty for key, empty in (("name", ""), ("external", False), ("driver", ""))
    }
    return {**found, "driver_opts": each.get("driver_opts") or {}, "labels": each.get("labels") or {}}


def _their_network_resource(each: Mapping[str, Any]) -> dict[str, Any]:
    subnets = (each.get("ipam") or {}).get("config") or []
    return {
        **_their_resource(each),
        "internal": bool(each.get("internal")),
        "attachable": bool(each.get("attachable")),
        "ipv6": each.get("enable_ipv6"),
        "subnets": [
            (one.get("subnet", ""), one.get("gateway", ""), one.get("ip_range", "")) for one in subnets
        ],
    }


def _is_file_of_a_secret(mount: Any) -> bool:
    return mount.type == "bind" and mount.read_only and not mount.create_host_path


def _as_service(mode: str, boxes: Mapping[str, str]) -> str:
    name = mode.removeprefix("container:")
    return f"service:{boxes[name]}" if mode != name and name in boxes else mode


def _their_mount(each: Mapping[str, Any]) -> tuple[object, ...]:
    bind, volume, tmpfs = each.get("bind") or {}, each.get("volume") or {}, each.get("tmpfs") or {}
    return (
        each["type"],
        each.get("source", ""),
        each["target"].rstrip("/") or "/",
        bool(each.get("read_only")),
        bool(bind.get("create_host_path", True)) if each["type"] == "bind" else False,
        bind.get("propagation", ""),
        bind.get("selinux", ""),
        bool(volume.get("nocopy")),
        volume.get("subpath", ""),
        _size(tmpfs.get("size")),
        tmpfs.get("mode", 0),
    )


def _their_network(each: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        sorted(set(each.get("aliases") or [])),
        each.get("ipv4_address", ""),
        each.get("ipv6_address", ""),
        sorted(each.get("link_local_ips") or []),
        each.get("priority", 0),
        each.get("gw_priority", 0),
        each.get("interface_name", ""),
        each.get("mac_address", ""),
        each.get("driver_opts") or {},
    )


def _their_restart(service: Mapping[str, Any], deploy: Mapping[str, Any]) -> str | None:
    if policy := deploy.get("restart_policy"):
        name = {"none": "no", "any": "always", "": "always"}.get(policy.get("condition", ""), "on-failure")
        tries = policy.get("max_attempts")
        return name + (f":{tries}" if tries else "")
    return service.get("restart")


def _their_health(check: Mapping[str, Any] | None) -> tuple[object, ...] | None:
    if check is None:
        return None
    test = check.get("test") or []
    return (
        ["NONE"] if check.get("disable") else list(test),
        *(_seconds(check.get(key)) for key in ("interval", "timeout", "start_period", "start_interval")),
        check.get("retries"),
    )


def _their_limits(service: Mapping[str, Any], deploy: Mapping[str, Any]) -> tuple[object, ...]:
    resources = deploy.get("resources") or {}
    limit, reserved = resources.get("limits") or {}, resources.get("reservations") or {}
    return (
        _size(limit.get("memory") or service.get("mem_limit")),
        _size(reserved.get("memory") or service.get("mem_reservation")),
        _size(service.get("memswap_limit")),
        round(float(limit.get("cpus") or service.get("cpus") or 0) * 1e9),
        service.get("cpu_shares", 0),
        service.get("cpu_period", 0),
        service.get("cpu_quota", 0),
        service.get("cpuset", ""),
        limit.get("pids") or service.get("pids_limit", 0),
        bool(service.get("oom_kill_disable")),
        service.get("oom_score_adj", 0),
    )


def _is_own_name(link: str) -> bool:
    """Whether a link gives a service the name that it has anyway; such links are dropped here."""
    name, _, alias = link.partition(":")
    return alias in ("", name)


def _ports(text: str) -> list[tuple[int, str]]:
    numbers, _, protocol = text.partition("/")
    first, _, last = numbers.partition("-")
    return [(number, protocol or "tcp") for number in range(int(first), int(last or first) + 1)]


def _ulimit(value: Any) -> tuple[int, int]:
    return (value["soft"], value["hard"]) if isinstance(value, dict) else (value, value)


def _seconds(text: str | None) -> float | None:
    return None if text is None else parse_duration(text)


def _size(value: object) -> int:
    if not value:
        return 0
    return -1 if str(value) == "-1" else parse_size(value)


def differing(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterable[str]:
    """The keys that differ, with both values."""
    return [f"{key}: {here[key]} here, {there[key]} there" for key in here if here[key] != there[key]]
