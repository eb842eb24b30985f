"""Why a step of a build runs again at each save, and what the author of the Dockerfile can do about it. Pure.

A build names a step by its stage and its place in it (`[build 4/5]`). BuildKit counts what makes a layer
(moby/buildkit, frontend/dockerfile/dockerfile2llb/convert.go, `cmdTotal`), so place and count lead back to
the instruction, whatever follows them in the name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from watcher import regex
from watcher.dockerfile.accelerate import Accelerated
from watcher.dockerfile.caches import copies_folders, copy_sources
from watcher.dockerfile.go_commands import GoCall, RunAnalysis, read_run
from watcher.dockerfile.keyvalues import arg_pairs
from watcher.dockerfile.model import Instruction, Stage
from watcher.dockerfile.stages import Graph, run_mounts

_LAYERS = frozenset({"RUN", "COPY", "ADD", "WORKDIR"})
_INSTALLS = frozenset({"apk", "apt", "apt-get", "dnf", "yum", "microdnf", "zypper"})
_BUILDERS = frozenset({"make", "gmake", "mage", "task", "just", "goreleaser", "ko"})
_FETCHES = frozenset({"curl", "wget"})
_SHELL = ("/bin/sh", "-c")
_DATE = regex.compile(r"(?:\$\(|`)[ \t]*date\b")
_LONGEST = 60  # characters of an instruction that is named


@dataclass(frozen=True, slots=True)
class LayerInstruction:
    """An instruction that makes a step of the build, and its stage."""

    stage: Stage
    one: Instruction

    @property
    def line(self) -> int:
        """Return the line where the instruction starts."""
        return self.one.line


@dataclass(frozen=True, slots=True)
class Rerun:
    """Why a step runs again, and the remedy; empty when there is nothing to do about it."""

    why: str
    remedy: str = ""


def layers(graph: Graph, stage: Stage) -> list[LayerInstruction]:
    """Return the steps of a stage in the order of BuildKit; `FROM` an image is the first."""
    head = [stage.head] if graph.bases[stage.index].image is not None else []
    body = (one for one in stage.instructions if one.keyword in _LAYERS)
    return [LayerInstruction(stage, one) for one in (*head, *body)]


def find_layer(graph: Graph, stage: str, index: int, total: int, keyword: str) -> LayerInstruction | None:
    """Return the instruction of the step `[stage index/total] KEYWORD …`; None if it is not found."""
    several = len(graph.dockerfile.stages) > 1
    for each in graph.dockerfile.stages:
        name = each.name or (f"stage-{each.index}" if several else "")
        found = layers(graph, each) if name == stage.lower() else []
        if len(found) == total and 0 < index <= total and found[index - 1].one.keyword == keyword.upper():
            return found[index - 1]
    return None


def explain_rerun(
    graph: Graph,
    layer: LayerInstruction,
    ran: Collection[int],
    plan: Accelerated,
    *,
    variables_differ: bool = False,
) -> Rerun:
    """Return why `layer` ran although only the tree changed.

    `ran` are the lines of all steps that did. `plan` is what is built in place of the file.
    `variables_differ`: the step had other values of variables in its name from one build to the next.
    """
    one = layer.one
    above = _first_above(graph, layer, ran)
    if one.keyword in ("COPY", "ADD"):
        if name := one.flag("from"):
            stage = graph.find_source(layer.stage, name).stage
            if stage is not None:
                return Rerun(f"it copies from the stage {stage.label}, which runs again")
        elif _reads_context(one):
            wide = copies_folders(one)
            return Rerun(
                "a save changes what it copies",
                "leave out what the build does not need, in .dockerignore" if wide else "",
            )
    if above is None and not (one.keyword == "RUN" and _mounts_changing(graph, layer, ran)):
        return _alone(graph, layer, variables_differ=variables_differ)
    if above is None:
        why, behind = "a save changes what is mounted into it", f"line {one.line}"
    else:
        behind = f"line {above.line}"
        why = f"{behind} above it ({_shown(above.one)}) runs again"
        if _reads_context(above.one):
            why = f"a save changes what {behind} above it copies ({_shown(above.one)})"
    if one.keyword != "RUN":
        return Rerun(why)
    return _run(layer, plan, why, behind if above else "")


def _run(layer: LayerInstruction, plan: Accelerated, why: str, behind: str) -> Rerun:
    """Describe a RUN after something that changes. `behind` names the line; empty for a mount."""
    one = layer.one
    analysis = read_run(one, _SHELL)
    lines = range(one.line, one.end_line + 1)
    changed = [change for change in plan.changes if change.line in lines]
    left = next((note.reason for note in plan.left_alone if note.line in lines), "")
    names = {command.name() or "" for command in analysis.commands}
    if tools := sorted(names & _INSTALLS):
        return Rerun(f"{why}; it installs packages with {tools[0]}", _move(behind))
    if _only_downloads(analysis):
        remedy = "COPY go.mod go.sum ./ above it and the tree after it: modules are then downloaded once"
        return Rerun(f"{why}; it downloads modules", remedy if behind else "")
    if not analysis.calls and names & _FETCHES:
        return Rerun(f"{why}; it downloads something", _move(behind))
    if any(_rebuilds_all(call) for call in analysis.calls) and not changed:
        cause = f"; go -a compiles everything, and the line is left as it is: {left}" if left else "; go -a"
        return Rerun(f"{why}{cause}", "leave -a out of it")
    if left:
        return Rerun(
            f"{why}; no cache of go's is mounted: {left}", "`watcher dockerfile` shows what is built"
        )
    builds = bool(analysis.calls) or analysis.may_run_go in _BUILDERS or _is_script(analysis.may_run_go)
    if analysis.compiles and builds:
        return _compiles(one, analysis, why, mounted=bool(changed))
    remedy = f"if it does not read the tree, move it above {behind}; else copy only what it reads before it"
    return Rerun(why, remedy if behind else "")


def _compiles(one: Instruction, analysis: RunAnalysis, why: str, *, mounted: bool) -> Rerun:
    """Describe a RUN that compiles with go, directly or through make or a script."""
    if not mounted and not any(mount["type"] == "cache" for mount in run_mounts(one)):
        remedy = "mount one: RUN --mount=type=cache,target=/root/.cache/go-build …"
        return Rerun(f"{why}; go has no cache mount", remedy)
    whose = "a mounted cache" if mounted else "its own cache mount"
    why += f"; go compiles what changed, from {whose}"
    if _DATE.found(analysis.text or one.body.text):
        return Rerun(f"{why}, and links again because of `date`", "leave the date out while you develop")
    return Rerun(why)


def _move(behind: str) -> str:
    return f"move it above {behind}: it does not need the tree" if behind else ""


def _alone(graph: Graph, layer: LayerInstruction, *, variables_differ: bool) -> Rerun:
    """Describe a step that ran although nothing above it did."""
    names = ", ".join(dict.fromkeys(_arguments(graph, layer)))
    if variables_differ:
        named = f" ({names})" if names else ""
        return Rerun(
            f"a variable in it{named} has another value in each build",
            "give it a fixed value while you develop, or use it in a later line",
        )
    if layer.one.keyword == "ADD" and any("://" in source for source in copy_sources(layer.one)):
        return Rerun("what it downloads is looked up in each build", "keep the file in the tree")
    others = f"an ARG above it ({names}) has another value, or " if names else ""
    return Rerun(
        f"nothing above it ran: {others}its cached result was not used (no_cache, a new base image, pruned)",
        "see build.no_cache in the compose file, and `docker builder prune` in scripts",
    )


def _arguments(graph: Graph, layer: LayerInstruction) -> Iterator[str]:
    """Yield the build arguments that a step sees: those declared above it."""
    for stage in graph.stage_chain(layer.stage):
        for one in stage.instructions:
            if stage is layer.stage and one.line >= layer.line:
                return
            if one.keyword == "ARG":
                yield from (name for name, _ in arg_pairs(one, graph.dockerfile.escape))


def _first_above(graph: Graph, layer: LayerInstruction, ran: Collection[int]) -> LayerInstruction | None:
    """Return the first step that ran of those that this one builds on."""
    for stage in graph.stage_chain(layer.stage):
        for each in layers(graph, stage):
            if stage is layer.stage and each.line >= layer.line:
                return None
            if each.line in ran:
                return each
    return None


def _is_script(program: str) -> bool:
    return "/" in program or program.endswith((".sh", ".bash"))


def _mounts_changing(graph: Graph, layer: LayerInstruction, ran: Collection[int]) -> bool:
    """Return whether a RUN has the context mounted, or a stage in which something ran."""
    for mount in run_mounts(layer.one):
        if mount["type"] != "bind":
            continue
        source = graph.find_source(layer.stage, mount["from"]).stage if "from" in mount else None
        if "from" not in mount:
            return True
        if source and any(each.line in ran for each in layers(graph, source)):
            return True
    return False


def _reads_context(one: Instruction) -> bool:
    return (
        one.keyword in ("COPY", "ADD")
        and not one.flag("from")
        and not any("://" in source for source in copy_sources(one))
    )


def _only_downloads(analysis: RunAnalysis) -> bool:
    calls = [(call.sub, *(word.text for word in call.command.words[call.first :])) for call in analysis.calls]
    return bool(calls) and all(call[:2] in (("mod", "download"), ("mod", "verify")) for call in calls)


def _rebuilds_all(call: GoCall) -> bool:
    return any(name == "a" and value in (None, "true", "1") for name, value, _ in call.flags())


def _shown(one: Instruction) -> str:
    text = " ".join(f"{one.keyword} {one.body.text}".split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def shown_instruction(layer: LayerInstruction) -> str:
    """Return the instruction in one line, cut where it is long."""
    return _shown(layer.one)
