"""Decide where the module cache is mounted, for all stages of a Dockerfile together.

A mount hides what a layer holds at its place. So the cache is mounted on every go step of stages that hand
modules to each other, or on none: a step without it would not see what a step with it has downloaded. Stages
hand modules on through FROM (one `Family`), and by copying the folder of the cache, as a whole, to where the
other family has its own:

    FROM golang AS modules
    COPY go.mod go.sum ./
    RUN go mod download

    FROM golang AS builder
    COPY --from=modules /go/pkg /go/pkg
    COPY . .
    RUN go build -o /app .

With the cache mounted in both, nothing is left to copy. The COPY stays, because the other stage must be built
and may hold more; its source becomes a pattern, which BuildKit allows to match nothing: an engine since
BuildKit 0.10 removes the empty folder that a mount leaves behind, and a COPY of a missing folder fails.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field

from watcher import regex
from watcher.dockerfile import caches
from watcher.dockerfile.caches import LeaveAlone
from watcher.dockerfile.go_commands import Reading, Use
from watcher.dockerfile.inputs import TreeInputs
from watcher.dockerfile.running import runs_a_program
from watcher.dockerfile.spans import Edit
from watcher.dockerfile.stage_group import Family, check_itself, check_touchable
from watcher.dockerfile.state import Step

_PREFIX = "the module cache is not mounted: "
_WORD = regex.compile(r"\S+")
_PLAIN = regex.compile(r"/(?:[\pL\pN_@%+.-]+/)*[\pL\pN_@%+.-]*[\pL\pN]")
_WHY = "the modules are in the cache that is mounted in both stages; a pattern may match nothing"


@dataclass(frozen=True, slots=True)
class ModuleMount:
    """Where the module cache is mounted on the go steps of a family (None: it is not), and why not."""

    path: str | None
    refused: tuple[Step, str] | None = None
    edits: tuple[Edit, ...] = ()  # of the COPY instructions that bring the modules from another family
    brought: frozenset[int] = frozenset()  # where those begin, be the cache mounted or not


@dataclass(slots=True)
class _Member:
    """What is known of one family while its neighbours are looked at."""

    family: Family
    path: str | None = None
    refused: tuple[Step, str] | None = None
    neighbours: list[_Member] = field(default_factory=list)
    received: dict[int, Edit | None] = field(default_factory=dict)  # by the offset of the COPY
    brought: set[int] = field(default_factory=set)  # the offsets of all COPY that bring modules

    @property
    def first(self) -> Step:
        return next(step for step, reading in self.family.runs() if reading.modules)


def module_mounts(found: Sequence[Family], inputs: TreeInputs | None) -> list[ModuleMount]:
    """The module cache of each family, in their order. `inputs` are the files of the tree."""
    members = [_begin(family) for family in found]
    for giver in members:
        if giver.path is not None:
            _follow(giver, giver.path, members)
            if giver.neighbours and inputs is not None and not inputs.names_modules:
                # Without modules nothing makes the folder, and the COPY of the file as it is fails.
                giver.refused = giver.refused or (giver.first, f"{_PREFIX}go.sum lists no module")
    for member in members:
        if member.path is not None and member.refused is None:
            _check(member, member.path)
    done: set[int] = set()
    for member in members:
        if id(member) not in done:
            group = _group(member)
            done |= {id(each) for each in group}
            _spread(group)
    return [_result(member) for member in members]


def _begin(family: Family) -> _Member:
    """The folder that all go steps of a family have their modules in, as far as the steps agree."""
    member = _Member(family)
    users = [(step, reading) for step, reading in family.runs() if reading.modules]
    if not family.go or not users:
        return member
    path = ""
    for step, reading in users:
        try:
            path = _modules_at(step, reading, path, users[0][0])
        except LeaveAlone as error:
            member.refused = step, _PREFIX + str(error)
            return member
    held = [(step, caches.mount_over(step, path)) for step, _ in users]
    if all(mount is not None for _, mount in held):
        return member  # done already, by whoever wrote the file
    member.path = path
    for step, mount in held:
        if mount is not None:
            member.refused = step, f"{_PREFIX}{mount} is there on some of the go steps"
    return member


def _modules_at(step: Step, reading: Reading, path: str, first: Step) -> str:
    """The module cache's folder at a step, `path` being that of the steps before. Raises LeaveAlone."""
    check_touchable(step, reading)
    found = caches.module_cache(step.state, reading)
    if path and found != path:
        raise LeaveAlone(f"it is at {path} in one step and at {found} in another")
    if caches.owner(step.state) != caches.owner(first.state):
        raise LeaveAlone("the go steps run as different users")
    if step.state.text("GOPROXY") == "off" or "GOPROXY=off" in reading.text:
        raise LeaveAlone("GOPROXY is off, so the modules come with the image or the tree")
    check_itself(step, reading, found, caches.module_cache_names(found), "modcache")
    return found


def _follow(giver: _Member, path: str, members: Sequence[_Member]) -> None:
    """Find which families take the modules of this one; a reader of another kind refuses the mount."""
    for step, pattern in giver.family.readers:
        if not caches.pattern_touches(pattern, path):
            continue
        taker = next((one for one in members if any(other is step for other, _ in one.family.steps)), None)
        try:
            if taker is None:
                raise LeaveAlone(f"line {step.one.line} reads them out of this stage")
            taker.brought.add(step.one.start)
            edit = _handed_on(giver, path, taker, step)
        except LeaveAlone as error:
            giver.refused = giver.refused or (giver.first, f"{_PREFIX}{error}")
            continue
        taker.received[step.one.start] = edit
        if taker is not giver:
            giver.neighbours.append(taker)
            taker.neighbours.append(giver)


def _handed_on(giver: _Member, path: str, taker: _Member, step: Step) -> Edit | None:
    """What becomes of a COPY that brings one family's modules to where another has its own.

    None: it stays as it is. Raises LeaveAlone.
    """
    one = step.one
    words = caches.operands(one)
    reads = f"line {one.line} reads {' '.join(words[:-1]) or one.keyword} out of this stage, and the module "
    reads += "cache with it"
    if one.keyword != "COPY":
        raise LeaveAlone(reads)
    if taker.path is None:
        if taker.refused is not None:
            raise LeaveAlone(f"{reads}; there, {taker.refused[1].removeprefix(_PREFIX)}")
        raise LeaveAlone(f"{reads}; go in that stage does not have its modules there")
    if {flag.name for flag in one.flags} - {"from", "link", "chown"} or len(words) != 2:
        raise LeaveAlone(reads)
    if caches.owner(giver.first.state) != caches.owner(taker.first.state):
        raise LeaveAlone(f"{reads}; go runs as another user there")
    escape = giver.family.graph.dockerfile.escape
    source, target = (step.state.expand(word, escape) for word in words)
    if source is None or target is None or (not target.startswith("/") and step.state.workdir is None):
        raise LeaveAlone(reads)
    source = posixpath.normpath(posixpath.join("/", source))
    target = posixpath.normpath(posixpath.join(step.state.workdir or "/", target))
    if not _lands(path, source, target, taker.path):
        raise LeaveAlone(f"{reads}; go in that stage has its modules at {taker.path}")
    if source == "/" or not _PLAIN.fullmatch(source):
        raise LeaveAlone(reads)
    if source in _known(giver.first):
        return None
    place = _word(step, words[0])
    if place is None:
        raise LeaveAlone(reads)
    return Edit(*place, _pattern(source, giver.first), _WHY)


def _lands(given: str, source: str, target: str, taken: str) -> bool:
    """Whether a COPY of `source` to `target` brings the folder `given` to `taken`, or a part of it."""
    if caches.within(given, source):
        return posixpath.normpath(target + "/" + given[len(source.rstrip("/")) :]) == taken
    return caches.within(source, given) and target == taken + source[len(given) :]


def _word(step: Step, word: str) -> tuple[int, int] | None:
    """Where the source of a COPY stands in the file."""
    body = step.one.body
    if step.one.words is not None:
        start = body.text.find(f'"{word}"') + 1
        return (body.offset(start), body.offset(start + len(word) - 1) + 1) if start else None
    found = _WORD.search(body.text)
    if found is None or found[0] != word:
        return None
    return body.offset(found.start()), body.offset(found.end() - 1) + 1


def _pattern(source: str, step: Step) -> str:
    """A pattern that matches `source` alone, and nothing where that is missing.

    What stands before the first wildcard has to be there, so it is put into the first folder that an image of
    Go's may lack.
    """
    above = max((one for one in _known(step) if caches.within(source, one)), key=len)
    name, slash, rest = source[len(above.rstrip("/")) + 1 :].partition("/")
    return f"{posixpath.join(above, name[:-1])}[{name[-1]}]{slash}{rest}"


def _known(step: Step) -> list[str]:
    """The folders above a module cache that are there before go makes any."""
    golang = step.state.golang and step.state.text("GOPATH") == "/go"
    return ["/", "/root", *(["/go"] if golang else [])]


def _check(member: _Member, path: str) -> None:
    """Refuse the mount where something else needs or brings what lies in the folder."""
    try:
        _check_folder(member.family, path, frozenset(member.received))
    except LeaveAlone as error:
        member.refused = member.first, _PREFIX + str(error)


def _check_folder(family: Family, path: str, received: frozenset[int]) -> None:
    names = caches.module_cache_names(path)
    instructions = [step.one for step, _ in family.steps]
    base = family.steps[0][0].state.command
    if family.output is not None and not runs_a_program(family.runs_later, instructions, base):
        raise LeaveAlone(f"the stage {family.output.label} becomes the image, which would lose its modules")
    for step, reading in family.runs():
        if reading.use is Use.NONE and (shown := caches.mentions(reading, path, names)):
            raise LeaveAlone(f"the RUN in line {step.one.line} uses {shown} without go")
    for step, _ in family.steps:
        target = family.destination(step)
        if target is None or step.one.start in received:
            continue
        if caches.within(target, path) or (caches.within(path, target) and caches.copies_folders(step.one)):
            raise LeaveAlone(f"line {step.one.line} may copy modules to {path}")


def _group(member: _Member) -> list[_Member]:
    """The families that hand modules on to this one or get them from it, itself included."""
    found: list[_Member] = []
    waiting = [member]
    while waiting:
        one = waiting.pop()
        if not any(one is other for other in found):
            found.append(one)
            waiting += one.neighbours
    return found


def _spread(group: Sequence[_Member]) -> None:
    """Mount on all of a group or on none."""
    refused = next((one for one in group if one.refused is not None), None)
    if refused is None or refused.refused is None:
        return
    stage, why = refused.family.steps[0][0].stage.label, refused.refused[1].removeprefix(_PREFIX)
    for one in group:
        if one.refused is None:
            one.refused = one.first, f"{_PREFIX}not in the stage {stage}, which shares its modules: {why}"


def _result(member: _Member) -> ModuleMount:
    brought = frozenset(member.brought)
    if member.path is None or member.refused is not None:
        return ModuleMount(None, member.refused, brought=brought)
    edits = tuple(edit for edit in member.received.values() if edit is not None)
    return ModuleMount(member.path, edits=edits, brought=brought)


def modules_before(family: Family, step: Step, mount: ModuleMount) -> bool:
    """Whether a step before this one has put the modules into a layer or the tree."""
    for other, reading in family.before(step):
        if other.one.start in mount.brought:
            return True
        for call in reading.calls if reading is not None else ():
            if call.sub == "mod" and {"download", "vendor"} & {word.text for word in call.command.words}:
                return True
    return False
