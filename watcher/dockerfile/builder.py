"""Find the compile stage: the article measures and prunes its image by `stage=builder`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from watcher.dockerfile.expand import Unresolved, expand
from watcher.dockerfile.go_commands import GoUsage, read_run
from watcher.dockerfile.keyvalues import env_pairs
from watcher.dockerfile.model import Dockerfile, Stage
from watcher.dockerfile.platforms import Platforms
from watcher.dockerfile.stages import Graph

_SHELL = ("/bin/sh", "-c")


def builder_stage(
    dockerfile: Dockerfile,
    target: str | None,
    build_args: Mapping[str, str],
    platforms: Platforms,
    label: str = "stage=builder",
) -> str | None:
    """Return the name (or number) of the stage that compiles for `target`, None without another stage.

    That is the last stage with that `LABEL` (name=value) that the target needs; without that label the last
    one, other than the target, that runs `go build` or `go install`, else one that runs make or a script
    and from which the target copies. Raises DockerfileError for a target or a FROM that cannot be.
    """
    graph = Graph(dockerfile, build_args, platforms)
    final = graph.find_target(target)
    needed = [stage for stage in graph.reachable_stages(target) if stage.index != final.index]
    for stage in reversed(needed):
        if _labelled(stage, graph, label.split("=", 1)):
            return stage.label
    for stage in reversed(needed):
        if _use(stage) is GoUsage.GO:
            return stage.label
    copied = {base.stage.index for _, base in graph.find_reads(final) if base.stage is not None}
    for stage in reversed(needed):
        if stage.index in copied and _use(stage) is GoUsage.MAYBE:
            return stage.label
    return None


def base_of(
    dockerfile: Dockerfile,
    stage: str,
    build_args: Mapping[str, str],
    platforms: Platforms,
) -> str | None:
    """Return the image that this stage starts from, through other stages too; None for `scratch`.

    Raises DockerfileError for a stage or a FROM that cannot be.
    """
    graph = Graph(dockerfile, build_args, platforms)
    return graph.bases[graph.root_stage(graph.find_target(stage)).index].image


def _labelled(stage: Stage, graph: Graph, label: Sequence[str]) -> bool:
    for one in stage.instructions:
        if one.keyword == "LABEL":
            for name, value in env_pairs(one, graph.dockerfile.escape):
                try:
                    plain = [
                        expand(word, graph.values.get, graph.dockerfile.escape) for word in (name, value)
                    ]
                except Unresolved:
                    continue
                if plain == label:
                    return True
    return False


def _use(stage: Stage) -> GoUsage:
    """Return GO if the stage builds or installs with go, MAYBE if it runs an unknown program."""
    use = GoUsage.NONE
    for one in stage.instructions:
        if one.keyword == "RUN":
            analysis = read_run(one, _SHELL)
            if any(call.sub in ("build", "install") for call in analysis.calls):
                return GoUsage.GO
            use = max(use, GoUsage.MAYBE if analysis.use is not GoUsage.NONE else GoUsage.NONE)
    return use
