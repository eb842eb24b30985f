"""Base images by digest: BuildKit then has no reason to ask their registry in every build.

An image that the engine's store does not have by name is looked up by each build, although all of its layers
are there since the first: a tag can have moved. By digest it cannot have (moby/buildkit, util/imageutil,
`Config`: content that is there is not asked for), so such a build needs no network and does not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from watcher.dockerfile.accelerate import Accelerated
from watcher.dockerfile.annotations import line_changes
from watcher.dockerfile.model import Instruction, Stage
from watcher.dockerfile.parse import parse
from watcher.dockerfile.platforms import Platforms
from watcher.dockerfile.spans import Edit, apply_edits
from watcher.dockerfile.stages import Graph

_WHY = "the image is not at the engine by name; by its digest its registry is not asked in every build"


def pin(
    plan: Accelerated,
    digests: Mapping[str, str],
    *,
    build_args: Mapping[str, str],
    target: str | None,
    platforms: Platforms,
) -> Accelerated:
    """Return `plan` with `name@digest` in `FROM` and `COPY --from`, for names with a digest.

    Names are those of `base_images`; one that has a digest already keeps it. The number of lines stays.
    Raises DockerfileError where the text is none.
    """
    wanted = {name: digest for name, digest in digests.items() if digest and "@" not in name}
    if not wanted:
        return plan
    graph = Graph(parse(plan.text), build_args, platforms)
    edits = tuple(edit for stage in graph.reachable_stages(target) for edit in _edits(graph, stage, wanted))
    if not edits:
        return plan
    text = apply_edits(plan.text, edits)
    return replace(plan, text=text, pins=line_changes(plan.text, text, edits))


def _edits(graph: Graph, stage: Stage, digests: Mapping[str, str]) -> Iterator[Edit]:
    image, text = graph.bases[stage.index].image, graph.dockerfile.text
    start = stage.head.body.offset(0)
    stop = start + len(stage.base)
    over_lines = text[start:stop] != stage.base
    if image is not None and image in digests and not over_lines:
        yield Edit(start, stop, f"{image}@{digests[image]}", _WHY)
    for one, base in graph.find_reads(stage):
        if base.image is not None and base.image in digests and (place := _from(one, text)):
            yield Edit(*place, f"{base.image}@{digests[base.image]}", _WHY)


def _from(one: Instruction, text: str) -> tuple[int, int] | None:
    """Return the place of the value of a COPY's `--from`, None unless it is one plain flag."""
    value = one.flag("from")
    flag = f"--from={value}"
    flags = text[one.keyword_stop : one.body.offset(0)]
    if one.keyword != "COPY" or not value or flags.split().count(flag) != 1 or flags.count(flag) != 1:
        return None
    start = one.keyword_stop + flags.index(flag) + len("--from=")
    return start, start + len(value)
