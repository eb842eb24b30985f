"""Find out why a build cache record of a project that builds nothing any more stays: a pure decision."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from enum import Enum

from watcher.buildkit import UsageInfo
from watcher.prune.model import Cause, Reason


class Obstacle(Enum):
    """The reason for which BuildKit keeps a record."""

    GONE = Reason(Cause.GONE, "already removed")
    OTHERS = Reason(Cause.FOREIGN, "a step of another build is built on it")
    IMAGE = Reason(Cause.NEEDED, "an image has it; it is removed together with that image")
    RELEASE = Reason(Cause.IN_USE, "a build that is running uses it; it can be removed when that has ended")


def find_obstacles(
    names: Iterable[str], records: Iterable[UsageInfo], own: Collection[str]
) -> dict[str, Obstacle]:
    """Return the obstacle of each of these records; `own` are the ids of all records of the project.

    A record cannot be removed before those that are built on it, so what keeps one of them keeps it too.
    `RELEASE` passes by itself: BuildKit releases a record some time after the last step or removal.
    """
    there = {record.id: record for record in records}
    children: dict[str, list[UsageInfo]] = defaultdict(list)
    for record in there.values():
        for parent in record.parents:
            children[parent].append(record)
    return {name: _find_obstacle(name, there, children, own) for name in names}


def _find_obstacle(
    name: str,
    there: dict[str, UsageInfo],
    children: dict[str, list[UsageInfo]],
    own: Collection[str],
) -> Obstacle:
    if name not in there:
        return Obstacle.GONE
    above, waiting = {name}, [name]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child.id not in above:
                above.add(child.id)
                waiting.append(child.id)
    if not above.issubset(own):
        return Obstacle.OTHERS
    return Obstacle.IMAGE if any(there[each].shared for each in above) else Obstacle.RELEASE
