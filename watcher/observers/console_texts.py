"""The console's texts about pruning."""

from __future__ import annotations

from collections import Counter

from watcher.observers import humanize
from watcher.observers.events import BuildCachePruned, GoCacheTrimmed, Pruned

_NOUNS = {"final": "final image", "builder": "builder image", "step": "build step"}


_IMAGES = ("final", "builder")


def describe_pruned(event: Pruned | BuildCachePruned | GoCacheTrimmed) -> str:
    """Describe what was removed and how much that freed; empty if nothing was removed."""
    match event:
        case BuildCachePruned():
            records = humanize.count(event.records, "record")
            return f"pruned {records} of the build cache: {humanize.size(event.freed)} freed"
        case GoCacheTrimmed():
            left, freed = humanize.size(event.left), humanize.size(event.freed)
            return f"trimmed Go's build cache to {left}: {freed} freed"
    kinds = Counter(_NOUNS.get(item.kind, item.kind) for item in event.items if item.removed)
    if not kinds:
        return ""
    what = ", ".join(humanize.count(number, kind) for kind, number in sorted(kinds.items()))
    gain = f"{humanize.size(event.freed)} freed"
    if not event.freed and any(item.removed and item.size and item.kind in _IMAGES for item in event.items):
        gain = "other images still use their layers"
    return f"pruned {what}: {gain}"
