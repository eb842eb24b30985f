"""Creating the containers of a service, on a prepared network if one exists."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from watcher import labels
from watcher.deploy import names
from watcher.deploy.model import ContainerRecipe, Published
from watcher.deploy.owned import OwnContainers
from watcher.deploy.pause_container import PauseContainers
from watcher.deploy.retirement import Retirement
from watcher.engine import Engine, EngineError
from watcher.errors import Failure, UserError


def _behind_front(recipe: ContainerRecipe) -> Published:
    """Return where a container behind the front is published: nowhere, if it is reached over its network."""
    return {} if recipe.network else dict.fromkeys(recipe.ports, (("127.0.0.1", 0),))


class ContainerFactory:
    """Creates containers that do not run yet."""

    def __init__(self, engine: Engine, own: OwnContainers, retirement: Retirement) -> None:
        self._engine, self._own, self._retirement = engine, own, retirement
        self.pause_containers = PauseContainers(engine, own)

    def prepare_pause_container(self, recipe: ContainerRecipe, image: str, *, named: bool) -> None:
        """Begin to make the network of the next container behind the front ready."""
        work = self.pause_containers.make(recipe, image, _behind_front(recipe), named=named)
        self._retirement.spawn(work)

    async def create(
        self,
        recipe: ContainerRecipe,
        revision: str,
        image: str,
        *,
        mounted: str,
        behind_front: bool,
        named: bool,
        needed: Collection[str],
    ) -> str:
        """Return the id of a new container. `needed` are ids that keep their container whatever its name is.

        `named`: other services find it by the names of the service.
        `mounted` is the digest over the sources that it sees (`source_mounts.py`). Raises UserError
        with the engine's reason, or EngineUnavailable; then nothing is left behind.
        """
        extra = labels.app_labels(recipe.project, recipe.service, revision) | {labels.CONFIG: recipe.digest}
        if mounted:
            extra[labels.MOUNTED] = mounted
        publish = _behind_front(recipe) if behind_front else recipe.published
        name, container = names.candidate_name(recipe, revision), ""
        try:
            await names.free_name(self._engine, self._own, recipe, name, needed)
            if behind_front:
                container = await self._create_joined(recipe, name, image, extra, named=named)
            if not container:
                body = recipe.config(image, publish, extra, named=named)
                container = await self._own.create(name, body, platform=recipe.platform)
                await recipe.created(container, named=named)
        except BaseException as error:
            if container:
                await self._retirement.discard(container)
            if isinstance(error, EngineError):
                failure = Failure("container", f"the container {name} cannot be created: {error}")
                raise UserError(failure) from error
            raise
        return container

    async def _create_joined(
        self, recipe: ContainerRecipe, name: str, image: str, extra: Mapping[str, str], *, named: bool
    ) -> str:
        """A container that joins the network made ready beforehand; empty when there is none to join."""
        pause_container = await self.pause_containers.take(recipe, named=named)
        if not pause_container:
            return ""
        container = ""
        try:
            body = recipe.config(image, {}, extra, joins=pause_container)
            container = await self._own.create(name, body, platform=recipe.platform, joins=pause_container)
            await recipe.created(container)
        except BaseException as error:
            for made in filter(None, (container, pause_container)):
                await self._retirement.discard(made)
            if isinstance(error, EngineError):
                return ""
            raise
        return container
