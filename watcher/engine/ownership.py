"""Prove which containers and images are the watcher's own. Pure; `labels.py` has the reasons."""

from __future__ import annotations

from collections.abc import Iterable

from watcher import labels
from watcher.engine import Container


def proven_containers(found: Iterable[Container], known: Iterable[str] = ()) -> list[Container]:
    """Return the listed containers that are proven to be the watcher's, or whose ids are in `known`.

    Of several with the same `CREATION` the first was created here; the others are copies with all of its
    labels. If the first is unknown, none is ours.
    """
    known = frozenset(known)
    claims = [
        item for item in found if item.id in known or labels.is_proven(item.labels, item.name, item.image)
    ]
    same: dict[str, list[Container]] = {}
    for item in claims:
        same.setdefault(item.labels.get(labels.CREATION, item.id), []).append(item)

    def is_first(item: Container) -> bool:
        others = same[item.labels.get(labels.CREATION, item.id)]
        return all(other is item or item.changed < other.changed for other in others)

    return [item for item in claims if item.id in known or is_first(item)]
