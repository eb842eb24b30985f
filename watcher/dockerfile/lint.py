"""Advice for a Dockerfile itself: what makes every save slow, with or without this program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from watcher.dockerfile.annotations import LineNote
from watcher.dockerfile.caches import copies_folders, copy_sources
from watcher.dockerfile.go_commands import RunAnalysis
from watcher.dockerfile.keyvalues import env_pairs
from watcher.dockerfile.model import Instruction
from watcher.dockerfile.parse import parse
from watcher.dockerfile.platforms import Platforms
from watcher.dockerfile.running import THE_IMAGES
from watcher.dockerfile.stage_group import StageGroup, stage_groups
from watcher.dockerfile.stages import Graph, run_mounts
from watcher.dockerfile.state import StageStep

_INSTALLS = frozenset({"apk", "apt", "apt-get", "dnf", "yum", "microdnf", "zypper"})


def lint(
    text: str,
    *,
    build_args: Mapping[str, str],
    target: str | None,
    vendored: bool = False,
    platforms: Platforms,
) -> tuple[LineNote, ...]:
    """Return advice by line. `vendored`: the tree has its modules in `vendor`.

    Raises DockerfileError where `text` is no Dockerfile.
    """
    dockerfile = parse(text)
    graph = Graph(dockerfile, build_args, platforms)
    found: list[tuple[Instruction, str]] = []
    for group in stage_groups(graph, build_args, {}, target, THE_IMAGES):
        if group.go:
            found += [(step.one, advice) for step, advice in _check_go(group, vendored=vendored)]
            if group.output is not None and group.compiles():
                why = "the image carries the whole toolchain; a stage with the binary alone is far smaller"
                found.append((group.output.head, why))
    notes = _sort_notes(text, found)
    if dockerfile.syntax is not None:
        advice = "the frontend is an image of its own, looked up at its registry; the engine has one built in"
        notes.insert(0, LineNote(1, f"# syntax={dockerfile.syntax}", advice))
    return tuple(notes)


def _sort_notes(text: str, found: list[tuple[Instruction, str]]) -> list[LineNote]:
    lines = text.split("\n")
    notes = {
        (one.line, advice): LineNote(one.line, lines[one.line - 1].strip(), advice) for one, advice in found
    }
    return [note for _, note in sorted(notes.items())]


def _check_go(group: StageGroup, *, vendored: bool) -> Iterator[tuple[StageStep, str]]:
    tree: dict[int, StageStep] = {}  # the step that copied the tree, by stage
    downloaded = vendored  # or the modules come otherwise than by a download in each build
    for step, analysis in group.steps:
        one = step.one
        if one.keyword == "ENV" and any(
            name == "GOFLAGS" and "-a" in value.strip("\"'").split()
            for name, value in env_pairs(one, group.graph.dockerfile.escape)
        ):
            yield step, "GOFLAGS=-a compiles the standard library and every module again at each build"
        downloaded = downloaded or _brings_modules(step)
        if _copies_tree(one) and step.stage.index not in tree:
            tree[step.stage.index] = step
        if analysis is None:
            continue
        yield from _check_flags(step, analysis)
        copied = next(
            (tree[stage.index] for stage in group.graph.stage_chain(step.stage) if stage.index in tree), None
        )
        if _downloads_modules(analysis):
            downloaded = True
            if copied is not None:
                yield copied, "the tree is copied before go mod download, which so runs again at every save"
        elif copied is not None and not downloaded and analysis.compiles and analysis.calls:
            downloaded = True
            yield (
                copied,
                "go.mod and go.sum alone, then go mod download, then the tree: so the modules keep a layer",
            )
        if copied is not None and any(command.name() in _INSTALLS for command in analysis.commands):
            yield step, f"packages are installed behind line {copied.one.line}, and so again at every save"


def _check_flags(step: StageStep, analysis: RunAnalysis) -> Iterator[tuple[StageStep, str]]:
    for call in analysis.calls:
        names = {name for name, value, _ in call.flags() if value in (None, "true", "1")}
        if call.sub in ("build", "install", "test", "vet", "run") and "a" in names:
            yield step, f"go {call.sub} -a compiles the standard library and every module again at each build"
        if call.sub == "clean" and names & {"cache", "modcache"}:
            yield (
                step,
                "go clean empties a cache that the next build would live on; a mounted one is in no image",
            )


def _downloads_modules(analysis: RunAnalysis) -> bool:
    return any(
        call.sub == "mod"
        and [word.text for word in call.command.words[call.first : call.first + 1]] == ["download"]
        for call in analysis.calls
    )


def _brings_modules(step: StageStep) -> bool:
    """Return whether modules come with a step: out of another stage, from a cache mount, or as `vendor`."""
    one = step.one
    if one.keyword == "COPY":
        named = copy_sources(one)
        if one.flag("from"):
            return any("pkg" in path or path.rstrip("/").endswith("/go") for path in named)
        return any(path.strip("./").split("/")[-1] == "vendor" for path in named)
    if one.keyword == "RUN":
        return "-mod=vendor" in one.body.text or any(
            mount["type"] in ("cache", "bind") and "pkg" in mount.get("target", "")
            for mount in run_mounts(one)
        )
    return one.keyword == "ENV" and "-mod=vendor" in one.body.text


def _copies_tree(one: Instruction) -> bool:
    return one.keyword in ("COPY", "ADD") and not one.flag("from") and copies_folders(one)
