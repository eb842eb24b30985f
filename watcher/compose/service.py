"""One service: from a merged, interpolated mapping with absolute paths to a `ServiceSpec`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from watcher.compose import keys, parts
from watcher.compose.build import read_build, read_hosts
from watcher.compose.field import Field, Section
from watcher.compose.mounts import read_files, read_tmpfs, read_volumes
from watcher.compose.ports import read_expose, read_ports
from watcher.compose.refer import Project
from watcher.compose.resources import read_limits, read_restart
from watcher.compose.spec import MountSpec, ServiceSpec


def read_service(name: str, field: Field, project: Project) -> ServiceSpec:
    """The service; raises ConfigError."""
    section = Section(field)
    section.refuse(keys.REFUSED)
    section.ignore(keys.IGNORED)
    read = section.read
    deploy = section.take("deploy")
    build = read("build", lambda given: read_build(given, project.env, project.build_secret), None)
    image = read("image", Field.word, None)
    if build is None and image is None:
        raise field.error("must have an image or a build section")
    network_mode, networks = section.take("network_mode"), section.take("networks")
    if network_mode and networks and networks.value:
        raise network_mode.error("cannot stand beside networks")
    read("scale", parts.one, None)
    tmpfs = section.take("tmpfs")
    mounts = _mounts(section, project)
    spec = ServiceSpec(
        name=name,
        project_name=project.name,
        image=image or f"{project.name}-{name}",
        build=build,
        container_name=read("container_name", parts.read_container_name, None),
        command=read("command", parts.read_command, None),
        entrypoint=read("entrypoint", parts.read_command, None),
        environment=_environment(section.take("environment"), section.take("env_file"), project),
        ports=read("ports", read_ports, ()),
        expose=read("expose", read_expose, ()),
        mounts=mounts,
        tmpfs=_tmpfs(tmpfs, mounts) if tmpfs else {},
        networks=() if network_mode else parts.read_networks(networks, field, project),
        network_mode=parts.read_mode(network_mode) if network_mode else "",
        depends_on=read("depends_on", parts.read_depends, {}),
        healthcheck=read("healthcheck", parts.read_health, None),
        restart=read_restart(section.take("restart"), deploy),
        labels=_labels(section.take("labels"), section.take("label_file"), project),
        logging=read("logging", parts.read_logging, None),
        limits=read_limits(section, deploy),
        stop_signal=read("stop_signal", Field.word, None),
        stop_grace_period=read("stop_grace_period", Field.duration, None),
        user=read("user", Field.text, ""),
        working_dir=read("working_dir", Field.text, ""),
        hostname=read("hostname", Field.text, ""),
        domainname=read("domainname", Field.text, ""),
        platform=read("platform", Field.text, ""),
        pull_policy=read("pull_policy", Field.text, ""),
        runtime=read("runtime", Field.text, ""),
        init=read("init", Field.boolean, None),
        tty=read("tty", Field.boolean, False),
        stdin_open=read("stdin_open", Field.boolean, False),
        privileged=read("privileged", Field.boolean, False),
        read_only=read("read_only", Field.boolean, False),
        shm_size=read("shm_size", Field.size, 0),
        cap_add=read("cap_add", Field.words, ()),
        cap_drop=read("cap_drop", Field.words, ()),
        security_opt=read("security_opt", lambda given: parts.read_security(given, project), ()),
        devices=read("devices", parts.read_devices, ()),
        device_cgroup_rules=read("device_cgroup_rules", Field.words, ()),
        dns=read("dns", Field.word_or_words, ()),
        dns_opt=read("dns_opt", Field.words, ()),
        dns_search=read("dns_search", Field.word_or_words, ()),
        extra_hosts=read("extra_hosts", read_hosts, ()),
        group_add=read("group_add", Field.words, ()),
        sysctls=read("sysctls", Field.labels, {}),
        storage_opt=read("storage_opt", Field.labels, {}),
        cgroup=read("cgroup", lambda given: given.choice("host", "private"), ""),
        cgroup_parent=read("cgroup_parent", Field.text, ""),
        ipc=read("ipc", parts.read_mode, ""),
        pid=read("pid", parts.read_mode, ""),
        uts=read("uts", parts.read_mode, ""),
        userns_mode=read("userns_mode", Field.text, ""),
    )
    section.end("a service")
    return spec


def _mounts(section: Section, project: Project) -> tuple[MountSpec, ...]:
    """Volumes, and the secrets and configs whose place no volume takes."""
    found = section.read("volumes", lambda given: read_volumes(given, project.volume_name), ())
    for key, where, source in (
        ("secrets", "/run/secrets", project.secret_file),
        ("configs", "/", project.config_file),
    ):
        if given := section.take(key):
            taken = {each.target for each in found}
            found += tuple(each for each in read_files(given, where, source) if each.target not in taken)
    return found


def _tmpfs(field: Field, mounts: tuple[MountSpec, ...]) -> dict[str, str]:
    found = read_tmpfs(field)
    for mount in mounts:
        if mount.target in found:
            raise field.error(f"{mount.target} is already mounted by volumes")
    return found


def _environment(given: Field | None, files: Field | None, project: Project) -> dict[str, str | None]:
    """The variables of the env files under those of the service itself."""
    own: dict[str, str | None] = {}
    for name, value in (given.pairs() if given else {}).items():
        if given and name != name.rstrip():
            raise given.error(f"the name {name!r} must not end with a space")
        own[name] = value if value is not None else project.env.get(name)
    known = {name: value for name, value in own.items() if value is not None}
    collected = dict(known)
    for item in _one_or_more(files):
        _read_file(item, collected, known, project)
    return {**collected, **own}


def _read_file(item: Field, into: dict[str, str], own: Mapping[str, str], project: Project) -> None:
    required, raw, path = True, False, item
    if isinstance(item.value, dict):
        section = Section(item)
        path = section.need("path", "the file to read")
        required = section.read("required", Field.boolean, True)
        raw = section.read("format", lambda given: given.choice("raw"), "") == "raw"
        section.end("an environment file")
    file = Path(path.word())
    project.looked_for(file)
    if required or file.exists():
        project.read_env(file, into, own=own, raw=raw)


def _labels(given: Field | None, files: Field | None, project: Project) -> dict[str, str]:
    """The labels of the label files under those of the service itself."""
    labels: dict[str, str] = {}
    for item in _one_or_more(files):
        project.read_labels(Path(item.word()), labels)
    return {**labels, **(given.labels() if given else {})}


def _one_or_more(field: Field | None) -> list[Field]:
    """The entries of a list, or one entry alone."""
    if field is None:
        return []
    return field.items() if isinstance(field.value, list) else [field]
