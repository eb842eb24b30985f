"""Read a compose file as docker compose does, check it and translate it for the Engine API.

A key that is not supported raises an error with its name and place; no key is dropped silently. `load` reads
only the compose file and the files that it names; `container_config` and the others are pure.
"""

from watcher.compose.api_requirements import check_api, missing_api
from watcher.compose.api_resources import (
    FILES_LABEL,
    HASH_LABEL,
    IMAGE_LABEL,
    NUMBER_LABEL,
    ONE_OFF_LABEL,
    PROJECT_LABEL,
    SERVICE_LABEL,
    VERSION_LABEL,
    compose_labels,
    config_files_label,
    network_config,
    volume_config,
)
from watcher.compose.build_spec import BuildSpec, SecretSource
from watcher.compose.choice import find_jobs
from watcher.compose.container import (
    additional_networks,
    address_endpoints,
    can_share_network,
    config_digest,
    container_config,
    pause_config,
    published,
    with_shared_network,
)
from watcher.compose.find import FILE_NAMES, find_compose_file
from watcher.compose.links import find_followers, find_references
from watcher.compose.load import load
from watcher.compose.spec import (
    Attachment,
    ComposeProject,
    Dependency,
    HealthSpec,
    MountSpec,
    NetworkSpec,
    PortSpec,
    ResourceLimits,
    ServiceSpec,
    Subnet,
    VolumeSpec,
    with_tag,
)
from watcher.compose.specparts import BlockIo, ContainerFile, DeviceRequest, Hook

__all__ = [
    "FILES_LABEL",
    "FILE_NAMES",
    "HASH_LABEL",
    "IMAGE_LABEL",
    "NUMBER_LABEL",
    "ONE_OFF_LABEL",
    "PROJECT_LABEL",
    "SERVICE_LABEL",
    "VERSION_LABEL",
    "Attachment",
    "BlockIo",
    "BuildSpec",
    "ComposeProject",
    "ContainerFile",
    "Dependency",
    "DeviceRequest",
    "HealthSpec",
    "Hook",
    "MountSpec",
    "NetworkSpec",
    "PortSpec",
    "ResourceLimits",
    "SecretSource",
    "ServiceSpec",
    "Subnet",
    "VolumeSpec",
    "additional_networks",
    "address_endpoints",
    "can_share_network",
    "check_api",
    "compose_labels",
    "config_digest",
    "config_files_label",
    "container_config",
    "find_compose_file",
    "find_followers",
    "find_jobs",
    "find_references",
    "load",
    "missing_api",
    "network_config",
    "pause_config",
    "published",
    "volume_config",
    "with_shared_network",
    "with_tag",
]
