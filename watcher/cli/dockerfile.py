"""`watcher dockerfile`: how a project's Dockerfile is changed for builds, with a reason for each change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any

from watcher import dockerfile as dockerfiles
from watcher import labels
from watcher.builder import (
    BaseImage,
    BaseImages,
    Recipe,
    accelerate_dockerfile,
    original_dockerfile,
    pin_bases,
    platforms_of,
)
from watcher.daemon.compose_project import compose_project
from watcher.daemon.engine_access import open_engine
from watcher.daemon.recipe import check_dockerfile, recipe_of
from watcher.daemon.service_config import tree_of
from watcher.dockerfile import Accelerated, DockerfileError, LineNote
from watcher.errors import EngineUnavailable, WatcherError
from watcher.settings import Settings
from watcher.system.blocking_call import in_thread
from watcher.tree import Snapshot


@dataclass(frozen=True, slots=True)
class Explained:
    """A Dockerfile's `text`, the plan of its changes, advice for the file, and what is not known."""

    service: str
    name: str
    level: str
    text: str
    plan: Accelerated
    advice: tuple[LineNote, ...]
    unknown: tuple[str, ...]

    def render_lines(self) -> Iterator[str]:
        """Yield a unified diff with a reason above each hunk, then notes."""
        yield from dockerfiles.diff(self.text, self.plan, self.name).splitlines()
        if not self.plan.every_change:
            off = " (build.accelerate is off)" if self.level == "off" else ""
            yield f"# {self.name} is built as it is{off}"
        for note in self.advice:
            yield f"# line {note.line}, with or without the watcher: {note.reason}"
        for sentence in self.unknown:
            yield f"# {sentence}"

    def as_json(self) -> Mapping[str, Any]:
        """Return the same as JSON values."""
        return {
            "service": self.service,
            "dockerfile": self.name,
            "level": self.level,
            "text": self.plan.text,
            "changes": [asdict(change) for change in self.plan.every_change],
            "left_alone": [asdict(note) for note in self.plan.left_alone],
            "advice": [asdict(note) for note in self.advice],
            "unknown": list(self.unknown),
        }


async def explain_dockerfiles(settings: Settings) -> list[Explained]:
    """Explain the Dockerfiles of the managed services.

    Without an engine, the usual configuration of base images is assumed, and `unknown` has a note. Raises
    ConfigError, and WatcherError if a Dockerfile cannot be read.
    """
    project = await in_thread(lambda: compose_project(settings), str(settings.project))
    bases, native, unknown = None, "", []
    async with AsyncExitStack() as stack:
        try:
            access = await stack.enter_async_context(open_engine(settings))
            bases, native = access.bases, (await access.engine.info()).platform
        except EngineUnavailable as error:
            unknown.append(f"base images were not inspected, their usual configuration is assumed: {error}")
        found = []
        for spec in project.managed_services:
            check_dockerfile(spec, settings.root)
            own = settings.for_service(spec.name)
            recipe = recipe_of(spec, own, labels.project_id(settings.root), native)
            snapshot = await asyncio.to_thread(tree_of(spec, recipe, own).scan)
            found.append(await _explain_one(recipe, snapshot, bases, unknown))
        return found


async def _explain_one(
    recipe: Recipe, snapshot: Snapshot, bases: BaseImages | None, unknown: list[str]
) -> Explained:
    text = original_dockerfile(recipe, snapshot)
    if text is None:
        raise WatcherError(snapshot.no_dockerfile)
    args, target, unknown = recipe.build_args, recipe.target, list(unknown)
    try:
        found: dict[str, BaseImage] = {}
        platforms = await platforms_of(recipe, bases)
        text = dockerfiles.with_images(
            text, recipe.images, build_args=args, target=target, platforms=platforms
        )
        for name in dockerfiles.base_images(dockerfiles.parse(text), args, target, platforms):
            if name in recipe.contexts:
                found[name] = BaseImage(None)
                continue
            base = await bases.try_to_find(name, recipe.platform) if bases else BaseImage(None)
            found[name] = base
            if base.problem:
                unknown.append(
                    f"{name}: its configuration is not known, the usual one is assumed: {base.problem}"
                )
        configs = {name: base.config for name, base in found.items()}
        plan = await asyncio.to_thread(accelerate_dockerfile, recipe, text, snapshot, configs, platforms)
        plan = pin_bases(recipe, plan, found, platforms)
        advice = dockerfiles.lint(
            text,
            build_args=args,
            target=target,
            platforms=platforms,
            vendored="vendor/modules.txt" in snapshot.files,
        )
    except DockerfileError as error:
        raise WatcherError(f"{recipe.dockerfile}: {error}") from error
    name = "dockerfile_inline" if recipe.inline is not None else recipe.dockerfile
    changed = {change.line for change in plan.changes}
    kept = tuple(note for note in advice if note.line not in changed)
    return Explained(recipe.service, name, recipe.level.value, text, plan, kept, tuple(unknown))
