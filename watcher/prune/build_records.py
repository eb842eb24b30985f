"""Select the project's build cache records that no build needs any more: a pure decision.

Of the records that are proven ours (`record_proof`), those are removed that were last used by superseded
builds. A record that was used at any other moment was used by another build, and stays. Cache mounts, base
images and records that an image shares are never removed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from watcher.builder import BuildEntry, StepRun
from watcher.buildkit import UsageInfo, parse_step
from watcher.observers.events import short
from watcher.prune.model import Cause, ObjectKind, Reason, Verdict
from watcher.prune.record_matching import CLOCK, RELEASE, matches_step
from watcher.prune.step_names import describe_step


def judge_records(
    entries: Sequence[BuildEntry], records: Collection[UsageInfo], kept: Collection[str]
) -> tuple[Verdict, ...]:
    """Return a verdict for each record that is proven ours; records that a build in `kept` used stay."""
    users = _RecordUsers(entries)
    made = {record.id: step for record in records if (step := users.find_step(record))}
    own = [record for record in records if record.id in made]
    used_by = users.by_record(own)
    verdicts = []
    for record in own:
        step = made[record.id]
        why = _why_it_stays(record, used_by[record.id], kept)
        verdicts.append(
            Verdict(
                ObjectKind.STEP,
                record.id,
                describe_step(step.shown or step.name),
                record.size,
                remove=why is None,
                why=why or Reason(Cause.SUPERSEDED, "used only by superseded builds"),
                created=record.created,
            )
        )
    return tuple(verdicts)


def select_kept(entries: Sequence[BuildEntry], keep: Mapping[str, int | None]) -> set[str]:
    """Return the builds whose records stay: of each service the newest good revisions, and the newest one.

    `keep` is the number of good revisions by service, None for all builds. Nothing is kept of a service that
    it lacks: that one was renamed or removed.
    """
    kept: set[str] = set()
    for service, count in keep.items():
        own = [entry for entry in entries if entry.service == service]
        if count is None:
            kept |= {entry.id for entry in own}
            continue
        final = sorted((entry for entry in own if entry.final), key=lambda each: each.started, reverse=True)
        good = dict.fromkeys(entry.revision for entry in final if entry.ended == "ok")
        revisions = {*list(good)[:count], *(entry.revision for entry in final[:1])}
        kept |= {entry.id for entry in own if entry.revision in revisions}
    return kept


class _RecordUsers:
    """Finds the builds that made or used a record."""

    def __init__(self, entries: Sequence[BuildEntry]) -> None:
        self._makers = {record: entry for entry in entries for record in entry.records or ()}
        self._entries = sorted((each for each in entries if each.started), key=lambda each: each.started)

    def find_step(self, record: UsageInfo) -> StepRun | None:
        """Return our step that made the record; None if it is not proven to be ours."""
        entry = self._makers.get(record.id)
        return next((step for step in entry.steps if matches_step(step, record)), None) if entry else None

    def by_record(self, records: Iterable[UsageInfo]) -> dict[str, list[BuildEntry]]:
        """Return the builds that can have used each record last; empty if another build did."""
        found = {}
        begun, going = 0, list[BuildEntry]()
        for at, name in sorted((record.last_used or record.created, record.id) for record in records):
            while begun < len(self._entries) and self._entries[begun].started - CLOCK <= at:
                going.append(self._entries[begun])
                begun += 1
            going = [entry for entry in going if at <= entry.finished + RELEASE]
            found[name] = list(going)
        return found


def _why_it_stays(record: UsageInfo, users: Sequence[BuildEntry], kept: Collection[str]) -> Reason | None:
    if record.in_use:
        return Reason(Cause.IN_USE, "a build uses it")
    if record.shared:
        return Reason(Cause.IN_USE, "an image has it")
    if not users:
        return Reason(Cause.FOREIGN, "another build has used it since")
    if needing := next((entry for entry in users if entry.id in kept), None):
        return Reason(Cause.NEEDED, f"the build of {short(needing.revision)} uses it")
    return None


def drop_unused_entries(entries: Sequence[BuildEntry], records: Collection[UsageInfo]) -> list[BuildEntry]:
    """Return the journal entries that made a record that still exists, or that can have used one last."""
    own = {record for entry in entries for record in entry.records or ()}
    oldest = min((each.last_used or each.created for each in records if each.id in own), default=float("inf"))
    return [
        entry
        for entry in entries
        if entry.records is None or entry.records or (entry.started and entry.finished + RELEASE >= oldest)
    ]


def stage_size(entries: Sequence[BuildEntry], records: Collection[UsageInfo], stage: str) -> int | None:
    """Return the bytes that the steps of a stage added to its base in the newest good build; None if unknown.

    A failed build has only the first steps of the stage. The chain of parents is summed up to the base image,
    also the records that an image shares.
    """
    there = {record.id: record for record in records}
    names = (stage, f"stage-{stage}")  # BuildKit's name of a stage without one is its number
    good = (entry for entry in entries if entry.final and entry.ended == "ok")
    for entry in sorted(good, key=lambda each: each.started, reverse=True):
        steps = [step for step in entry.steps if parse_step("", step.name).stage in names]
        own = [there[name] for name in entry.records or () if name in there]
        for step in sorted(steps, key=lambda each: each.finished, reverse=True):
            if last := next((record for record in own if matches_step(step, record)), None):
                return _chain_size(last, there)
    return None


def _chain_size(record: UsageInfo, there: Mapping[str, UsageInfo]) -> int:
    size, seen = 0, {record.id}
    while record.parents:
        size += record.size
        parent = there.get(record.parents[0])
        if parent is None or parent.id in seen:
            break
        record = parent
        seen.add(record.id)
    return size
