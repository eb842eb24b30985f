"""Prove which build cache records are this project's: a pure decision over records and journal.

A step that ran made exactly one record, with the description of the step, created while it ran. If no more
records match than steps of ours ran, the records are ours. If more match, another build ran the same step at
the same time. Then those are ours whose parent is a record of ours. If that does not decide, all of them
stay.

The work grows with the records that match a step, not with the product of steps and records: a cache can hold
thousands.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from watcher.builder import BuildEntry, StepRun
from watcher.buildkit import UsageInfo
from watcher.prune.record_matching import RecordIndex


def prove_records(
    entries: Sequence[BuildEntry], records: Collection[UsageInfo], running: Collection[str] = ()
) -> list[BuildEntry]:
    """Return the entries; each finished build gets the records that are proven to be its own.

    Builds in `running` are skipped. A build that neither runs nor ended was killed with its daemon.
    """
    there = {record.id: record for record in records}
    known = {record for entry in entries for record in entry.records or ()}
    steps = [
        (entry.id, step)
        for entry in entries
        if entry.id not in running
        for step in _without_record(entry, there)
    ]
    fresh = [each for each in records if steps and each.kind == "regular" and each.id not in known]
    proven = _Candidates(fresh).prove_steps([step for _, step in steps], known)
    own: dict[str, set[UsageInfo]] = defaultdict(set)
    for (build, _), made in zip(steps, proven, strict=True):
        own[build] |= made
    return [entry if entry.id in running else _with_records(entry, own[entry.id], there) for entry in entries]


def _without_record(entry: BuildEntry, there: Mapping[str, UsageInfo]) -> Iterator[StepRun]:
    """Yield the steps without a known record: all at first, later those whose record got another id."""
    if entry.records is None:
        yield from entry.steps
    elif any(record not in there for record in entry.unfinished):
        own = RecordIndex([there[record] for record in entry.records if record in there])
        yield from (step for step in entry.steps if not own.find_matching(step))


def _with_records(entry: BuildEntry, proven: Collection[UsageInfo], there: Collection[str]) -> BuildEntry:
    records = {record for record in entry.records or () if record in there}
    unfinished = {record for record in entry.unfinished if record in there}
    return replace(
        entry,
        ended=entry.ended or "failed",
        records=frozenset(records | {record.id for record in proven}),
        unfinished=frozenset(unfinished | {record.id for record in proven if record.mutable}),
    )


@dataclass(slots=True, eq=False)
class _Group:
    """Steps that can have made the same records, and these records, by number."""

    steps: list[int] = field(default_factory=list)
    records: list[int] = field(default_factory=list)


class _Candidates:
    """The records whose step is not proven yet."""

    def __init__(self, records: Sequence[UsageInfo]) -> None:
        self._records, self._index = records, RecordIndex(records)
        self._children: dict[str, list[int]] = defaultdict(list)
        for number, record in enumerate(records):
            for parent in record.parents:
                self._children[parent].append(number)

    def prove_steps(self, steps: Sequence[StepRun], known: Collection[str]) -> list[set[UsageInfo]]:
        """Return the records of each step; `known` are the ids of records that are already proven."""
        fitting = [self._index.find_matching(step) for step in steps]
        ours = set(known)
        group_of = {record: group for group in _group_competing(fitting) for record in group.records}
        waiting = deque(dict.fromkeys(group_of[record] for record in sorted(group_of)))
        undecided = set(waiting)
        while waiting:
            group = waiting.popleft()
            if group not in undecided:
                continue
            own = self._proven_records(group, steps, fitting, ours)
            if not own:
                continue
            undecided.discard(group)
            ours |= {self._records[number].id for number in own}
            for number in own:
                for child in self._children[self._records[number].id]:
                    if child in group_of and group_of[child] in undecided:
                        waiting.append(group_of[child])
        return [
            {self._records[each] for each in found if self._records[each].id in ours} for found in fitting
        ]

    def _proven_records(
        self, group: _Group, steps: Sequence[StepRun], fitting: Sequence[set[int]], ours: Collection[str]
    ) -> Collection[int]:
        """Return the records of the group that are ours; empty if that is undecided."""
        own = group.records
        if not self._may_all_be_ours(own, group, steps, fitting):
            own = self._on_top(group.records, ours)
            if not self._may_all_be_ours(own, group, steps, fitting):
                return ()
        return own

    def _on_top(self, numbers: Sequence[int], ours: Collection[str]) -> list[int]:
        """Return the records whose parent is a record of ours: another build has its own base."""
        found: list[int] = []
        bases = set[str]()
        for number in sorted(numbers, key=lambda each: self._records[each].created):
            record = self._records[number]
            if any(parent in ours or parent in bases for parent in record.parents):
                found.append(number)
                bases.add(record.id)
        return found

    def _may_all_be_ours(
        self,
        numbers: Collection[int],
        group: _Group,
        steps: Sequence[StepRun],
        fitting: Sequence[set[int]],
    ) -> bool:
        """Return whether each record can be matched to a different step."""
        if len(numbers) > len(group.steps):
            return False
        free: dict[int, list[int]] = defaultdict(list)
        for step in sorted(group.steps, key=lambda each: steps[each].finished):
            for number in fitting[step]:
                free[number].append(step)
        taken = set[int]()
        for number in sorted(numbers, key=lambda each: self._records[each].created):
            own = next((each for each in free[number] if each not in taken), None)
            if own is None:
                return False
            taken.add(own)
        return True


def _group_competing(fitting: Sequence[set[int]]) -> list[_Group]:
    """Group the steps that can have made the same records."""
    steps: dict[int, list[int]] = defaultdict(list)
    for number, found in enumerate(fitting):
        for record in found:
            steps[record].append(number)
    groups: list[_Group] = []
    seen_steps, seen_records = set[int](), set[int]()
    for first in range(len(fitting)):
        if first in seen_steps or not fitting[first]:
            continue
        group = _Group()
        groups.append(group)
        reached = [first]
        seen_steps.add(first)
        while reached:
            step = reached.pop()
            group.steps.append(step)
            for record in fitting[step] - seen_records:
                seen_records.add(record)
                group.records.append(record)
                for other in steps[record]:
                    if other not in seen_steps:
                        seen_steps.add(other)
                        reached.append(other)
    return groups
