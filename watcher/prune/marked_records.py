"""Records of the build cache that show by themselves whose they are, without a journal.

An accelerated command names its project (`dockerfile.is_own_command`), and the engine keeps the command with
what it made. So what a build left whose journal is gone is found as well: a state folder that was deleted, a
container that the watcher ran in. A command of an earlier version shows that a watcher wrote it, but not for
which project; such a record stays unless pruning is asked for in the name of all projects.

Below a marked record lie those that it was made on top of. They are ours where everything that was made on
top of them is, and nothing used them after that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from watcher import dockerfile
from watcher.builder import BuildEntry
from watcher.buildkit import CacheRecord
from watcher.observers.events import short
from watcher.prune.model import Cause, Kind, Verdict, Why
from watcher.prune.record_matching import CLOCK, EXEC, RELEASE

_SHOWN = 80  # characters of a command that are shown
_UNKNOWN = (
    "a watcher of an earlier version made it, and nothing shows for which project; "
    "`watcher prune --all-projects` removes it"
)


@dataclass(frozen=True, slots=True)
class Marks:
    """Whose marked records are judged: those of `project`; with `unclaimed` those of earlier versions too."""

    project: str
    unclaimed: bool = False

    def own(self, record: CacheRecord) -> bool:
        """Whether the command that made the record shows that it is to be judged here."""
        if dockerfile.is_own_command(record.description, self.project):
            return True
        return self.unclaimed and dockerfile.is_unclaimed_command(record.description)


def judge_marked(
    marks: Marks, entries: Sequence[BuildEntry], records: Sequence[CacheRecord], kept: Collection[str]
) -> tuple[Verdict, ...]:
    """What becomes of the records that are marked and that no build of the journal made.

    `kept` are the builds whose records stay. A record goes when a newer build is known than the last that
    used it, so that a journal that has just begun costs nothing.
    """
    known = {record for entry in entries for record in entry.records or ()}
    regular = [each for each in records if each.kind == "regular"]
    marked = {each.id: each for each in regular if each.id not in known and marks.own(each)}
    own = _with_bases(marked, regular, known)
    finals = [entry.started for entry in entries if entry.final and entry.ended == "ok"]
    newest = max(finals, default=0.0)
    going = [entry for entry in entries if entry.id in kept and entry.started]
    verdicts = []
    for record in own:
        why = _why_it_stays(record, going, newest)
        why = why or Why(
            Cause.SUPERSEDED, "no build that is remembered has used it, and newer ones are known"
        )
        verdicts.append(_verdict(record, why, remove=why.cause is Cause.SUPERSEDED))
    owned = {record.id for record in own} | known
    verdicts += [
        _verdict(record, Why(Cause.FOREIGN, _UNKNOWN), remove=False)
        for record in regular
        if record.id not in owned and dockerfile.is_unclaimed_command(record.description)
    ]
    return tuple(verdicts)


def _with_bases(
    marked: dict[str, CacheRecord], records: Sequence[CacheRecord], known: Collection[str]
) -> list[CacheRecord]:
    """The marked records, and those below them that nothing else uses; what is on top comes first."""
    there = {record.id: record for record in records}
    on_top: dict[str, list[CacheRecord]] = defaultdict(list)
    for record in records:
        for parent in record.parents:
            on_top[parent].append(record)
    own = dict(marked)
    waiting = list(marked.values())
    while waiting:
        record = waiting.pop()
        for name in record.parents:
            base = there.get(name)
            if base is None or base.id in own or base.id in known:
                continue
            above = on_top[base.id]
            if all(each.id in own for each in above) and _used_by_these_only(base, above):
                own[base.id] = base
                waiting.append(base)
    return sorted(own.values(), key=lambda each: each.created, reverse=True)


def _used_by_these_only(base: CacheRecord, above: Sequence[CacheRecord]) -> bool:
    """Whether the uses of a record are those of what was made on top of it."""
    if not base.parents or base.usage_count > sum(each.usage_count for each in above):
        return False  # without a parent it is an image's own layer
    used = base.last_used or base.created
    return any(each.created - CLOCK <= used <= (each.last_used or used) + RELEASE for each in above)


def _why_it_stays(record: CacheRecord, kept: Sequence[BuildEntry], newest: float) -> Why | None:
    if record.in_use:
        return Why(Cause.IN_USE, "a build uses it")
    if record.shared:
        return Why(Cause.IN_USE, "an image has it")
    used = record.last_used or record.created
    for entry in kept:
        if entry.started - CLOCK <= used <= entry.finished + RELEASE:
            return Why(Cause.NEEDED, f"the build of {short(entry.revision)} uses it")
    if used >= newest:
        return Why(Cause.NEEDED, "no newer build of this project is known")
    return None


def _verdict(record: CacheRecord, why: Why, *, remove: bool) -> Verdict:
    return Verdict(Kind.STEP, record.id, _name(record), record.size, remove=remove, why=why)


def _name(record: CacheRecord) -> str:
    """What a person knows the record by: the user's own command, without what was put before it."""
    if not record.description.startswith(EXEC):
        return record.description
    command = record.description.removeprefix(EXEC).removeprefix("/bin/sh -c ")
    for end in ("; } >/dev/null 2>&1 && ", "; } 2>/dev/null && "):
        command = command.partition(end)[2] or command
    return f"RUN {command[:_SHOWN]}"
