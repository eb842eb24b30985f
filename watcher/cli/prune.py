"""`watcher prune`: prune a project once and measure the engine's disk. A daemon can be running."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from watcher import labels
from watcher.builder import BuildJournal, open_journal
from watcher.builder.dockerfile_variants import DockerfileVariants
from watcher.cli import remote
from watcher.daemon.compose_project import compose_project
from watcher.daemon.engine_access import open_engine
from watcher.daemon.recipe import recipe_of
from watcher.daemon.service_config import tree_of
from watcher.engine import Engine, EngineError
from watcher.errors import EngineUnavailable, WatcherError
from watcher.observers.events import Fanout
from watcher.prune import (
    CacheMount,
    CacheNames,
    Cause,
    Disk,
    DiskInventory,
    Marks,
    Needed,
    NotMeasured,
    ObjectKind,
    PrunePolicy,
    Pruner,
    PruneReport,
    RecordPruner,
    ServiceScope,
    UsageRow,
    free_space,
    summarize_disk_usage,
)
from watcher.prune.build_cache import TrimEstimate, TrimResult, build_cache
from watcher.prune.go_cache import GoCaches
from watcher.prune.gone_removal import remove_object
from watcher.prune.left_services import find_left_services, select_left_services
from watcher.prune.select_gone import Holdings
from watcher.settings import Settings
from watcher.system import lock
from watcher.system.blocking_call import in_thread

_PATIENCE = 5.0  # seconds to wait for a running daemon's answer


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What a prune did for each service, and the disk usage after it; None if it is not known.

    `emptied` are the emptied cache mounts with their former sizes. `trimmed` is an `Excess` after a dry run.
    """

    reports: dict[str, PruneReport]
    shares: tuple[UsageRow, ...] | None
    disk: Disk | NotMeasured
    emptied: tuple[CacheMount, ...] | NotMeasured = ()
    trimmed: TrimResult | TrimEstimate | None = None  # of the build cache, if the settings ask for it
    go_caches: tuple[CacheMount, ...] | NotMeasured = ()
    go_freed: int = 0  # bytes that a trim of Go's build cache freed
    problem: str = ""  # why earlier builds are not known


async def prune_once(settings: Settings, *, dry_run: bool, all_projects: bool, caches: bool) -> Cleaned:
    """Prune this project's services; with `caches` empty its Go caches too. Raises WatcherError."""
    project = await in_thread(lambda: compose_project(settings), str(settings.project))
    project_id = labels.project_id(settings.root)
    async with open_engine(settings) as access, _open_journal(project_id, access.build_cache) as journal:
        engine, connection, bases = access.engine, access.connection, access.bases
        reports: dict[str, PruneReport] = {}
        mounts: dict[str, CacheMount] = {}
        emptied: tuple[CacheMount, ...] | NotMeasured = ()
        unseen: NotMeasured | None = None
        trimmed_go = 0
        names = (*project.services, *project.others)
        cache_names = CacheNames(journal.folder)
        keep = {name: settings.for_service(name).prune.keep for name in names}
        for spec in project.managed_services:
            own = settings.for_service(spec.name)
            recipe = recipe_of(spec, own, project_id, (await engine.info()).platform)
            records = RecordPruner(
                connection,
                journal,
                Marks(project_id, unclaimed=all_projects),
                keep=keep,
                most=settings.prune.steps_max,
                daemon_runs=lambda: lock.find_running(project_id) is not None,
            )
            policy = PrunePolicy.of(
                own.prune, builder_image=own.build.builder_image, all_projects=all_projects
            )
            scope = ServiceScope.of(recipe, container=spec.default_name)
            pruner = Pruner(
                engine,
                Fanout(),
                scope=scope,
                policy=policy,
                records=records,
                needed=lambda: _ask_daemon(settings),
            )
            reports[spec.name] = await pruner.prune(dry_run=dry_run)
            variants = DockerfileVariants(spec.name, bases=bases, connection=connection, observer=Fanout())
            go = GoCaches(recipe, variants, connection, journal, cache_names, services=names)
            snapshot = await asyncio.to_thread(tree_of(spec, recipe, own).scan)
            if caches and not dry_run:
                emptied = await go.measure(snapshot, empty=True)
            found = await go.trim(snapshot, 0 if dry_run else own.prune.go_cache_max)
            if isinstance(found, NotMeasured):
                unseen = found
            else:
                trimmed_go += found.freed
                mounts |= {mount.id: mount for mount in found.mounts}
        needed = await asyncio.to_thread(_ask_daemon, settings)
        reports |= await prune_left_services(engine, project_id, names, needed, dry_run=dry_run)
        cache = build_cache(settings, connection, Fanout(), project.name)
        trimmed = await (cache.measure() if dry_run else cache.trim()) if cache else None
        disk = free_space(await engine.info())
        go_caches = unseen or tuple(mounts.values())
        whole = await _take_inventory(engine, go_caches, reports.values(), disk)
        shares = summarize_disk_usage(whole, project_id, project.name) if whole else None
        return Cleaned(reports, shares, disk, emptied, trimmed, go_caches, trimmed_go, journal.problem)


async def _take_inventory(
    engine: Engine,
    mounts: tuple[CacheMount, ...] | NotMeasured,
    reports: Collection[PruneReport],
    disk: Disk | NotMeasured,
) -> DiskInventory | None:
    """Return what is on the engine's disk after a prune; None if the engine cannot tell."""
    try:
        return DiskInventory(
            usage=await engine.usage(whole=True),
            images=await engine.images(),
            containers=await engine.containers(),
            mounts=mounts,
            steps=sum(
                verdict.size
                for report in reports
                for verdict in report.verdicts
                if verdict.kind is ObjectKind.STEP
                and not verdict.remove
                # What an image has is counted there.
                and verdict.why.cause not in (Cause.IN_USE, Cause.UNPROVEN)
            ),
            disk=disk,
        )
    except EngineError:
        return None


async def prune_left_services(
    engine: Engine, project: str, present: Collection[str], needed: Needed, *, dry_run: bool
) -> dict[str, PruneReport]:
    """Remove the containers and images of services that are no longer in the compose file.

    Return a report for each of these services. Raises EngineUnavailable.
    """
    holdings = Holdings(await engine.containers(), await engine.images())
    left = find_left_services(holdings, project, present)
    reports = {}
    for name in sorted(left):
        verdicts = select_left_services(holdings, project, {*present, *left} - {name}, [needed])
        done = [each if dry_run else await remove_object(engine, each) for each in verdicts]
        reports[name] = PruneReport(verdicts=tuple(done), dry_run=dry_run)
    return reports


@asynccontextmanager
async def _open_journal(project_id: str, cache: str) -> AsyncGenerator[BuildJournal]:
    journal = open_journal(project_id, cache=cache)
    try:
        yield journal
    finally:
        await asyncio.to_thread(journal.close)


def _ask_daemon(settings: Settings) -> Needed:
    """Ask the project's running daemon which images it needs: it can be about to deploy an old one."""
    running = lock.find_running(labels.project_id(settings.root))
    if running is None or not running.url:
        return Needed()
    try:
        api = remote.connect(settings, timeout=_PATIENCE)
        document: dict[str, Any] = json.loads(api.get("/api/status"))
    except (WatcherError, ValueError) as error:
        raise EngineUnavailable(
            f"the running daemon did not answer which images it needs: {error}"
        ) from error
    parts = ("desired", "wanted", "building", "deploying", "live")  # "wanted": an older daemon
    named = (service.get(part) for service in document["services"] for part in parts)
    return Needed(revisions=frozenset(part["revision"] for part in named if part and part["revision"]))
