"""Choose which Go build caches of a project shrink to keep within the bound of the settings.

A cache mount's name holds all that decides its content (`watcher.dockerfile.unseen`). Where C is compiled, a
save gives it another name, and the mount with the former name is never used again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

UNUSED = 5 * 24 * 3600.0  # seconds after which Go itself removes what was not used
ROOM = 0.9  # of the bound that is filled again after a trim, so that the next build does not exceed it


@dataclass(frozen=True, slots=True)
class CacheMount:
    """A cache mount of this project: where it is mounted, and its bytes on the disk.

    `modules`: it is the module cache. `last_named` is when a build last named it (Unix seconds); None where
    the current Dockerfile does.
    """

    target: str
    size: int
    id: str = ""
    modules: bool = False
    last_named: float | None = None


@dataclass(frozen=True, slots=True)
class TrimPlan:
    """Ids of the mounts that are emptied, and bytes to take from the others; what would be left."""

    empty: tuple[str, ...]
    excess: int
    left: int


def plan_trim(mounts: Sequence[CacheMount], most: int, now: float) -> TrimPlan:
    """What has to go for the build caches to hold at most `most` bytes; 0 sets no bound.

    First former mounts that were unused for days, then the other former ones, the oldest first, then entries
    of the current mounts. The module cache is left alone.
    """
    builds = [mount for mount in mounts if not mount.modules]
    total = sum(mount.size for mount in builds)
    if not most:
        return TrimPlan((), 0, total)
    former = [(mount.last_named, mount) for mount in builds if mount.last_named is not None]
    empty: list[str] = []
    for named, mount in sorted(former, key=lambda each: each[0]):
        if total > most or now - named > UNUSED:
            empty.append(mount.id)
            total -= mount.size
    excess = total - int(most * ROOM) if total > most else 0
    return TrimPlan(tuple(empty), excess, total - excess)
