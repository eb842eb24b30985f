"""Read the structured keys of a service: networks, dependencies, health check, logging and devices."""

from __future__ import annotations

from collections.abc import Mapping

from watcher.compose.device_requests import is_named_device
from watcher.compose.field import Field, Section
from watcher.compose.project_protocol import Project
from watcher.compose.spec import Attachment, Condition, Dependency, HealthSpec
from watcher.compose.units import UnitError, command_words

_CONDITIONS: dict[str, Condition] = {
    "service_started": "service_started",
    "service_healthy": "service_healthy",
    "service_completed_successfully": "service_completed_successfully",
}


def read_networks(given: Field | None, service: Field, project: Project) -> tuple[Attachment, ...]:
    """Return the networks, the main one first: by priority, then by name. The default is `default`."""
    entries: dict[str, Field] = {}
    if given is not None and isinstance(given.value, list):
        entries = {item.word(): Field(item.path, None) for item in given.items()}
    elif given is not None:
        entries = given.mapping()
    if not entries:
        entries = {"default": Field(f"{service.path}.networks.default", None)}
    found = [_read_attachment(key, entry, project) for key, entry in entries.items()]
    return tuple(sorted(found, key=lambda each: (-each.priority, each.key)))


def _read_attachment(key: str, field: Field, project: Project) -> Attachment:
    network = project.network_name(field, key)
    if field.value is None:
        return Attachment(key=key, network=network)
    section = Section(field)
    attachment = Attachment(
        key=key,
        network=network,
        aliases=section.read("aliases", Field.words, ()),
        ipv4_address=section.read("ipv4_address", Field.word, ""),
        ipv6_address=section.read("ipv6_address", Field.word, ""),
        link_local_ips=section.read("link_local_ips", Field.words, ()),
        driver_opts=section.read("driver_opts", Field.labels, {}),
        priority=section.read("priority", Field.integer, 0),
        gw_priority=section.read("gw_priority", Field.integer, 0),
        interface_name=section.read("interface_name", Field.word, ""),
        mac_address=section.read("mac_address", Field.word, ""),
        service_alias=section.read("use_service_name_alias", Field.boolean, True),
    )
    section.end("a service's network")
    return attachment


def read_depends(field: Field) -> dict[str, Dependency]:
    """Return the dependencies and their conditions."""
    if isinstance(field.value, list):
        return {item.word(): Dependency() for item in field.items()}
    return {name: _read_dependency(given) for name, given in field.mapping().items()}


def _read_dependency(field: Field) -> Dependency:
    section = Section(field)
    dependency = Dependency(
        condition=_CONDITIONS[
            section.read("condition", lambda given: given.choice(*_CONDITIONS), "service_started")
        ],
        restart=section.read("restart", Field.boolean, False),
        required=section.read("required", Field.boolean, True),
    )
    section.end("a dependency")
    return dependency


def read_health(field: Field) -> HealthSpec:
    """Return the health check; `disable` becomes the test NONE."""
    section = Section(field)
    test = section.read("test", _read_health_test, ())
    health = HealthSpec(
        test=("NONE",) if section.read("disable", Field.boolean, False) else test,
        interval=section.read("interval", Field.duration, None),
        timeout=section.read("timeout", Field.duration, None),
        start_period=section.read("start_period", Field.duration, None),
        start_interval=section.read("start_interval", Field.duration, None),
        retries=section.read("retries", lambda given: given.integer(0), None),
    )
    section.end("a healthcheck")
    if health.start_interval is not None and health.start_period is None:
        raise Field(f"{field.path}.start_interval", None).error("requires start_period")
    return health


def _read_health_test(field: Field) -> tuple[str, ...]:
    if not isinstance(field.value, list):
        return ("CMD-SHELL", field.text())
    words = tuple(each.text() for each in field.items())
    if words and words[0] not in ("NONE", "CMD", "CMD-SHELL"):
        raise field.error("must start with NONE, CMD or CMD-SHELL")
    return words


def read_logging(field: Field) -> tuple[str, Mapping[str, str]]:
    """Return the log driver, empty for the engine's default, and its options."""
    section = Section(field)
    found = section.read("driver", Field.text, ""), section.read("options", Field.labels, {})
    section.end("a logging section")
    return found


def read_devices(field: Field) -> tuple[tuple[str, str, str], ...]:
    """Return (host path, container path, permissions) of each device; the later of two with one path wins.

    `read_named_devices` reads devices by name, such as `vendor.com/gpu=all`.
    """
    found: dict[str, tuple[str, str, str]] = {}
    for item in field.items():
        if is_named_device(item):
            continue
        if isinstance(item.value, dict):
            section = Section(item)
            parts = [
                section.need("source", "the path on the host").word(),
                section.read("target", Field.text, ""),
                section.read("permissions", Field.text, ""),
            ]
            section.end("a device")
        else:
            parts = item.word().split(":")
        if len(parts) > 3 or not parts[0].startswith("/"):
            raise item.error("must be /path[:/container path[:permissions]]")
        source, inside, rights = [*parts, "", ""][:3]
        found[inside or source] = (source, inside or source, rights or "rwm")
    return tuple(found.values())


def read_security(field: Field, project: Project) -> tuple[str, ...]:
    """Return `security_opt`; a seccomp profile is replaced by the content of its file."""
    found = []
    for item in field.items():
        text = item.word()
        name, separator, value = text.partition("=" if "=" in text else ":")
        if not separator and name != "no-new-privileges":
            raise item.error("must be name=value")
        if name == "seccomp" and value not in ("unconfined", "builtin"):
            text = f"seccomp={project.read_json(item, value)}"
        found.append(text)
    return tuple(dict.fromkeys(found))


def read_command(field: Field) -> tuple[str, ...]:
    """Return the words of a command line, or of a list."""
    if isinstance(field.value, list):
        return tuple(each.text() for each in field.items())
    try:
        return command_words(field.text())
    except UnitError as error:
        raise field.error(str(error)) from None


def read_container_name(field: Field) -> str:
    """Return a name that the engine accepts."""
    text = field.word()
    plain = text.isascii() and text[0].isalnum() and all(char.isalnum() or char in "_.-" for char in text)
    if not plain or len(text) < 2:
        raise field.error("must be letters, digits, '_', '.' or '-', and start with a letter or digit")
    return text


def read_dns(field: Field) -> tuple[str, ...]:
    """Return the name servers; empty ones, such as `${UNSET}`, are left out as compose does."""
    items = field.items() if isinstance(field.value, list) else [field]
    return tuple(dict.fromkeys(each.word() for each in items if each.value != ""))


def read_uts(field: Field) -> str:
    """Return the UTS namespace: the engine shares only that of the host."""
    return field.choice("host")


def read_isolation(field: Field) -> None:
    """Accept the only isolation that exists on Linux."""
    if field.text() not in ("", "default"):
        raise field.unsupported("is not supported: it is for Windows only")
