"""Find this user's projects whose folder was deleted, and what they left on the engines.

A project that can come back does not count as gone: see `location`. Projects that moved or that are in no
registry are listed, but the user must name them to remove their objects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import filterfalse
from pathlib import Path

from watcher.builder import EngineConnection, connect_engine
from watcher.errors import ConfigError, WatcherError
from watcher.prune.cache_reading import SharedReadings
from watcher.prune.disk import free_space
from watcher.prune.engine_visits import EngineVisits, VisitedEngine, visit_engines
from watcher.prune.gone_caches import GoneCaches
from watcher.prune.left_project import Choice, EngineLeftovers, LeftProject, is_pattern
from watcher.prune.location import FileSystem, FolderStatus, Location, Presence, find_folder
from watcher.prune.model import Cause, Disk, Verdict
from watcher.prune.registry import ProjectRecord, Registry, RegistryEntry
from watcher.system import lock
from watcher.system.blocking_call import in_thread

_LOOK_SECONDS = 5.0  # timeout for a file system that does not respond
_NO_MATCH = "no project in your registry that is gone, or possibly gone, has such an id"
_CHOICES = {
    Presence.GONE: Choice.OFFERED,
    Presence.PARENT_GONE: Choice.BY_NAME,
    Presence.MOVED: Choice.BY_NAME,
}


class GoneProjects:
    """Finds what projects left on `own`, the user's engine, and on the engines where they were watched."""

    def __init__(
        self,
        own: EngineConnection,
        registry: Registry,
        *,
        system: FileSystem | None = None,
        open_engine: Callable[[str], Awaitable[EngineConnection]] = connect_engine,
        running: Callable[[str], object | None] = lock.find_running,
    ) -> None:
        self.own, self.registry, self.open_engine = own, registry, open_engine
        self._system, self._running = system or FileSystem(), running

    async def find_projects(self, named: Collection[str] = ()) -> list[LeftProject]:
        """Return every project that is gone, possibly gone or unregistered, and those in `named`.

        Raises EngineUnavailable if the user's engine does not respond; for other engines a problem is
        reported. A pattern in `named` that selects none of them becomes a refused project.
        """
        readings = SharedReadings()
        patterns, named = [each for each in named if is_pattern(each)], [*filterfalse(is_pattern, named)]
        entries = await asyncio.to_thread(self.registry.entries)
        shown, known = await self._not_here(entries, named), {entry.id for entry in entries}
        records = [left.record for left in shown if left.record]
        async with visit_engines(self.own, records, self.open_engine) as visits:
            others = visits.project_ids() - known
            shown += [LeftProject(project, "", Choice.BY_NAME, "") for project in sorted(others)]
            shown += [
                LeftProject(project, "", Choice.REFUSED, "no project with this id is known")
                for project in sorted({*named} - known - others)
            ]
            found = []
            for left in shown:
                judged = await self.judge_unregistered(left, visits) if left.record is None else left
                found.append(await self._collect_leftovers(judged, visits, readings))
        found = [left for left in found if left.id in known or left.id in named or left.is_certain]
        unmatched = [each for each in patterns if not any(left.is_named([each]) for left in found)]
        return found + [LeftProject(each, "", Choice.REFUSED, _NO_MATCH) for each in unmatched]

    async def find_deleted(self, before: float) -> list[LeftProject]:
        """Return the registered projects whose folder was deleted, with what they left.

        Only those are examined that were last watched before that Unix time. Raises like `find_projects`.
        """
        entries = await asyncio.to_thread(self.registry.entries)
        shown = await self._not_here(entries, ())
        deleted = [left for left in shown if left.choice is Choice.OFFERED and left.last_seen <= before]
        if not deleted:
            return []
        readings, records = SharedReadings(), [left.record for left in deleted if left.record]
        async with visit_engines(self.own, records, self.open_engine) as visits:
            return [await self._collect_leftovers(left, visits, readings) for left in deleted]

    async def _not_here(
        self, entries: Collection[RegistryEntry], named: Collection[str]
    ) -> list[LeftProject]:
        shown = []
        for entry in entries:
            if entry.record is None:
                shown.append(LeftProject(entry.id, "", Choice.BY_NAME, entry.problem))
                continue
            found = await self.find_presence(entry.record, entries)
            if found.presence is not Presence.HERE or entry.id in named:
                choice = _CHOICES.get(found.presence, Choice.REFUSED)
                path, seen = entry.record.location.path, entry.record.last_seen
                shown.append(LeftProject(entry.id, path, choice, found.why, seen, record=entry.record))
        return shown

    async def find_presence(
        self, record: ProjectRecord, entries: Iterable[RegistryEntry] = ()
    ) -> FolderStatus:
        """Return what happened to a registered project's folder; `entries` can show where it moved."""
        found = await self._find_folder(record.location)
        if found.presence is not Presence.HERE and self._running(record.id) is not None:
            return FolderStatus(Presence.UNREACHABLE, "a watcher runs for it")
        if found.presence in (Presence.GONE, Presence.PARENT_GONE) and (other := _moved_to(record, entries)):
            return FolderStatus(Presence.MOVED, f"it was moved, it seems: {other}")
        return found

    async def _find_folder(self, location: Location) -> FolderStatus:
        look = partial(find_folder, location, self._system)
        try:
            return await in_thread(look, location.path, patience=_LOOK_SECONDS)
        except ConfigError:
            return FolderStatus(Presence.UNREACHABLE, "its file system does not answer")

    async def judge_unregistered(self, left: LeftProject, visits: EngineVisits) -> LeftProject:
        """Judge a project without a record by the labels of its containers."""
        if left.choice is Choice.REFUSED:
            return left
        path = visits.folder_of(left.id)
        refused = ""
        if self._running(left.id) is not None:
            refused = "a watcher runs for it"
        elif path:
            try:
                look = partial(self._system.mode, Path(path))
                there = await in_thread(look, path, patience=_LOOK_SECONDS) is not None
                refused = "its folder exists" if there else ""
            except (OSError, ValueError, ConfigError):
                refused = "its folder cannot be read"
        if refused:
            return replace(left, path=path, choice=Choice.REFUSED, why=refused)
        why = (
            left.why
            or "not in the registry of this user: from another user, another machine or an earlier version"
        )
        return replace(left, path=path, why=why)

    async def _collect_leftovers(
        self, left: LeftProject, visits: EngineVisits, readings: SharedReadings
    ) -> LeftProject:
        """Return the project with what it left on each engine."""
        engines = []
        for each in visits.engines:
            steps: tuple[Verdict, ...] = ()
            problem = ""
            if left.choice is not Choice.REFUSED:
                steps, problem = await self.process_caches(left, each, readings)
            engines.append(EngineLeftovers(each.info.endpoint, (*each.judge(left), *steps), problem))
        engines += [
            EngineLeftovers(use.endpoint, problem=visits.problems[use])
            for use in visits.unreachable_engines(left.record)
        ]
        return replace(left, engines=tuple(each for each in engines if each.verdicts or each.problem))

    async def process_caches(
        self, left: LeftProject, on: VisitedEngine, readings: SharedReadings | None = None
    ) -> tuple[tuple[Verdict, ...], str]:
        """Judge what builds left at an engine's BuildKits, or remove it; return verdicts and problems.

        With `readings` it is a dry run by these records.
        """
        found: list[Verdict] = []
        problems: list[str] = []
        disk = free_space(on.info)
        low = isinstance(disk, Disk) and disk.is_low()
        for link, cache in on.open_buildkits(left.record):
            caches = GoneCaches(link, left.id, self.registry.home / left.id, cache)
            try:
                if readings is None:
                    steps = await caches.remove(low=low)
                else:
                    steps = await caches.judge(low=low, readings=readings)
                # Records without a known project are not reported here.
                found += [verdict for verdict in steps if verdict.why.cause is not Cause.UNPROVEN]
            except WatcherError as error:
                problems.append(str(error))
            finally:
                if link is not on.built_in:
                    await link.close()
        return tuple(found), "; ".join(problems)


def _moved_to(record: ProjectRecord, entries: Iterable[RegistryEntry]) -> str:
    """Return the path of another registered project with the same folder; empty if there is none."""
    for entry in entries:
        other = entry.record
        if other and other.id != record.id and other.location.folder.is_same(record.location.folder):
            with suppress(OSError, ValueError):
                if Path(other.location.path).is_dir():
                    return other.location.path
    return ""
