"""`watcher image`: explain the final image of a project, or any image, or the difference of two.

It imports neither what builds nor what deploys: that would take longer than reading an image.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from watcher import labels
from watcher.engine import DockerEngine, Engine, Unreadable
from watcher.errors import ConfigError, UsageError, WatcherError
from watcher.image import report
from watcher.image.budget import describe_budgets
from watcher.image.compare import ImageComparison, compare_images
from watcher.image.model import ImageContent
from watcher.image.read import ImageReader
from watcher.image.summary import ImageSummary
from watcher.settings import ImageSettings, Settings
from watcher.system.blocking_call import in_thread

_SHORTEST = 4  # digits that name a revision
_MOST_INSPECTED = 20  # images of a service; `prune.keep` is 3


def print_images(
    settings: Settings, names: Sequence[str], *, diff: bool, markdown: bool, as_json: bool
) -> None:
    """Print the report of images, or the difference of two. Raises WatcherError."""
    gc.set_threshold(200_000)  # a binary is read into that many objects, and none of them is garbage
    # asyncio's own loop: with one connection to the engine, importing a faster one takes longer.
    if diff:
        comparison = asyncio.run(compare_named(settings, names))
        describe = report.comparison_markdown if markdown else report.describe_comparison
        print(json.dumps(comparison.as_json(), indent=2) if as_json else "\n".join(describe(comparison)))
        return
    found = asyncio.run(explain_images(settings, names))
    if as_json:
        print(json.dumps({"images": [report.image_as_json(*each) for each in found]}, indent=2))
        return
    describe_one = report.image_markdown if markdown else report.describe_image
    print("\n\n".join("\n".join(describe_one(*each)) for each in found))


async def explain_images(
    settings: Settings, names: Sequence[str]
) -> list[tuple[ImageContent, tuple[str, ...]]]:
    """Explain the named images, or the newest final image of each managed service, with its budgets.

    Raises WatcherError.
    """
    async with open_engine(settings) as engine:
        reader = ImageReader(engine)
        limits = dict.fromkeys(names, settings.image) if names else await _project_images(engine, settings)
        found = []
        for ref, limit in limits.items():
            content = await _explain(engine, reader, settings, ref)
            budgets = describe_budgets(ImageSummary.of(content), limit.max_size, limit.components)
            found.append((content, tuple(budgets)))
        return found


async def compare_named(settings: Settings, names: Sequence[str]) -> ImageComparison:
    """Compare two images: revisions of this project, or references. Raises WatcherError."""
    if len(names) != 2:
        raise UsageError("--diff needs two revisions or images: `watcher image --diff REV1 REV2`")
    async with open_engine(settings) as engine:
        reader = ImageReader(engine)
        found = [await _explain(engine, reader, settings, name) for name in names]
        return compare_images(*(ImageSummary.of(each) for each in found))


@asynccontextmanager
async def open_engine(settings: Settings) -> AsyncGenerator[Engine]:
    """Open the engine that the settings name, without its BuildKit. Raises EngineUnavailable."""
    engine = await DockerEngine.open(settings.engine)
    try:
        yield engine
    finally:
        await engine.close()


async def _project_images(engine: Engine, settings: Settings) -> dict[str, ImageSettings]:
    """Return the newest image of each managed service, with its limits."""
    from watcher.compose import with_tag  # noqa: PLC0415 - not for a named image
    from watcher.daemon.compose_project import compose_project  # noqa: PLC0415

    project = await in_thread(lambda: compose_project(settings), str(settings.project))
    return {
        await _find_newest(engine, settings, spec.name) or with_tag(spec.image): settings.for_service(
            spec.name
        ).image
        for spec in project.managed_services
        if spec.build is not None
    }


async def _find_newest(engine: Engine, settings: Settings, service: str) -> str | None:
    """Return the image of the service's newest build; None if there is none.

    The newest need not have the name of the service: it may be over its budget, or not become ready.
    """
    project = await asyncio.to_thread(lambda: labels.project_id(settings.root))
    marks = [f"{key}={value}" for key, value in labels.image_labels(project, service, labels.FINAL).items()]
    listed = sorted(await engine.images(labels=marks), key=lambda image: image.created)[-_MOST_INSPECTED:]
    found = [image for each in listed if (image := await engine.image(each.id))]
    # An image that exists already gets only a tag when its tree comes back.
    newest = max(found, key=lambda image: max(image.tagged, image.created), default=None)
    return newest.id if newest else None


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
