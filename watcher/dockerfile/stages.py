"""The stages as a graph: which one comes from which, which ones a target needs, which images they start from.

After moby/buildkit `frontend/dockerfile/dockerfile2llb/convert.go`: `FROM` and `COPY --from` take the name
of an earlier stage before they take an image's; a number in `--from` is a stage's; the target is the last
stage unless named; only what the target reaches is built, so only its images are asked for.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass

from watcher.dockerfile.expand import Unresolved, expand, lookup_in
from watcher.dockerfile.keyvalues import arg_pairs
from watcher.dockerfile.model import Dockerfile, DockerfileError, Instruction, Stage
from watcher.dockerfile.platforms import Platforms

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class StageBase:
    """What a stage starts from: an earlier `stage`, an `image` reference, or (both None) `scratch`."""

    stage: Stage | None = None
    image: str | None = None


def global_values(
    dockerfile: Dockerfile, build_args: Mapping[str, str], platforms: Platforms
) -> dict[str, str]:
    """Return the variables that FROM lines see: the platform's, and the ARGs before the first FROM."""
    values = platforms.values()
    values.update({name: build_args[name] for name in values if name in build_args})
    for one in dockerfile.preamble:
        for name, default in arg_pairs(one, dockerfile.escape):
            if name in build_args:
                values[name] = build_args[name]
            elif default is not None:
                try:
                    values[name] = expand(default, lookup_in(values), dockerfile.escape)
                except Unresolved as error:
                    raise _bad_instruction(one, str(error)) from error
    return values


class Graph:
    """A Dockerfile for given build args and platforms. Raises DockerfileError for a bad FROM."""

    def __init__(self, dockerfile: Dockerfile, build_args: Mapping[str, str], platforms: Platforms) -> None:
        self.dockerfile = dockerfile
        self.values = global_values(dockerfile, build_args, platforms)
        self.bases = tuple(self._resolve_base(stage) for stage in dockerfile.stages)

    def _resolve_base(self, stage: Stage) -> StageBase:
        try:
            name = expand(stage.base, lookup_in(self.values), self.dockerfile.escape)
        except Unresolved as error:
            raise _bad_instruction(stage.head, str(error)) from error
        if not name:
            raise _bad_instruction(
                stage.head, f"the base {stage.base} is empty; give the ARG a default or pass a build arg"
            )
        for earlier in reversed(self.dockerfile.stages[: stage.index]):
            if earlier.name == name.lower():
                return StageBase(stage=earlier)
        return StageBase() if name == SCRATCH else StageBase(image=name)

    def find_target(self, name: str | None) -> Stage:
        """Return the stage to build. Raises DockerfileError when there is none of that name."""
        if not name:
            return self.dockerfile.stages[-1]
        stage = self.dockerfile.stage(name)
        if stage is None:
            known = ", ".join(one.label for one in self.dockerfile.stages)
            raise DockerfileError(1, name, f"there is no stage of this name; there are {known}")
        return stage

    def find_source(self, stage: Stage, name: str) -> StageBase:
        """Return the meaning of `--from=name` in this stage."""
        lowered = name.lower()
        earlier = self.dockerfile.stages[: stage.index]
        for other in reversed(earlier):
            if other.name == lowered:
                return StageBase(stage=other)
        if name.isdecimal() and int(name) < len(earlier):
            return StageBase(stage=earlier[int(name)])
        return StageBase() if name == SCRATCH else StageBase(image=name)

    def find_reads(self, stage: Stage) -> list[tuple[Instruction, StageBase]]:
        """Return each `COPY --from` and `RUN --mount=from` of a stage with its source."""
        found: list[tuple[Instruction, StageBase]] = []
        for one in stage.instructions:
            names = [one.flag("from")] if one.keyword == "COPY" else []
            names += [mount.get("from") for mount in run_mounts(one)] if one.keyword == "RUN" else []
            found += [(one, self.find_source(stage, self._expand_name(name))) for name in names if name]
        return found

    def _expand_name(self, name: str) -> str:
        try:
            return expand(name, lookup_in(self.values), self.dockerfile.escape)
        except Unresolved:
            return name

    def reachable_stages(self, target: str | None) -> list[Stage]:
        """Return the stages that the target needs, itself included, in the order of the file."""
        wanted, found = [self.find_target(target)], set[int]()
        while wanted:
            stage = wanted.pop()
            if stage.index in found:
                continue
            found.add(stage.index)
            sources = [self.bases[stage.index], *(base for _, base in self.find_reads(stage))]
            wanted += [base.stage for base in sources if base.stage is not None]
        return [stage for stage in self.dockerfile.stages if stage.index in found]

    def root_stage(self, stage: Stage) -> Stage:
        """Return the first stage of this stage's FROM chain."""
        while (parent := self.bases[stage.index].stage) is not None:
            stage = parent
        return stage

    def stage_chain(self, stage: Stage) -> list[Stage]:
        """Return the stages that this one is based on through FROM, root first, itself last."""
        parent = self.bases[stage.index].stage
        return [*(self.stage_chain(parent) if parent is not None else []), stage]


def run_mounts(one: Instruction) -> list[dict[str, str]]:
    """Return the `--mount` flags of a RUN: keys in lower case under one name each, values as written."""
    found: list[dict[str, str]] = []
    aliases = {"dst": "target", "destination": "target", "src": "source"}
    for value in one.flag_values("mount"):
        fields = next(csv.reader([value]), [])
        mount: dict[str, str] = {"type": "bind"}
        for item in fields:
            key, _, content = item.partition("=")
            mount[aliases.get(key.lower(), key.lower())] = content
        found.append(mount)
    return found


def base_images(
    dockerfile: Dockerfile, build_args: Mapping[str, str], target: str | None, platforms: Platforms
) -> tuple[str, ...]:
    """Return the images, outside this file, that a build of `target` starts from or copies from, each once.

    References are as written with ARGs put in, so `golang:alpine` and not `docker.io/library/…`. Names of
    stages and `scratch` are left out. Raises DockerfileError for a target or a FROM that cannot be.
    """
    graph = Graph(dockerfile, build_args, platforms)
    found: dict[str, None] = {}
    for stage in graph.reachable_stages(target):
        for base in [graph.bases[stage.index], *(base for _, base in graph.find_reads(stage))]:
            if base.image is not None:
                found[base.image] = None
    return tuple(found)


def _bad_instruction(one: Instruction, rule: str) -> DockerfileError:
    return DockerfileError(one.line, f"{one.keyword} {one.body.text}", rule)
