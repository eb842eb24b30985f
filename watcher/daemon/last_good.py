"""Find the image that was live last, for a tree that cannot be built when the daemon starts."""

from __future__ import annotations

from watcher import labels
from watcher.daemon.service_config import ServiceConfig
from watcher.engine import Engine, EngineError
from watcher.errors import EngineUnavailable
from watcher.prune import ServiceScope


async def find_last_good(engine: Engine, config: ServiceConfig) -> tuple[str, str] | None:
    """Return the revision (12 hex digits) and the id of the image that was live last; None if it is unknown.

    That is the image with the compose file's reference, which follows what is live. `docker compose build`
    moves the reference too, to an image that no revision names. A job is no service that could go on.
    """
    recipe, container = config.recipe, config.container
    if container.completes:
        return None
    try:
        found = await engine.image(recipe.image)
    except (EngineError, EngineUnavailable):
        return None
    if found is None:
        return None
    expected = labels.image_labels(recipe.project, recipe.labelled_service, labels.FINAL)
    if not expected.items() <= found.labels.items():
        return None
    scope = ServiceScope.of(recipe, container=container.name)
    revisions = sorted(filter(None, map(scope.revision_of, found.tags)))
    return (revisions[0], found.id) if revisions else None
