"""Select which Go build caches of a project to shrink, to stay within the limit of the settings.

The id of a cache mount holds everything that decides its content (`watcher.dockerfile.unseen`). Where C is
compiled, a save changes the id, and the mount with the former id is never used again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

UNUSED = 5 * 24 * 3600.0  # seconds after which Go removes unused entries
ROOM = 0.9  # a trim leaves this part of the limit, so the next build does not exceed it


@dataclass(frozen=True, slots=True)
class CacheMount:
    """A cache mount of this project: its target and its bytes on the disk.

    `modules`: it is the module cache. `last_named` is when a build last used its id (Unix seconds); None for
    a mount of the current Dockerfile of a service. `users` are other projects that use it too.
    """

    target: str
    size: int
    id: str = ""
    modules: bool = False
    last_named: float | None = None
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrimPlan:
    """Ids of the mounts to empty, bytes to remove from the others, and the bytes that are left."""

    empty: tuple[str, ...]
    excess: int
    left: int


def shorten_names(names: Sequence[str]) -> str:
    """Return the first names for a message."""
    return ", ".join(names[:3]) + (" and others" if names[3:] else "")


def plan_trim(mounts: Sequence[CacheMount], most: int, now: float) -> TrimPlan:
    """Plan how to trim the build caches to `most` bytes; 0 sets no limit.

    Former mounts that were unused for days are emptied first, then the other former build caches, oldest
    first, then entries of the current ones. A module cache that a Dockerfile mounts is not touched.
    """
    total = sum(mount.size for mount in mounts if not mount.modules)
    if not most:
        return TrimPlan((), 0, total)
    former = [(mount.last_named, mount) for mount in mounts if mount.last_named is not None]
    empty: list[str] = []
    for named, mount in sorted(former, key=lambda each: each[0]):
        if now - named > UNUSED or (total > most and not mount.modules):
            empty.append(mount.id)
            total -= 0 if mount.modules else mount.size
    excess = total - int(most * ROOM) if total > most else 0
    return TrimPlan(tuple(empty), excess, total - excess)
