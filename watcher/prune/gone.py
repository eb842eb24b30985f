"""Finds the projects of this user that are gone, and what they left on the engines.

Nothing counts as gone while it may come back: see `location`. What is in no registry, or was moved, is listed
and has to be named by the user.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from watcher.builder import EngineConnection, connect_engine
from watcher.errors import ConfigError, WatcherError
from watcher.prune.disk import free_space
from watcher.prune.engine_visits import EngineVisits, VisitedEngine, visit_engines
from watcher.prune.gone_caches import GoneCaches
from watcher.prune.left_project import Choice, EngineLeftovers, LeftProject
from watcher.prune.location import FileSystem, FolderStatus, Location, Presence, find_folder
from watcher.prune.model import Cause, Disk, Verdict
from watcher.prune.registry import ProjectRecord, Registry, RegistryEntry
from watcher.system import lock
from watcher.system.blocking_call import in_thread

_LOOK_SECONDS = 5.0  # for a folder whose file system may not answer
_CHOICES = {
    Presence.GONE: Choice.OFFERED,
    Presence.PARENT_GONE: Choice.BY_NAME,
    Presence.MOVED: Choice.BY_NAME,
}


class GoneProjects:
    """Looks for what projects left on `own`, the user's engine, and on the engines they were watched on."""

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

    async def find(self, named: Collection[str] = ()) -> list[LeftProject]:
        """Every project that is gone, may be, or is in no registry, and those that are `named`.

        Raises EngineUnavailable when the user's engine does not answer; of other engines that is said.
        """
        entries = await asyncio.to_thread(self.registry.entries)
        shown, known = await self._not_here(entries, named), {entry.id for entry in entries}
        records = [left.record for left in shown if left.record]
        async with visit_engines(self.own, records, self.open_engine) as visits:
            others = visits.project_ids() - known
            shown += [LeftProject(project, "", Choice.BY_NAME, "") for project in sorted(others)]
            shown += [
                LeftProject(project, "", Choice.REFUSED, "nothing is known of a project with this id")
                for project in sorted({*named} - known - others)
            ]
            found = []
            for left in shown:
                judged = await self.judge_unregistered(left, visits) if left.record is None else left
                found.append(await self._collect_leftovers(judged, visits))
        return [left for left in found if left.id in known or left.id in named or left.is_certain]

    async def find_deleted(self) -> list[LeftProject]:
        """The registered projects whose folder was deleted; no engine is asked."""
        entries = await asyncio.to_thread(self.registry.entries)
        return [left for left in await self._not_here(entries, ()) if left.choice is Choice.OFFERED]

    async def _not_here(
        self, entries: Collection[RegistryEntry], named: Collection[str]
    ) -> list[LeftProject]:
        shown = []
        for entry in entries:
            if entry.record is None:
                shown.append(LeftProject(entry.id, "", Choice.BY_NAME, entry.problem))
                continue
            found = await self.presence(entry.record, entries)
            if found.presence is not Presence.HERE or entry.id in named:
                choice = _CHOICES.get(found.presence, Choice.REFUSED)
                path, seen = entry.record.location.path, entry.record.last_seen
                shown.append(LeftProject(entry.id, path, choice, found.why, seen, record=entry.record))
        return shown

    async def presence(self, record: ProjectRecord, entries: Iterable[RegistryEntry] = ()) -> FolderStatus:
        """What became of a registered project's folder; `entries` may tell where it was moved."""
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
        """A project without a record: what the labels of its containers say counts."""
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
                refused = "its folder is there" if there else ""
            except (OSError, ValueError, ConfigError):
                refused = "its folder cannot be looked at"
        if refused:
            return replace(left, path=path, choice=Choice.REFUSED, why=refused)
        why = left.why or "in no registry of this user: another user's or machine's, or from before"
        return replace(left, path=path, why=why)

    async def _collect_leftovers(self, left: LeftProject, visits: EngineVisits) -> LeftProject:
        """The project with what it left on each engine."""
        engines = []
        for each in visits.engines:
            steps: tuple[Verdict, ...] = ()
            problem = ""
            if left.choice is not Choice.REFUSED:
                steps, problem = await self.process_caches(left, each)
            engines.append(EngineLeftovers(each.info.endpoint, (*each.judge(left), *steps), problem))
        engines += [
            EngineLeftovers(use.endpoint, problem=visits.problems[use])
            for use in visits.unreachable_engines(left.record)
        ]
        return replace(left, engines=tuple(each for each in engines if each.verdicts or each.problem))

    async def process_caches(
        self, left: LeftProject, on: VisitedEngine, *, remove: bool = False
    ) -> tuple[tuple[Verdict, ...], str]:
        """What its builds left at the BuildKits of an engine, and why not all of it is known."""
        found: list[Verdict] = []
        problems: list[str] = []
        disk = free_space(on.info)
        low = isinstance(disk, Disk) and disk.is_low()
        for link, cache in on.open_buildkits(left.record):
            caches = GoneCaches(link, left.id, self.registry.home / left.id, cache)
            try:
                steps = await (caches.remove(low=low) if remove else caches.judge(low=low))
                # What cannot be traced to one project is not reported here.
                found += [verdict for verdict in steps if verdict.why.cause is not Cause.UNPROVEN]
            except WatcherError as error:
                problems.append(str(error))
            finally:
                if link is not on.built_in:
                    await link.close()
        return tuple(found), "; ".join(problems)


def _moved_to(record: ProjectRecord, entries: Iterable[RegistryEntry]) -> str:
    """The path of another registered project that is the very same folder; empty when there is none."""
    for entry in entries:
        other = entry.record
        if other and other.id != record.id and other.location.folder.is_same(record.location.folder):
            with suppress(OSError, ValueError):
                if Path(other.location.path).is_dir():
                    return other.location.path
    return ""
