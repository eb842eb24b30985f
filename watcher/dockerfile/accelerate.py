"""Make a Dockerfile fast for a developer's loop without changing what it builds.

The text that comes out is sent to the engine instead of the file; the file is never written. Only `RUN`
instructions change: cache mounts for go come in, `-a` and `go clean -cache` go out. The number of lines
stays, so the engine's error messages point to the right ones. When in doubt a line stays as it is, with the
reason. What a level promises:

- `exact`: with `-trimpath -buildvcs=false` the binary is the same, byte for byte, as without, and a step
  ends with the same status: a test that is run by a step runs in every build of it.
- `fast`: also `-ldflags=-w`, so the binary lacks DWARF and is otherwise the same program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from watcher.dockerfile import caches, rewrite
from watcher.dockerfile.annotations import LineChange, LineNote, line_changes
from watcher.dockerfile.binary_cache import Program, put_in_place
from watcher.dockerfile.cache_mounts import add_flag, add_mount, cache_mount, plain_scope
from watcher.dockerfile.caches import NotAccelerated
from watcher.dockerfile.frontend import frontend_abilities
from watcher.dockerfile.go_commands import GoCall, GoUsage, RunAnalysis
from watcher.dockerfile.gotest import run_tests
from watcher.dockerfile.gowrapper import without_a
from watcher.dockerfile.inputs import TreeInputs, may_rebuild, may_wrap_tools
from watcher.dockerfile.model import Dockerfile
from watcher.dockerfile.module_cache import ModuleMount, module_mounts, modules_before
from watcher.dockerfile.network import needs_no_network
from watcher.dockerfile.parse import parse
from watcher.dockerfile.platforms import Platforms
from watcher.dockerfile.running import THE_IMAGES, Runs
from watcher.dockerfile.shared_caches import build_cache_key, module_cache_key
from watcher.dockerfile.spans import Edit, apply_edits
from watcher.dockerfile.stage_group import StageGroup, check_touchable, stage_groups
from watcher.dockerfile.stages import Graph
from watcher.dockerfile.state import ImageConfig, StageStep
from watcher.dockerfile.unseen import Namer, cgo_off

GOGC = "400"


class Level(StrEnum):
    """How much of a Dockerfile changes."""

    OFF = "off"
    EXACT = "exact"
    FAST = "fast"


@dataclass(frozen=True, slots=True)
class Accelerated:
    """The text to build from, what differs in it, and what could have and does not.

    `without_network`: the lines of steps without a network; when such a build fails, build again from an
    acceleration with `compile_without_network=False`. `without_dwarf`: the lines that link programs without
    debugger symbols. `programs`: what `save_binaries` can keep for the next build, where it is looked for.
    `pins`: the lines that `pin` changed besides; `contexts`: those of `with_folders`. `no_network_lines`:
    those of `without_network` that the text cannot express, because the frontend would not understand it: the
    build client sets them. `modules_mounted`: a module cache hides the modules that the image, or a layer,
    has at its place; when such a build misses one, build again with `mount_modules=False`.
    """

    text: str
    changes: tuple[LineChange, ...] = ()
    left_alone: tuple[LineNote, ...] = ()
    without_network: tuple[int, ...] = ()
    without_dwarf: tuple[int, ...] = ()
    programs: tuple[Program, ...] = ()
    pins: tuple[LineChange, ...] = ()
    contexts: tuple[LineChange, ...] = ()
    no_network_lines: tuple[int, ...] = ()
    modules_mounted: bool = False

    @property
    def every_change(self) -> tuple[LineChange, ...]:
        """Return changes and pins in the order of the lines."""
        return tuple(sorted((*self.changes, *self.pins), key=lambda change: change.line))


@dataclass(frozen=True, slots=True)
class Options:
    """What `accelerate` was asked for."""

    level: Level
    scope: str
    shared_scope: str
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
    shared_scope: str = "",
    compile_without_network: bool = False,
    engine_knows_networks: bool = True,
    inputs: TreeInputs | None = None,
    gogc: str = GOGC,
    keep_programs: bool = True,
    runs: Runs = THE_IMAGES,
    mount_modules: bool = True,
) -> Accelerated:
    """Return the text to send to the engine instead of `text`. Raises DockerfileError if it is invalid.

    `bases` has what is known of each of `base_images()`. `cache_scope` names the project, `shared_scope` the
    projects that share caches where that is correct (`shared_caches.py`; "": none): caches with different
    scopes are never shared. `compile_without_network` is the caller's word that the last build
    downloaded every module, `engine_knows_networks` that the frontend which the engine has built in, taken
    where there is no `# syntax`, knows `RUN --network`: if not, those lines are in `no_network_lines`.
    `inputs` are the tree's files: they count where C or assembly can open them, and None (not known) leaves
    the build cache out where cgo can be on. `gogc` is what the compiler gets ("" for nothing).
    `keep_programs` looks for the linked program where `save_binaries` keeps it, see `binary_cache.py`.
    `runs` is what the compose file has a container run: go in a container needs the cache in its image.
    Tests run in every build that reaches them, see `gotest.py`.

    Build other targets of the same file (the builder stage's image) from the same result: the text depends
    on `target`, and another text is another cache key.
    """
    if level is Level.OFF:
        return Accelerated(text)
    dockerfile = parse(text)
    able = frontend_abilities(dockerfile.syntax)
    if not able.mounts:
        note = f"the frontend {dockerfile.syntax} may not know RUN --mount, so nothing is changed"
        return Accelerated(text, left_alone=(LineNote(1, f"# syntax={dockerfile.syntax}", note),))
    graph = Graph(dockerfile, build_args, platforms)
    networks = engine_knows_networks if able.network is None else able.network
    offline = compile_without_network and able.network is not False
    scope = plain_scope(cache_scope)
    shared = plain_scope(shared_scope) if shared_scope else ""
    options = Options(level, scope, shared, offline, networks, gogc, keep_programs, mount_modules)
    work = _Work(dockerfile, options, Namer(graph, bases, build_args, inputs), inputs)
    found = stage_groups(graph, build_args, bases, target, runs)
    mounts = module_mounts(found, inputs)
    work.share_modules([group for group, mount in zip(found, mounts, strict=True) if mount.path is not None])
    for group, mount in zip(found, mounts, strict=True):
        work.accelerate_group(group, mount)
    return work.make_result()


class _Work:
    """Collect edits and notes, one RUN at a time."""

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
        self.modules_id = ""

    def share_modules(self, groups: Sequence[StageGroup]) -> None:
        """Find the id of the module cache, which is one for all stages that mount it."""
        key = module_cache_key(groups) if self.options.shared_scope else None
        self.modules_id = f"{self._scope(key)}-gomodcache"

    def _scope(self, key: str | None) -> str:
        """Return the first part of a cache's id; `key` is what all projects that share it have in common."""
        return self.options.scope if key is None else f"{self.options.shared_scope}-{key}"

    def add_note(self, step: StageStep, reason: str) -> None:
        line = step.stage.head.line if step.inherited else step.one.line
        shown = self.text.split("\n")[line - 1].strip()
        self.notes[line, reason] = LineNote(line, shown, reason)

    def accelerate_group(self, group: StageGroup, mount: ModuleMount) -> None:
        if not group.go:
            return
        for step, analysis in group.steps:
            if step.one.keyword == "ONBUILD" and analysis is not None and analysis.use is not GoUsage.NONE:
                self.add_note(step, "an ONBUILD runs in builds of other files; it is left as it is")
        modules = self._mount_modules(group, mount)
        for step, analysis in group.run_steps():
            if analysis.use is not GoUsage.NONE:
                self.accelerate_run(group, step, analysis, modules if analysis.modules else None, mount)

    def _mount_modules(self, group: StageGroup, mount: ModuleMount) -> str | None:
        """Return where the module cache is mounted on every go step of the group; None: it is not."""
        if mount.refused is not None:
            self.add_note(*mount.refused)
        if mount.path is not None and not self.options.mount_modules:
            first = next(step for step, analysis in group.run_steps() if analysis.modules)
            self.add_note(
                first, "the module cache is not mounted: the image's own modules were missed under it"
            )
            return None
        self.edits += mount.edits
        return mount.path

    def accelerate_run(
        self,
        group: StageGroup,
        step: StageStep,
        analysis: RunAnalysis,
        modules: str | None,
        mount: ModuleMount,
    ) -> None:
        try:
            check_touchable(step, analysis)
            who = caches.cache_owner(step.state)
        except NotAccelerated as error:
            self.add_note(step, str(error))
            return
        kept: dict[str, str] = {}  # flag of `go clean` -> the folder that is mounted for it here
        path, key = self._build_cache(group, step, analysis) if analysis.compiles else (None, None)
        if path is not None and key is not None:
            kept["cache"] = path
            why = self._cache_reason(step, analysis)
            self.edits.append(add_mount(step, cache_mount(key, path, who), why))
            self.edits += run_tests(step.one, analysis, step.state, path)
            if where := self._find_rebuilders(analysis):
                self.edits.append(without_a(step.one, path, where))
        if modules:
            kept["modcache"] = modules
            why = "modules that were downloaded once are there at the next build"
            self.edits.append(add_mount(step, cache_mount(self.modules_id, modules, who), why))
            self.modules_mounted = True
        if analysis.unclear:
            self.add_note(step, f"its go flags are not checked: {analysis.unclear}")
        for script, command in analysis.placed:
            if caches.removes_only(command, kept.values()):
                self.edits.append(rewrite.remove_nothing(script, command))
        if self.options.keep_programs and path and key and cgo_off(step.state, analysis):
            held = cache_mount(key, path, who)
            for call in analysis.calls:  # before the other edits: this text precedes theirs
                later = group.steps_after(step)
                found = put_in_place(
                    call, analysis, step, cache=path, mount=held, scope=self.options.scope, later=later
                )
                if found:
                    self.edits.append(found[0])
                    self.programs.append(found[1])
        self._change_calls(group, step, analysis, kept, path)
        there = bool(modules) or modules_before(group, step, mount)
        if self.options.without_network and there and needs_no_network(step, analysis):
            why = "a compile step with all its modules needs no network, and setting one up takes time"
            if self.options.says_so:
                self.edits.append(add_flag(step, "--network=none", why))
            self.offline.append(step.one.line)

    def _build_cache(
        self, group: StageGroup, step: StageStep, analysis: RunAnalysis
    ) -> tuple[str | None, str | None]:
        """Return the mount point of go's build cache, and its name if the file does not mount its own.

        (None, None), with a note, where it is not mounted.
        """
        try:
            path = caches.build_cache(step.state, analysis)
            if caches.is_cache_at(step, path):
                return path, None
            group.check_build_cache(step, analysis, path)
            self._check_tools(step, analysis)
            key = build_cache_key(group, step, analysis) if self.options.shared_scope else None
            name = f"{self._scope(key)}-gocache{self.namer.name_suffix(group, step, analysis)}"
        except NotAccelerated as error:
            self.add_note(step, f"the build cache is not mounted: {error}")
            return None, None
        return path, name

    def _check_tools(self, step: StageStep, analysis: RunAnalysis) -> None:
        """Raise NotAccelerated where a program wraps go's tools: go would not notice that it changed."""
        texts = [analysis.text, str(step.state.get("GOFLAGS") or "")]
        hidden = analysis.may_run_go and self.inputs is not None and self.inputs.wraps_tools
        if hidden or any(may_wrap_tools(text) for text in texts):
            raise NotAccelerated(
                "-toolexec puts a program before go's tools, and go does not see what that does"
            )

    def _find_rebuilders(self, analysis: RunAnalysis) -> str:
        """Return the callers that can pass `-a` to go out of reach of an edit; empty when there are none."""
        if not analysis.may_run_go:
            return ""
        if analysis.unclear and may_rebuild(analysis.text):
            return "this command"
        found = self.inputs.rebuilders if self.inputs else ()
        return ", ".join(found[:3]) + (" and others" if len(found) > 3 else "")

    def _cache_reason(self, step: StageStep, analysis: RunAnalysis) -> str:
        why = "what was compiled once is there at the next build"
        if analysis.use is GoUsage.MAYBE:
            why += f" ({analysis.may_run_go} may run go)"
        if step.state.assumed:
            why += f"; {step.state.image} was not inspected, its usual configuration is assumed"
        return why

    def _change_calls(
        self,
        group: StageGroup,
        step: StageStep,
        analysis: RunAnalysis,
        kept: Mapping[str, str],
        path: str | None,
    ) -> None:
        state = step.state
        for call in analysis.calls:
            self.edits += rewrite.keep_caches(call, set(kept))
            self._try_change(step, "", partial(self._without_a, step, analysis, call, path))
            if self.options.gogc:
                self.edits += rewrite.relax_collector(call, analysis, state, self.options.gogc)
            strip = partial(rewrite.strip_dwarf, call, analysis, state, hidden=group.writes_goflags(step))
            if self.options.level is Level.FAST and self._try_change(step, "-w is not added: ", strip):
                self.stripped.add(step.one.line)

    def _try_change(self, step: StageStep, what: str, change: Callable[[], list[Edit]]) -> bool:
        """Make a change, or note why it is not made; whether something changed."""
        try:
            made = change()
        except NotAccelerated as error:
            self.add_note(step, what + str(error))
            return False
        self.edits += made
        return bool(made)

    def _without_a(
        self, step: StageStep, analysis: RunAnalysis, call: GoCall, path: str | None
    ) -> list[Edit]:
        found = rewrite.rebuild_all(call, step.state, self.text)
        if found and path is None:
            raise NotAccelerated("-a stays, because there is no build cache at this step that would help")
        if found and path and caches.mount_over(step, path) and not self.namer.sees_all(step, analysis):
            why = (
                "cgo may be on" if not cgo_off(step.state, analysis) else "the tree's assembly includes files"
            )
            raise NotAccelerated(
                f"-a stays: go's cache, which the file mounts itself, does not see C, and {why}"
            )
        return found

    def make_result(self) -> Accelerated:
        after = apply_edits(self.text, tuple(self.edits))
        changes = line_changes(self.text, after, self.edits)
        notes = tuple(note for _, note in sorted(self.notes.items()))
        offline, stripped = tuple(sorted(self.offline)), tuple(sorted(self.stripped))
        no_network_lines = () if self.options.says_so else offline
        return Accelerated(
            after,
            changes,
            notes,
            offline,
            stripped,
            tuple(self.programs),
            no_network_lines=no_network_lines,
            modules_mounted=self.modules_mounted,
        )
