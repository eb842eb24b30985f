"""Deploying: image → a healthy container that receives the traffic of the service's ports."""

from watcher.deploy.deployer import ContainerDeployer
from watcher.deploy.host_ports import (
    ChosenPort,
    HostPorts,
    NoFreePort,
    fixed_addresses,
    published_addresses,
)
from watcher.deploy.model import ContainerRecipe, DeployPolicy, Live, Published
from watcher.deploy.owned import used_networks
from watcher.deploy.source_mounts import DATA, SourceMount, digest_mounted, source_mounts, unwatched_sources

__all__ = [
    "DATA",
    "ChosenPort",
    "ContainerDeployer",
    "ContainerRecipe",
    "DeployPolicy",
    "HostPorts",
    "Live",
    "NoFreePort",
    "Published",
    "SourceMount",
    "digest_mounted",
    "fixed_addresses",
    "published_addresses",
    "source_mounts",
    "unwatched_sources",
    "used_networks",
]
