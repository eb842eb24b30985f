"""`networks`, `volumes`, `secrets` and `configs` at the top of the file."""

from __future__ import annotations

from collections.abc import Mapping

from watcher.compose.field import Field, Section
from watcher.compose.paths import Base
from watcher.compose.spec import NetworkSpec, Subnet, VolumeSpec

PROJECT_LABEL = "com.docker.compose.project"
VERSION_LABEL = "com.docker.compose.version"
NETWORK_LABEL = "com.docker.compose.network"
VOLUME_LABEL = "com.docker.compose.volume"


def read_network(key: str, field: Field, project: str) -> NetworkSpec:
    """A declared network; raises ConfigError."""
    if field.value is None:
        return NetworkSpec(key=key, name=f"{project}_{key}")
    section = Section(field)
    external, name = _external(section, key, project)
    driver, options, labels = section.take("driver"), section.take("driver_opts"), section.take("labels")
    internal, attachable = section.take("internal"), section.take("attachable")
    four, six, ipam = section.take("enable_ipv4"), section.take("enable_ipv6"), section.take("ipam")
    section.end("a network")
    ipam_driver, ipam_options, subnets = _ipam(ipam) if ipam else ("", {}, ())
    return NetworkSpec(
        key=key,
        name=name,
        external=external,
        driver=driver.text() if driver else "",
        driver_opts=options.labels() if options else {},
        internal=internal.boolean() if internal else False,
        attachable=attachable.boolean() if attachable else False,
        enable_ipv4=four.boolean() if four else None,
        enable_ipv6=six.boolean() if six else None,
        labels=labels.labels() if labels else {},
        ipam_driver=ipam_driver,
        ipam_options=ipam_options,
        subnets=subnets,
    )


def read_volume(key: str, field: Field, project: str, base: Base) -> VolumeSpec:
    """A declared volume; raises ConfigError."""
    if field.value is None:
        return VolumeSpec(key=key, name=f"{project}_{key}")
    section = Section(field)
    external, name = _external(section, key, project)
    driver, options, labels = section.take("driver"), section.take("driver_opts"), section.take("labels")
    section.end("a volume")
    driver_opts = options.labels() if options else {}
    if driver and driver.text() == "local" and driver_opts.get("o") == "bind" and "device" in driver_opts:
        driver_opts["device"] = base.path(driver_opts["device"])
    return VolumeSpec(
        key=key,
        name=name,
        external=external,
        driver=driver.text() if driver else "",
        driver_opts=driver_opts,
        labels=labels.labels() if labels else {},
    )


def read_source(field: Field, base: Base) -> tuple[str, str]:
    """Of a secret or config: (absolute path of its file, "") or ("", environment variable)."""
    section = Section(field)
    file, variable = section.take("file"), section.take("environment")
    for key in ("external", "driver", "template_driver", "content"):
        if refused := section.take(key):
            raise refused.error("is not supported: only a file can be mounted")
    for key in ("name", "labels", "driver_opts"):  # for swarm, which stores secrets
        section.take(key)
    section.end("a secret or config")
    if (file is None) == (variable is None):
        raise field.error("must have either a file or an environment variable")
    return (base.path(file.word()), "") if file else ("", variable.word() if variable else "")


def _external(section: Section, key: str, project: str) -> tuple[bool, str]:
    """Whether somebody else made it, and the engine's name."""
    given, external_name = section.take("external"), None
    external = False
    if given and isinstance(given.value, dict):  # the old way to say it
        inner = Section(given)
        external_name = inner.take("name")
        inner.end("external")
        external = True
    elif given:
        external = given.boolean()
    name = section.take("name") or external_name
    return external, name.word() if name else key if external else f"{project}_{key}"


def _ipam(field: Field) -> tuple[str, Mapping[str, str], tuple[Subnet, ...]]:
    section = Section(field)
    driver, options, config = section.take("driver"), section.take("options"), section.take("config")
    section.end("an ipam section")
    subnets = []
    for item in config.items() if config else []:
        inner = Section(item)
        subnet, ip_range = inner.take("subnet"), inner.take("ip_range")
        gateway, aux = inner.take("gateway"), inner.take("aux_addresses")
        inner.end("an ipam configuration")
        subnets.append(
            Subnet(
                subnet=subnet.text() if subnet else "",
                ip_range=ip_range.text() if ip_range else "",
                gateway=gateway.text() if gateway else "",
                aux_addresses=aux.labels() if aux else {},
            )
        )
    return driver.text() if driver else "", options.labels() if options else {}, tuple(subnets)
