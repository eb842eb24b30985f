"""Measure what makes the image of one service smaller, and on request write it down as files."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from watcher.builder import Recipe, original_dockerfile, platforms_of
from watcher.cli.doctor.findings import Finding, Grade, Measured
from watcher.cli.doctor.idle_turn import IdleTurn, is_daemon_busy
from watcher.cli.doctor.measure import TOPIC, SizeMeasurement, Suggestion
from watcher.cli.doctor.options import DoctorOptions
from watcher.cli.doctor.suggested_files import (
    IGNORE,
    SuggestedFile,
    suggest_dockerfile,
    suggest_ignore_file,
    suggest_patterns,
)
from watcher.cli.doctor.trial import Trials
from watcher.cli.doctor.variants import open_variants
from watcher.compose import ComposeProject, ServiceSpec, config_digest
from watcher.daemon.engine_access import EngineAccess
from watcher.daemon.port_protocols import protocol_of
from watcher.daemon.recipe import agents_of
from watcher.daemon.service_config import tree_of
from watcher.deploy import DeployPolicy
from watcher.dockerfile import DockerfileError, ImageConfig, ImageFacts, ShrinkInput, base_images, parse
from watcher.engine import EngineError
from watcher.errors import EngineUnavailable, WatcherError
from watcher.image.suggestion import SizeSuggestion, suggestion_file, write_suggestion
from watcher.settings import Settings
from watcher.system import lock
from watcher.tree import Snapshot, TreeGone, revision


@dataclass(slots=True)
class ServiceShrinker:
    """Measures one service."""

    spec: ServiceSpec
    project: ComposeProject
    recipe: Recipe
    settings: Settings
    access: EngineAccess
    options: DoctorOptions

    async def shrink(self) -> AsyncIterator[Finding]:
        """Yield what is measured of the service, and what is written."""
        recipe, access, options = self.recipe, self.access, self.options
        try:
            snapshot = await asyncio.to_thread(tree_of(self.spec, recipe, self.settings).scan)
            text = original_dockerfile(recipe, snapshot)
            if text is None:
                return  # another check reports it
            given = await _find_input(recipe, text, access)
        except (TreeGone, DockerfileError):
            return  # the same
        turn = IdleTurn(partial(is_daemon_busy, recipe.project))
        try:
            async with open_variants(recipe, access) as builds:
                measurement = SizeMeasurement(
                    recipe, snapshot, given, access.engine, builds, self._make_trials(), turn
                )
                async for finding in measurement.measure(text):
                    yield finding
                if found := measurement.suggestion:
                    yield _summarize(found, options)
                    if problem := await asyncio.to_thread(self._remember, found, snapshot):
                        yield Finding(TOPIC, Grade.ADVICE, problem)
                    if options.write or options.patch:
                        async for finding in self._offer(measurement, text, found):
                            yield finding
        except (EngineUnavailable, EngineError) as error:
            yield Finding(TOPIC, Grade.ADVICE, f"measuring was broken off: {error}")

    def _remember(self, found: Suggestion, snapshot: Snapshot) -> str:
        """Write down what was measured, for `watcher status`; return why that failed. Blocks."""
        recipe = replace(self.recipe, ssh=agents_of(self.spec))
        inputs = {**recipe.inputs(), "container": config_digest(self.spec)}  # as a daemon has it
        kept = SizeSuggestion(
            revision(snapshot, inputs), time.time(), found.before.size, found.after.size, found.names
        )
        try:
            write_suggestion(suggestion_file(recipe.project, self.spec.name), kept)
        except (OSError, RuntimeError) as error:
            return f"what was measured cannot be written down for `watcher status`: {error}"
        return ""

    def _make_trials(self) -> Trials:
        deploy, spec, project = self.settings.deploy, self.spec, self.recipe.project
        first = next((port.container_port for port in spec.ports if port.protocol == "tcp"), 0)
        policy = DeployPolicy(deploy.ready_path, protocol_of(spec, first, deploy), deploy.startup_timeout)
        beside = lock.find_running(project) is not None
        engine = self.access.engine
        return Trials(engine, self.project, spec, policy, project_id=project, beside=beside)

    async def _offer(
        self, measurement: SizeMeasurement, text: str, found: Suggestion
    ) -> AsyncIterator[Finding]:
        """Write what was measured, and an ignore file if the same works without what it leaves out."""
        spec, recipe, written = self.spec, self.recipe, self.options.written
        context = spec.build.context if spec.build else self.settings.root
        files: list[SuggestedFile] = []
        if found.names:
            path = context / (recipe.dockerfile if recipe.inline is None else "Dockerfile")
            file = suggest_dockerfile(path, text, found.text)
            if written.get(file.path, found.text) != found.text:  # of another service with the same file
                file = suggest_dockerfile(path, text, found.text, spec.name)
            files.append(file)
        existing = await asyncio.to_thread(_read_ignore_file, context)
        patterns = suggest_patterns(await asyncio.to_thread(os.listdir, context), existing)
        used = measurement.snapshot.ignore_file
        if patterns and (used is None or used[0] == IGNORE):
            snapshot = await asyncio.to_thread(_scan_without, spec, recipe, self.settings, patterns)
            problem = (
                await measurement.find_failure(found.text, snapshot) if snapshot else "the tree is unreadable"
            )
            if problem:
                told = f"no {IGNORE} is suggested: without {', '.join(patterns)}, {problem}"
                yield Finding(IGNORE, Grade.TASTE, told)
            else:
                files.append(suggest_ignore_file(context, existing, patterns))
        for file in files:
            for finding in _deliver(file, self.settings.root, self.options):
                yield finding


async def _find_input(recipe: Recipe, text: str, access: EngineAccess) -> ShrinkInput:
    platforms = await platforms_of(recipe, access.bases)
    names = base_images(parse(text), recipe.build_args, recipe.target, platforms)
    configs: dict[str, ImageConfig | None] = {}
    for name in names:
        if name not in recipe.contexts:
            found = await access.bases.try_to_find(recipe.images.get(name, name), recipe.platform)
            configs[name] = found.config
    return ShrinkInput(recipe.build_args, recipe.target, platforms, configs, ImageFacts())


def _summarize(found: Suggestion, options: DoctorOptions) -> Finding:
    measured = Measured(found.before, found.after)
    if not found.names:
        return Finding(TOPIC, Grade.GOOD, "nothing was found that makes the image smaller", measured=measured)
    same = f"; the same answers as before ({found.answers})" if found.answers else ""
    advice = "" if options.write or options.patch else "`watcher doctor --fix` writes a Dockerfile with them"
    told = f"all suggestions together give {measured.describe()}{same}"
    return Finding(TOPIC, Grade.ADVICE, told, advice, measured=measured)


def _deliver(file: SuggestedFile, root: Path, options: DoctorOptions) -> Iterator[Finding]:
    if options.written.get(file.path) == file.text:
        return
    options.written[file.path] = file.text
    patch = file.render_patch(root)
    if options.patch:
        yield Finding(file.original_path.name, Grade.GOOD, "a patch is printed", patch=patch)
        return
    try:
        file.write()
    except WatcherError as error:
        yield Finding(file.path.name, Grade.ADVICE, str(error), patch=patch)
        return
    yield Finding(file.path.name, Grade.GOOD, f"wrote {file.path}", patch=patch)


def _read_ignore_file(context: Path) -> str | None:
    try:
        return (context / IGNORE).read_text("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def _scan_without(
    spec: ServiceSpec, recipe: Recipe, settings: Settings, patterns: tuple[str, ...]
) -> Snapshot | None:
    """Scan the tree without what the patterns leave out, as an ignore file with them would have it."""
    watch = settings.watch.model_copy(update={"ignore": (*settings.watch.ignore, *patterns)})
    try:
        return tree_of(spec, recipe, settings.model_copy(update={"watch": watch})).scan()
    except TreeGone:
        return None
