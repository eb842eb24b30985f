"""Images that BuildKit still makes for a build that was stopped: it finishes an export that it has begun.

`watcher down` stops the watcher, which stops its builds, and lists the images at once. An image that appears
after that would stay, without a name and without a watcher that removes it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import replace

from watcher import labels
from watcher.backoff import Backoff
from watcher.buildkit import ConnectError, RpcError
from watcher.engine import Engine, Image
from watcher.prune.engine_visits import VisitedEngine
from watcher.prune.left_project import LeftProject
from watcher.prune.marked_records import Marks
from watcher.prune.model import Cause, ObjectKind, Reason, Verdict
from watcher.prune.select_gone import Holdings

EXPORT_SECONDS = 5.0  # time for BuildKit to finish an export
_RETRY = Backoff(0.1, 1.0)
_IMAGES = frozenset({ObjectKind.FINAL, ObjectKind.BUILDER, ObjectKind.TAG})
_STOPPED_BUILD = Reason(Cause.PROJECT_GONE, "a build that was stopped has made it")


async def find_late_images(
    visited: VisitedEngine,
    left: LeftProject,
    *,
    seconds: float = EXPORT_SECONDS,
    retry: Backoff = _RETRY,
) -> tuple[Verdict, ...]:
    """Return verdicts for images of the project that were made since `visited`, once its builds have ended.

    A build has ended when BuildKit uses none of its compile steps; it has `seconds` for that. An image
    without a name is the project's if it appeared while BuildKit used such a step.
    """
    until, built = time.monotonic() + seconds, False
    for tries in itertools.count():
        if not await _is_building(visited, left.id):
            break
        built = True
        if time.monotonic() >= until:
            break
        await asyncio.sleep(retry.pause(tries))
    before = {image.id for image in visited.holdings.images}
    now = await _read_images(visited.engine)
    unnamed = {image.id for image in now.images if built and _is_unnamed_result(image)}
    return tuple(
        verdict if verdict.id not in unnamed else replace(verdict, remove=True, why=_STOPPED_BUILD)
        for verdict in visited.with_holdings(now).judge(left)
        if verdict.kind in _IMAGES and verdict.id not in before
    )


def _is_unnamed_result(image: Image) -> bool:
    """Return whether a build, not a commit of a container, made the image, and nothing has named it."""
    return not (image.tags or image.digests or image.parent or labels.REVISION in image.labels)


async def _is_building(visited: VisitedEngine, project: str) -> bool:
    """Return whether the engine's BuildKit uses a compile step of the project."""
    marks = Marks(project)
    try:
        records = await (await visited.built_in.client()).disk_usage()
    except (ConnectError, RpcError):
        return False  # what it holds is not known, so nothing is waited for
    return any(record.in_use and record.kind == "regular" and marks.is_own(record) for record in records)


async def _read_images(engine: Engine) -> Holdings:
    """Read images, and the containers that decide about them."""
    return Holdings(tuple(await engine.containers()), tuple(await engine.images()), (), {})
