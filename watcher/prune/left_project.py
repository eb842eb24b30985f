"""Define the values of a project whose folder is gone, or possibly gone, and what it left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from watcher.dockerignore.gopath import BadPattern, Glob
from watcher.prune.model import ObjectKind, Verdict
from watcher.prune.registry import ProjectRecord


class Choice(StrEnum):
    """How the objects of a project can be removed."""

    OFFERED = "offered"  # its folder was deleted
    BY_NAME = "by-name"  # uncertain: the user must name it
    REFUSED = "refused"  # it exists or can come back


@dataclass(frozen=True, slots=True)
class EngineLeftovers:
    """What a project left on one engine. `problem` is why something could not be read or removed."""

    endpoint: str
    verdicts: tuple[Verdict, ...] = ()
    problem: str = ""

    @property
    def to_remove(self) -> tuple[Verdict, ...]:
        """Return the verdicts that remove an object."""
        return tuple(verdict for verdict in self.verdicts if verdict.remove)


@dataclass(frozen=True, slots=True)
class LeftProject:
    """A project and what it left. If `path` is unknown it is empty, and `last_seen` is 0."""

    id: str
    path: str
    choice: Choice
    why: str
    last_seen: float = 0.0
    engines: tuple[EngineLeftovers, ...] = ()
    record: ProjectRecord | None = None

    @property
    def to_remove(self) -> tuple[Verdict, ...]:
        """Return the verdicts that remove an object, on every engine."""
        return tuple(verdict for each in self.engines for verdict in each.to_remove)

    @property
    def is_certain(self) -> bool:
        """Return whether any object is known to exist: the engine does not report that for cache mounts."""
        return any(verdict.kind is not ObjectKind.GO_CACHE for verdict in self.to_remove)

    @property
    def size(self) -> int:
        """Return about how many bytes the removal frees."""
        return sum(verdict.size for verdict in self.to_remove)

    def is_named(self, names: Iterable[str]) -> bool:
        """Return whether one of the names is its id, or a pattern for it.

        A pattern selects only projects of this user's registry: others can be another user's.
        """
        return any(
            self.record is not None and _matches(name, self.id) if is_pattern(name) else self.id == name
            for name in names
        )


def _matches(pattern: str, name: str) -> bool:
    try:
        return Glob(pattern).matches(name)
    except BadPattern:
        return False  # it selects nothing, which is said


def is_pattern(name: str) -> bool:
    """Return whether a name has the wildcards of a shell; an id has none."""
    return any(char in name for char in "*?[")


@dataclass
class Removed:
    """What was removed so far: true also when it was interrupted. `freed` is None if not measured."""

    projects: list[LeftProject] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    freed: int | None = None

    @property
    def verdicts(self) -> list[Verdict]:
        """Return what is gone now."""
        return [verdict for left in self.projects for verdict in left.to_remove]

    def add(self, on: EngineLeftovers) -> None:
        """What the last project left on one more engine."""
        self.projects[-1] = replace(self.projects[-1], engines=(*self.projects[-1].engines, on))

    def replace_last(self, on: EngineLeftovers) -> None:
        """What the last project left on the last engine, as it is now."""
        self.projects[-1] = replace(self.projects[-1], engines=(*self.projects[-1].engines[:-1], on))
