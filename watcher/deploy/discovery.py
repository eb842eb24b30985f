"""Find existing containers of the service: what serves, what conflicts."""

from __future__ import annotations

import time

from watcher import labels
from watcher.deploy import names, ready
from watcher.deploy.model import ContainerRecipe, DeployPolicy, Live, backends, has_completed
from watcher.deploy.owned import OwnContainers
from watcher.engine import Container


async def find_incompatible(
    own: OwnContainers, recipe: ContainerRecipe, *, behind_front: bool
) -> list[Container]:
    """Running ones that are published in the other strategy's way."""
    return [
        item
        for item in await own.details()
        if item.running and not fits_strategy(recipe, item, behind_front=behind_front)
    ]


async def find_serving(
    own: OwnContainers, recipe: ContainerRecipe, policy: DeployPolicy, *, behind_front: bool
) -> Live | None:
    """Return the container that was live when the daemon before was killed.

    One that has the name was live, also when it is paused; one under another name was if it
    answers, because a container gets the traffic first and then the name. A job that has completed is live.
    """
    details = await own.details()
    if recipe.completes:
        done = (item for item in details if has_completed(item) and item.name == recipe.name)
        return next((_to_live(recipe, item) for item in done), None)
    alive = [item for item in details if item.running or item.paused]
    alive.sort(key=lambda item: (item.name != recipe.name, item.paused, item.name))
    for found in alive:
        if not fits_strategy(recipe, found, behind_front=behind_front):
            continue
        named = found.name == recipe.name
        if named or (found.running and (await ready.probe_once(recipe, policy, found)).ready):
            return _to_live(recipe, found)
    return None


async def find_stopped(own: OwnContainers, recipe: ContainerRecipe) -> Live | None:
    """Return the last good container, if it ended while no daemon looked.

    It has the name; or one that stepped aside is there too, kept because that one had not proven itself yet.
    """
    details = await own.details()
    aside = [item for item in details if names.has_stepped_aside(recipe, item)]
    named = [item for item in details if item.name == recipe.name]
    last = max(aside or named, key=lambda item: item.changed, default=None)
    return _to_live(recipe, last) if last else None


def _to_live(recipe: ContainerRecipe, found: Container) -> Live:
    revision, digest = found.labels.get(labels.REVISION, ""), found.labels.get(labels.CONFIG, "")
    reached, mounted = backends(recipe, found, revision), found.labels.get(labels.MOUNTED, "")
    return Live(found.id, found.image, revision, digest, reached, time.monotonic(), mounted)


def fits_strategy(recipe: ContainerRecipe, found: Container, *, behind_front: bool) -> bool:
    """Return whether a container is published as this strategy publishes: behind the front, or directly."""
    if set(backends(recipe, found, "")) != set(recipe.ports):
        return False
    wanted = {port for bound in recipe.published.values() for _, port in bound if port}
    if not wanted:
        return True
    direct = bool(wanted & {port for bound in found.ports.values() for _, port in bound})
    return direct != behind_front
