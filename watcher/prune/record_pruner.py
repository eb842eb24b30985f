"""Remove the build cache records of this project's superseded builds; no other records are touched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from watcher.builder import BuildEntry, BuildJournal, BuildkitConnection
from watcher.buildkit import ConnectError, RpcError, UsageInfo
from watcher.errors import EngineUnavailable
from watcher.observers import humanize
from watcher.prune.build_records import drop_unused_entries, judge_records, select_kept, stage_size
from watcher.prune.cache_reading import read_records
from watcher.prune.engine_bases import correct_marked, correct_shared, find_forgotten
from watcher.prune.marked_records import Marks, find_marked, judge_marked, list_unclaimed
from watcher.prune.model import Cause, Reason, Verdict
from watcher.prune.record_proof import prove_records

QUIET = 300.0  # seconds without a build after which steps may be forgotten


@dataclass(frozen=True, slots=True)
class JournaledRecords:
    """The records of the engine's build cache, and the journal entries."""

    records: Sequence[UsageInfo]
    entries: Sequence[BuildEntry]
    running: frozenset[str]  # ids of running builds
    marked: Sequence[UsageInfo] = ()  # ours by their command, without a build in the journal


@dataclass(frozen=True, slots=True)
class StaleSteps:
    """The superseded records: their bytes, and how many other steps BuildKit forgets with them."""

    size: int = 0
    forgotten: int = 0

    def describe(self, most: int) -> str:
        """Say why they stay; `most` is the setting `prune.steps_max`."""
        bound = f"when they hold more than {humanize.size(most)} (prune.steps_max), or " if most else ""
        return (
            f"removing one makes this BuildKit forget {humanize.count(self.forgotten, 'build step')}, also "
            "of other projects, on images that the engine itself pulled or loaded; superseded steps "
            f"({humanize.size(self.size)}) are removed only {bound}when the disk is short of space"
        )


@dataclass(frozen=True, slots=True)
class CacheHoldings:
    """The build cache in bytes without shared records: this project's steps, cache mounts, everything."""

    own: int
    mounts: int
    total: int

    @classmethod
    def of(cls, seen: JournaledRecords, gone: Collection[str] = ()) -> CacheHoldings:
        """Return the sums over the records, without those in `gone`."""
        private = [record for record in seen.records if not record.shared and record.id not in gone]
        own = {name for entry in seen.entries for name in entry.records or ()}
        own |= {record.id for record in seen.marked}
        return cls(
            sum(record.size for record in private if record.id in own),
            sum(record.size for record in private if record.kind == "exec.cachemount"),
            sum(record.size for record in private),
        )


class RecordPruner:
    """Prunes the build cache records of this project's builds.

    `keep` is the number of revisions that stay by service, for all services of the project; None keeps all
    builds of a service. `marks` finds the project's records without the journal. `daemon_runs` returns
    whether another process can be building, so unfinished builds in the journal can still run.

    Where a removal makes BuildKit forget other steps (`engine_bases`), superseded records stay until they
    hold more than `most` bytes and no build ran for `QUIET` seconds, or more than twice that; 0: for ever.
    """

    def __init__(
        self,
        connection: BuildkitConnection,
        journal: BuildJournal,
        marks: Marks,
        *,
        keep: Mapping[str, int | None],
        most: int = 0,
        daemon_runs: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
        read: Callable[[], Awaitable[Sequence[UsageInfo]]] | None = None,
    ) -> None:
        """`clock` returns Unix seconds; `read` the records of the build cache, by default as they are now."""
        self._read = read or partial(read_records, connection)
        self._connection, self._journal, self._marks, self._keep = connection, journal, marks, keep
        self._most, self._daemon_runs, self._clock = most, daemon_runs, clock
        self._superseded: StaleSteps | None = None  # by the last prune; None where nothing is forgotten
        self.forgotten = 0  # steps that BuildKit forgot by the last prune
        self._holdings: CacheHoldings | None = None  # as the last prune left them
        self._seen: JournaledRecords | None = None  # by the last prune, until `stage_size` takes it

    async def read_records(self) -> JournaledRecords:
        """Read the records and store what is proven now. Raises EngineUnavailable."""
        records = await self._read()
        in_containerd = await self._connection.forgets_when_pruned()
        tags = await self._connection.image_tags() if in_containerd else None
        return await asyncio.to_thread(self._update_journal, records, tags)

    def _update_journal(self, records: Sequence[UsageInfo], tags: Collection[str] | None) -> JournaledRecords:
        """Store what these records prove. Blocking: call it in a thread.

        `tags` are the names of all images where the store's claims that one shares a record can be wrong.
        """
        elsewhere = self._daemon_runs()
        running: set[str] = set()

        def prove(entries: list[BuildEntry]) -> list[BuildEntry]:
            running.clear()
            running.update(self._journal.running)
            if elsewhere:
                running.update(entry.id for entry in entries if not entry.ended)
            return drop_unused_entries(prove_records(entries, records, running), records)

        entries = self._journal.update(prove)
        marked = find_marked(self._marks, entries, records)
        if tags is not None:
            marked = correct_marked(marked, entries, self._marks, gone=not self._keep)
            records = correct_shared(_with_records(records, marked), entries, tags)
        return JournaledRecords(records, entries, frozenset(running), marked)

    def _judge_records(self, seen: JournaledRecords, *, low: bool) -> tuple[Verdict, ...]:
        keep = {name: 1 if low and count is not None else count for name, count in self._keep.items()}
        kept = select_kept(seen.entries, keep) | seen.running
        return (
            *judge_records(seen.entries, seen.records, kept),
            *judge_marked(seen.marked, seen.entries, kept, gone=not keep),
            *(list_unclaimed(seen.marked, seen.entries, seen.records) if keep else ()),
        )

    async def prune(self, *, dry_run: bool = False, low: bool = False) -> tuple[Verdict, ...]:
        """Return the verdicts on our records; remove the stale ones unless it is a dry run.

        `low`: the disk is nearly full, so only one revision of a service stays. Raises EngineUnavailable.
        """
        seen = self._seen = await self.read_records()
        self._holdings = CacheHoldings.of(seen)
        verdicts = await asyncio.to_thread(self._judge_records, seen, low=low)
        stale = {verdict.id: verdict.size for verdict in verdicts if verdict.remove}
        in_containerd = await self._connection.forgets_when_pruned()
        forgotten = find_forgotten(seen.records, stale) if in_containerd else ()
        self._superseded = StaleSteps(sum(stale.values()), len(forgotten)) if forgotten else None
        self.forgotten = 0
        if self._superseded and not (low or self._may_forget(self._superseded, seen)):
            why = self._superseded.describe(self._most)
            return tuple(each.as_kept(Cause.REFUSED, why) if each.remove else each for each in verdicts)
        if forgotten:
            verdicts = tuple(_with_forgotten(each, len(forgotten)) for each in verdicts)
        if dry_run:
            return verdicts
        created = {record.id: record.created for record in seen.records}
        newest_first = sorted(stale, key=lambda name: created[name], reverse=True)
        gone = await self._remove_records(newest_first, shared=in_containerd)
        if gone:
            self._superseded, self.forgotten = None, len(forgotten)
        self._holdings = CacheHoldings.of(seen, gone)
        return tuple(
            verdict.as_kept(Cause.IN_USE, "another step that stays depends on it")
            if verdict.remove and verdict.id not in gone
            else replace(verdict, size=gone.get(verdict.id, verdict.size))
            for verdict in verdicts
        )

    def _may_forget(self, superseded: StaleSteps, seen: JournaledRecords) -> bool:
        """Return whether the superseded records hold so much that other steps may be forgotten now."""
        if not self._most or superseded.size <= self._most:
            return False
        ended = max((entry.finished for entry in seen.entries), default=0.0)
        quiet = not seen.running and self._clock() - ended >= QUIET
        return quiet or superseded.size > 2 * self._most

    async def take_holdings(self) -> CacheHoldings:
        """Return the holdings after the last prune, once; otherwise read the records.

        Raises EngineUnavailable.
        """
        found, self._holdings = self._holdings, None
        return found or CacheHoldings.of(await self.read_records())

    async def steps_stay(self) -> str:
        """Return why superseded steps stayed at the last prune; empty if they did not.

        Raises EngineUnavailable.
        """
        if self._superseded is None:
            return ""
        why, limit = self._superseded.describe(self._most), await self._connection.cache_limit()
        if limit is None:
            return f"{why}; `watcher doctor` shows what helps"
        return f"{why}; BuildKit removes old ones above {humanize.size(limit)}"

    async def _remove_records(self, stale: Sequence[str], *, shared: bool) -> dict[str, int]:
        """Remove the records in this order, children first; return the freed bytes by id."""
        try:
            gone = await (await self._connection.client()).remove_records(stale, shared=shared)
        except (ConnectError, RpcError) as error:
            raise EngineUnavailable(f"the build cache could not be pruned: {error}") from error
        return {record.id: record.size for record in gone}

    async def stage_size(self, stage: str) -> int | None:
        """Return the bytes that the steps of a stage added to its base in the newest good build.

        Uses the records of the last prune, once; otherwise reads them. Raises EngineUnavailable.
        """
        seen, self._seen = self._seen, None
        seen = seen or await self.read_records()
        return stage_size(seen.entries, seen.records, stage)


def _with_records(records: Sequence[UsageInfo], changed: Sequence[UsageInfo]) -> list[UsageInfo]:
    """Return the records with those in `changed` in the place of the ones with their ids."""
    by_id = {record.id: record for record in changed}
    return [by_id.get(record.id, record) for record in records]


def _with_forgotten(verdict: Verdict, steps: int) -> Verdict:
    """Return a removal with the number of other steps that BuildKit forgets by it."""
    if not verdict.remove:
        return verdict
    text = f"{verdict.reason}; BuildKit forgets {humanize.count(steps, 'other step')} with it"
    return replace(verdict, why=Reason(verdict.why.cause, text))
