"""Containers of the service that are there already: what serves, what stands in the way."""

from __future__ import annotations

import time

from watcher import labels
from watcher.deploy import names, ready
from watcher.deploy.model import ContainerRecipe, Live, Policy, backends
from watcher.engine import Container, Engine


async def ours(engine: Engine, recipe: ContainerRecipe) -> list[Container]:
    """All containers of the service that a daemon made, in any state; names, labels and states only."""
    return await engine.containers(labels=labels.selector(recipe.project, recipe.service))


async def sandboxes(engine: Engine, recipe: ContainerRecipe) -> list[Container]:
    """All containers that only hold a network for one of the service."""
    return await engine.containers(labels=labels.sandboxes(recipe.project, recipe.service))


async def misfits(engine: Engine, recipe: ContainerRecipe, *, behind_front: bool) -> list[Container]:
    """Running ones that are published in the other strategy's way."""
    details = [await engine.container(item.id) for item in await ours(engine, recipe)]
    return [
        item
        for item in details
        if item and item.running and not fits(recipe, item, behind_front=behind_front)
    ]


async def serving(
    engine: Engine, recipe: ContainerRecipe, policy: Policy, *, behind_front: bool
) -> Live | None:
    """The container that was live when the daemon before was killed.

    One that has the name was live; one under another name was if it answers, because a container gets the
    traffic first and then the name.
    """
    running = [item for item in await ours(engine, recipe) if item.running]
    running.sort(key=lambda item: (item.name != recipe.name, item.name))
    for item in running:
        found = await engine.container(item.id)
        if found is None or not fits(recipe, found, behind_front=behind_front):
            continue
        if found.name == recipe.name or (await ready.answer(recipe, policy, found)).ready:
            return _live(recipe, found)
    return None


async def stopped(engine: Engine, recipe: ContainerRecipe) -> Live | None:
    """The last good container, if it ended while no daemon looked.

    It has the name; or one that stepped aside is there too, kept because that one had not proven itself yet.
    """
    details = [await engine.container(item.id) for item in await ours(engine, recipe)]
    aside = [item for item in details if item and names.has_stepped_aside(recipe, item)]
    named = [item for item in details if item and item.name == recipe.name]
    last = max(aside or named, key=lambda item: item.changed, default=None)
    return _live(recipe, last) if last else None


def _live(recipe: ContainerRecipe, found: Container) -> Live:
    revision, digest = found.labels.get(labels.REVISION, ""), found.labels.get(labels.CONFIG, "")
    return Live(found.id, found.image, revision, digest, backends(recipe, found, revision), time.monotonic())


def fits(recipe: ContainerRecipe, found: Container, *, behind_front: bool) -> bool:
    """Whether a container is published as this strategy publishes: behind the front, or by itself."""
    if set(backends(recipe, found, "")) != set(recipe.ports):
        return False
    wanted = {port for bound in recipe.published.values() for _, port in bound if port}
    if not wanted:
        return True
    direct = bool(wanted & {port for bound in found.ports.values() for _, port in bound})
    return direct != behind_front
