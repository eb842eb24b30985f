"""Inputs that go's build cache does not see, and the name of the cache that follows from them.

An entry of GOCACHE is found by a hash over the toolchain's id, the flags, the environment that matters and
the content of every input that go knows of (cmd/go/internal/work, buildActionID). So two images with
different Go versions, and two concurrent builds, can share one: go locks and renames as it must
(`sharing=shared`; `locked` would make one build wait for the other). Go does not know

- what the C compiler opens on its own: system headers and libraries, headers of other folders, an included
  file of any name (`go help cache`: "does not detect changes to C libraries imported with cgo");
- what go's assembler includes: only headers of the package's own folder are hashed.

Where cgo can be on, the cache's name carries a digest of what can decide such files: base image, the steps
before, the compiler's variables. The tree is part of it, every file but go's own, where the tree can reach a
compiler: its Go imports "C", its assembly includes files, a variable or a step leads the compiler there.
Otherwise a save of a page or of `_envs` would compile the standard library again for nothing.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Mapping

from watcher import regex
from watcher.dockerfile.caches import NotAccelerated, are_related, copy_sources, is_within
from watcher.dockerfile.go_commands import COMPILING, GoCall, GoUsage, RunAnalysis
from watcher.dockerfile.inputs import LEADS, TreeInputs, is_gos_own
from watcher.dockerfile.model import Instruction, Stage
from watcher.dockerfile.shell import SimpleCommand
from watcher.dockerfile.spans import word_set
from watcher.dockerfile.stage_group import StageGroup
from watcher.dockerfile.stages import Graph, run_mounts
from watcher.dockerfile.state import ImageConfig, StageState, StageStep

_VARIABLES = word_set(
    "CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH OBJC_INCLUDE_PATH LIBRARY_PATH PKG_CONFIG PKG_CONFIG_PATH"
    " PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR CC CXX FC AR GCC_EXEC_PREFIX COMPILER_PATH"
    " CGO_CFLAGS CGO_CPPFLAGS CGO_CXXFLAGS CGO_FFLAGS CGO_LDFLAGS"
)
# The default search path of compilers.
_SYSTEM = ("/usr/include", "/usr/local/include", "/usr/lib", "/usr/local/lib", "/lib", "/lib64", "/usr/lib64")
_VARIABLE = regex.compile(r"\$\{?([A-Za-z_]\w*)")
_HARMLESS = word_set(
    "[ : basename cat cd date dirname echo exit export false ls mkdir printf pwd rm set test true unset"
)
_C_TOOLS = word_set("cc gcc g++ c++ clang clang++ ar ld cmake ninja meson scons configure libtool bazel")


def cgo_off(state: StageState, analysis: RunAnalysis) -> bool:
    """Return whether no go command of this RUN can use cgo."""
    if analysis.use is not GoUsage.GO or analysis.may_run_go or analysis.unclear:
        return False  # a Makefile or a script can turn it on
    return all(
        _get_value(call, state, "CGO_ENABLED") == "0" for call in analysis.calls if call.sub in COMPILING
    )


def _get_value(call: GoCall, state: StageState, name: str) -> str | None:
    return call.env[name] if name in call.env else state.text(name)


class Namer:
    """Finds the names of build caches for one Dockerfile."""

    def __init__(
        self,
        graph: Graph,
        bases: Mapping[str, ImageConfig | None],
        build_args: Mapping[str, str],
        inputs: TreeInputs | None,
    ) -> None:
        self._graph, self._bases, self._build_args = graph, bases, build_args
        self._inputs = inputs

    def name_suffix(self, group: StageGroup, step: StageStep, analysis: RunAnalysis) -> str:
        """Return the suffix of the cache's name at a RUN: empty if go sees all its inputs.

        Raises NotAccelerated where the tree's files count and are not known: a cache that does not
        know them would give a program out of an old header.
        """
        before = tuple(group.steps_before(step))
        if cgo_off(step.state, analysis):
            if self._inputs and self._reads_assembly(step, analysis) and self._has_tree(step, before):
                return f"-asm-{self._inputs.digest[:10]}"
            return ""
        state = step.state
        parts = [state.image, state.image_id, *(f"{name}={state.text(name)}" for name in sorted(_VARIABLES))]
        parts += _besides_go(analysis) if analysis.use is GoUsage.GO else []
        for source in self._find_sources(step):
            parts += self._made_of(source)
        for other, found in before:
            parts += self._describe_step(other, found)
        if self._has_tree(step, before):
            # Before the tree is copied in its files cannot matter, and must not spoil the step's cache.
            parts.append(self._tree_digest(step, analysis, before))
        digest = hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()
        return f"-cgo-{digest[:10]}"

    def sees_all(self, step: StageStep, analysis: RunAnalysis) -> bool:
        """Return whether go's own cache is correct at this RUN under any name."""
        return cgo_off(step.state, analysis) and not (self._inputs and self._reads_assembly(step, analysis))

    def _reads_assembly(self, step: StageStep, analysis: RunAnalysis) -> bool:
        """Return whether go's assembler can open a file that go does not hash; `-asmflags=-I` allows any."""
        if self._inputs is None:
            return False
        flags = f"{analysis.text} {step.state.get('GOFLAGS')}"
        return self._inputs.assembly or ("-asmflags" in flags and self._inputs.has_assembly)

    def _describe_step(self, step: StageStep, analysis: RunAnalysis | None) -> Iterator[str]:
        """Return the parts of an earlier step that decide which C it brings."""
        one = step.one
        if one.keyword == "RUN" and analysis is not None and analysis.use is GoUsage.GO:
            yield from _besides_go(analysis)
        elif one.keyword == "RUN":
            text = one.body.text + "".join(heredoc.content.text for heredoc in one.heredocs)
            yield text
            for name in sorted(set(_VARIABLE.findall(text))):
                yield f"{name}={step.state.text(name)}"
        elif one.keyword in ("ADD", "COPY") and (one.keyword == "ADD" or one.flag("from")):
            yield from (one.flag("from") or "", one.body.text)
        for source in self._find_sources(step):
            yield from self._made_of(source)

    def _find_sources(self, step: StageStep) -> Iterator[Stage | str]:
        """Yield the other stages, and images, that a step reads from."""
        names = [step.one.flag("from")] if step.one.keyword in ("COPY", "ADD") else []
        names += [mount.get("from") for mount in run_mounts(step.one)] if step.one.keyword == "RUN" else []
        for name in names:
            if name:
                base = self._graph.find_source(step.stage, step.state.expand(name) or name)
                if (found := base.stage or base.image) is not None:
                    yield found

    def _made_of(self, source: Stage | str) -> Iterator[str]:
        """Return everything that decides the content of another stage or an image, except the tree."""
        if isinstance(source, str):
            yield from self._describe_image(source)
            return
        for stage in self._stages_below(source):
            base = self._graph.bases[stage.index]
            if base.image is not None:
                yield from self._describe_image(base.image)
            for one in stage.instructions:
                yield self._graph.dockerfile.text[one.start : one.stop]
        yield from (f"{name}={value}" for name, value in sorted(self._build_args.items()))

    def _describe_image(self, name: str) -> tuple[str, str]:
        config = self._bases.get(name)
        return name, config.id if config else ""

    def _stages_below(self, stage: Stage) -> list[Stage]:
        """Return a stage and all that it reads from, directly or indirectly."""
        return self._graph.reachable_stages(str(stage.index))

    def _has_tree(self, step: StageStep, before: Iterable[tuple[StageStep, RunAnalysis | None]]) -> bool:
        """Return whether a RUN can read files of the tree other than go's own."""
        return _binds_tree(step.one) or any(
            self._brings_tree(other) for other in (step, *_only_steps(before))
        )

    def _brings_tree(self, step: StageStep) -> bool:
        if _copies_tree(step.one):
            return True
        for source in self._find_sources(step):
            if isinstance(source, Stage):
                for stage in self._stages_below(source):
                    if any(_copies_tree(one) or _binds_tree(one) for one in stage.instructions):
                        return True
        return False

    def _tree_digest(
        self, step: StageStep, analysis: RunAnalysis, before: Iterable[tuple[StageStep, RunAnalysis | None]]
    ) -> str:
        """Return the digest of the tree's files that a compiler can reach; empty if there are none."""
        inputs = self._inputs
        if inputs is None:
            raise NotAccelerated(
                "cgo may be on, and go does not see that C outside a package changed; set CGO_ENABLED=0"
            )
        users = inputs.users_of_c
        if inputs.assembly or any(not path.startswith("vendor/") for path in users):
            return inputs.digest
        if self._led_there(step, analysis, before):
            return inputs.digest
        # What was vendored came out of a module, which holds all that it includes.
        return inputs.vendored_digest if users else ""

    def _led_there(
        self, step: StageStep, analysis: RunAnalysis, before: Iterable[tuple[StageStep, RunAnalysis | None]]
    ) -> bool:
        """Return whether a variable or a step can point the compiler of a module's C to files of the tree."""
        if any(step.state.get(name) is not None for name in _VARIABLES):
            return True
        runs, there = [(step, analysis)], False
        for other, found in before:
            if self._brings_tree(other):
                there = True
                if other.one.keyword in ("COPY", "ADD") and _into_system(other):
                    return True
            if found is not None and other.one.keyword == "RUN" and there:
                runs.append((other, found))
        return any(self._leads_compiler(other, found) for other, found in runs)

    def _leads_compiler(self, step: StageStep, analysis: RunAnalysis) -> bool:
        """Return whether a RUN with the tree can point a C compiler to it."""
        if _into_system(step) or analysis.foreign or LEADS.found(analysis.text):
            return True
        hidden = analysis.use is GoUsage.MAYBE or analysis.may_run_go or analysis.unclear or analysis.sourced
        if hidden and self._inputs is not None and self._inputs.leads_c:
            return True
        return any(_installs_c(command) for command in analysis.others)


def _installs_c(command: SimpleCommand) -> bool:
    """Return whether a command builds C, or names a folder where compilers look."""
    if posixpath.basename(command.name() or "") in _C_TOOLS:
        return True
    words = [word.text for word in command.words[1:]]
    if "install" in words and posixpath.basename(command.name() or "") in ("make", "gmake", "ninja", "sh"):
        return True
    return any(_in_system(posixpath.normpath(word)) for word in words if word.startswith("/"))


def _in_system(path: str) -> bool:
    return any(is_within(path, folder) for folder in _SYSTEM)


def _only_steps(read: Iterable[tuple[StageStep, RunAnalysis | None]]) -> list[StageStep]:
    return [step for step, _ in read]


def _binds_tree(one: Instruction) -> bool:
    return one.keyword == "RUN" and any(
        mount["type"] == "bind" and "from" not in mount for mount in run_mounts(one)
    )


def _copies_tree(one: Instruction) -> bool:
    """Return whether a COPY or ADD brings files of the context that are not go's own."""
    if one.keyword not in ("COPY", "ADD") or one.flag("from"):
        return False
    return not all(_names_gos_own(source) for source in copy_sources(one))


def _names_gos_own(source: str) -> bool:
    """Return whether a source of a COPY, or a pattern, names only go's own files."""
    return is_gos_own(source.rstrip("*")) or posixpath.basename(source) in ("go.*", "*.go")


def _into_system(step: StageStep) -> bool:
    """Return whether a step can put files on the default search path of compilers."""
    one = step.one
    if one.keyword == "RUN":
        targets = [mount.get("target", "") for mount in run_mounts(one) if mount["type"] == "bind"]
    else:
        words = one.words if one.words is not None else tuple(one.body.text.split())
        targets = [words[-1]] if words else []
    for target in targets:
        expanded = step.state.expand(target)
        if expanded is None or (step.state.workdir is None and not expanded.startswith("/")):
            return True
        path = posixpath.normpath(posixpath.join(step.state.workdir or "/", expanded))
        if any(are_related(path, folder) for folder in _SYSTEM) and not is_within(path, "/usr/src"):
            return True
    return False


def _besides_go(analysis: RunAnalysis) -> list[str]:
    """Return the commands of a go step that can bring C: neither go nor harmless ones."""
    named = [(command, posixpath.basename(command.name() or "?")) for command in analysis.others]
    return [" ".join(word.text for word in one.words) for one, name in named if name not in _HARMLESS]
