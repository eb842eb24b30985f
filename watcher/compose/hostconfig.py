"""Translate limits, permissions and health checks for the body of a container.

Field names are those of moby's api/swagger.yaml.
"""

from __future__ import annotations

from typing import Any

from watcher.compose.spec import HealthSpec, ResourceLimits, ServiceSpec
from watcher.compose.specparts import BlockIo

_NANO = 1_000_000_000


def drop_empty(**entries: object) -> dict[str, Any]:
    """Return the entries that are not empty."""
    return {key: value for key, value in entries.items() if value}


def restart_policy(spec: ServiceSpec) -> dict[str, Any]:
    """Return the restart policy."""
    policy, tries = spec.restart or ("no", 0)
    return {"Name": policy, "MaximumRetryCount": tries}


def resource_limits(given: ResourceLimits) -> dict[str, Any]:
    """Return the limits for memory, CPU and processes."""
    body = drop_empty(
        Memory=given.memory,
        MemoryReservation=given.memory_reservation,
        MemorySwap=given.memory_swap,
        NanoCpus=given.nano_cpus,
        CpuShares=given.cpu_shares,
        CpuPeriod=given.cpu_period,
        CpuQuota=given.cpu_quota,
        CpuRealtimePeriod=given.cpu_rt_period,
        CpuRealtimeRuntime=given.cpu_rt_runtime,
        CpusetCpus=given.cpuset,
        OomKillDisable=given.oom_kill_disable,
        OomScoreAdj=given.oom_score_adj,
        Ulimits=[{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in given.ulimits.items()],
    )
    if given.memory_swappiness is not None:
        body["MemorySwappiness"] = given.memory_swappiness
    if given.pids is not None:
        body["PidsLimit"] = given.pids
    return body


def block_io_limits(given: BlockIo) -> dict[str, Any]:
    """Return the limits for disks."""
    rates = {
        "BlkioDeviceReadBps": given.device_read_bps,
        "BlkioDeviceWriteBps": given.device_write_bps,
        "BlkioDeviceReadIOps": given.device_read_iops,
        "BlkioDeviceWriteIOps": given.device_write_iops,
    }
    return drop_empty(
        BlkioWeight=given.weight,
        BlkioWeightDevice=[{"Path": path, "Weight": weight} for path, weight in given.weight_device],
        **{key: [{"Path": path, "Rate": rate} for path, rate in found] for key, found in rates.items()},
    )


def security_options(spec: ServiceSpec) -> dict[str, Any]:
    """Return what the container may do, and which devices it has."""
    body = drop_empty(
        CapAdd=list(spec.cap_add),
        CapDrop=list(spec.cap_drop),
        Privileged=spec.privileged,
        ReadonlyRootfs=spec.read_only,
        GroupAdd=list(spec.group_add),
        Sysctls=dict(spec.sysctls),
        SecurityOpt=[each for each in spec.security_opt if each != "systempaths=unconfined"],
        Devices=[
            {"PathOnHost": source, "PathInContainer": inside, "CgroupPermissions": rights}
            for source, inside, rights in spec.devices
        ],
        DeviceRequests=[
            {
                "Driver": each.driver,
                "Count": each.count,
                "DeviceIDs": list(each.device_ids),
                "Capabilities": [list(each.capabilities)] if each.capabilities else [],
                "Options": dict(each.options),
            }
            for each in spec.device_requests
        ],
        DeviceCgroupRules=list(spec.device_cgroup_rules),
        CgroupnsMode=spec.cgroup,
        IpcMode=spec.ipc,
        PidMode=spec.pid,
        UTSMode=spec.uts,
        UsernsMode=spec.userns_mode,
    )
    if "systempaths=unconfined" in spec.security_opt:
        body |= {"MaskedPaths": [], "ReadonlyPaths": []}
    return body


def name_resolution(spec: ServiceSpec) -> dict[str, Any]:
    """Return the DNS settings and the extra hosts."""
    return drop_empty(
        Dns=list(spec.dns),
        DnsOptions=list(spec.dns_opt),
        DnsSearch=list(spec.dns_search),
        ExtraHosts=[f"{name}:{address}" for name, address in spec.extra_hosts],
    )


def health_check(given: HealthSpec) -> dict[str, Any]:
    """Return the health check; the API takes durations in nanoseconds."""
    body: dict[str, Any] = {"Test": list(given.test)}
    for key, seconds in (
        ("Interval", given.interval),
        ("Timeout", given.timeout),
        ("StartPeriod", given.start_period),
        ("StartInterval", given.start_interval),
    ):
        if seconds is not None:
            body[key] = round(seconds * _NANO)
    if given.retries is not None:
        body["Retries"] = given.retries
    return body
