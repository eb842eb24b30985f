"""Names of containers: the live one has the compose file's, a new one that and its revision."""

from __future__ import annotations

from collections.abc import Callable, Collection

from watcher import labels
from watcher.compose import VERSION_LABEL
from watcher.deploy.model import ContainerRecipe
from watcher.deploy.owned import OwnContainers
from watcher.engine import Container, Engine, EngineError
from watcher.errors import EngineUnavailable
from watcher.observers.events import short


def candidate_name(recipe: ContainerRecipe, revision: str) -> str:
    """Return the name of a container until it is live."""
    return f"{recipe.name}.{short(revision)}"


def _aside_prefix(recipe: ContainerRecipe) -> str:
    return f"{recipe.name}.old-"


def has_stepped_aside(recipe: ContainerRecipe, found: Container) -> bool:
    """Return whether it was live and made way for another."""
    return found.name.startswith(_aside_prefix(recipe))


def _describe_owner(recipe: ContainerRecipe, found: Container) -> str:
    other = found.labels.get(labels.PROJECT)
    if VERSION_LABEL in found.labels and labels.CREATION not in found.labels:  # a commit of ours has both
        beside = ", and other services may reach it instead of this one" if found.running else ""
        return (
            f"a container that docker compose created has that name{beside}; `docker rm -f {found.name}` "
            "removes it"
        )
    if other is None:
        return "a container that is not the watcher's has that name"
    if other == recipe.project or not labels.is_proven(found.labels, found.name, found.image):
        return "a container that the watcher did not create has that name"
    return (
        f"the container of another watched project has that name ({other}; is it a copy of this one? then "
        "give one of the two another container_name and image)"
    )


async def _step_aside(own: OwnContainers, recipe: ContainerRecipe, container: str) -> None:
    await own.rename(container, f"{_aside_prefix(recipe)}{container[:12]}")


async def free_name(
    engine: Engine, own: OwnContainers, recipe: ContainerRecipe, name: str, in_use: Collection[str]
) -> None:
    """Free the name of a candidate from our own containers; `create` reports one that is not ours.

    What a killed daemon left behind is removed, what is `in_use` (ids) gets another name.
    """
    found = await engine.container(name)
    if found is None or not await own.owns(found.id):
        return
    if found.id in in_use:
        await _step_aside(own, recipe, found.id)
    else:
        await own.remove(found.id)


async def take_name(
    engine: Engine, own: OwnContainers, recipe: ContainerRecipe, live: str, tell: Callable[[str], None]
) -> None:
    """Give `live` the compose file's name; one of ours that has it steps aside.

    A container under another name still serves: pass the reason to `tell` and raise nothing.
    """
    try:
        holder = await engine.container(recipe.name)
        if holder and holder.id == live:
            return
        if holder and not await own.owns(holder.id):
            raise EngineError(_describe_owner(recipe, holder))
        if holder:
            await _step_aside(own, recipe, holder.id)
        await own.rename(live, recipe.name)
    except (EngineError, EngineUnavailable) as error:
        tell(f"the live container could not be named {recipe.name}: {error}")
