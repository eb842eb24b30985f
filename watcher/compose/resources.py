"""Read limits and restart policy from the service's own keys and from its `deploy` section."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from watcher import regex
from watcher.compose import key_policy
from watcher.compose.build import read_ulimits
from watcher.compose.device_requests import read_gpus, read_named_devices, read_reservations
from watcher.compose.field import Default, Field, Section
from watcher.compose.spec import ResourceLimits
from watcher.compose.specparts import DeviceRequest

_RESTART = regex.compile(r"(?P<plain>no|always|unless-stopped)|on-failure(?::(?P<tries>[0-9]{1,9}))?")
# The engine's names of `deploy.restart_policy.condition`.
_CONDITIONS = {"none": "no", "on-failure": "on-failure", "any": "always"}


def read_limits(section: Section, deploy: Field | None) -> ResourceLimits:
    """Return the limits. A limit that is set in both places must agree; raises ConfigError."""
    take, read = section.take, section.read
    limit, reserved = _read_deploy_resources(deploy) if deploy else (None, None)
    return ResourceLimits(
        memory=_read_either(take("mem_limit"), limit, "memory", Field.size, 0),
        memory_reservation=_read_either(take("mem_reservation"), reserved, "memory", Field.size, 0),
        memory_swap=read("memswap_limit", lambda given: given.size(least=-1), 0),
        memory_swappiness=read("mem_swappiness", lambda given: given.integer(-1, 100), None),
        nano_cpus=_read_either(take("cpus"), limit, "cpus", _read_nano_cpus, 0),
        cpu_shares=read("cpu_shares", lambda given: given.integer(0), 0),
        cpu_period=read("cpu_period", Field.integer, 0),
        cpu_quota=read("cpu_quota", Field.integer, 0),
        cpu_rt_period=read("cpu_rt_period", Field.integer, 0),
        cpu_rt_runtime=read("cpu_rt_runtime", Field.integer, 0),
        cpuset=read("cpuset", Field.text, ""),
        pids=_read_either(take("pids_limit"), limit, "pids", lambda given: given.integer(-1), None),
        oom_kill_disable=read("oom_kill_disable", Field.boolean, False),
        oom_score_adj=read("oom_score_adj", lambda given: given.integer(-1000, 1000), 0),
        ulimits=read("ulimits", read_ulimits, {}),
    )


def read_restart(restart: Field | None, deploy: Field | None) -> tuple[str, int] | None:
    """Return the engine's restart policy and the maximum of tries; `deploy` overrides `restart`."""
    if deploy and (policy := Section(deploy).take("restart_policy")):
        section = Section(policy)
        name = section.read("condition", lambda given: given.choice(*_CONDITIONS), "any")
        attempts = section.read("max_attempts", lambda given: given.integer(0), 0)
        section.ignore(("delay", "window"))  # for swarm
        section.end("a restart policy")
        return _CONDITIONS[name], attempts
    if restart is None:
        return None
    if restart.value is False:  # an unquoted `no`, written by a tool that uses YAML 1.1
        return "no", 0
    match = _RESTART.fullmatch(restart.text())
    if match is None:
        raise restart.error("must be no, always, on-failure[:tries] or unless-stopped")
    return match["plain"] or "on-failure", int(match["tries"] or 0)


def _read_either(
    own: Field | None,
    section: Mapping[str, Field] | None,
    key: str,
    read: Callable[[Field], int],
    default: Default,
) -> int | Default:
    """Return a limit of the service, or of a section of `deploy.resources`; both must agree."""
    deployed = section.get(key) if section is not None else None
    values = [read(field) for field in (own, deployed) if field]
    if own and deployed and values[0] != values[1]:
        raise own.error(f"differs from {deployed.path}")
    if own and section is not None and not deployed and values[0]:
        raise own.error(
            f"must be set in deploy.resources too, as {key}: compose refuses two different limits"
        )
    return values[0] if values else default


def _read_nano_cpus(field: Field) -> int:
    return round(field.number() * 1e9)


def _read_deploy_resources(
    deploy: Field,
) -> tuple[dict[str, Field] | None, dict[str, Field] | None]:
    """Return the limits and the reservations of `deploy.resources`; None without the section."""
    section = Section(deploy)
    section.ignore(key_policy.DEPLOY_IGNORED)
    section.ignore(("restart_policy", "replicas"))  # read by read_restart and read_replicas
    resources = section.take("resources")
    section.end("a deploy section")
    if resources is None:
        return None, None
    both = Section(resources)
    limits, reservations = both.take("limits"), both.take("reservations")
    both.end("a resources section")
    return _take_known(limits, ("memory", "cpus", "pids")), _take_known(
        reservations, ("memory", "cpus", "devices")
    )


def read_replicas(scale: Field | None, deploy: Field | None) -> int:
    """Return the number of containers of the service."""
    replicas = Section(deploy).take("replicas") if deploy else None
    section = {"replicas": replicas} if replicas else None
    return _read_either(scale, section, "replicas", lambda given: given.integer(0), default=1)


def read_device_requests(
    gpus: Field | None, devices: Field | None, deploy: Field | None
) -> tuple[DeviceRequest, ...]:
    """Return the device requests of `gpus`, `devices` and `deploy`."""
    reservations = _read_deploy_resources(deploy)[1] if deploy else None
    reserved = reservations.get("devices") if reservations else None
    return (
        *(read_gpus(gpus) if gpus else ()),
        *(read_named_devices(devices) if devices else ()),
        *(read_reservations(reserved) if reserved else ()),
    )


def _take_known(field: Field | None, known: tuple[str, ...]) -> dict[str, Field] | None:
    if field is None:
        return None
    section = Section(field)
    section.ignore(("generic_resources",))  # for swarm
    found = {key: given for key in known if (given := section.take(key))}
    section.end("limits and reservations")
    return found
