"""The folders of the Go programs that a Dockerfile compiles, relative to its build context.

They only decide which of several builds begins first (`daemon/build_order.py`), so what the text does not
show is left out. The folder in which go runs is taken for the root of the context, as after `COPY . .`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from watcher.dockerfile.go_commands import GoCall, read_run
from watcher.dockerfile.model import DockerfileError
from watcher.dockerfile.parse import parse
from watcher.dockerfile.platforms import Platforms
from watcher.dockerfile.spans import word_set
from watcher.dockerfile.stages import Graph
from watcher.dockerfile.state import StageStep, walk_steps

_COMPILES = word_set("build install")


def main_packages(
    text: str, target: str | None, build_args: Mapping[str, str], platforms: Platforms
) -> frozenset[str]:
    """Return folders like `cmd/api`, "" for the root; none if the text does not show any."""
    try:
        dockerfile = parse(text)
        graph = Graph(dockerfile, build_args, platforms)
        steps = walk_steps(graph, build_args, {}, graph.reachable_stages(target))
    except DockerfileError:
        return frozenset()
    found = (folder for stage in steps.values() for step in stage for folder in _compiled(step))
    return frozenset(found)


def _compiled(step: StageStep) -> Iterator[str]:
    if step.one.keyword != "RUN":
        return
    analysis = read_run(step.one, step.state.shell)
    if any(command.name() == "cd" for command in analysis.others):
        return
    for call in analysis.calls:
        if call.sub in _COMPILES:
            yield from _operands(call, step)


def _operands(call: GoCall, step: StageStep) -> Iterator[str]:
    start = _folder_of_go(call)
    script = call.script.text
    for word in call.copy_operands() or ():
        written = script[word.start : word.stop]
        path = None if "$(" in written or "`" in written else step.state.expand(written)
        if path is None or "..." in path or not (path == "." or path.startswith(("./", "/"))):
            continue  # not known, a pattern, or an import path
        if path.startswith("/"):
            if step.state.workdir is None:
                continue
            path = posixpath.relpath(path, step.state.workdir)
        folder = posixpath.dirname(path) if path.endswith(".go") else path
        folder = posixpath.normpath(posixpath.join(start, folder))
        if not folder.startswith(".."):
            yield "" if folder == "." else folder
    if not call.copy_operands():
        yield "" if start == "." else start


def _folder_of_go(call: GoCall) -> str:
    """Return the folder that `go SUBCOMMAND -C folder` names."""
    words = [word.text for word in call.command.words[: call.first] if word.literal]
    for index, word in enumerate(words):
        if word == "-C" and index + 1 < len(words):
            return posixpath.normpath(words[index + 1])
        if word.startswith("-C="):
            return posixpath.normpath(word.removeprefix("-C="))
    return "."
