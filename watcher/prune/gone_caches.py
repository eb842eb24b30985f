"""What the builds of a project that is gone left at a BuildKit: records of the build cache, Go's caches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from watcher.builder import BuildEntry, BuildJournal, BuildkitConnection
from watcher.buildkit import (
    Client,
    ConnectError,
    MemorySource,
    Progress,
    RpcError,
    SolveFailed,
    SolveRequest,
    UsageInfo,
)
from watcher.dockerfile import cache_names
from watcher.errors import EngineUnavailable, WatcherError
from watcher.prune.cache_names import CacheNames
from watcher.prune.marked_records import Marks
from watcher.prune.model import Cause, ObjectKind, Reason, Verdict
from watcher.prune.record_pruner import RecordPruner

_MOUNTS = ("type==exec.cachemount",)
_RELEASE_SECONDS = 2.0  # within which BuildKit releases a dropped cache mount
_PAUSE = 0.05


class GoneCaches:
    """What one project left in one build cache; `folder` is the project's in the state folder.

    `cache` tells the build cache from others (`build_cache_of`).
    """

    def __init__(self, connection: BuildkitConnection, project: str, folder: Path, cache: str) -> None:
        self._connection, self._project, self._names = connection, project, CacheNames(folder)
        self._journal = BuildJournal(folder if folder.is_dir() else None, cache=cache)

    async def judge(self, *, low: bool) -> tuple[Verdict, ...]:
        """What becomes of the records and of Go's caches. `low`: the disk is short of room.

        Raises EngineUnavailable, or WatcherError for a journal that cannot be read.
        """
        entries = await self._read_entries()
        steps = map(_with_image, await self._record_pruner().prune(dry_run=True, low=low))
        return (*steps, *(self._mount_verdict(name) for name in self._find_mounts(entries)))

    async def remove(self, *, low: bool) -> tuple[Verdict, ...]:
        """Remove them, records first. Raises as `judge` does."""
        entries = await self._read_entries()
        names = self._find_mounts(entries)
        steps = await self._record_pruner().prune(low=low)
        try:
            freed = await _drop_mounts(await self._connection.client(), names)
        except (ConnectError, RpcError) as error:
            raise EngineUnavailable(f"Go's caches could not be dropped: {error}") from error
        mounts = [self._mount_verdict(name) for name in names]
        if mounts:  # BuildKit does not say which of its records has which name
            text = "its project is gone; the size is that of all of its Go caches together"
            mounts[0] = replace(
                self._mount_verdict(names[0]), size=freed, why=Reason(Cause.PROJECT_GONE, text)
            )
        return (*steps, *mounts)

    async def _read_entries(self) -> list[BuildEntry]:
        try:
            return await asyncio.to_thread(self._journal.entries)
        except OSError as error:
            raise WatcherError(f"the journal of its builds cannot be read: {error}") from error

    def _find_mounts(self, entries: Iterable[BuildEntry]) -> list[str]:
        """The ids of the cache mounts that builds named, and of those that most projects have."""
        own = cache_names(self._project)
        found = dict.fromkeys((*own, *(name for name in self._names.former(()) if name.startswith(own))))
        for entry in entries:
            for step in entry.steps:
                for piece in step.name.replace(",", " ").split():
                    name = piece.removeprefix("--mount=").removeprefix("id=")
                    if name.startswith(own) and "/" not in name:
                        found[name] = None
        return list(found)

    def _record_pruner(self) -> RecordPruner:
        return RecordPruner(self._connection, self._journal, Marks(self._project), keep=1, services=())

    @staticmethod
    def _mount_verdict(name: str) -> Verdict:
        why = Reason(
            Cause.PROJECT_GONE,
            "its project is gone; BuildKit does not say how large it is, nor whether it is there",
        )
        return Verdict(ObjectKind.GO_CACHE, name, name, 0, remove=True, why=why)


def _with_image(verdict: Verdict) -> Verdict:
    """Before the images go, their records are in use: whether one goes shows when its images are gone."""
    if not verdict.remove and verdict.why.cause is Cause.IN_USE:
        return verdict.as_kept(Cause.IN_USE, "an image or a build has it; it goes with an image that goes")
    return verdict


async def _drop_mounts(client: Client, names: Iterable[str]) -> int:
    """Let BuildKit drop cache mounts; the bytes that this gave back.

    A build without cache makes it drop the mounts that its steps name, before the first step runs
    (moby/buildkit, solver/llbsolver/vertex.go, detectPrunedCacheID). So a build that fails at once is enough,
    and no base image is needed. A mount that a build uses now goes when that has ended.
    """
    mounts = " ".join(
        f"--mount=type=cache,sharing=shared,id={name},target=/caches/{number}"
        for number, name in enumerate(names)
    )
    text = f'FROM scratch\nCOPY not-there /\nRUN {mounts} ["/not-there"]\n'
    request = SolveRequest(
        context=MemorySource({}),
        dockerfile=MemorySource({"Dockerfile": text.encode()}),
        shared_key="watcher/dropped-caches",
        no_cache=True,
        network="none",
        exporter="",
    )
    before = {record.id: record for record in await client.disk_usage(_MOUNTS)}
    with suppress(SolveFailed):
        await client.solve(request, _ignore_progress)
    gone: list[UsageInfo] = []
    for _ in range(round(_RELEASE_SECONDS / _PAUSE)):
        there = {record.id for record in await client.disk_usage(_MOUNTS)}
        if gone := [record for name, record in before.items() if name not in there]:
            break
        await asyncio.sleep(_PAUSE)
    return sum(record.size for record in gone)


def _ignore_progress(_: Progress) -> None:
    """Nobody watches this build."""
