"""A project that is gone, or may be, and what it left: values only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from watcher.prune.model import ObjectKind, Verdict
from watcher.prune.registry import ProjectRecord


class Choice(StrEnum):
    """What it takes to remove what a project left."""

    OFFERED = "offered"  # its folder was deleted
    BY_NAME = "by-name"  # not certain: the user has to name it
    REFUSED = "refused"  # it is there, or may come back


@dataclass(frozen=True, slots=True)
class EngineLeftovers:
    """What a project left on one engine. `problem` says what could not be looked at, or not removed."""

    endpoint: str
    verdicts: tuple[Verdict, ...] = ()
    problem: str = ""

    @property
    def to_remove(self) -> tuple[Verdict, ...]:
        """What goes."""
        return tuple(verdict for verdict in self.verdicts if verdict.remove)


@dataclass(frozen=True, slots=True)
class LeftProject:
    """A project and what it left. `path` is empty where nothing tells it; `last_seen` is 0 then too."""

    id: str
    path: str
    choice: Choice
    why: str
    last_seen: float = 0.0
    engines: tuple[EngineLeftovers, ...] = ()
    record: ProjectRecord | None = None

    @property
    def to_remove(self) -> tuple[Verdict, ...]:
        """All that goes, on every engine."""
        return tuple(verdict for each in self.engines for verdict in each.to_remove)

    @property
    def is_certain(self) -> bool:
        """Whether anything of it is known to be there: of cache mounts nothing tells that."""
        return any(verdict.kind is not ObjectKind.GO_CACHE for verdict in self.to_remove)

    @property
    def size(self) -> int:
        """About the bytes that this gives back."""
        return sum(verdict.size for verdict in self.to_remove)


@dataclass
class Removed:
    """What was removed so far: true also when it was interrupted. `freed` is None if not measured."""

    projects: list[LeftProject] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    freed: int | None = None

    @property
    def verdicts(self) -> list[Verdict]:
        """What is gone now."""
        return [verdict for left in self.projects for verdict in left.to_remove]

    def add(self, on: EngineLeftovers) -> None:
        """What the last project left on one more engine."""
        self.projects[-1] = replace(self.projects[-1], engines=(*self.projects[-1].engines, on))

    def replace_last(self, on: EngineLeftovers) -> None:
        """What the last project left on the last engine, as it is now."""
        self.projects[-1] = replace(self.projects[-1], engines=(*self.projects[-1].engines[:-1], on))
