"""Which files of the build context an image takes as they are."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from watcher import regex
from watcher.dockerfile.caches import operands, sources, within
from watcher.dockerfile.model import Dockerfile, Stage
from watcher.dockerfile.stages import Graph
from watcher.dockerfile.state import State, Step, walk

_VARIABLES = regex.compile(r"\$\{[^}]*\}|\$\w+")


def context_files(
    dockerfile: Dockerfile, build_args: Mapping[str, str], target: str | None, platform: str = "linux/amd64"
) -> tuple[str, ...]:
    """Paths (`*` may stand in them) of context files that the image of `target` takes by COPY or ADD.

    Straight from the context, or out of another stage that had it from there: `COPY . .` in a builder and
    `COPY --from=builder /workspace/_envs/env_$ENV.yaml` give `_envs/env_dev.yaml` for `ENV=dev`. A folder
    stands for all that is in it, `.` for the whole context. What a RUN makes, such as the binary, gives a
    path too, of a file that the tree does not have. Raises DockerfileError for a target that cannot be.
    """
    graph = Graph(dockerfile, build_args, platform)
    stages = graph.reachable(target)
    steps = walk(graph, build_args, {}, stages)
    found: dict[str, None] = {}
    for stage in graph.chain(graph.target(target)):
        for step in steps[stage.index]:
            for path in _taken(graph, steps, step):
                found[path] = None
    return tuple(found)


def _taken(graph: Graph, steps: Mapping[int, list[Step]], step: Step) -> Iterator[str]:
    one = step.one
    if one.keyword not in ("COPY", "ADD") or one.words == ():
        return
    paths = [_expanded(graph, step.state, word) for word in sources(one) if "://" not in word]
    if (name := one.flag("from")) is None:
        yield from (posixpath.normpath(path.lstrip("/") or ".") for path in paths)
        return
    source = graph.source(step.stage, _expanded(graph, step.state, name))
    if source.stage is not None:
        for path in paths:
            yield from _traced(graph, steps, source.stage, posixpath.normpath("/" + path.lstrip("/")))


def _traced(graph: Graph, steps: Mapping[int, list[Step]], stage: Stage, path: str) -> Iterator[str]:
    """The context paths that may be at `path` in a stage."""
    for holder in graph.chain(stage):
        for step in steps[holder.index]:
            if step.one.keyword not in ("COPY", "ADD"):
                continue
            words = operands(step.one)
            written = _expanded(graph, step.state, words[-1]) if words else ""
            folder = posixpath.normpath(posixpath.join(step.state.workdir or "/", written))
            for origin in _taken(graph, steps, step):
                if within(folder, path):
                    yield origin
                elif within(path, folder):
                    rest = posixpath.relpath(path, folder)
                    yield (
                        origin
                        if posixpath.basename(origin) == rest
                        else posixpath.normpath(f"{origin}/{rest}")
                    )


def _expanded(graph: Graph, state: State, word: str) -> str:
    expanded = state.expand(word, graph.dockerfile.escape)
    return _VARIABLES.sub("*", word) if expanded is None else expanded
