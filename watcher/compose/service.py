"""Read one service: from a merged, interpolated mapping with absolute paths to a `ServiceSpec`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from watcher.compose import key_policy, links, pulls, service_fields
from watcher.compose.build import read_build, read_hosts
from watcher.compose.device_requests import read_block_io
from watcher.compose.field import Field, Section
from watcher.compose.hooks import read_hooks
from watcher.compose.mounts import read_files, read_tmpfs, read_volumes
from watcher.compose.ports import read_expose, read_ports
from watcher.compose.project_protocol import Project
from watcher.compose.resources import read_device_requests, read_limits, read_replicas, read_restart
from watcher.compose.spec import MountSpec, PortSpec, ServiceSpec
from watcher.compose.specparts import BlockIo, ContainerFile
from watcher.errors import ConfigError

# Readers of the keys that become the field of the same name and need nothing else of the file. Without the
# key the field keeps its default.
_PLAIN: Mapping[str, Callable[[Field], Any]] = {
    "container_name": service_fields.read_container_name,
    "command": service_fields.read_command,
    "entrypoint": service_fields.read_command,
    "expose": read_expose,
    "volumes_from": links.read_volumes_from,
    "mac_address": Field.word,
    "links": links.read_links,
    "external_links": links.read_external_links,
    "depends_on": service_fields.read_depends,
    "healthcheck": service_fields.read_health,
    "annotations": Field.labels,
    "logging": service_fields.read_logging,
    "stop_signal": Field.word,
    "stop_grace_period": Field.duration,
    "user": Field.text,
    "working_dir": Field.text,
    "hostname": Field.text,
    "domainname": Field.text,
    "platform": Field.text,
    "runtime": Field.text,
    "init": Field.boolean,
    "tty": Field.boolean,
    "stdin_open": Field.boolean,
    "privileged": Field.boolean,
    "read_only": Field.boolean,
    "shm_size": Field.size,
    "cap_add": Field.words,
    "cap_drop": Field.words,
    "device_cgroup_rules": Field.words,
    "dns": service_fields.read_dns,
    "dns_opt": Field.words,
    "dns_search": Field.word_or_words,
    "extra_hosts": read_hosts,
    "group_add": Field.words,
    "sysctls": Field.labels,
    "storage_opt": Field.labels,
    "cgroup_parent": Field.text,
    "ipc": Field.text,
    "pid": Field.text,
    "uts": service_fields.read_uts,
    "userns_mode": Field.text,
}


def read_service(name: str, field: Field, project: Project) -> ServiceSpec:
    """Return the service; raise ConfigError."""
    section = Section(field)
    section.refuse(key_policy.REFUSED)
    section.ignore(key_policy.IGNORED)
    read = section.read
    deploy = section.take("deploy")
    build = read("build", lambda given: read_build(given, project), None)
    image = read("image", Field.word, None)
    if build is None and image is None:
        raise field.error("must have an image or a build section")
    network_mode, networks = section.take("network_mode"), section.take("networks")
    if network_mode and networks and networks.value:
        raise network_mode.error("must not be set together with networks")
    read("isolation", service_fields.read_isolation, None)
    tmpfs, devices, gpus = section.take("tmpfs"), section.take("devices"), section.take("gpus")
    mounts, files = _read_mounts(section, project)
    pull_policy, pull_after = pulls.read_pull_policy(
        section.take("pull_policy"), section.take("pull_refresh_after")
    )
    spec = ServiceSpec(
        name=name,
        project_name=project.name,
        image=image or f"{project.name}-{name}",
        build=build,
        environment=_read_environment(section.take("environment"), section.take("env_file"), project),
        ports=_read_ports(section.take("ports"), network_mode, project),
        mounts=mounts,
        files=files,
        tmpfs=_read_tmpfs(tmpfs, mounts) if tmpfs else {},
        networks=() if network_mode else service_fields.read_networks(networks, field, project),
        network_mode=network_mode.text() if network_mode else "",
        restart=read_restart(section.take("restart"), deploy),
        labels=_read_labels(section.take("labels"), section.take("label_file"), project),
        limits=read_limits(section, deploy),
        block_io=read("blkio_config", read_block_io, BlockIo()),
        replicas=read_replicas(section.take("scale"), deploy),
        post_start=read("post_start", lambda given: read_hooks(given, project.env), ()),
        pre_stop=read("pre_stop", lambda given: read_hooks(given, project.env), ()),
        pull_policy=pull_policy,
        pull_after=pull_after,
        security_opt=read("security_opt", lambda given: service_fields.read_security(given, project), ()),
        devices=service_fields.read_devices(devices) if devices else (),
        device_requests=read_device_requests(gpus, devices, deploy),
        cgroup=read("cgroup", lambda given: given.choice("host", "private"), ""),
        **{key: reader(given) for key, reader in _PLAIN.items() if (given := section.take(key)) is not None},
    )
    section.end("a service")
    if spec.container_name and spec.replicas > 1:
        rule = "is the name of one container: remove it to run several (scale, deploy.replicas)"
        raise ConfigError(f"{field.path}.container_name", spec.container_name, rule)
    if spec.read_only and spec.files:
        rule = f"must not be true: {spec.files[0].target} is written into the container; use a file"
        raise ConfigError(f"{field.path}.read_only", None, rule)
    return replace(spec, depends_on={**spec.depends_on, **links.missing_dependencies(spec)})


def left_to_compose(name: str, field: Field, project: Project, reason: str) -> ServiceSpec:
    """Return only what is needed to find the container of the service that docker compose started."""
    section = Section(field)
    image = section.take("image")
    return ServiceSpec(
        name=name,
        project_name=project.name,
        image=image.word() if image else f"{project.name}-{name}",
        container_name=section.read("container_name", service_fields.read_container_name, None),
        left_to_compose=reason,
    )


def _read_ports(given: Field | None, network_mode: Field | None, project: Project) -> tuple[PortSpec, ...]:
    """Return the published ports; none on the network of the host, where the engine publishes none either."""
    ports = read_ports(given) if given else ()
    if given and ports and network_mode and network_mode.value in ("host", "none"):
        why = "so there is no front" if network_mode.value == "host" else "so no port can be reached"
        project.warn(f"{given.path}: nothing is published with network_mode {network_mode.value}, {why}")
        return ()
    return ports


def _read_mounts(
    section: Section, project: Project
) -> tuple[tuple[MountSpec, ...], tuple[ContainerFile, ...]]:
    """Return the volumes, and the secrets and configs whose target no volume uses."""
    mounts = section.read("volumes", lambda given: read_volumes(given, project.volume_name), ())
    files: tuple[ContainerFile, ...] = ()
    for key, where in (("secrets", "/run/secrets"), ("configs", "/")):
        if given := section.take(key):
            mounted, written = read_files(given, where, project, secret=key == "secrets")
            taken = {each.target for each in mounts} | {each.target for each in files}
            mounts += tuple(each for each in mounted if each.target not in taken)
            files += tuple(each for each in written if each.target not in taken)
    return mounts, files


def _read_tmpfs(field: Field, mounts: tuple[MountSpec, ...]) -> dict[str, str]:
    found = read_tmpfs(field)
    for mount in mounts:
        if mount.target in found:
            raise field.error(f"{mount.target} is already mounted by volumes")
    return found


def _read_environment(given: Field | None, files: Field | None, project: Project) -> dict[str, str | None]:
    """Return the variables of the service merged over those of its env files."""
    own: dict[str, str | None] = {}
    for name, value in (given.pairs() if given else {}).items():
        if given and name != name.rstrip():
            raise given.error(f"the name {name!r} must not end with a space")
        own[name] = value if value is not None else project.env.get(name)
    known = {name: value for name, value in own.items() if value is not None}
    collected = dict(known)
    for item in _distinct_files(files):
        _read_env_file(item, collected, known, project)
    return {**collected, **own}


def _distinct_files(files: Field | None) -> Iterable[Field]:
    """Return each env file once: at the place of its first entry, in the form of its last one."""
    found: dict[object, Field] = {}
    for item in _list_items(files):
        path = item.value.get("path") if isinstance(item.value, dict) else item.value
        found[path if isinstance(path, str) else item.path] = item
    return found.values()


def _read_env_file(item: Field, into: dict[str, str], own: Mapping[str, str], project: Project) -> None:
    required, raw, path = True, False, item
    if isinstance(item.value, dict):
        section = Section(item)
        path = section.need("path", "the file to read")
        required = section.read("required", Field.boolean, True)
        raw = section.read("format", lambda given: given.choice("raw"), "") == "raw"
        section.end("an environment file")
    file = Path(path.word())
    project.track_file(file)
    if required or file.exists():
        project.read_env(path, into, own=own, raw=raw)


def _read_labels(given: Field | None, files: Field | None, project: Project) -> dict[str, str]:
    """Return the labels of the service merged over those of its label files."""
    labels: dict[str, str] = {}
    for item in _list_items(files):
        project.read_labels(item, labels)
    return {**labels, **(given.labels() if given else {})}


def _list_items(field: Field | None) -> list[Field]:
    """Return the entries of a list, or a single entry as a list."""
    if field is None:
        return []
    return field.items() if isinstance(field.value, list) else [field]
