"""Gives back the build cache that superseded builds of this project left; nobody else's is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
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
    """What the engine's build cache holds, and what the journal says of it."""

    records: Sequence[UsageInfo]
    entries: Sequence[BuildEntry]
    running: frozenset[str]  # ids of builds that go on
    marked: Sequence[UsageInfo] = ()  # ours, although no build of the journal made them


@dataclass(frozen=True, slots=True)
class CacheHoldings:
    """The build cache in bytes, without what images hold too: this project's steps, cache mounts, all."""

    own: int
    mounts: int
    total: int

    @classmethod
    def of(cls, seen: JournaledRecords, gone: Collection[str] = ()) -> CacheHoldings:
        """Summed over what there is, without the records that are `gone`."""
        private = [record for record in seen.records if not record.shared and record.id not in gone]
        own = {name for entry in seen.entries for name in entry.records or ()}
        own |= {record.id for record in seen.marked}
        return cls(
            sum(record.size for record in private if record.id in own),
            sum(record.size for record in private if record.kind == "exec.cachemount"),
            sum(record.size for record in private),
        )


class RecordPruner:
    """Prunes what the builds of this project left in the build cache.

    `keep` revisions of each of `services`, all that the project has, stay as they are. `marks` tells what is
    the project's without the journal.

    `daemon_runs` says whether another process may be building: a build that has not ended may go on there.
    """

    def __init__(
        self,
        connection: BuildkitConnection,
        journal: BuildJournal,
        marks: Marks,
        *,
        keep: int,
        services: Collection[str],
        daemon_runs: Callable[[], bool] = lambda: False,
    ) -> None:
        self._connection, self._journal, self._marks, self._keep = connection, journal, marks, keep
        self._daemon_runs, self._services = daemon_runs, services
        self._holdings: CacheHoldings | None = None  # as the last prune left them
        self._seen: JournaledRecords | None = None  # by the last prune, until `stage_size` takes it

    async def read_records(self) -> JournaledRecords:
        """Ask the engine, and write down what is proven now. Raises EngineUnavailable."""
        try:
            records = await (await self._connection.client()).disk_usage()
        except (ConnectError, RpcError) as error:
            raise EngineUnavailable(f"the build cache could not be read: {error}") from error
        return await asyncio.to_thread(self._update_journal, records)

    def _update_journal(self, records: Sequence[UsageInfo]) -> JournaledRecords:
        """Write down what these records prove. Blocks: to be called in a thread."""
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

    def _judge_records(self, seen: JournaledRecords, keep: int) -> tuple[Verdict, ...]:
        kept = select_kept(seen.entries, keep, self._services) | seen.running
        return (
            *judge_records(seen.entries, seen.records, kept),
            *judge_marked(seen.marked, seen.entries, kept, gone=not self._services),
            *list_unclaimed(seen.marked, seen.entries, seen.records),
        )

    async def prune(self, *, dry_run: bool = False, low: bool = False) -> tuple[Verdict, ...]:
        """The verdict on each of our records, carried out unless it is a dry run.

        `low`: the disk is short of room, so that only one revision stays. Raises EngineUnavailable.
        """
        seen = self._seen = await self.read_records()
        self._holdings = CacheHoldings.of(seen)
        keep = 1 if low else self._keep
        verdicts = await asyncio.to_thread(self._judge_records, seen, keep)
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
            verdict.as_kept(Cause.IN_USE, "a step that stays is built on it")
            if verdict.remove and verdict.id not in gone
            else replace(verdict, size=gone.get(verdict.id, verdict.size))
            for verdict in verdicts
        )

    async def take_holdings(self) -> CacheHoldings:
        """What the build cache holds: as the last prune left it, once; else the engine is asked.

        Raises EngineUnavailable.
        """
        found, self._holdings = self._holdings, None
        return found or CacheHoldings.of(await self.read_records())

    async def steps_stay(self) -> str:
        """Why superseded steps are not removed here; empty where they are. Raises EngineUnavailable."""
        if not await self._connection.forgets_when_pruned():
            return ""
        limit = await self._connection.cache_limit()
        if limit is None:
            return f"{STEPS_STAY}; `watcher doctor` says how BuildKit removes them itself"
        return f"{STEPS_STAY}; BuildKit itself removes old ones above {humanize.size(limit)}"

    async def _remove_records(self, stale: Sequence[str]) -> dict[str, int]:
        """Remove the records by id, in this order; bytes given back by id. A step's base is older than it."""
        try:
            gone = await (await self._connection.client()).remove_records(stale)
        except (ConnectError, RpcError) as error:
            raise EngineUnavailable(f"the build cache could not be pruned: {error}") from error
        return {record.id: record.size for record in gone}

    async def stage_size(self, stage: str) -> int | None:
        """Bytes that a stage's steps added to its base in the newest good build.

        As the last prune saw them, once: the newest build's records stay. Else the engine is asked.
        Raises EngineUnavailable.
        """
        seen, self._seen = self._seen, None
        seen = seen or await self.read_records()
        return stage_size(seen.entries, seen.records, stage)
