"""Remove the build cache records of this project's superseded builds; no other records are touched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from watcher.builder import BuildEntry, BuildJournal, BuildkitConnection
from watcher.buildkit import ConnectError, RpcError, UsageInfo
from watcher.errors import EngineUnavailable
from watcher.observers import humanize
from watcher.prune.build_records import drop_unused_entries, judge_records, select_kept, stage_size
from watcher.prune.marked_records import Marks, find_marked, judge_marked, list_unclaimed
from watcher.prune.model import Cause, Verdict
from watcher.prune.record_proof import prove_records

STEPS_STAY = (
    "removing one record makes this BuildKit forget the build cache of all projects, so superseded steps are "
    "removed only when the disk is short of room"
)


@dataclass(frozen=True, slots=True)
class JournaledRecords:
    """The records of the engine's build cache, and the journal entries."""

    records: Sequence[UsageInfo]
    entries: Sequence[BuildEntry]
    running: frozenset[str]  # ids of running builds
    marked: Sequence[UsageInfo] = ()  # ours by their command, without a build in the journal


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
    """

    def __init__(
        self,
        connection: BuildkitConnection,
        journal: BuildJournal,
        marks: Marks,
        *,
        keep: Mapping[str, int | None],
        daemon_runs: Callable[[], bool] = lambda: False,
    ) -> None:
        self._connection, self._journal, self._marks, self._keep = connection, journal, marks, keep
        self._daemon_runs = daemon_runs
        self._holdings: CacheHoldings | None = None  # as the last prune left them
        self._seen: JournaledRecords | None = None  # by the last prune, until `stage_size` takes it

    async def read_records(self) -> JournaledRecords:
        """Read the records and store what is proven now. Raises EngineUnavailable."""
        try:
            records = await (await self._connection.client()).disk_usage()
        except (ConnectError, RpcError) as error:
            raise EngineUnavailable(f"the build cache could not be read: {error}") from error
        return await asyncio.to_thread(self._update_journal, records)

    def _update_journal(self, records: Sequence[UsageInfo]) -> JournaledRecords:
        """Store what these records prove. Blocking: call it in a thread."""
        elsewhere = self._daemon_runs()
        running: set[str] = set()

        def prove(entries: list[BuildEntry]) -> list[BuildEntry]:
            running.clear()
            running.update(self._journal.running)
            if elsewhere:
                running.update(entry.id for entry in entries if not entry.ended)
            return drop_unused_entries(prove_records(entries, records, running), records)

        entries = self._journal.update(prove)
        return JournaledRecords(
            records, entries, frozenset(running), find_marked(self._marks, entries, records)
        )

    def _judge_records(self, seen: JournaledRecords, *, low: bool) -> tuple[Verdict, ...]:
        keep = {name: 1 if low and count is not None else count for name, count in self._keep.items()}
        kept = select_kept(seen.entries, keep) | seen.running
        return (
            *judge_records(seen.entries, seen.records, kept),
            *judge_marked(seen.marked, seen.entries, kept, gone=not keep),
            *list_unclaimed(seen.marked, seen.entries, seen.records),
        )

    async def prune(self, *, dry_run: bool = False, low: bool = False) -> tuple[Verdict, ...]:
        """Return the verdicts on our records; remove the stale ones unless it is a dry run.

        `low`: the disk is nearly full, so only one revision of a service stays. Raises EngineUnavailable.
        """
        seen = self._seen = await self.read_records()
        self._holdings = CacheHoldings.of(seen)
        verdicts = await asyncio.to_thread(self._judge_records, seen, low=low)
        if not low and await self._connection.forgets_when_pruned():
            stay = (each.as_kept(Cause.REFUSED, STEPS_STAY) if each.remove else each for each in verdicts)
            return tuple(stay)
        if dry_run:
            return verdicts
        created = {record.id: record.created for record in seen.records}
        stale = [verdict.id for verdict in verdicts if verdict.remove]
        gone = await self._remove_records(sorted(stale, key=lambda name: created[name], reverse=True))
        self._holdings = CacheHoldings.of(seen, gone)
        return tuple(
            verdict.as_kept(Cause.IN_USE, "another step that stays depends on it")
            if verdict.remove and verdict.id not in gone
            else replace(verdict, size=gone.get(verdict.id, verdict.size))
            for verdict in verdicts
        )

    async def take_holdings(self) -> CacheHoldings:
        """Return the holdings after the last prune, once; otherwise read the records.

        Raises EngineUnavailable.
        """
        found, self._holdings = self._holdings, None
        return found or CacheHoldings.of(await self.read_records())

    async def steps_stay(self) -> str:
        """Return why superseded steps are not removed; empty if they are. Raises EngineUnavailable."""
        if not await self._connection.forgets_when_pruned():
            return ""
        limit = await self._connection.cache_limit()
        if limit is None:
            return f"{STEPS_STAY}; `watcher doctor` shows how BuildKit removes them"
        return f"{STEPS_STAY}; BuildKit removes old ones above {humanize.size(limit)}"

    async def _remove_records(self, stale: Sequence[str]) -> dict[str, int]:
        """Remove the records in this order, children first; return the freed bytes by id."""
        try:
            gone = await (await self._connection.client()).remove_records(stale)
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
