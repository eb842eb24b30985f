"""Connect to the engines on which projects were watched, and read what they hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from watcher import labels
from watcher.builder import (
    BuildkitConnection,
    EngineConnection,
    build_cache_of,
    connect_buildkitd,
    connect_engine,
    full_reference,
)
from watcher.engine import Engine, EngineError, SystemInfo
from watcher.errors import WatcherError
from watcher.prune.left_project import LeftProject
from watcher.prune.model import ServiceScope, Verdict
from watcher.prune.registry import EngineUse, ProjectRecord
from watcher.prune.select_gone import Holdings, guess_scopes, select_gone

_REACH_SECONDS = 10.0  # timeout for an engine other than the user's own


@dataclass(frozen=True, slots=True)
class VisitedEngine:
    """A responding engine and what it holds."""

    engine: Engine
    built_in: BuildkitConnection
    info: SystemInfo
    holdings: Holdings

    def is_same(self, use: EngineUse) -> bool:
        """Return whether `use` is this engine, at any endpoint."""
        return use.identity == self.info.identity

    def with_holdings(self, holdings: Holdings) -> VisitedEngine:
        """Return the same engine with what it holds now."""
        return replace(self, holdings=holdings)

    def judge(self, left: LeftProject) -> tuple[Verdict, ...]:
        """Return verdicts for all objects that carry the id of a project, except its build cache."""
        scopes = _service_scopes(left.record) if left.record else guess_scopes(self.holdings, left.id)
        return select_gone(self.holdings, left.id, scopes)

    def dependencies_of(self, project: str) -> set[str]:
        """Return the ids of containers that were created for dependencies of the project."""
        found = self.holdings.containers
        return {item.id for item in found if item.labels.get(labels.DEPENDENCY) == project}

    def open_buildkits(self, record: ProjectRecord | None) -> list[tuple[BuildkitConnection, str]]:
        """Return the BuildKit connections of a project on this engine, each with the id of its build cache.

        The caller closes them, except for the built-in one.
        """
        uses = [use for use in record.engines if self.is_same(use)] if record else []
        if not uses:
            return [(self.built_in, build_cache_of(self.info.identity))]
        return [(self._open_buildkit(use), use.build_cache) for use in uses]

    def _open_buildkit(self, use: EngineUse) -> BuildkitConnection:
        if not use.buildkit:
            return self.built_in
        folder = Path(use.certificates) if use.certificates else None
        return connect_buildkitd(use.buildkit, self.engine, folder)


def _service_scopes(record: ProjectRecord) -> tuple[ServiceScope, ...]:
    """Return the names that the objects of its services had."""
    scopes = []
    for use in record.services:
        image = full_reference(use.image)
        builder = f"{image.rpartition(':')[0]}:builder"
        scopes.append(ServiceScope(record.id, use.service, image, builder, use.container))
    return tuple(scopes)


@dataclass(frozen=True, slots=True)
class EngineVisits:
    """The engines that respond, the user's own first; `problems` has the reason for each other one.

    `replaced` are those at whose address another engine answers.
    """

    engines: Sequence[VisitedEngine]
    problems: Mapping[EngineUse, str]
    replaced: Collection[EngineUse] = ()

    def project_ids(self) -> set[str]:
        """Return the ids of all projects in the labels of objects on these engines."""
        return {project for each in self.engines for project in each.holdings.project_ids()}

    def folder_of(self, project: str) -> str:
        """Return the folder in the labels of a project's containers; empty if there is none."""
        return next(filter(None, (each.holdings.folder_of(project) for each in self.engines)), "")

    def unreachable_engines(self, record: ProjectRecord | None) -> list[EngineUse]:
        """Return the engines on which a project was watched and that do not respond."""
        return [use for use in record.engines if use in self.problems] if record else []

    async def sum_layers(self) -> int | None:
        """Return the bytes of all image layers; None if an engine cannot compute them."""
        try:
            return sum([(await each.engine.usage()).layers for each in self.engines])
        except WatcherError:
            return None


@asynccontextmanager
async def visit_engines(
    own: EngineConnection,
    records: Iterable[ProjectRecord],
    open_engine: Callable[[str], Awaitable[EngineConnection]] = connect_engine,
) -> AsyncIterator[EngineVisits]:
    """Connect to the user's own engine and those of `records`. Raises EngineUnavailable for the own one."""
    async with AsyncExitStack() as stack:
        visited = [await _read_holdings(own)]
        problems: dict[EngineUse, str] = {}
        replaced: set[EngineUse] = set()
        for use in dict.fromkeys(use for record in records for use in record.engines):
            if any(each.is_same(use) for each in visited):
                continue
            try:
                async with asyncio.timeout(_REACH_SECONDS):
                    reached = await open_engine(use.endpoint)
                    stack.push_async_callback(reached.close)
                    found = await _read_holdings(reached)
            except TimeoutError:
                problems[use] = f"{use.endpoint} did not answer within {_REACH_SECONDS:g} s"
            except (WatcherError, OSError) as error:
                problems[use] = str(error)
            else:
                if found.is_same(use):
                    visited.append(found)
                else:
                    replaced.add(use)
                    problems[use] = (
                        "another engine answers there now; `watcher prune --gone ID` forgets this one"
                    )
        yield EngineVisits(visited, problems, replaced)


async def _read_holdings(reached: EngineConnection) -> VisitedEngine:
    engine = reached.engine
    try:
        alone = (await engine.usage()).alone
    except EngineError:  # needed only for sizes
        alone = {}
    holdings = Holdings(
        tuple(await engine.containers()), tuple(await engine.images()), tuple(await engine.networks()), alone
    )
    return VisitedEngine(engine, reached.built_in, await engine.info(), holdings)
