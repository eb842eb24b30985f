"""Make the labels that docker compose reads, and the Engine API bodies of networks and volumes."""

from __future__ import annotations

from typing import Any

from watcher.compose.spec import ComposeProject, NetworkSpec, ServiceSpec, VolumeSpec

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
NUMBER_LABEL = "com.docker.compose.container-number"
ONE_OFF_LABEL = "com.docker.compose.oneoff"
IMAGE_LABEL = "com.docker.compose.image"
VERSION_LABEL = "com.docker.compose.version"
HASH_LABEL = "com.docker.compose.config-hash"
FILES_LABEL = "com.docker.compose.project.config_files"
NETWORK_LABEL = "com.docker.compose.network"
VOLUME_LABEL = "com.docker.compose.volume"

COMPOSE_VERSION = "2.0.0"  # the version of compose that sets these labels; some tools compare it


def compose_labels(
    project: ComposeProject, spec: ServiceSpec, *, config_hash: str, image_id: str, number: int = 1
) -> dict[str, str]:
    """Return the labels by which `docker compose ps`, `logs`, `stop` and `down` recognise the container.

    If `config_hash` is not the one that compose computes, `docker compose up` replaces the container.
    """
    depends = ",".join(
        f"{name}:{each.condition}:{'true' if each.restart else 'false'}"
        for name, each in spec.depends_on.items()
    )
    return {
        PROJECT_LABEL: project.name,
        SERVICE_LABEL: spec.name,
        NUMBER_LABEL: str(number),
        ONE_OFF_LABEL: "False",
        HASH_LABEL: config_hash,
        IMAGE_LABEL: image_id,
        "com.docker.compose.depends_on": depends,
        "com.docker.compose.project.working_dir": str(project.directory),
        FILES_LABEL: config_files_label(project),
        VERSION_LABEL: COMPOSE_VERSION,
    }


def config_files_label(project: ComposeProject) -> str:
    """Return the files of the project as compose labels its containers with them."""
    return ",".join(str(each) for each in project.config_files)


def network_config(project: str, spec: NetworkSpec) -> dict[str, Any]:
    """Return the body of `POST /networks/create` for a network that is not external."""
    body: dict[str, Any] = {
        "Name": spec.name,
        "CheckDuplicate": True,
        "Driver": spec.driver or "bridge",
        "Options": dict(spec.driver_opts),
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Labels": {
            **spec.labels,
            NETWORK_LABEL: spec.key,
            PROJECT_LABEL: project,
            VERSION_LABEL: COMPOSE_VERSION,
        },
    }
    if spec.enable_ipv4 is not None:
        body["EnableIPv4"] = spec.enable_ipv4
    if spec.enable_ipv6 is not None:
        body["EnableIPv6"] = spec.enable_ipv6
    if spec.ipam_driver or spec.ipam_options or spec.subnets:
        body["IPAM"] = {
            "Driver": spec.ipam_driver or "default",
            "Options": dict(spec.ipam_options),
            "Config": [
                {
                    key: value
                    for key, value in (
                        ("Subnet", each.subnet),
                        ("IPRange", each.ip_range),
                        ("Gateway", each.gateway),
                        ("AuxiliaryAddresses", dict(each.aux_addresses)),
                    )
                    if value
                }
                for each in spec.subnets
            ],
        }
    return body


def volume_config(project: str, spec: VolumeSpec) -> dict[str, Any]:
    """Return the body of `POST /volumes/create` for a volume that is not external."""
    return {
        "Name": spec.name,
        "Driver": spec.driver or "local",
        "DriverOpts": dict(spec.driver_opts),
        "Labels": {
            **spec.labels,
            VOLUME_LABEL: spec.key,
            PROJECT_LABEL: project,
            VERSION_LABEL: COMPOSE_VERSION,
        },
    }
