"""Group the stages that build on each other through FROM."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from watcher import regex
from watcher.dockerfile import caches, rewrite
from watcher.dockerfile.caches import NotAccelerated
from watcher.dockerfile.go_commands import UNSAFE_TOOLS, GoUsage, RunAnalysis, read_run
from watcher.dockerfile.model import Stage
from watcher.dockerfile.parse import parse_instruction
from watcher.dockerfile.running import Runs, starts_go
from watcher.dockerfile.stages import Graph, run_mounts
from watcher.dockerfile.state import ImageConfig, StageState, StageStep, trigger_text, walk_steps

_MOVES_A_CACHE = regex.compile(r"\bgo env\b[^;&|]*-w[^;&|]*\b(?:GOCACHE|GOMODCACHE|GOPATH)\b")
_WRITES_GOFLAGS = regex.compile(r"\bgo env\b[^;&|]*-w[^;&|]*\bGOFLAGS\b|\bgo/env\b|\bgo\.env\b")
INSTALLERS = frozenset(["apk", "apt", "apt-get", "dnf", "yum", "microdnf", "zypper", "pacman"])


@dataclass(slots=True)
class StageGroup:
    """The reachable stages on one root, their steps with what was read of each RUN."""

    graph: Graph
    steps: list[tuple[StageStep, RunAnalysis | None]]
    readers: list[tuple[StageStep, str]]  # steps of any stage that read a path out of this group
    output: Stage | None = None  # the stage of the group that becomes the image, when one does
    runs_later: Runs = field(default_factory=Runs)  # what a container of that image is given to run

    @property
    def go(self) -> bool:
        """Return whether go is in these stages: named by a RUN, in the image, or installed."""
        if any(step.state.golang for step, _ in self.steps):
            return True
        return any(analysis.use is GoUsage.GO or _installs_go(analysis) for _, analysis in self.run_steps())

    def compiles(self) -> bool:
        """Return whether a RUN builds or installs with go itself."""
        return any(
            call.sub in ("build", "install") for _, analysis in self.run_steps() for call in analysis.calls
        )

    def run_steps(self) -> Iterator[tuple[StageStep, RunAnalysis]]:
        """Yield every RUN that this build executes, the base's ONBUILD triggers included."""
        for step, analysis in self.steps:
            if analysis is not None and step.one.keyword == "RUN":
                yield step, analysis

    def steps_before(self, step: StageStep) -> Iterator[tuple[StageStep, RunAnalysis | None]]:
        """Yield the steps before a step: those of the stages below, and its stage's earlier ones."""
        chain = {stage.index for stage in self.graph.stage_chain(step.stage)}
        for other, analysis in self.steps:
            if other is step:
                return
            if other.stage.index in chain:
                yield other, analysis

    def steps_after(self, step: StageStep) -> Iterator[tuple[StageStep, RunAnalysis | None]]:
        """Return the steps after this one, in the order of the file."""
        found = False
        for other, analysis in self.steps:
            if found:
                yield other, analysis
            found = found or other is step

    def writes_goflags(self, step: StageStep) -> bool:
        """Return whether go can have flags at a step outside of variables (`go env -w`, a separate file)."""
        texts = [analysis.text for _, analysis in self.steps_before(step) if analysis is not None]
        texts += [analysis.text for other, analysis in self.steps if other is step and analysis is not None]
        texts += [
            other.one.body.text
            for other, _ in self.steps_before(step)
            if other.one.keyword in ("COPY", "ADD")
        ]
        return step.state.get("GOENV") is not None or any(_WRITES_GOFLAGS.found(text) for text in texts)

    def check_build_cache(self, step: StageStep, analysis: RunAnalysis, path: str) -> None:
        """Raise NotAccelerated when something else needs or changes what go writes to its build cache."""
        names = caches.build_cache_names(path)
        if caches.cache_owner(step.state).uid and caches.in_home_cache(path):
            strangers = (
                text.may_run_go
                for _, text in self.run_steps()
                if text.use is not GoUsage.NONE and text.may_run_go
            )
            if stranger := next(strangers, ""):
                raise NotAccelerated(
                    f"{stranger} may write next to {path}, where the mount makes a folder of root's"
                )
        self._check_readers(path, "go's build cache")
        check_itself(step, analysis, path, names, "cache")
        for other, text in self.run_steps():
            if text.use is GoUsage.NONE and (shown := caches.find_mention(text, path, names)):
                raise NotAccelerated(
                    f"the RUN in line {other.one.line} uses {shown}, where go's build cache is"
                )
        for other, _ in self.steps:
            target = self.copy_destination(other)
            if target is not None and caches.is_within(target, path):
                raise NotAccelerated(f"line {other.one.line} copies into go's build cache {path}")
        instructions = [other.one for other, _ in self.steps]
        command = starts_go(self.runs_later, instructions, step.state.command) if self.output else None
        if command:
            raise NotAccelerated(f"the container itself runs {command}, which would miss the build cache")

    def _check_readers(self, path: str, what: str) -> None:
        for step, pattern in self.readers:
            if caches.pattern_touches(pattern, path):
                raise NotAccelerated(
                    f"line {step.one.line} reads {pattern} out of this stage, and {what} with it"
                )

    def copy_destination(self, step: StageStep) -> str | None:
        """Return the absolute path that a COPY or ADD writes to; None for others and for unknown places."""
        if step.one.keyword not in ("COPY", "ADD"):
            return None
        words = caches.copy_operands(step.one)
        target = step.state.expand(words[-1], self.graph.dockerfile.escape) if words else None
        if target is None or (not target.startswith("/") and step.state.workdir is None):
            return None
        return posixpath.normpath(posixpath.join(step.state.workdir or "/", target))


def check_touchable(step: StageStep, analysis: RunAnalysis) -> None:
    """Raise NotAccelerated for a RUN that must not change."""
    if step.inherited:
        raise NotAccelerated(
            "an ONBUILD trigger of the base runs go, and what is not in this file cannot be changed"
        )
    if analysis.foreign:
        raise NotAccelerated(analysis.unclear)
    if analysis.other_user:
        raise NotAccelerated(f"{analysis.other_user} changes the user, and a cache would be the wrong one's")
    tools = {posixpath.basename(command.name() or "") for command in analysis.others} & UNSAFE_TOOLS
    if tools:
        raise NotAccelerated(f"{', '.join(sorted(tools))} keeps a cache of its own that must fit go's")
    if _MOVES_A_CACHE.search(analysis.text):
        raise NotAccelerated("go env -w moves a cache")


def check_itself(
    step: StageStep, analysis: RunAnalysis, path: str, names: tuple[str, ...], flag: str
) -> None:
    """Raise NotAccelerated when the RUN for a mount names the folder, except to empty it."""
    for call in analysis.calls:
        rewrite.keep_caches(call, {flag})
    if analysis.unclear and regex.one_off(rf"\bclean\b[^;&|\n]*-{flag}").search(analysis.text):
        raise NotAccelerated(f"its text, which {analysis.unclear}, cleans the cache")
    quiet, folders = analysis.text, _cache_folders(step, analysis)
    for script, command in analysis.placed:
        if caches.removes_only(command, folders):
            quiet = quiet.replace(script.text[command.words[0].start : command.words[-1].stop], "", 1)
    rest = tuple(one for one in analysis.placed if not caches.removes_only(one[1], folders))
    if shown := caches.find_mention(replace(analysis, text=quiet, placed=rest), path, names):
        raise NotAccelerated(f"the command itself uses {shown}")


def _cache_folders(step: StageStep, analysis: RunAnalysis) -> list[str]:
    found: list[str] = []
    for place in (caches.build_cache, caches.module_cache):
        try:
            found.append(place(step.state, analysis))
        except NotAccelerated:
            continue
    return found


def stage_groups(
    graph: Graph,
    build_args: Mapping[str, str],
    bases: Mapping[str, ImageConfig | None],
    target: str | None,
    runs: Runs,
) -> list[StageGroup]:
    """Return the groups of the stages that the target needs, in the order of the file."""
    stages = graph.reachable_stages(target)
    steps = walk_steps(graph, build_args, bases, stages)
    final = graph.find_target(target)
    found: dict[int, StageGroup] = {}
    for stage in stages:
        group = found.setdefault(graph.root_stage(stage).index, StageGroup(graph, [], [], runs_later=runs))
        group.steps += [(step, _analyze_step(step, graph)) for step in steps[stage.index]]
        if stage.index == final.index:
            group.output = stage
    for stage in stages:
        for step in steps[stage.index]:
            for source, pattern in _read_paths(graph, step):
                found[graph.root_stage(source).index].readers.append((step, pattern))
    return list(found.values())


def _installs_go(analysis: RunAnalysis) -> bool:
    return any(
        word.text == "go" or word.text.startswith("golang")
        for command in analysis.commands
        if command.name() in INSTALLERS
        for word in command.words[1:]
    )


def _analyze_step(step: StageStep, graph: Graph) -> RunAnalysis | None:
    one = step.one
    if one.keyword == "ONBUILD":
        one = parse_instruction(trigger_text(graph, one), graph.dockerfile.escape)
    return read_run(one, step.state.shell) if one.keyword == "RUN" else None


def _read_paths(graph: Graph, step: StageStep) -> Iterator[tuple[Stage, str]]:
    """Return (stage, path) for every path that a step reads from another stage."""
    one, state = step.one, step.state
    if one.keyword == "COPY" and (name := one.flag("from")):
        source = graph.find_source(step.stage, _expand_word(state, name))
        if source.stage is not None:
            for word in caches.copy_sources(one):
                yield source.stage, _expand_word(state, word)
    if one.keyword == "RUN":
        for mount in run_mounts(one):
            source = graph.find_source(step.stage, _expand_word(state, mount.get("from", "")))
            if mount.get("from") and source.stage is not None:
                yield source.stage, _expand_word(state, mount.get("source", "/"))


def _expand_word(state: StageState, word: str) -> str:
    expanded = state.expand(word)
    return word if expanded is None else expanded
