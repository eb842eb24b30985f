"""Find go builds that a plain docker build makes slower, or larger, than they need to be."""

from __future__ import annotations

from collections.abc import Iterator

from watcher.dockerfile import caches, rewrite
from watcher.dockerfile.advice import Advice, ReviewedFile, Severity
from watcher.dockerfile.caches import NotAccelerated
from watcher.dockerfile.go_commands import RunAnalysis
from watcher.dockerfile.running import THE_IMAGES
from watcher.dockerfile.stage_group import StageGroup, stage_groups
from watcher.dockerfile.state import StageStep

_BUILDS = frozenset({"build", "install"})


def check_build_flags(file: ReviewedFile) -> Iterator[Advice]:
    """Yield each RUN with go build that keeps debug information, or has no cache mount."""
    given = file.given
    groups = stage_groups(file.graph, given.build_args, given.bases, given.target, THE_IMAGES)
    for group in groups:
        for step, analysis in group.run_steps():
            if not step.inherited and any(call.sub in _BUILDS for call in analysis.calls):
                yield from _check_debug(group, step, analysis)
                yield from _check_cache(step, analysis)


def _check_debug(group: StageGroup, step: StageStep, analysis: RunAnalysis) -> Iterator[Advice]:
    hidden = group.writes_goflags(step)
    try:
        edits = [
            edit
            for call in analysis.calls
            for edit in rewrite.strip_dwarf(call, analysis, step.state, hidden=hidden, flags="-s -w")
        ]
    except NotAccelerated:
        return
    if edits:
        line = step.one.line
        told = f"line {line}: the program keeps its symbol table and DWARF"
        remedy = '-ldflags="-s -w", unless a debugger is used; `watcher doctor --measure` measures the gain'
        yield Advice(line, Severity.TASTE, told, remedy)


def _check_cache(step: StageStep, analysis: RunAnalysis) -> Iterator[Advice]:
    try:
        path = caches.build_cache(step.state, analysis)
        if caches.is_cache_at(step, path):
            return
    except NotAccelerated:
        return  # where the cache is, or what else is mounted, is not known
    line = step.one.line
    told = f"line {line}: without a cache mount a plain docker build compiles every package at each change"
    remedy = f"RUN --mount=type=cache,target={path} …; the watcher adds mounts by itself where that is safe"
    yield Advice(line, Severity.TASTE, told, remedy)
