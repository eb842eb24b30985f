"""Sum up the disk usage of the engine, and the part of one project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from watcher import labels
from watcher.dockerfile import is_shared_cache
from watcher.engine import Container, Image, Usage
from watcher.observers import humanize
from watcher.prune.go_cache_select import CacheMount
from watcher.prune.model import Cache, Disk, NotMeasured

COMPOSE_PROJECT = "com.docker.compose.project"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One kind of object on the engine's disk, in bytes. `ours` is None if the owner is unknown."""

    what: str
    size: int
    ours: int | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskInventory:
    """The objects on the engine. `mounts` are the project's cache mounts, or why they could not be measured.

    `steps` are the bytes of the build cache that are proven to be this project's.
    """

    usage: Usage
    images: Sequence[Image]
    containers: Sequence[Container]
    mounts: Sequence[CacheMount] | NotMeasured
    steps: int
    disk: Disk | NotMeasured


def summarize_disk_usage(found: DiskInventory, project: str, compose_project: str) -> tuple[UsageRow, ...]:
    """Return the usage by kind. `project` is the id of the project, `compose_project` its compose name."""
    usage = found.usage
    return (
        _image_usage(found, project),
        UsageRow(
            "written by containers",
            sum(usage.written.values()),
            sum(
                usage.written.get(item.id, 0)
                for item in found.containers
                if _belongs_to(item.labels, project)
            ),
            f"{humanize.count(len(found.containers), 'container')}, without their images",
        ),
        _volume_usage(usage, compose_project),
        *_cache_usage(usage, found.mounts, found.steps),
    )


def _belongs_to(found: Mapping[str, str], project: str) -> bool:
    return found.get(labels.PROJECT) == project


def sum_images(usage: Usage, images: Sequence[Image], project: str) -> int:
    """Return the bytes that only images of this project hold."""
    return sum(usage.alone.get(image.id, 0) for image in images if _belongs_to(image.labels, project))


def _image_usage(found: DiskInventory, project: str) -> UsageRow:
    own = [image for image in found.images if _belongs_to(image.labels, project)]
    alone = sum_images(found.usage, found.images, project)
    note = (
        f"{humanize.count(len(found.images), 'image')}, {len(own)} of this project: without layers of other "
        "images; each layer is counted once"
    )
    return UsageRow("images", found.usage.layers, alone, note)


def _volume_usage(usage: Usage, compose_project: str) -> UsageRow:
    idle = sum(volume.size for volume in usage.volumes if not volume.used)
    volumes = humanize.count(len(usage.volumes), "volume")
    note = f"{volumes}, {humanize.size(idle)} in unused ones; "
    own = sum(
        volume.size for volume in usage.volumes if volume.labels.get(COMPOSE_PROJECT) == compose_project
    )
    return UsageRow(
        "volumes", sum(volume.size for volume in usage.volumes), own, note + "never touched by the watcher"
    )


def _cache_usage(
    usage: Usage, mounts: Sequence[CacheMount] | NotMeasured, own: int
) -> tuple[UsageRow, UsageRow]:
    """Return the rows of build steps and cache mounts; the whole is at least the project's part.

    The engine keeps the size that a mount had after an earlier build, and a containerd store leaves out steps
    that it calls shared by mistake.
    """
    cache = Cache.of(usage.cache)
    steps = UsageRow(
        "build steps and contexts",
        max(cache.size - cache.mounts, own),
        own,
        "of all projects; this project's part is what its builds are proven to have made",
    )
    if isinstance(mounts, NotMeasured):
        return steps, UsageRow(
            "cache mounts", cache.mounts, None, f"the part of this project is unknown: {mounts.why}"
        )
    each = ", ".join(
        f"{mount.target} {humanize.size(mount.size)}{' (shared)' if is_shared_cache(mount.id) else ''}"
        for mount in mounts
    )
    empties = "`watcher prune --cache` empties what no other project uses"
    note = f"{each}; {empties}" if mounts else "none of this project"
    held = sum(mount.size for mount in mounts)
    return steps, UsageRow("cache mounts", max(cache.mounts, held), held, note)
