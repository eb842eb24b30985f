"""Which records of the build cache are this project's own, and which of those no build needs any more.

Two pure decisions over what the engine lists and what the journal says (`watcher.build.journal`):

`prove_records`: a step that ran made exactly one record, described by the step and created while it ran. So
where no more records fit than steps of ours ran, they are ours. Where more fit, another build ran such a step
at the same moment. Then those are ours that were made on top of a record of ours. Where that does not decide
either, it cannot be known, and all stay.

`judge_records`: of our own records, those go that were last used by builds which newer ones have superseded.
A record that was used at any other moment was used by somebody else, and stays.

Cache mounts, base images, and records that an image shares are never among those that go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from watcher.build import BuildEntry, StepRun
from watcher.buildkit import CacheRecord, parse_step
from watcher.observe import short
from watcher.prune.model import Cause, Kind, Verdict, Why

# How BuildKit describes what a step made (moby/buildkit, solver/llbsolver/ops/exec.go and file.go). Every
# file operation is "fileop target" on old engines, and has the step's own name on newer ones.
_EXEC = "mount / from exec "
_FILE = "fileop target"
_FILE_STEPS = ("COPY", "ADD", "WORKDIR")

_NONE: list[tuple[list[int], set[int]]] = []
_CLOCK = 0.005  # seconds by which a record may seem to be made outside of its step
_RELEASE = 2.0  # seconds after its last step within which a build lets go of the records that it used
_COMPARED = 3000  # characters of a command that are compared …
_LEAST = 4  # … and how many of them must say the same


def prove_records(
    entries: Sequence[BuildEntry], records: Collection[CacheRecord], running: Collection[str] = ()
) -> list[BuildEntry]:
    """The entries, each build that is over with the records that are proven to be its own.

    Builds in `running` are left for later. One that neither runs nor ended was cut off with its daemon.
    """
    there = {record.id for record in records}
    known = {record for entry in entries for record in entry.records or ()}
    free = [each for each in records if each.kind == "regular" and each.id not in known]
    steps = [
        (entry.id, step)
        for entry in entries
        if entry.id not in running
        for step in _without_record(entry, there, records)
    ]
    fitting = {
        number: {at for at, record in enumerate(free) if fits(step, record)}
        for number, (_, step) in enumerate(steps)
    }
    proven: dict[str, set[CacheRecord]] = {}
    groups, undecided = _competing(fitting), _NONE
    while len(groups) != len(undecided):
        undecided = groups
        groups = []
        for numbers, found in undecided:
            among = found if len(found) <= len(numbers) else {at for at in found if _on(free[at], known)}
            if not among or len(among) > len(numbers):
                groups.append((numbers, found))
                continue
            known |= {free[at].id for at in among}
            for number in numbers:
                made = (free[at] for at in fitting[number] & among)
                proven.setdefault(steps[number][0], set()).update(made)
    return [
        entry if entry.id in running else _with_records(entry, proven.get(entry.id, set()), there)
        for entry in entries
    ]


def _on(record: CacheRecord, known: Collection[str]) -> bool:
    """Whether the record was made on top of one that is proven ours: another build has a base of its own."""
    return any(parent in known for parent in record.parents)


def _without_record(
    entry: BuildEntry, there: Collection[str], records: Collection[CacheRecord]
) -> Iterator[StepRun]:
    """The steps whose record is still to be found: all at first, later those whose record got another id."""
    if entry.records is None:
        yield from entry.steps
    elif entry.unfinished - set(there):
        own = [record for record in records if record.id in entry.records]
        yield from (step for step in entry.steps if not any(fits(step, record) for record in own))


def _with_records(entry: BuildEntry, proven: Collection[CacheRecord], there: Collection[str]) -> BuildEntry:
    records = {record for record in entry.records or () if record in there}
    unfinished = {record for record in entry.unfinished if record in there}
    return replace(
        entry,
        ended=entry.ended or "failed",
        records=frozenset(records | {record.id for record in proven}),
        unfinished=frozenset(unfinished | {record.id for record in proven if record.mutable}),
    )


def fits(step: StepRun, record: CacheRecord) -> bool:
    """Whether the record may be what this run of the step made."""
    if not step.started - _CLOCK <= record.created <= step.finished + _CLOCK:
        return False
    command = step.name.partition("] ")[2] if step.name.startswith("[") else step.name
    keyword = command.split(" ", 1)[0].upper()
    if record.description.startswith(_EXEC):
        return keyword == "RUN" and _same_command(command, record.description[len(_EXEC) :])
    if record.description == _FILE:
        return keyword in _FILE_STEPS
    return record.description == step.name


def _same_command(command: str, arguments: str) -> bool:
    """Whether a `RUN` step's name may be that of these arguments.

    The name has variables expanded, quotes removed and flags in front; the arguments have neither. So every
    piece of plain text between the variables has to stand in the name, in order. A command of variables alone
    says nothing.
    """
    name, at, said = _bare(command[:_COMPARED]), 0, 0
    text = arguments.partition(" -c ")[2] or arguments
    for piece in _between_variables(text[:_COMPARED]):
        bare = _bare(piece)
        at = name.find(bare, at)
        if at < 0:
            return False
        at += len(bare)
        said += len(bare)
    return said >= _LEAST


def _bare(text: str) -> str:
    return "".join(text.translate({ord(sign): None for sign in "\"'\\"}).split())


def _between_variables(text: str) -> Iterator[str]:
    """The text between `$NAME` and `${NAME…}`; what follows a brace that is never closed is left out."""
    while text:
        piece, sign, text = text.partition("$")
        yield piece
        if text.startswith("{"):
            text = text.partition("}")[2]
        elif sign:
            text = text[next((at for at, char in enumerate(text) if not _in_name(char)), len(text)) :]


def _in_name(char: str) -> bool:
    return char.isalnum() or char == "_"


def _competing(fitting: Mapping[int, set[int]]) -> list[tuple[list[int], set[int]]]:
    """Steps that may have made the same records, with these records."""
    groups: list[tuple[list[int], set[int]]] = []
    for number, found in fitting.items():
        numbers, together = [number], set(found)
        apart = []
        for group in groups:
            if group[1] & together:
                numbers, together = group[0] + numbers, group[1] | together
            else:
                apart.append(group)
        groups = [*apart, (numbers, together)]
    return groups


def judge_records(
    entries: Sequence[BuildEntry],
    records: Collection[CacheRecord],
    *,
    keep: int,
    services: Collection[str],
    running: Collection[str] = (),
) -> tuple[Verdict, ...]:
    """What becomes of each of our own records; those that the newest `keep` revisions used stay.

    `services` are those that the project has: nothing is kept of one that was renamed or removed.
    """
    kept = _kept(entries, keep, services) | set(running)
    users = _Users(entries)
    verdicts = []
    for record in records:
        if (step := users.maker(record)) is None:
            continue
        why = _why_it_stays(record, users.of(record), kept)
        verdicts.append(
            Verdict(
                Kind.STEP,
                record.id,
                step.shown or step.name,
                record.size,
                remove=why is None,
                why=why or Why(Cause.SUPERSEDED, "only superseded builds have used it"),
            )
        )
    return tuple(verdicts)


def _kept(entries: Sequence[BuildEntry], keep: int, services: Collection[str]) -> set[str]:
    """The builds whose records stay: those of a service's newest `keep` good revisions and its newest."""
    kept: set[str] = set()
    for service in services:
        own = [entry for entry in entries if entry.service == service]
        final = sorted((entry for entry in own if entry.final), key=lambda each: each.started, reverse=True)
        good = dict.fromkeys(entry.revision for entry in final if entry.ended == "ok")
        revisions = {*list(good)[:keep], *(entry.revision for entry in final[:1])}
        kept |= {entry.id for entry in own if entry.revision in revisions}
    return kept


class _Users:
    """Which builds made and used a record."""

    def __init__(self, entries: Sequence[BuildEntry]) -> None:
        self._makers = {record: entry for entry in entries for record in entry.records or ()}
        self._entries = [entry for entry in entries if entry.started]

    def maker(self, record: CacheRecord) -> StepRun | None:
        """The step of ours that made it; None when it is not proven to be ours."""
        entry = self._makers.get(record.id)
        return next((step for step in entry.steps if fits(step, record)), None) if entry else None

    def of(self, record: CacheRecord) -> list[BuildEntry]:
        """The builds that may have used it last; none when somebody else did."""
        at = record.last_used or record.created
        return [each for each in self._entries if each.started - _CLOCK <= at <= each.finished + _RELEASE]


def _why_it_stays(record: CacheRecord, users: Sequence[BuildEntry], kept: Collection[str]) -> Why | None:
    if record.in_use:
        return Why(Cause.IN_USE, "a build uses it")
    if record.shared:
        return Why(Cause.IN_USE, "an image has it")
    if not users:
        return Why(Cause.FOREIGN, "somebody else's build has used it since")
    if needing := next((entry for entry in users if entry.id in kept), None):
        return Why(Cause.NEEDED, f"the build of {short(needing.revision)} uses it")
    return None


def compact(entries: Sequence[BuildEntry], records: Collection[CacheRecord]) -> list[BuildEntry]:
    """The entries worth remembering: those that made a record that is left, or may have used one last."""
    own = {record for entry in entries for record in entry.records or ()}
    oldest = min((each.last_used or each.created for each in records if each.id in own), default=float("inf"))
    return [
        entry
        for entry in entries
        if entry.records is None or entry.records or (entry.started and entry.finished + _RELEASE >= oldest)
    ]


def stage_size(entries: Sequence[BuildEntry], records: Collection[CacheRecord], stage: str) -> int | None:
    """Bytes that the newest build's steps of a stage added to its base; None where no record tells.

    The chain of parents is summed up to the base image. What an image shares counts like the rest.
    """
    there = {record.id: record for record in records}
    names = (stage, f"stage-{stage}")  # BuildKit's name of a stage without one is its number
    for entry in sorted(entries, key=lambda each: each.started, reverse=True):
        steps = [step for step in entry.steps if parse_step("", step.name).stage in names]
        own = [there[name] for name in entry.records or () if name in there]
        for step in sorted(steps, key=lambda each: each.finished, reverse=True):
            if last := next((record for record in own if fits(step, record)), None):
                return _chain_size(last, there)
    return None


def _chain_size(record: CacheRecord, there: Mapping[str, CacheRecord]) -> int:
    size, seen = 0, {record.id}
    while record.parents:
        size += record.size
        parent = there.get(record.parents[0])
        if parent is None or parent.id in seen:
            break
        record = parent
        seen.add(record.id)
    return size
