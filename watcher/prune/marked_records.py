"""Records of the build cache that show by themselves whose they are, without a journal.

An accelerated command names its project (`dockerfile.is_own_command`), and the engine keeps the command with
what it made. So what a build left whose journal is gone is found as well: a state folder that was deleted, a
container that the watcher ran in. A command of an earlier version shows that a watcher wrote it, but not for
which project; such a record stays unless pruning is asked for in the name of all projects.

Below a marked record lie those that it was made on top of. They are ours where everything that was made on
top of them is, and nothing used them after that.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from watcher import dockerfile
from watcher.builder import BuildEntry
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
    """Whose marked records are judged: those of `project`; with `unclaimed` those of earlier versions too."""

    project: str
    unclaimed: bool = False

    def is_own(self, record: UsageInfo) -> bool:
        """Whether the command that made the record shows that it is to be judged here."""
        if dockerfile.is_own_command(record.description, self.project):
            return True
        return self.unclaimed and dockerfile.is_unclaimed_command(record.description)


def find_marked(
    marks: Marks, entries: Sequence[BuildEntry], records: Sequence[UsageInfo]
) -> tuple[UsageInfo, ...]:
    """The marked records that no build of the journal made, and those below them; the newest first."""
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
    """What becomes of the records that `find_marked` gave; `kept` are the builds whose records stay.

    A record goes when a newer build is known than the last that used it, so that a journal that has just
    begun costs nothing; or when the project is `gone`.
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
    """What stays although a watcher made it, because nothing shows for which project: one verdict for all."""
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
    """Whether a step made the record, and its uses are those of what was made on top of it."""
    if not base.description.startswith((EXEC, FILE, "[")):
        return False  # a layer of a base image
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
