"""One service: from a merged, interpolated mapping with absolute paths to a `ServiceSpec`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from watcher.compose import keys
from watcher.compose.build import read_build, read_hosts
from watcher.compose.field import Field, Section
from watcher.compose.mounts import read_files, read_tmpfs, read_volumes
from watcher.compose.ports import read_expose, read_ports
from watcher.compose.resources import read_limits, read_restart
from watcher.compose.spec import (
    Attachment,
    Condition,
    Dependency,
    HealthSpec,
    SecretSource,
    ServiceSpec,
)
from watcher.compose.units import UnitError, command_words

_CONDITIONS: dict[str, Condition] = {
    "service_started": "service_started",
    "service_healthy": "service_healthy",
    "service_completed_successfully": "service_completed_successfully",
}


class Project(Protocol):
    """What a service refers to outside of itself. Every method raises ConfigError for an unknown name."""

    @property
    def name(self) -> str:
        """The project's name."""
        ...

    @property
    def env(self) -> Mapping[str, str]:
        """The environment by which values are replaced."""
        ...

    def network_name(self, field: Field, key: str) -> str:
        """The engine's name of a declared network."""
        ...

    def volume_name(self, field: Field, key: str) -> str:
        """The engine's name of a declared volume."""
        ...

    def secret_file(self, field: Field, key: str) -> str:
        """The file of a declared secret."""
        ...

    def config_file(self, field: Field, key: str) -> str:
        """The file of a declared config."""
        ...

    def build_secret(self, field: Field, key: str, id_: str) -> SecretSource:
        """The source of a declared secret, for a build."""
        ...

    def read_env(self, path: Path, into: dict[str, str], *, own: Mapping[str, str], raw: bool) -> None:
        """Add a file's variables to `into`; `own` are those that the service sets itself."""
        ...

    def looked_for(self, path: Path) -> None:
        """Remember a file that may come later."""
        ...


def read_service(name: str, field: Field, project: Project) -> ServiceSpec:
    """The service; raises ConfigError."""
    section = Section(field)
    for refused, reason in section.drop(keys.REFUSED):
        raise refused.error(f"is not supported: {reason}") from None
    for _ in section.drop(keys.IGNORED):
        pass
    take = section.take
    build, image = take("build"), take("image")
    if build is None and image is None:
        raise field.error("must have an image or a build section")
    tmpfs = take("tmpfs")
    network_mode, networks = take("network_mode"), take("networks")
    if network_mode and networks:
        raise network_mode.error("cannot stand beside networks")
    container_name, scale = take("container_name"), take("scale")
    if scale and scale.integer(0) != 1:
        raise scale.error("must be 1: one container of a service is kept")
    deploy = take("deploy")
    environment = _environment(take("environment"), take("env_file"), project)
    labels = _labels(take("labels"), take("label_file"), project)
    health = take("healthcheck")
    hosts, depends, logging = take("extra_hosts"), take("depends_on"), take("logging")
    ports, expose, volumes = take("ports"), take("expose"), take("volumes")
    secrets, configs = take("secrets"), take("configs")
    mounts = read_volumes(volumes, project.volume_name) if volumes else ()
    taken = {mount.target for mount in mounts}
    for files, where, source in (
        (secrets, "/run/secrets", project.secret_file),
        (configs, "/", project.config_file),
    ):
        if files:
            mounts += tuple(each for each in read_files(files, where, source) if each.target not in taken)
    temporary = read_tmpfs(tmpfs) if tmpfs else {}
    for target in temporary:
        if tmpfs and target in taken:
            raise tmpfs.error(f"{target} is already mounted by volumes")
    limits = read_limits(section, deploy)
    spec = ServiceSpec(
        name=name,
        project_name=project.name,
        image=image.word() if image else f"{project.name}-{name}",
        build=read_build(build, project.env, project.build_secret) if build else None,
        container_name=_container_name(container_name) if container_name else None,
        command=_command(take("command")),
        entrypoint=_command(take("entrypoint")),
        environment=environment,
        ports=read_ports(ports) if ports else (),
        expose=read_expose(expose) if expose else (),
        mounts=mounts,
        tmpfs=temporary,
        networks=() if network_mode else _networks(networks, field, project),
        network_mode=_mode(network_mode),
        depends_on=_depends(depends) if depends else {},
        healthcheck=_health(health) if health else None,
        restart=read_restart(take("restart"), deploy),
        labels=labels,
        logging=_logging(logging) if logging else None,
        limits=limits,
        stop_signal=_word(take("stop_signal")) or None,
        stop_grace_period=grace.duration() if (grace := take("stop_grace_period")) else None,
        user=_word(take("user")),
        working_dir=_word(take("working_dir")),
        hostname=_word(take("hostname")),
        domainname=_word(take("domainname")),
        platform=_word(take("platform")),
        pull_policy=_word(take("pull_policy")),
        runtime=_word(take("runtime")),
        init=init.boolean() if (init := take("init")) else None,
        tty=_flag(take("tty")),
        stdin_open=_flag(take("stdin_open")),
        privileged=_flag(take("privileged")),
        read_only=_flag(take("read_only")),
        shm_size=shm.size() if (shm := take("shm_size")) else 0,
        cap_add=_words(take("cap_add")),
        cap_drop=_words(take("cap_drop")),
        security_opt=_words(take("security_opt")),
        devices=_devices(take("devices")),
        device_cgroup_rules=_words(take("device_cgroup_rules")),
        dns=_words(take("dns")),
        dns_opt=_words(take("dns_opt")),
        dns_search=_words(take("dns_search")),
        extra_hosts=read_hosts(hosts) if hosts else (),
        group_add=_words(take("group_add")),
        sysctls=sysctls.labels() if (sysctls := take("sysctls")) else {},
        storage_opt=storage.labels() if (storage := take("storage_opt")) else {},
        cgroup=cgroup.choice("host", "private") if (cgroup := take("cgroup")) else "",
        cgroup_parent=_word(take("cgroup_parent")),
        ipc=_mode(take("ipc")),
        pid=_mode(take("pid")),
        uts=_mode(take("uts")),
        userns_mode=_word(take("userns_mode")),
    )
    section.end("a service")
    return spec


def _word(field: Field | None) -> str:
    return field.text() if field else ""


def _flag(field: Field | None) -> bool:
    return field.boolean() if field else False


def _words(field: Field | None) -> tuple[str, ...]:
    """Words, each once."""
    return tuple(dict.fromkeys(field.word_or_words())) if field else ()


def _mode(field: Field | None) -> str:
    """A namespace to share: the engine's own, or a container's; not another service's."""
    if field is None:
        return ""
    text = field.text()
    if text.startswith("service:"):
        raise field.error("cannot share with another service: its container may change at any time")
    return text


def _container_name(field: Field) -> str:
    text = field.word()
    plain = text.isascii() and text[0].isalnum() and all(char.isalnum() or char in "_.-" for char in text)
    if not plain or len(text) < 2:
        raise field.error("must be letters, digits, '_', '.' or '-', and begin with a letter or digit")
    return text


def _command(field: Field | None) -> tuple[str, ...] | None:
    if field is None:
        return None
    if isinstance(field.value, list):
        return tuple(each.text() for each in field.items())
    try:
        return command_words(field.text())
    except UnitError as error:
        raise field.error(str(error)) from None


def _environment(given: Field | None, files: Field | None, project: Project) -> dict[str, str | None]:
    """The variables of the env files under those of the service itself."""
    own: dict[str, str | None] = {}
    for name, value in (given.pairs() if given else {}).items():
        own[name] = value if value is not None else project.env.get(name)
    known = {name: value for name, value in own.items() if value is not None}
    collected = dict(known)
    if files:
        _read_files(files, collected, known, project)
    return {**collected, **own}


def _read_files(files: Field, into: dict[str, str], own: Mapping[str, str], project: Project) -> None:
    for item in files.items() if isinstance(files.value, list) else [files]:
        required, raw, path_field = True, False, item
        if isinstance(item.value, dict):
            section = Section(item)
            path, needed, form = section.take("path"), section.take("required"), section.take("format")
            section.end("an environment file")
            if path is None:
                raise item.error("must have a path")
            path_field = path
            required = needed.boolean() if needed else True
            raw = bool(form) and form.choice("raw") == "raw" if form else False
        found = Path(path_field.word())
        project.looked_for(found)
        if found.exists() or required:
            project.read_env(found, into, own=own, raw=raw)


def _labels(given: Field | None, files: Field | None, project: Project) -> dict[str, str]:
    labels: dict[str, str] = {}
    for item in (files.items() if isinstance(files.value, list) else [files]) if files else []:
        project.read_env(Path(item.word()), labels, own={}, raw=False)
    return {**labels, **(given.labels() if given else {})}


def _networks(given: Field | None, service: Field, project: Project) -> tuple[Attachment, ...]:
    """The networks, the main one first: by priority, then by name. Without any it is `default`."""
    entries: dict[str, Field] = {}
    if given is not None and isinstance(given.value, list):
        entries = {item.word(): Field(item.path, None) for item in given.items()}
    elif given is not None:
        entries = given.mapping()
    if not entries:
        entries = {"default": Field(f"{service.path}.networks.default", None)}
    found = [_network(key, entry, project) for key, entry in entries.items()]
    return tuple(sorted(found, key=lambda each: (-each.priority, each.key)))


def _network(key: str, field: Field, project: Project) -> Attachment:
    network = project.network_name(field, key)
    if field.value is None:
        return Attachment(key=key, network=network)
    section = Section(field)
    if gateway := section.take("gw_priority"):
        raise gateway.error("is not supported: engines before 28 do not know it; use priority")
    for refused in (section.take("mac_address"), section.take("interface_name")):
        if refused:
            raise refused.error(
                "is not supported: two containers cannot share it while one replaces the other"
            )
    aliases, options, priority = (
        section.take("aliases"),
        section.take("driver_opts"),
        section.take("priority"),
    )
    four, six, local = (
        section.take("ipv4_address"),
        section.take("ipv6_address"),
        section.take("link_local_ips"),
    )
    section.end("a service's network")
    return Attachment(
        key=key,
        network=network,
        aliases=_words(aliases),
        ipv4_address=_word(four),
        ipv6_address=_word(six),
        link_local_ips=_words(local),
        driver_opts=options.labels() if options else {},
        priority=priority.integer() if priority else 0,
    )


def _depends(field: Field) -> dict[str, Dependency]:
    if isinstance(field.value, list):
        return {item.word(): Dependency() for item in field.items()}
    found = {}
    for name, given in field.mapping().items():
        section = Section(given)
        condition, restart = section.take("condition"), section.take("restart")
        required = section.take("required")
        section.end("a dependency")
        found[name] = Dependency(
            condition=_CONDITIONS[condition.choice(*_CONDITIONS)] if condition else "service_started",
            restart=restart.boolean() if restart else False,
            required=required.boolean() if required else True,
        )
    return found


def _health(field: Field) -> HealthSpec:
    section = Section(field)
    test, disable = section.take("test"), section.take("disable")
    interval, timeout, retries = section.take("interval"), section.take("timeout"), section.take("retries")
    period, start_interval = section.take("start_period"), section.take("start_interval")
    section.end("a healthcheck")
    if start_interval and not period:
        raise start_interval.error("needs start_period beside it")
    words: tuple[str, ...] = ()
    if disable and disable.boolean():
        words = ("NONE",)
    elif test and isinstance(test.value, list):
        words = tuple(each.text() for each in test.items())
        if words and words[0] not in ("NONE", "CMD", "CMD-SHELL"):
            raise test.error("must begin with NONE, CMD or CMD-SHELL")
    elif test:
        words = ("CMD-SHELL", test.text())
    return HealthSpec(
        test=words,
        interval=interval.duration() if interval else None,
        timeout=timeout.duration() if timeout else None,
        start_period=period.duration() if period else None,
        start_interval=start_interval.duration() if start_interval else None,
        retries=retries.integer(0) if retries else None,
    )


def _logging(field: Field) -> tuple[str, Mapping[str, str]]:
    section = Section(field)
    driver, options = section.take("driver"), section.take("options")
    section.end("a logging section")
    return (_word(driver), options.labels() if options else {})


def _devices(field: Field | None) -> tuple[tuple[str, str, str], ...]:
    found: dict[str, tuple[str, str, str]] = {}
    for item in field.items() if field else []:
        if isinstance(item.value, dict):
            section = Section(item)
            source, target, rights = (
                section.take("source"),
                section.take("target"),
                section.take("permissions"),
            )
            section.end("a device")
            if source is None:
                raise item.error("must have a source")
            parts = [source.word(), _word(target), _word(rights)]
        else:
            parts = item.word().split(":")
        if len(parts) > 3 or not parts[0].startswith("/"):
            raise item.error("must be /path[:/path inside[:rights]]")
        source_path, inside, permissions = [*parts, "", ""][:3]
        inside = inside or source_path
        found[inside] = (source_path, inside, permissions or "rwm")
    return tuple(found.values())
