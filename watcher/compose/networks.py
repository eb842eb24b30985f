"""Read the top-level sections `networks`, `volumes`, `secrets` and `configs`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from watcher.compose.field import Field, Section
from watcher.compose.paths import BaseDirectory
from watcher.compose.spec import NetworkSpec, Subnet, VolumeSpec

_SOURCE_REFUSED = dict.fromkeys(
    ("external", "driver", "template_driver"),
    "the engine stores secrets and configs only in a swarm",
)


def read_network(key: str, field: Field, project: str) -> NetworkSpec:
    """Return a declared network; raise ConfigError."""
    if field.value is None:
        return NetworkSpec(key=key, name=f"{project}_{key}")
    section = Section(field)
    external, name = _read_external(section, key, project)
    ipam_driver, ipam_options, subnets = section.read("ipam", _read_ipam, ("", {}, ()))
    network = NetworkSpec(
        key=key,
        name=name,
        external=external,
        driver=section.read("driver", Field.text, ""),
        driver_opts=section.read("driver_opts", Field.labels, {}),
        internal=section.read("internal", Field.boolean, False),
        attachable=section.read("attachable", Field.boolean, False),
        enable_ipv4=section.read("enable_ipv4", Field.boolean, None),
        enable_ipv6=section.read("enable_ipv6", Field.boolean, None),
        labels=section.read("labels", Field.labels, {}),
        ipam_driver=ipam_driver,
        ipam_options=ipam_options,
        subnets=subnets,
    )
    section.end("a network")
    return network


def read_volume(key: str, field: Field, project: str, base: BaseDirectory) -> VolumeSpec:
    """Return a declared volume; raise ConfigError."""
    if field.value is None:
        return VolumeSpec(key=key, name=f"{project}_{key}")
    section = Section(field)
    external, name = _read_external(section, key, project)
    driver = section.read("driver", Field.text, "")
    options = section.read("driver_opts", Field.labels, {})
    labels = section.read("labels", Field.labels, {})
    section.end("a volume")
    if driver == "local" and options.get("o") == "bind" and "device" in options:
        options["device"] = base.path(options["device"])
    return VolumeSpec(
        key=key, name=name, external=external, driver=driver, driver_opts=options, labels=labels
    )


@dataclass(frozen=True, slots=True)
class ContentSource:
    """The content of a secret or config; one of the three is set. The path of the file is absolute."""

    file: str = ""
    variable: str = ""
    content: str | None = None


def read_source(field: Field, base: BaseDirectory) -> ContentSource:
    """Return the source of a declared secret or config; raise ConfigError."""
    section = Section(field)
    section.refuse(_SOURCE_REFUSED)
    section.ignore(("name", "labels", "driver_opts"))  # for swarm, which stores secrets
    file, variable, content = (section.take(key) for key in ("file", "environment", "content"))
    section.end("a secret or config")
    if sum(each is not None for each in (file, variable, content)) != 1:
        rule = "must have one of file, environment" + (" and content" if "configs." in field.path else "")
        raise field.error(rule)
    if content is not None:
        if "configs." not in field.path:
            raise content.error("is only for configs: a secret has a file or an environment variable")
        return ContentSource(content=content.text())
    return (
        ContentSource(file=base.path(file.word()))
        if file
        else ContentSource(variable=variable.word() if variable else "")
    )


def _read_external(section: Section, key: str, project: str) -> tuple[bool, str]:
    """Return whether the resource exists outside of the project, and its name at the engine."""
    given = section.take("external")
    external, name = False, section.take("name")
    if given and isinstance(given.value, dict):  # the form before compose file 3.5
        inner = Section(given)
        name = name or inner.take("name")
        inner.end("external")
        external = True
    elif given:
        external = given.boolean()
    if name:
        return external, name.word()
    return external, key if external else f"{project}_{key}"


def _read_ipam(field: Field) -> tuple[str, Mapping[str, str], tuple[Subnet, ...]]:
    section = Section(field)
    found = (
        section.read("driver", Field.text, ""),
        section.read("options", Field.labels, {}),
        section.read("config", lambda given: tuple(_read_subnet(each) for each in given.items()), ()),
    )
    section.end("an ipam section")
    return found


def _read_subnet(field: Field) -> Subnet:
    section = Section(field)
    subnet = Subnet(
        subnet=section.read("subnet", Field.text, ""),
        ip_range=section.read("ip_range", Field.text, ""),
        gateway=section.read("gateway", Field.text, ""),
        aux_addresses=section.read("aux_addresses", Field.labels, {}),
    )
    section.end("an ipam configuration")
    return subnet
