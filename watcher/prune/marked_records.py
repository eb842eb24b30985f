"""Find build cache records that name their owner themselves, without the journal.

An accelerated command contains the id of its project (`dockerfile.is_own_command`), and the engine stores the
command with the record. So the records of builds without a journal are found too: after the state folder was
deleted, or when the watcher ran in a removed container. A command of an earlier version shows that a watcher
wrote it, but not for which project; its record stays unless all projects are pruned.

The parents of a marked record are ours if all their children are, and nothing used them later.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from watcher import dockerfile
from watcher.builder import BuildEntry, StepRun
from watcher.buildkit import UsageInfo
from watcher.observers import humanize
from watcher.observers.events import short
from watcher.prune.model import Cause, ObjectKind, Reason, Verdict
from watcher.prune.record_matching import CLOCK, EXEC, FILE, RELEASE
from watcher.prune.step_names import describe_step

_UNKNOWN = (
    "made by a watcher of an earlier version, and nothing shows for which project; "
    "`watcher prune --all-projects` removes what is unused"
)

_SUPERSEDED = Reason(Cause.SUPERSEDED, "no kept build has used it, and newer builds are known")


@dataclass(frozen=True, slots=True)
class Marks:
    """Selects marked records: those of `project`, and with `unclaimed` also those of earlier versions."""

    project: str
    unclaimed: bool = False

    def is_own(self, record: UsageInfo) -> bool:
        """Return whether the command that made the record selects it."""
        if dockerfile.is_own_command(record.description, self.project):
            return True
        return self.unclaimed and dockerfile.is_unclaimed_command(record.description)

    def is_own_step(self, step: StepRun) -> bool:
        """Return whether a step of a build runs a command that would select its record."""
        return dockerfile.is_own_command(step.name, self.project)


def find_marked(
    marks: Marks, entries: Sequence[BuildEntry], records: Sequence[UsageInfo]
) -> tuple[UsageInfo, ...]:
    """Return the marked records that no build of the journal made, and their parents; newest first."""
    known = {record for entry in entries for record in entry.records or ()}
    there = {record.id: record for record in records if record.kind == "regular"}
    on_top: dict[str, list[UsageInfo]] = defaultdict(list)
    for record in there.values():
        for parent in record.parents:
            on_top[parent].append(record)
    own = {each.id: each for each in there.values() if each.id not in known and marks.is_own(each)}
    waiting = list(own.values())
    while waiting:
        for name in waiting.pop().parents:
            base = there.get(name)
            if base is None or base.id in own or base.id in known:
                continue
            above = on_top[base.id]
            if all(each.id in own for each in above) and _used_by_these_only(base, above):
                own[base.id] = base
                waiting.append(base)
    return tuple(sorted(own.values(), key=lambda each: each.created, reverse=True))


def judge_marked(
    marked: Sequence[UsageInfo],
    entries: Sequence[BuildEntry],
    kept: Collection[str],
    *,
    gone: bool = False,
) -> tuple[Verdict, ...]:
    """Return verdicts for the records of `find_marked`; records that a build in `kept` used stay.

    A record is removed if a newer build than its last user is known, so a new journal removes nothing, or if
    the project is `gone`.
    """
    finals = [entry.started for entry in entries if entry.final and entry.ended == "ok"]
    newest = math.inf if gone else max(finals, default=0.0)
    staying = [entry for entry in entries if entry.id in kept and entry.started]
    verdicts = []
    for record in marked:
        why = _why_it_stays(record, staying, newest)
        verdicts.append(_step_verdict(record, why or _SUPERSEDED, remove=why is None))
    return tuple(verdicts)


def list_unclaimed(
    marked: Sequence[UsageInfo], entries: Sequence[BuildEntry], records: Sequence[UsageInfo]
) -> tuple[Verdict, ...]:
    """Return one verdict for all records that a watcher made for an unknown project; they stay."""
    own = {record for entry in entries for record in entry.records or ()} | {each.id for each in marked}
    found = [
        record
        for record in records
        if record.kind == "regular"
        and record.id not in own
        and dockerfile.is_unclaimed_command(record.description)
    ]
    if not found:
        return ()
    size, name = sum(record.size for record in found), humanize.count(len(found), "earlier compile step")
    oldest = min(record.created for record in found)
    return (
        Verdict(
            ObjectKind.STEP,
            "",
            name,
            size,
            remove=False,
            why=Reason(Cause.UNPROVEN, _UNKNOWN),
            created=oldest,
        ),
    )


def _used_by_these_only(base: UsageInfo, above: Sequence[UsageInfo]) -> bool:
    """Return whether a step made the record, and only the records on top of it used it."""
    if not base.description.startswith((EXEC, FILE, "[")):
        return False  # layer of a base image
    if base.usage_count > sum(each.usage_count for each in above):
        return False
    used = base.last_used or base.created
    return any(each.created - CLOCK <= used <= (each.last_used or used) + RELEASE for each in above)


def _why_it_stays(record: UsageInfo, kept: Sequence[BuildEntry], newest: float) -> Reason | None:
    if record.in_use:
        return Reason(Cause.IN_USE, "a build uses it")
    if record.shared:
        return Reason(Cause.IN_USE, "an image has it")
    used = record.last_used or record.created
    for entry in kept:
        if entry.started - CLOCK <= used <= entry.finished + RELEASE:
            return Reason(Cause.NEEDED, f"the build of {short(entry.revision)} uses it")
    if used >= newest:
        return Reason(Cause.NEEDED, "no newer build of this project is known")
    return None


def _step_verdict(record: UsageInfo, why: Reason, *, remove: bool) -> Verdict:
    return Verdict(
        ObjectKind.STEP,
        record.id,
        describe_step(record.description),
        record.size,
        remove=remove,
        why=why,
        created=record.created,
    )
