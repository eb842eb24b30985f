"""Remove what builds of a deleted project left at a BuildKit: build cache records and Go caches."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from watcher.backoff import Backoff
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
from watcher.dockerfile import cache_names, is_shared_cache
from watcher.errors import EngineUnavailable, WatcherError
from watcher.observers import humanize
from watcher.prune.cache_names import CacheNames
from watcher.prune.cache_reading import SharedReadings
from watcher.prune.go_cache_select import shorten_names
from watcher.prune.marked_records import Marks
from watcher.prune.model import Cause, ObjectKind, Reason, Verdict
from watcher.prune.record_obstacles import Obstacle, find_obstacles
from watcher.prune.record_pruner import RecordPruner

_MOUNTS = ("type==exec.cachemount",)
RELEASE_SECONDS = 15.0  # time for a busy BuildKit to release records whose last build has ended
RETRY = Backoff(0.1, 2.0)  # seconds until a removal that was refused is tried again
MOUNT_SECONDS = 2.0  # time for BuildKit to release a dropped cache mount


class GoneCaches:
    """What one project left in one build cache; `folder` is its folder in the state folder.

    `cache` is the id of the build cache (`build_cache_of`).
    """

    def __init__(
        self,
        connection: BuildkitConnection,
        project: str,
        folder: Path,
        cache: str,
        *,
        patience: float = RELEASE_SECONDS,
        mount_seconds: float = MOUNT_SECONDS,
        retry: Backoff = RETRY,
    ) -> None:
        """`patience` is the time in seconds for BuildKit to release records that are in use.

        `mount_seconds` is the same for cache mounts; `retry` gives the pauses in between.
        """
        self._mount_seconds, self._retry = mount_seconds, retry
        self._connection, self._project, self._names = connection, project, CacheNames(folder)
        self._cache = cache
        self._patience = patience
        self._journal = BuildJournal(folder if _may_exist(folder) else None, cache=cache)

    async def judge(self, *, low: bool, readings: SharedReadings | None = None) -> tuple[Verdict, ...]:
        """Return verdicts for the records and Go caches. `low`: the disk is nearly full.

        `readings` has the records that other projects read before. Raises EngineUnavailable, or WatcherError
        if the journal cannot be read.
        """
        entries = await self._read_entries()
        records = await (readings or SharedReadings()).read(self._connection, self._cache)
        steps = map(_with_image, await self._record_pruner(records).prune(dry_run=True, low=low))
        names = self._find_mounts(entries)
        kept = await self._used_by_others(names)
        own = [self._mount_verdict(name) for name in names if name not in kept]
        if own and (size := sum(self._select_mounts(records).values())):
            text = "its project is gone; the size is that of all cache mounts that its builds created"
            own[0] = replace(own[0], size=size, why=Reason(Cause.PROJECT_GONE, text))
        return (*steps, *own, *itertools.starmap(_kept_verdict, kept.items()))

    async def remove(self, *, low: bool) -> tuple[Verdict, ...]:
        """Remove them, records first. Raises like `judge`."""
        entries = await self._read_entries()
        names = self._find_mounts(entries)
        kept = await self._used_by_others(names)
        names = [name for name in names if name not in kept]
        steps = await self._remove_records(low=low)
        mounts = await self._remove_mounts(names)
        return (*steps, *mounts, *itertools.starmap(_kept_verdict, kept.items()))

    async def _remove_mounts(self, names: Sequence[str]) -> list[Verdict]:
        """Remove cache mounts; keep the verdicts true where BuildKit does not let go of all.

        BuildKit does not report the id of a cache mount, so one verdict has the size of all.
        """
        own = await self._own_mounts()
        try:
            client = await self._connection.client()
            freed, left = await _drop_mounts(
                client, names, own, seconds=self._mount_seconds, retry=self._retry
            )
        except (ConnectError, RpcError) as error:
            raise EngineUnavailable(f"the Go caches could not be removed: {error}") from error
        found, held = [self._mount_verdict(name) for name in names], sum(own[name] for name in left)
        if left and not freed:
            text = "BuildKit still holds it, as if it were used: try later, or after a restart of the engine"
            found = [each.as_kept(Cause.IN_USE, text) for each in found]
            found[:1] = [replace(each, size=held) for each in found[:1]]
        elif found:
            text = "its project is gone; the size is the sum of all its Go caches"
            if left:
                text += f" but {len(left)} with {humanize.size(held)}, which BuildKit still holds, as if a "
                text += "build used them"
            found[0] = replace(found[0], size=freed, why=Reason(Cause.PROJECT_GONE, text))
        return found

    async def _own_mounts(self) -> dict[str, int]:
        """Return the cache mounts whose first command names the project, by record id, with their bytes."""
        try:
            records = await (await self._connection.client()).disk_usage(_MOUNTS)
        except (ConnectError, RpcError) as error:
            raise EngineUnavailable(f"the build cache could not be read: {error}") from error
        return self._select_mounts(records)

    def _select_mounts(self, records: Iterable[UsageInfo]) -> dict[str, int]:
        marks = Marks(self._project)
        mounts = (record for record in records if record.kind == "exec.cachemount")
        return {record.id: record.size for record in mounts if marks.is_own(record)}

    async def _remove_records(self, *, low: bool) -> tuple[Verdict, ...]:
        """Remove the records. Wait for those that BuildKit releases soon; explain those that stay."""
        pruner = self._record_pruner()
        found = {verdict.id: verdict for verdict in await pruner.prune(low=low)}
        until = time.monotonic() + self._patience
        for tries in itertools.count():
            left = [name for name, verdict in found.items() if _may_be_released(verdict)]
            if not left:
                break
            records = (await pruner.read_records()).records
            obstacles = find_obstacles(left, records, found)
            for name, obstacle in obstacles.items():
                found[name] = found[name].as_kept(obstacle.value.cause, obstacle.value.text)
            if Obstacle.RELEASE not in obstacles.values() or time.monotonic() >= until:
                break
            await asyncio.sleep(self._retry.pause(tries))
            found |= {verdict.id: verdict for verdict in await pruner.prune(low=low)}
        return tuple(found.values())

    async def _used_by_others(self, names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """Return the shared caches that other projects use, and these projects."""
        shared = [name for name in names if is_shared_cache(name)]
        return await asyncio.to_thread(self._names.find_users, shared, time.time())

    async def _read_entries(self) -> list[BuildEntry]:
        try:
            return await asyncio.to_thread(self._journal.entries)
        except OSError as error:
            raise WatcherError(
                f"the journal of its builds cannot be read: {error.strerror or error}"
            ) from error

    def _find_mounts(self, entries: Iterable[BuildEntry]) -> list[str]:
        """Return the ids of cache mounts that builds named, and the ids that most projects have."""
        own = cache_names(self._project)
        known = (name for name in self._names.known() if name.startswith(own) or is_shared_cache(name))
        found = dict.fromkeys((*own, *known))
        for entry in entries:
            for step in entry.steps:
                for piece in step.name.replace(",", " ").split():
                    name = piece.removeprefix("--mount=").removeprefix("id=")
                    if (name.startswith(own) or is_shared_cache(name)) and "/" not in name:
                        found[name] = None
        return list(found)

    def _record_pruner(self, records: Sequence[UsageInfo] | None = None) -> RecordPruner:
        """Return the pruner of a project of which nothing is kept; `records` are those of a dry run."""

        async def read() -> Sequence[UsageInfo]:
            return records or ()

        marks = Marks(self._project)
        return RecordPruner(
            self._connection, self._journal, marks, keep={}, read=None if records is None else read
        )

    @staticmethod
    def _mount_verdict(name: str) -> Verdict:
        why = Reason(
            Cause.PROJECT_GONE,
            "its project is gone; BuildKit does not report whether it exists, nor its size",
        )
        return Verdict(ObjectKind.GO_CACHE, name, name, 0, remove=True, why=why)


def _may_exist(folder: Path) -> bool:
    """Return whether there is such a folder, or it cannot be known: then its files say why."""
    try:
        return folder.is_dir()
    except OSError:
        return True


def _kept_verdict(name: str, users: tuple[str, ...]) -> Verdict:
    why = Reason(Cause.FOREIGN, f"shared, and lately used by {shorten_names(users)}")
    return Verdict(ObjectKind.GO_CACHE, name, name, 0, remove=False, why=why)


def _may_be_released(verdict: Verdict) -> bool:
    return bool(verdict.id) and not verdict.remove and verdict.why.cause is Cause.IN_USE


def _with_image(verdict: Verdict) -> Verdict:
    """Reword the reason for a record that is in use while the images still exist."""
    if not verdict.remove and verdict.why.cause is Cause.IN_USE:
        return verdict.as_kept(
            Cause.IN_USE,
            "an image or a build uses it; it is removed together with that image (containerd store: a "
            "stopped build can hold it until the engine restarts)",
        )
    return verdict


async def _drop_mounts(
    client: Client, names: Iterable[str], own: Collection[str], *, seconds: float, retry: Backoff
) -> tuple[int, frozenset[str]]:
    """Make BuildKit drop cache mounts; return the freed bytes, and those of `own` that are still there.

    `own` are the ids of records that must go; BuildKit has `seconds` for that.

    A build with `no_cache` makes it drop the mounts that its steps name, before the first step runs
    (moby/buildkit, solver/llbsolver/vertex.go, detectPrunedCacheID). So a build that fails immediately is
    enough, and no base image is needed. A mount in use is dropped when its build ends.
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
    until = time.monotonic() + seconds
    for tries in itertools.count():
        there = {record.id for record in await client.disk_usage(_MOUNTS)}
        gone, left = before.keys() - there, there.intersection(own)
        done = not left if own else gone or not before
        if done or time.monotonic() >= until:
            break
        await asyncio.sleep(retry.pause(tries))
    return sum(before[name].size for name in gone), frozenset(left)


def _ignore_progress(_: Progress) -> None:
    """Ignore the progress of this build."""
