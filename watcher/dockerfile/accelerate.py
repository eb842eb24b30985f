"""Make somebody's Dockerfile fast for a developer's loop without changing what it builds.

The text that comes out is sent to the engine instead of the file; the file is never written. Only `RUN`
instructions change: cache mounts for go come in, `-a` and `go clean -cache` go out. The number of lines
stays, so the engine's error messages point to the right ones. In doubt a line is left alone and the reason
said. What a level promises:

- `exact`: with `-trimpath -buildvcs=false` the binary is the same, byte for byte, as without, and a step
  ends with the same status: a test that is run by a step runs in every build of it.
- `fast`: also `-ldflags=-w`, so the binary lacks DWARF and is otherwise the same program.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from watcher import regex
from watcher.dockerfile import caches, rewrite
from watcher.dockerfile.annotations import LineChange, LineNote, line_changes
from watcher.dockerfile.binary_cache import Program, put_in_place
from watcher.dockerfile.caches import LeaveAlone
from watcher.dockerfile.frontend import abilities
from watcher.dockerfile.go_commands import GoCall, Reading, Use
from watcher.dockerfile.gotest import run_tests
from watcher.dockerfile.gowrapper import without_a
from watcher.dockerfile.inputs import TreeInputs, may_rebuild, may_wrap_tools
from watcher.dockerfile.model import Dockerfile
from watcher.dockerfile.module_cache import ModuleMount, module_mounts, modules_before
from watcher.dockerfile.network import needs_no_network
from watcher.dockerfile.parse import parse
from watcher.dockerfile.platforms import Platforms
from watcher.dockerfile.running import THE_IMAGES, Runs
from watcher.dockerfile.spans import Edit, apply
from watcher.dockerfile.stage_group import Family, check_touchable, families
from watcher.dockerfile.stages import Graph, mounts
from watcher.dockerfile.state import ImageConfig, Step
from watcher.dockerfile.unseen import Namer, cgo_off

GOGC = "400"
_NOT_PLAIN = regex.compile(r"[^\w.-]")


class Level(StrEnum):
    """How far a Dockerfile may be changed."""

    OFF = "off"
    EXACT = "exact"
    FAST = "fast"


@dataclass(frozen=True, slots=True)
class Accelerated:
    """The text to build from, what differs in it, and what could have and does not.

    `without_network`: the lines whose step was given no network; when such a build fails, build again from
    an acceleration with `compile_without_network=False`. `without_dwarf`: the lines whose program a debugger
    finds no symbols in. `programs`: what `keeping` can keep for the next build, where it is looked for.
    `pins`: the lines that `pin` changed besides; `contexts`: those of `with_folders`. `cut_off`: those of
    `without_network` that the text says nothing of, because the frontend would not understand it: whoever
    builds has to see to it.
    `modules_mounted`: a module cache was put where the image, or a layer, may hold modules of its own, which
    it hides; when such a build misses one, build again with `mount_modules=False`.
    """

    text: str
    changes: tuple[LineChange, ...] = ()
    left_alone: tuple[LineNote, ...] = ()
    without_network: tuple[int, ...] = ()
    without_dwarf: tuple[int, ...] = ()
    programs: tuple[Program, ...] = ()
    pins: tuple[LineChange, ...] = ()
    contexts: tuple[LineChange, ...] = ()
    cut_off: tuple[int, ...] = ()
    modules_mounted: bool = False

    @property
    def every_change(self) -> tuple[LineChange, ...]:
        """Changes and pins in the order of the lines."""
        return tuple(sorted((*self.changes, *self.pins), key=lambda change: change.line))


@dataclass(frozen=True, slots=True)
class Options:
    """What `accelerate` was asked for."""

    level: Level
    scope: str
    without_network: bool
    says_so: bool
    gogc: str
    keep_programs: bool
    mount_modules: bool


def accelerate(
    text: str,
    *,
    level: Level,
    build_args: Mapping[str, str],
    target: str | None,
    platforms: Platforms,
    bases: Mapping[str, ImageConfig | None],
    cache_scope: str,
    compile_without_network: bool = False,
    engine_knows_networks: bool = True,
    inputs: TreeInputs | None = None,
    gogc: str = GOGC,
    keep_programs: bool = True,
    runs: Runs = THE_IMAGES,
    mount_modules: bool = True,
) -> Accelerated:
    """The text to send to the engine in place of `text`. Raises DockerfileError where `text` is none.

    `bases` has what is known of each of `base_images()`. `cache_scope` names the project: caches with
    different scopes are never shared. `compile_without_network` is the caller's word that the last build
    downloaded every module, `engine_knows_networks` that the frontend which the engine has built in, taken
    where there is no `# syntax`, knows `RUN --network`: if not, such lines are in `cut_off`. `inputs` are
    the tree's files: they count where C or assembly may open them, and None (not told) leaves the build cache
    out where cgo may be on. `gogc` is what the compiler gets ("" for
    nothing). `keep_programs` has what was linked looked for where `keeping` keeps it, see `binary_cache.py`.
    `runs` is what the compose file has a container run: go in a container needs the cache in its image.
    Tests run in every build that reaches them, see `gotest.py`.

    Build other targets of the same file (the builder stage's image) from the same result: the text depends
    on `target`, and another text is another cache key.
    """
    if level is Level.OFF:
        return Accelerated(text)
    dockerfile = parse(text)
    able = abilities(dockerfile.syntax)
    if not able.mounts:
        note = f"the frontend {dockerfile.syntax} may not know RUN --mount, so nothing is changed"
        return Accelerated(text, left_alone=(LineNote(1, f"# syntax={dockerfile.syntax}", note),))
    graph = Graph(dockerfile, build_args, platforms)
    networks = engine_knows_networks if able.network is None else able.network
    offline = compile_without_network and able.network is not False
    scope = _plain(cache_scope)
    options = Options(level, scope, offline, networks, gogc, keep_programs, mount_modules)
    work = _Work(dockerfile, options, Namer(graph, bases, build_args, inputs), inputs)
    found = families(graph, build_args, bases, target, runs)
    for family, mount in zip(found, module_mounts(found, inputs), strict=True):
        work.family(family, mount)
    return work.result()


class _Work:
    """Collects edits and notes, one RUN after the other."""

    def __init__(
        self, dockerfile: Dockerfile, options: Options, namer: Namer, inputs: TreeInputs | None
    ) -> None:
        self.dockerfile = dockerfile
        self.inputs = inputs
        self.namer = namer
        self.text = dockerfile.text
        self.options = options
        self.edits: list[Edit] = []
        self.notes: dict[tuple[int, str], LineNote] = {}
        self.offline: list[int] = []
        self.stripped: set[int] = set()
        self.programs: list[Program] = []
        self.modules_mounted = False

    def note(self, step: Step, reason: str) -> None:
        line = step.stage.head.line if step.inherited else step.one.line
        shown = self.text.split("\n")[line - 1].strip()
        self.notes[line, reason] = LineNote(line, shown, reason)

    def family(self, family: Family, mount: ModuleMount) -> None:
        if not family.go:
            return
        for step, reading in family.steps:
            if step.one.keyword == "ONBUILD" and reading is not None and reading.use is not Use.NONE:
                self.note(step, "an ONBUILD runs in builds of other files; it is left as it is")
        modules = self._modules(family, mount)
        for step, reading in family.runs():
            if reading.use is not Use.NONE:
                self.run(family, step, reading, modules if reading.modules else None, mount)

    def _modules(self, family: Family, mount: ModuleMount) -> str | None:
        """Where the module cache is mounted on every go step of the family; None: it is not."""
        if mount.refused is not None:
            self.note(*mount.refused)
        if mount.path is not None and not self.options.mount_modules:
            first = next(step for step, reading in family.runs() if reading.modules)
            self.note(first, "the module cache is not mounted: the image's own modules were missed under it")
            return None
        self.edits += mount.edits
        return mount.path

    def run(
        self, family: Family, step: Step, reading: Reading, modules: str | None, mount: ModuleMount
    ) -> None:
        try:
            check_touchable(step, reading)
            who = caches.owner(step.state)
        except LeaveAlone as error:
            self.note(step, str(error))
            return
        kept: dict[str, str] = {}  # flag of `go clean` -> the folder that is mounted for it here
        path, key = self._build_cache(family, step, reading) if reading.compiles else (None, None)
        if path is not None and key is not None:
            kept["cache"] = path
            why = self._why(step, reading)
            self.edits.append(_mount(step, _cache(key, path, who), why))
            self.edits += run_tests(step.one, reading, step.state, path)
            if where := self._rebuilders(reading):
                self.edits.append(without_a(step.one, path, where))
        if modules:
            kept["modcache"] = modules
            name = f"{self.options.scope}-gomodcache"
            why = "modules that were downloaded once are there at the next build"
            self.edits.append(_mount(step, _cache(name, modules, who), why))
            self.modules_mounted = True
        if reading.unclear:
            self.note(step, f"its go flags are not looked at: {reading.unclear}")
        for script, command in reading.placed:
            if caches.removes_only(command, kept.values()):
                self.edits.append(rewrite.remove_nothing(script, command))
        if self.options.keep_programs and path and key and cgo_off(step.state, reading):
            held = _cache(key, path, who)
            for call in reading.calls:  # before the other edits: what stands before the command stands first
                later = family.behind(step)
                if found := put_in_place(call, reading, step, cache=path, mount=held, later=later):
                    self.edits.append(found[0])
                    self.programs.append(found[1])
        self._calls(family, step, reading, kept, path)
        there = bool(modules) or modules_before(family, step, mount)
        if self.options.without_network and there and needs_no_network(step, reading):
            why = "a compile step whose modules are there needs no network, and setting one up takes time"
            if self.options.says_so:
                self.edits.append(_flag(step, "--network=none", why))
            self.offline.append(step.one.line)

    def _build_cache(self, family: Family, step: Step, reading: Reading) -> tuple[str | None, str | None]:
        """Where go's build cache is mounted, and the name of ours; no name where the file mounts its own.

        (None, None), with a note, where it is not mounted.
        """
        try:
            path = caches.build_cache(step.state, reading)
            if caches.is_cache_at(step, path):
                return path, None
            family.check_build_cache(step, reading, path)
            self._check_tools(step, reading)
            name = f"{self.options.scope}-gocache{self.namer.suffix(family, step, reading)}"
        except LeaveAlone as error:
            self.note(step, f"the build cache is not mounted: {error}")
            return None, None
        return path, name

    def _check_tools(self, step: Step, reading: Reading) -> None:
        """Raise LeaveAlone where a program stands before go's tools: go may not see that it changed."""
        texts = [reading.text, str(step.state.get("GOFLAGS") or "")]
        hidden = reading.maybe and self.inputs is not None and self.inputs.wraps_tools
        if hidden or any(may_wrap_tools(text) for text in texts):
            raise LeaveAlone("-toolexec puts a program before go's tools, and go does not see what that does")

    def _rebuilders(self, reading: Reading) -> str:
        """What may call go with `-a` where nobody can take it off; empty when nothing does."""
        if not reading.maybe:
            return ""
        if reading.unclear and may_rebuild(reading.text):
            return "this command"
        found = self.inputs.rebuilders if self.inputs else ()
        return ", ".join(found[:3]) + (" and others" if len(found) > 3 else "")

    def _why(self, step: Step, reading: Reading) -> str:
        why = "what was compiled once is there at the next build"
        if reading.use is Use.MAYBE:
            why += f" ({reading.maybe} may run go)"
        if step.state.assumed:
            why += f"; {step.state.image} has not been looked at, its usual configuration is assumed"
        return why

    def _calls(
        self, family: Family, step: Step, reading: Reading, kept: Mapping[str, str], path: str | None
    ) -> None:
        state = step.state
        for call in reading.calls:
            self.edits += rewrite.keep_caches(call, set(kept))
            self._attempt(step, "", partial(self._without_a, step, reading, call, path))
            if self.options.gogc:
                self.edits += rewrite.collector(call, reading, state, self.options.gogc)
            linker = partial(rewrite.linker, call, reading, state, hidden=family.writes_goflags(step))
            if self.options.level is Level.FAST and self._attempt(step, "-w is not added: ", linker):
                self.stripped.add(step.one.line)

    def _attempt(self, step: Step, what: str, change: Callable[[], list[Edit]]) -> bool:
        """Make a change, or note why it is not made; whether something changed."""
        try:
            made = change()
        except LeaveAlone as error:
            self.note(step, what + str(error))
            return False
        self.edits += made
        return bool(made)

    def _without_a(self, step: Step, reading: Reading, call: GoCall, path: str | None) -> list[Edit]:
        found = rewrite.rebuild_all(call, step.state, self.text)
        if found and path is None:
            raise LeaveAlone("-a stays, because there is no build cache at this step that would help")
        if found and path and caches.mount_over(step, path) and not self.namer.sees_all(step, reading):
            why = (
                "cgo may be on" if not cgo_off(step.state, reading) else "the tree's assembly includes files"
            )
            raise LeaveAlone(f"-a stays: go's cache, which the file mounts itself, does not see C, and {why}")
        return found

    def result(self) -> Accelerated:
        after = apply(self.text, tuple(self.edits))
        changes = line_changes(self.text, after, self.edits)
        notes = tuple(note for _, note in sorted(self.notes.items()))
        offline, stripped = tuple(sorted(self.offline)), tuple(sorted(self.stripped))
        cut_off = () if self.options.says_so else offline
        return Accelerated(
            after,
            changes,
            notes,
            offline,
            stripped,
            tuple(self.programs),
            cut_off=cut_off,
            modules_mounted=self.modules_mounted,
        )


@dataclass(frozen=True, slots=True)
class OwnCache:
    """A cache mount that acceleration put in: its id at the engine, where it is mounted, in which stage."""

    id: str
    target: str
    stage: str
    modules: bool = False  # it is a module cache; else it is a build cache


def cache_names(cache_scope: str) -> tuple[str, ...]:
    """What the ids of this scope's cache mounts are, or begin with."""
    return f"{_plain(cache_scope)}-gocache", f"{_plain(cache_scope)}-gomodcache"


def own_caches(text: str, cache_scope: str) -> tuple[OwnCache, ...]:
    """The cache mounts of this scope in an accelerated text, each id once. Raises DockerfileError."""
    ours = cache_names(cache_scope)
    found: dict[str, OwnCache] = {}
    for stage in parse(text).stages:
        for one in stage.instructions:
            for mount in mounts(one) if one.keyword == "RUN" else ():
                if mount["type"] == "cache" and mount.get("id", "").startswith(ours):
                    modules = mount["id"].startswith(ours[1])
                    own = OwnCache(mount["id"], mount["target"], stage.label, modules)
                    found.setdefault(own.id, own)
    return tuple(found.values())


def _flag(step: Step, flag: str, reason: str) -> Edit:
    return Edit(step.one.keyword_stop, step.one.keyword_stop, f" {flag}", reason)


def _mount(step: Step, value: str, reason: str) -> Edit:
    return _flag(step, f"--mount={value}", reason)


def _cache(key: str, target: str, who: caches.Owner) -> str:
    return f"type=cache,sharing=shared,id={key},target={target}{who.options()}"


def _plain(scope: str) -> str:
    """The scope as a mount option can carry it; distinct scopes stay distinct."""
    plain = _NOT_PLAIN.sub("-", scope)
    if plain == scope:
        return plain
    return f"{plain}-{hashlib.sha256(scope.encode(errors='surrogateescape')).hexdigest()[:8]}"
