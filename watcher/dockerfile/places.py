"""From a path in an image back to the file of the context that it was copied from. Pure.

go prints paths relative to where it ran, and a running program the paths that it was compiled at. Both lead
back through `cd`, `-C`, WORKDIR and COPY. An answer is given only where one file of the tree fits: a link to
a wrong file is worse than none.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from watcher import regex
from watcher.dockerfile.caches import copy_operands, is_within
from watcher.dockerfile.go_commands import PLAIN, RunAnalysis, read_run
from watcher.dockerfile.model import Dockerfile, Stage
from watcher.dockerfile.platforms import Platforms
from watcher.dockerfile.shell import SimpleCommand
from watcher.dockerfile.stages import Graph, run_mounts
from watcher.dockerfile.state import ImageConfig, StageStep, walk_steps

_UNKNOWN = "/\0workdir"  # a WORKDIR that only the base image knows
_MODULE = regex.compile(r"(?m)^[ \t]*module[ \t]+\"?([^\s\"]+)")
_DEEPEST = 20  # stages that copy from each other


class Places:
    """Leads paths of one build back to its context.

    `files` are the context's files; `read` gives the text of one ("" when it cannot be had).
    """

    def __init__(
        self,
        dockerfile: Dockerfile,
        files: Iterable[str],
        read: Callable[[str], str],
        *,
        build_args: Mapping[str, str],
        target: str | None,
        platforms: Platforms,
        bases: Mapping[str, ImageConfig | None],
    ) -> None:
        self._graph = Graph(dockerfile, build_args, platforms)
        self._stages = self._graph.reachable_stages(target)
        self._steps = walk_steps(self._graph, build_args, bases, self._stages)
        self._files = frozenset(files)
        self._read = read
        self._modules: dict[str, str] | None = None

    def at_step(self, line: int, path: str, entered: Sequence[str] = ()) -> str | None:
        """Return the file that `path` means in the output of the RUN at `line`.

        `entered` are folders that the output names as entered, as make does.
        """
        found, hidden = set(), False
        for step in self._steps_at(line):
            analysis = read_run(step.one, step.state.shell)
            hidden = hidden or bool(analysis.may_run_go or analysis.unclear or analysis.sourced)
            start = step.state.workdir or _UNKNOWN
            for folder in (*(list(_entered_folders(analysis, start)) or [start]), *entered):
                if file := self._find_before(step, posixpath.join(folder, path)):
                    found.add(file)
        if not found and not path.startswith("/"):
            return self.in_module(path)
        if len(found) != 1:
            return None
        file = found.pop()
        if hidden and not path.startswith("/"):  # a script can change the folder
            end = "/" + posixpath.normpath(path).lstrip("./")
            if any(other != file and f"/{other}".endswith(end) for other in self._files):
                return None
        return file

    def in_package(self, package: str, path: str) -> str | None:
        """Return the file of this name in the folder of a package, as a module of the tree has it."""
        folder = self.package(package)
        file = posixpath.normpath(posixpath.join(folder or "", posixpath.basename(path)))
        return file if folder is not None and file in self._files else None

    def in_image(self, path: str) -> str | None:
        """Return the file that a program was compiled from at `path`, in whatever stage that was."""
        if not path.startswith("/"):
            return self.in_module(path)
        ends = [self._steps[stage.index][-1] for stage in self._stages if self._steps[stage.index]]
        found = {file for step in ends if (file := self._find_before(step, path, whole=True))}
        return found.pop() if len(found) == 1 else None

    def in_module(self, path: str) -> str | None:
        """Return the file that `-trimpath` calls `example.com/module/path.go`."""
        file = self.package(path)
        return file if file in self._files else None

    def package(self, path: str) -> str | None:
        """Return the folder of the package with this import path, as a module of the tree has it."""
        for module, folder in sorted(self._by_module().items(), key=lambda item: -len(item[0])):
            if is_within(path, module):
                joined = posixpath.join(folder, path[len(module) + 1 :])
                return posixpath.normpath(joined) if joined else ""
        return None

    def _by_module(self) -> dict[str, str]:
        """Return the folders of the tree's modules, without modules of the same name."""
        if self._modules is None:
            found: dict[str, list[str]] = {}
            for file in self._files:
                if posixpath.basename(file) == "go.mod" and (match := _MODULE.search(self._read(file))):
                    found.setdefault(match[1], []).append(posixpath.dirname(file))
            self._modules = {module: folders[0] for module, folders in found.items() if len(folders) == 1}
        return self._modules

    def _steps_at(self, line: int) -> list[StageStep]:
        return [
            step
            for steps in self._steps.values()
            for step in steps
            if line in (0, step.one.line) and not step.inherited and step.one.keyword == "RUN"
        ]

    def _find_before(self, step: StageStep, path: str, *, whole: bool = False) -> str | None:
        """Return the file of the context at `path` when a step starts (`whole`: when it has ended)."""
        return self._look_up(step, posixpath.normpath(path), whole, 0)

    def _look_up(self, step: StageStep, path: str, whole: bool, depth: int) -> str | None:
        if depth > _DEEPEST:
            return None
        for mount in run_mounts(step.one) if step.one.keyword == "RUN" else ():
            if mount["type"] == "bind" and (target := _absolute_path(step, mount.get("target", ""))):
                source = mount.get("source", "")
                if is_within(path, target):
                    return self._find_source(step, mount.get("from"), (source,), target, path, depth=depth)
        chain = self._graph.stage_chain(step.stage)
        earlier = [one for stage in chain for one in self._steps.get(stage.index, ())]
        stop = next(index for index, one in enumerate(earlier) if one is step) + whole
        for one in reversed(earlier[:stop]):
            if one.one.keyword in ("COPY", "ADD") and (words := copy_operands(one.one))[1:]:
                target = _absolute_path(one, words[-1])
                if target is None:
                    continue
                found = self._find_source(one, one.one.flag("from"), words[:-1], target, path, depth=depth)
                if found is not None:
                    return found
        return None

    def _find_source(
        self, step: StageStep, name: str | None, sources: Sequence[str], target: str, path: str, *, depth: int
    ) -> str | None:
        """Return the file at `path` after a copy of `sources` to `target`, from the context or a stage."""
        if not is_within(path, target):
            return None
        below = path[len(target.rstrip("/")) + 1 :]
        stage: Stage | None = None
        if name:
            base = self._graph.find_source(step.stage, step.state.expand(name) or name)
            stage = base.stage
            if stage is None or not self._steps.get(stage.index):
                return None
        for source in sources:
            expanded = step.state.expand(source)
            if expanded is None:
                continue
            for candidate in _candidates(expanded, below):
                if stage is not None:
                    end = self._steps[stage.index][-1]
                    absolute = posixpath.join(end.state.workdir or "/", "/" + candidate)
                    found = self._look_up(end, posixpath.normpath(absolute), True, depth + 1)
                    if found is not None:
                        return found
                elif candidate in self._files:
                    return candidate
        return None


def _candidates(source: str, below: str) -> Iterator[str]:
    """Yield what a source of a COPY can be for the path `below` its destination ("" for that itself)."""
    source = posixpath.normpath("/" + source).lstrip("/")
    if not below:
        yield source  # a file that got another name
        return
    yield posixpath.normpath(posixpath.join(source, below))  # a folder's content
    if posixpath.basename(source) == below or _matches(posixpath.basename(source), below):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(source), below))  # a file, or a pattern


def _matches(pattern: str, name: str) -> bool:
    """Return whether a name can match a pattern of a COPY: by the text before and after its stars."""
    if "*" not in pattern or "/" in name:
        return False
    parts = pattern.split("*")
    return name.startswith(parts[0]) and name.endswith(parts[-1])


def _absolute_path(step: StageStep, word: str) -> str | None:
    expanded = step.state.expand(word)
    if expanded is None:
        return None
    return posixpath.normpath(posixpath.join(step.state.workdir or _UNKNOWN, expanded))


def _entered_folders(analysis: RunAnalysis, start: str) -> Iterator[str]:
    """Yield the folders in which commands that can run go are run."""
    here = start
    for _, command in analysis.placed:
        words = [word.text for word in command.words]
        if command.name() == "cd" and len(words) > 1:
            here = posixpath.join(here, words[1])
            continue
        name = command.name()
        if name is not None and posixpath.basename(name) in PLAIN:
            continue  # it prints no place
        yield posixpath.join(here, _other_folder(command) or "")
        if "(" in analysis.text:  # a subshell with a folder of its own can have ended
            yield posixpath.join(start, _other_folder(command) or "")


def _other_folder(command: SimpleCommand) -> str | None:
    """Return the folder of a `-C` (of go, make, git)."""
    words = [word.text for word in command.words]
    for index, word in enumerate(words):
        if word in ("-C", "--directory") and index + 1 < len(words):
            return words[index + 1]
        if word.startswith(("-C=", "--directory=")):
            return word.partition("=")[2]
    return None
