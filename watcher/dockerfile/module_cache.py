"""Decide where the module cache is mounted, for all stages of a Dockerfile together.

A mount hides what a layer holds at its place. So the cache is mounted on every go step of the stages that
share modules, or on none: a step without the mount would miss what a step with it downloaded. Stages share
modules through FROM (one `StageGroup`), and by copying the folder of the cache to where another group has its
own:

    FROM golang AS modules
    COPY go.mod go.sum ./
    RUN go mod download

    FROM golang AS builder
    COPY --from=modules /go/pkg /go/pkg
    COPY . .
    RUN go build -o /app .

With the cache mounted in both, nothing is left to copy. The COPY stays, because the other stage must be built
and can hold more; its source becomes a pattern, which BuildKit allows to match nothing: an engine since
BuildKit 0.10 removes the empty folder that a mount leaves behind, and a COPY of a missing folder fails.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field

from watcher import regex
from watcher.dockerfile import caches
from watcher.dockerfile.caches import NotAccelerated
from watcher.dockerfile.go_commands import GoUsage, RunAnalysis
from watcher.dockerfile.inputs import TreeInputs
from watcher.dockerfile.running import runs_a_program
from watcher.dockerfile.spans import Edit
from watcher.dockerfile.stage_group import StageGroup, check_itself, check_touchable
from watcher.dockerfile.state import StageStep

_PREFIX = "the module cache is not mounted: "
_WORD = regex.compile(r"\S+")
_PLAIN = regex.compile(r"/(?:[\pL\pN_@%+.-]+/)*[\pL\pN_@%+.-]*[\pL\pN]")
_WHY = "the modules are in the cache that is mounted in both stages; a pattern may match nothing"


@dataclass(frozen=True, slots=True)
class ModuleMount:
    """Where the module cache is mounted on the go steps of a group (None: it is not), and why not."""

    path: str | None
    refused: tuple[StageStep, str] | None = None
    edits: tuple[Edit, ...] = ()  # of the COPY instructions that bring the modules from another group
    brought: frozenset[int] = frozenset()  # their offsets, with or without a mounted cache


@dataclass(slots=True)
class _Member:
    """One group while its neighbours are examined."""

    group: StageGroup
    path: str | None = None
    refused: tuple[StageStep, str] | None = None
    neighbours: list[_Member] = field(default_factory=list)
    received: dict[int, Edit | None] = field(default_factory=dict)  # by the offset of the COPY
    brought: set[int] = field(default_factory=set)  # the offsets of all COPY that bring modules

    @property
    def first(self) -> StageStep:
        return next(step for step, analysis in self.group.run_steps() if analysis.modules)


def module_mounts(found: Sequence[StageGroup], inputs: TreeInputs | None) -> list[ModuleMount]:
    """Return the module cache of each group, in their order. `inputs` are the files of the tree."""
    members = [_begin_member(group) for group in found]
    for giver in members:
        if giver.path is not None:
            _follow_readers(giver, giver.path, members)
            if giver.neighbours and inputs is not None and not inputs.names_modules:
                # Without modules nothing makes the folder, and the COPY of the file as it is fails.
                giver.refused = giver.refused or (giver.first, f"{_PREFIX}go.sum lists no module")
    for member in members:
        if member.path is not None and member.refused is None:
            _check_member(member, member.path)
    done: set[int] = set()
    for member in members:
        if id(member) not in done:
            group = _find_group(member)
            done |= {id(each) for each in group}
            _spread_refusal(group)
    return [_make_mount(member) for member in members]


def _begin_member(group: StageGroup) -> _Member:
    """Return the module folder of all go steps of a group, as far as the steps agree."""
    member = _Member(group)
    users = [(step, analysis) for step, analysis in group.run_steps() if analysis.modules]
    if not group.go or not users:
        return member
    path = ""
    for step, analysis in users:
        try:
            path = _modules_at(step, analysis, path, users[0][0])
        except NotAccelerated as error:
            member.refused = step, _PREFIX + str(error)
            return member
    held = [(step, caches.mount_over(step, path)) for step, _ in users]
    if all(mount is not None for _, mount in held):
        return member  # the author of the file did it
    member.path = path
    for step, mount in held:
        if mount is not None:
            member.refused = step, f"{_PREFIX}{mount} is there on some of the go steps"
    return member


def _modules_at(step: StageStep, analysis: RunAnalysis, path: str, first: StageStep) -> str:
    """Return the module cache folder at a step, `path` being that of earlier steps. Raises NotAccelerated."""
    check_touchable(step, analysis)
    found = caches.module_cache(step.state, analysis)
    if path and found != path:
        raise NotAccelerated(f"it is at {path} in one step and at {found} in another")
    if caches.cache_owner(step.state) != caches.cache_owner(first.state):
        raise NotAccelerated("the go steps run as different users")
    if step.state.text("GOPROXY") == "off" or "GOPROXY=off" in analysis.text:
        raise NotAccelerated("GOPROXY is off, so the modules come with the image or the tree")
    check_itself(step, analysis, found, caches.module_cache_names(found), "modcache")
    return found


def _follow_readers(giver: _Member, path: str, members: Sequence[_Member]) -> None:
    """Find which groups take the modules of this one; a reader of another kind refuses the mount."""
    for step, pattern in giver.group.readers:
        if not caches.pattern_touches(pattern, path):
            continue
        taker = next((one for one in members if any(other is step for other, _ in one.group.steps)), None)
        try:
            if taker is None:
                raise NotAccelerated(f"line {step.one.line} reads them out of this stage")
            taker.brought.add(step.one.start)
            edit = _handed_on(giver, path, taker, step)
        except NotAccelerated as error:
            giver.refused = giver.refused or (giver.first, f"{_PREFIX}{error}")
            continue
        taker.received[step.one.start] = edit
        if taker is not giver:
            giver.neighbours.append(taker)
            taker.neighbours.append(giver)


def _handed_on(giver: _Member, path: str, taker: _Member, step: StageStep) -> Edit | None:
    """Return what happens to a COPY that brings one group's modules to the module folder of another.

    None: it stays as it is. Raises NotAccelerated.
    """
    one = step.one
    words = caches.copy_operands(one)
    reads = f"line {one.line} reads {' '.join(words[:-1]) or one.keyword} out of this stage, and the module "
    reads += "cache with it"
    if one.keyword != "COPY":
        raise NotAccelerated(reads)
    if taker.path is None:
        if taker.refused is not None:
            raise NotAccelerated(f"{reads}; there, {taker.refused[1].removeprefix(_PREFIX)}")
        raise NotAccelerated(f"{reads}; go in that stage does not have its modules there")
    if {flag.name for flag in one.flags} - {"from", "link", "chown"} or len(words) != 2:
        raise NotAccelerated(reads)
    if caches.cache_owner(giver.first.state) != caches.cache_owner(taker.first.state):
        raise NotAccelerated(f"{reads}; go runs as another user there")
    escape = giver.group.graph.dockerfile.escape
    source, target = (step.state.expand(word, escape) for word in words)
    if source is None or target is None or (not target.startswith("/") and step.state.workdir is None):
        raise NotAccelerated(reads)
    source = posixpath.normpath(posixpath.join("/", source))
    target = posixpath.normpath(posixpath.join(step.state.workdir or "/", target))
    if not _lands_at(path, source, target, taker.path):
        raise NotAccelerated(f"{reads}; go in that stage has its modules at {taker.path}")
    if source == "/" or not _PLAIN.fullmatch(source):
        raise NotAccelerated(reads)
    if source in _known_folders(giver.first):
        return None
    place = _find_word(step, words[0])
    if place is None:
        raise NotAccelerated(reads)
    return Edit(*place, _optional_pattern(source, giver.first), _WHY)


def _lands_at(given: str, source: str, target: str, taken: str) -> bool:
    """Return whether a COPY of `source` to `target` brings the folder `given` to `taken`, or a part of it."""
    if caches.is_within(given, source):
        return posixpath.normpath(target + "/" + given[len(source.rstrip("/")) :]) == taken
    return caches.is_within(source, given) and target == taken + source[len(given) :]


def _find_word(step: StageStep, word: str) -> tuple[int, int] | None:
    """Return the place of a COPY's source in the file."""
    body = step.one.body
    if step.one.words is not None:
        start = body.text.find(f'"{word}"') + 1
        return (body.offset(start), body.offset(start + len(word) - 1) + 1) if start else None
    found = _WORD.search(body.text)
    if found is None or found[0] != word:
        return None
    return body.offset(found.start()), body.offset(found.end() - 1) + 1


def _optional_pattern(source: str, step: StageStep) -> str:
    """Return a pattern that matches only `source`, and nothing if it is missing.

    The folder before the first wildcard has to exist, so the wildcard is in the first name that a Go image
    can lack.
    """
    above = max((one for one in _known_folders(step) if caches.is_within(source, one)), key=len)
    name, slash, rest = source[len(above.rstrip("/")) + 1 :].partition("/")
    return f"{posixpath.join(above, name[:-1])}[{name[-1]}]{slash}{rest}"


def _known_folders(step: StageStep) -> list[str]:
    """Return the folders above a module cache that exist before go creates any."""
    golang = step.state.golang and step.state.text("GOPATH") == "/go"
    return ["/", "/root", *(["/go"] if golang else [])]


def _check_member(member: _Member, path: str) -> None:
    """Refuse the mount where another step reads or fills the folder."""
    try:
        _check_folder(member.group, path, frozenset(member.received))
    except NotAccelerated as error:
        member.refused = member.first, _PREFIX + str(error)


def _check_folder(group: StageGroup, path: str, received: frozenset[int]) -> None:
    names = caches.module_cache_names(path)
    instructions = [step.one for step, _ in group.steps]
    base = group.steps[0][0].state.command
    if group.output is not None and not runs_a_program(group.runs_later, instructions, base):
        raise NotAccelerated(
            f"the stage {group.output.label} becomes the image, which would lose its modules"
        )
    for step, analysis in group.run_steps():
        if analysis.use is GoUsage.NONE and (shown := caches.find_mention(analysis, path, names)):
            raise NotAccelerated(f"the RUN in line {step.one.line} uses {shown} without go")
    for step, _ in group.steps:
        target = group.copy_destination(step)
        if target is None or step.one.start in received:
            continue
        if caches.is_within(target, path) or (
            caches.is_within(path, target) and caches.copies_folders(step.one)
        ):
            raise NotAccelerated(f"line {step.one.line} may copy modules to {path}")


def _find_group(member: _Member) -> list[_Member]:
    """Return the groups that hand modules on to this one or get them from it, itself included."""
    found: list[_Member] = []
    waiting = [member]
    while waiting:
        one = waiting.pop()
        if not any(one is other for other in found):
            found.append(one)
            waiting += one.neighbours
    return found


def _spread_refusal(group: Sequence[_Member]) -> None:
    """Mount the cache on all of a group or on none."""
    refused = next((one for one in group if one.refused is not None), None)
    if refused is None or refused.refused is None:
        return
    stage, why = refused.group.steps[0][0].stage.label, refused.refused[1].removeprefix(_PREFIX)
    for one in group:
        if one.refused is None:
            one.refused = one.first, f"{_PREFIX}not in the stage {stage}, which shares its modules: {why}"


def _make_mount(member: _Member) -> ModuleMount:
    brought = frozenset(member.brought)
    if member.path is None or member.refused is not None:
        return ModuleMount(None, member.refused, brought=brought)
    edits = tuple(edit for edit in member.received.values() if edit is not None)
    return ModuleMount(member.path, edits=edits, brought=brought)


def modules_before(group: StageGroup, step: StageStep, mount: ModuleMount) -> bool:
    """Return whether a step before this one has put the modules into a layer or the tree."""
    for other, analysis in group.steps_before(step):
        if other.one.start in mount.brought:
            return True
        for call in analysis.calls if analysis is not None else ():
            if call.sub == "mod" and {"download", "vendor"} & {word.text for word in call.command.words}:
                return True
    return False
