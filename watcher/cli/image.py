"""`watcher image`: explain the final image of a project, or any image, or the difference of two."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from watcher import labels
from watcher.daemon.config_reload import compose_project
from watcher.daemon.engine_access import open_engine
from watcher.daemon.recipe import recipe_of
from watcher.engine import Engine, Unreadable
from watcher.errors import ConfigError, UsageError, WatcherError
from watcher.image.budget import describe_budgets
from watcher.image.compare import ImageComparison, compare_images
from watcher.image.model import ImageContent
from watcher.image.read import ImageReader
from watcher.image.summary import ImageSummary
from watcher.settings import ImageSettings, Settings
from watcher.system.blocking_call import in_thread

_SHORTEST = 4  # digits that name a revision


async def explain_images(
    settings: Settings, names: Sequence[str]
) -> list[tuple[ImageContent, tuple[str, ...]]]:
    """Explain the named images, or the newest final image of each managed service, with its budgets.

    Raises WatcherError.
    """
    async with open_engine(settings) as access:
        reader = ImageReader(access.engine)
        limits = dict.fromkeys(names, settings.image) if names else await _project_images(settings)
        found = []
        for ref, limit in limits.items():
            content = await _explain(access.engine, reader, settings, ref)
            budgets = describe_budgets(ImageSummary.of(content), limit.max_size, limit.components)
            found.append((content, tuple(budgets)))
        return found


async def compare_named(settings: Settings, names: Sequence[str]) -> ImageComparison:
    """Compare two images: revisions of this project, or references. Raises WatcherError."""
    if len(names) != 2:
        raise UsageError("--diff needs two revisions or images: `watcher image --diff REV1 REV2`")
    async with open_engine(settings) as access:
        reader = ImageReader(access.engine)
        found = [await _explain(access.engine, reader, settings, name) for name in names]
        return compare_images(*(ImageSummary.of(each) for each in found))


async def _project_images(settings: Settings) -> dict[str, ImageSettings]:
    """Return the image of each managed service, with its limits."""
    project = await in_thread(lambda: compose_project(settings), str(settings.project))
    project_id = labels.project_id(settings.root)
    own = ((spec, settings.for_service(spec.name)) for spec in project.managed_services)
    return {recipe_of(spec, each, project_id, "").image: each.image for spec, each in own}


async def _explain(engine: Engine, reader: ImageReader, settings: Settings, name: str) -> ImageContent:
    ref = await _find_revision(engine, settings, name) or name
    try:
        content = await reader.read(ref)
    except Unreadable as error:
        raise WatcherError(f"the image {name} cannot be read: {error}") from error
    if content is None:
        raise WatcherError(f"there is no image {name}; `watcher once` builds that of the tree")
    return content


async def _find_revision(engine: Engine, settings: Settings, name: str) -> str | None:
    """Return the image of a revision of this project; None if the name is not one."""
    digits = name.removeprefix("rev-")
    if len(digits) < _SHORTEST or set(digits) - set("0123456789abcdef"):
        return None
    project = f"{labels.PROJECT}={await asyncio.to_thread(lambda: labels.project_id(settings.root))}"
    images = await engine.images(labels=[project])
    wanted = f":rev-{digits[:12]}"
    found = {image.id for image in images if any(wanted in tag for tag in image.tags)}
    if settings.service is not None:
        found = {i.id for i in images if i.id in found and i.labels.get(labels.SERVICE) == settings.service}
    if len(found) > 1:
        raise ConfigError("revision", name, "is the start of several; give more digits, or --service")
    return next(iter(found), None)
