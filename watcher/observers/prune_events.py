"""Events of pruning: removed objects, and the disk usage of the project."""

from __future__ import annotations

from dataclasses import dataclass

from watcher.observers.event_base import Event


@dataclass(frozen=True, slots=True)
class PrunedItem:
    """One object that a prune has examined."""

    kind: str  # final | builder | container | tag | step
    id: str
    name: str
    size: int
    removed: bool
    reason: str
    cause: str = ""  # the reason in one word: superseded | untagged | live | in-use | young | …


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned(Event):
    """A prune ended; `freed` is bytes. Objects that stay are listed too, with the reason."""

    items: tuple[PrunedItem, ...]
    freed: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildCachePruned(Event):
    """Records of the engine's build cache were removed, as the settings ask; `freed` is in bytes."""

    records: int
    freed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoCacheTrimmed(Event):
    """Entries of this project's Go build cache that were unused for longest were removed; bytes."""

    freed: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskMeasured(Event):
    """Bytes that the project holds on the engine's disk, and bytes that all others hold there.

    `steps` are records of the build cache that no image holds too. The Go caches are None while they are not
    known. `steps_stay` is why superseded steps are not removed; empty where they are.
    """

    images: int
    steps: int
    go_cache: int | None
    module_cache: int | None
    others: int
    go_cache_max: int = 0  # 0: no bound
    steps_stay: str = ""
