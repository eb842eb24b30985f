"""Find what a build copies from its context, and whether it gets into the image."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from watcher.dockerfile.advice import ReviewedFile
from watcher.dockerfile.caches import copy_sources
from watcher.dockerfile.stages import run_mounts
from watcher.dockerfile.state import StageStep
from watcher.dockerignore.errors import IgnorePatternError
from watcher.dockerignore.patterns import PatternMatcher


@dataclass(frozen=True, slots=True)
class ContextCopy:
    """A step that reads the context: its line, sources (patterns) without `but`. `in_image`: they stay."""

    line: int
    sources: tuple[str, ...]
    but: tuple[str, ...]
    in_image: bool

    @property
    def is_whole(self) -> bool:
        """Return whether it reads the whole context."""
        return "." in self.sources

    def brings(self, path: str) -> bool:
        """Return whether it reads this file."""
        try:
            excluded = bool(self.but) and PatternMatcher(self.but).matches(path)
            return not excluded and (self.is_whole or PatternMatcher(self.sources).matches(path))
        except IgnorePatternError:
            return False


def find_copies(file: ReviewedFile) -> tuple[ContextCopy, ...]:
    """Return the COPY, ADD and bind mounts of the context in the stages that the target needs."""
    final = {stage.index for stage in file.graph.stage_chain(file.target)}
    carried = {id(context) for _, context in find_carried_trees(file)}
    return tuple(
        found
        for stage in file.stages
        for step in file.steps[stage.index]
        if not step.inherited
        for found in _read_step(
            step, file.graph.dockerfile.escape, in_image=stage.index in final or id(step) in carried
        )
    )


def find_carried_trees(file: ReviewedFile) -> Iterator[tuple[StageStep, StageStep]]:
    """Yield each COPY of another stage's folder into the image, with the COPY of the whole tree into it."""
    escape = file.graph.dockerfile.escape
    for step in file.chain_steps(file.target):
        source = step.one.flag("from")
        base = file.graph.find_source(step.stage, source) if step.one.keyword == "COPY" and source else None
        if base is None or base.stage is None:
            continue
        words = [step.state.expand(word, escape) for word in copy_sources(step.one)]
        folders = [posixpath.normpath(posixpath.join("/", word)) for word in words if word]
        for other in file.chain_steps(base.stage):
            root = _find_tree_root(other, escape)
            if root and any(posixpath.commonpath((root, folder)) == folder for folder in folders):
                yield step, other


def _find_tree_root(step: StageStep, escape: str) -> str | None:
    """Return the folder into which a step copies the whole context; None if it does not."""
    one = step.one
    if one.keyword not in ("COPY", "ADD") or one.flag("from") or step.state.workdir is None:
        return None
    words = one.words or tuple(one.body.text.split())
    if len(words) != 2 or words[0] not in (".", "./"):
        return None
    target = step.state.expand(words[1], escape)
    return None if target is None else posixpath.normpath(posixpath.join(step.state.workdir, target))


def _read_step(step: StageStep, escape: str, *, in_image: bool) -> Iterator[ContextCopy]:
    one = step.one
    if one.keyword in ("COPY", "ADD") and not one.flag("from"):
        words = [step.state.expand(word, escape) for word in copy_sources(one)]
        but = _clean(one.flag_values("exclude"))  # relative to the source, which has several folders
        but += tuple(f"**/{pattern}" for pattern in but)
        yield ContextCopy(one.line, _clean(words), but, in_image)
    elif one.keyword == "RUN":
        for mount in run_mounts(one):
            if mount["type"] == "bind" and "from" not in mount:
                yield ContextCopy(one.line, _clean([mount.get("source", ".")]), (), in_image=False)


def _clean(words: list[str | None] | tuple[str, ...]) -> tuple[str, ...]:
    found = [word for word in words if word and "://" not in word]
    return tuple(posixpath.normpath(word).lstrip("/") or "." for word in found)
