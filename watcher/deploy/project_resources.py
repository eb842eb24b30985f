"""The networks and volumes of a compose project: create those that are missing."""

from __future__ import annotations

from watcher import compose, labels
from watcher.compose import ComposeProject
from watcher.deploy.dependency_errors import explain_refusal
from watcher.engine import Engine, EngineError


async def ensure_resources(engine: Engine, project: ComposeProject, owner: str, user: str) -> None:
    """Create the networks and volumes of the project that are missing, for `user` (named in errors).

    Raises UserError, EngineTrouble, EngineUnavailable.
    """
    try:
        await ensure_networks(engine, project, owner)
        await ensure_volumes(engine, project)
    except EngineError as error:
        raise explain_refusal(error, f"what {user} needs cannot be made") from error


async def ensure_networks(engine: Engine, project: ComposeProject, owner: str) -> None:
    """Create the networks that are not external; `owner` is the id of the watcher's project."""
    for network in project.networks.values():
        if not network.external:
            body = compose.network_config(project.name, network)
            own = labels.network_labels(owner, network.name)
            await engine.ensure_network({**body, "Labels": {**body["Labels"], **own}})


async def ensure_volumes(engine: Engine, project: ComposeProject) -> None:
    """Create the volumes that are not external."""
    for volume in project.volumes.values():
        if not volume.external:
            await engine.ensure_volume(compose.volume_config(project.name, volume))
