"""Make the variants of a Dockerfile that can be built: accelerated, with or without a network, unchanged."""

from __future__ import annotations

import asyncio
import hashlib
import traceback
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from watcher import dockerfile as dockerfiles
from watcher.builder.base_images import BaseImage, BaseImages
from watcher.builder.connection import BuildkitConnection
from watcher.builder.recipe import Recipe
from watcher.builder.repository import missing_repository
from watcher.builder.strategies import BuildStrategy
from watcher.buildkit import ContextChanged
from watcher.diagnosis.diagnose import base_failure
from watcher.dockerfile import (
    Accelerated,
    Dockerfile,
    DockerfileError,
    ImageConfig,
    Level,
    Platforms,
    TreeInputs,
)
from watcher.errors import RegistryTrouble
from watcher.observers.events import InternalError, Notice, Observer
from watcher.tree import Snapshot

_RECENT = 64  # texts that are remembered for the names of their cache mounts
_LARGEST = 16 << 20  # bytes of a file that is searched for the use of C
# The files that name the modules of a build, in any folder.
_MODULE_FILES = ("go.mod", "go.sum", "go.work", "go.work.sum", "vendor/modules.txt")


@dataclass(frozen=True, slots=True)
class DockerfileVariant:
    """A text to build, with its differences from the original, and the strategy that it follows.

    `unread` is why the Dockerfile could not be parsed. `frontend_inputs` is a digest of everything that
    BuildKit's frontend reads, besides what the recipe has; empty if it is not known.
    """

    plan: Accelerated
    strategy: BuildStrategy
    unread: DockerfileError | None = None
    frontend_inputs: str = ""


class DockerfileVariants:
    """Makes the variants for one service, and notifies once of each noteworthy base image."""

    def __init__(
        self,
        service: str,
        *,
        bases: BaseImages,
        connection: BuildkitConnection,
        observer: Observer,
        base_notices: set[str] | None = None,
    ) -> None:
        """`base_notices` are the notices about base images so far, shared by the services of a project."""
        self._service, self._bases, self._connection, self._observer = service, bases, connection, observer
        self._base_notices = set() if base_notices is None else base_notices
        self.recent: deque[str] = deque(maxlen=_RECENT)  # texts of the last variants
        self._notices: set[str] = set()
        self._searched_for_git: set[str] = set()  # the Dockerfile that was last searched for the use of git
        self._known: dict[tuple[str, bytes], bool] = {}  # of contents, for `tree_inputs`

    async def make_variant(
        self, recipe: Recipe, text: str, snapshot: Snapshot, strategy: BuildStrategy, *, pins: bool = True
    ) -> DockerfileVariant:
        """Return a variant; raises EngineUnavailable, and RegistryTrouble if a registry does not answer.

        `pins`: name base images by digest if that saves a lookup. A Dockerfile that cannot be parsed here, or
        that acceleration fails on, is returned unchanged: the engine can be newer.
        """
        try:
            return await self._make(recipe, text, snapshot, strategy, pins=pins)
        except DockerfileError as error:
            return DockerfileVariant(Accelerated(text), BuildStrategy.PLAIN, error)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            trace = "".join(traceback.format_exception(error))
            self._observer.notify(InternalError(service=self._service, where="acceleration", traceback=trace))
            return DockerfileVariant(Accelerated(text), BuildStrategy.PLAIN)

    async def _make(
        self, recipe: Recipe, text: str, snapshot: Snapshot, strategy: BuildStrategy, *, pins: bool
    ) -> DockerfileVariant:
        platforms = await self._connection.platforms(recipe.platform)
        args, target = recipe.build_args, recipe.target
        text = dockerfiles.with_images(
            text, recipe.images, build_args=args, target=target, platforms=platforms
        )
        dockerfile = dockerfiles.parse(text)
        bases = await self._find_bases(recipe, dockerfile, platforms)
        configs: dict[str, ImageConfig | None] = dict.fromkeys(recipe.contexts)
        configs |= {name: base.config for name, base in bases.items()}
        networks = strategy is BuildStrategy.OFFLINE and await self._connection.supports_run_network()
        plan = await asyncio.to_thread(
            accelerate_dockerfile,
            recipe,
            text,
            snapshot,
            configs,
            platforms,
            strategy=strategy,
            engine_knows_networks=networks,
            known=self._known,
        )
        await self._warn_of_git(recipe, text, snapshot)
        if pins:
            plan = pin_bases(recipe, plan, bases, platforms)
        plan = dockerfiles.with_folders(
            plan, recipe.markers, build_args=args, target=target, platforms=platforms
        )
        self.recent.append(plan.text)
        inputs = ""
        if not dockerfile.syntax:
            inputs = digest_frontend_inputs(recipe, plan, snapshot, bases, age=self._bases.age)
        if not plan.changes and not plan.no_network_lines:
            return DockerfileVariant(plan, BuildStrategy.PLAIN, frontend_inputs=inputs)
        self._warn_of_missing_symbols(recipe, plan)
        if strategy is not BuildStrategy.OWN_MODULES:
            strategy = BuildStrategy.OFFLINE if plan.without_network else BuildStrategy.ACCELERATED
        return DockerfileVariant(plan, strategy, frontend_inputs=inputs)

    async def _warn_of_git(self, recipe: Recipe, text: str, snapshot: Snapshot) -> None:
        """Warn if the build runs git without `.git`; search each Dockerfile once."""
        if text not in self._searched_for_git:
            self._searched_for_git = {text}
            if warning := await asyncio.to_thread(missing_repository, text, snapshot):
                self.notify_once("warning", f"{recipe.dockerfile}: {warning}")

    def _warn_of_missing_symbols(self, recipe: Recipe, plan: Accelerated) -> None:
        if plan.without_dwarf:
            lines = ", ".join(str(line) for line in plan.without_dwarf)
            text = f"build.accelerate is fast: {recipe.dockerfile} line {lines} links without DWARF"
            self.notify_once("info", f"{text}, so a debugger finds no symbols")

    async def _find_bases(
        self, recipe: Recipe, dockerfile: Dockerfile, platforms: Platforms
    ) -> dict[str, BaseImage]:
        """Return what is known of the base images, by the names in the Dockerfile."""
        names = dockerfiles.base_images(dockerfile, recipe.build_args, recipe.target, platforms)
        names = tuple(name for name in names if name not in recipe.contexts)
        # In parallel: an engine with the containerd store needs 12 ms for each.
        bases = await asyncio.gather(*(self._find_base(name, recipe.platform) for name in names))
        return dict(zip(names, bases, strict=True))

    async def _find_base(self, name: str, platform: str) -> BaseImage:
        """Return what is known of a base image; notify once of a placeholder image or a pull."""
        try:
            base = await self._bases.find_image(name, platform)
        except TimeoutError as error:
            failure = base_failure((name,), self._bases.patience.no_answer)
            raise RegistryTrouble(failure.summary, failure.hint) from error
        if not base.here:
            self._notify_of_base("info", f"the base image {name} is not here: BuildKit pulls it")
        if base.placeholder:
            self._notify_of_base(
                "warning",
                f"{name} is a PLACEHOLDER image made on this machine: the real one could not be pulled; "
                "sizes and packages differ from the real one's",
            )
        return base

    def notify_once(self, level: str, text: str) -> None:
        """Emit a notice, unless the same was emitted before."""
        self._notify_unless(self._notices, Notice(service=self._service, level=level, text=text))

    def _notify_of_base(self, level: str, text: str) -> None:
        """Emit a notice of the whole project: its services often have the same base images."""
        self._notify_unless(self._base_notices, Notice(level=level, text=text))

    def _notify_unless(self, emitted: set[str], notice: Notice) -> None:
        if notice.text not in emitted:
            emitted.add(notice.text)
            self._observer.notify(notice)


def accelerate_dockerfile(
    recipe: Recipe,
    text: str,
    snapshot: Snapshot,
    bases: Mapping[str, ImageConfig | None],
    platforms: Platforms,
    *,
    strategy: BuildStrategy = BuildStrategy.ACCELERATED,
    engine_knows_networks: bool = False,
    known: dict[tuple[str, bytes], bool] | None = None,
) -> Accelerated:
    """Return the Dockerfile `text` as this strategy builds it; raises DockerfileError.

    Reads files, so call it in a thread. `known` is for `tree_inputs`.
    """
    return dockerfiles.accelerate(
        text,
        level=Level.OFF if strategy is BuildStrategy.PLAIN else recipe.level,
        build_args=recipe.build_args,
        target=recipe.target,
        platforms=platforms,
        bases=bases,
        runs=recipe.runs,
        cache_scope=recipe.project,
        shared_scope=recipe.cache_scope,
        compile_without_network=strategy is BuildStrategy.OFFLINE,
        mount_modules=strategy is not BuildStrategy.OWN_MODULES,
        engine_knows_networks=engine_knows_networks,
        inputs=tree_inputs(snapshot, known),
        keep_programs=recipe.keep_programs,
    )


def pin_bases(
    recipe: Recipe, plan: Accelerated, bases: Mapping[str, BaseImage], platforms: Platforms
) -> Accelerated:
    """Return `plan` with base images by digest where this only saves time; raises DockerfileError."""
    if recipe.level is Level.OFF or "image-resolve-mode" in recipe.frontend_attrs:  # `build.pull`
        return plan
    digests = {name: base.digest for name, base in bases.items()}
    return dockerfiles.pin(
        plan, digests, build_args=recipe.build_args, target=recipe.target, platforms=platforms
    )


def digest_frontend_inputs(
    recipe: Recipe, plan: Accelerated, snapshot: Snapshot, bases: Mapping[str, BaseImage], *, age: int
) -> str:
    """Return a digest of what BuildKit's own frontend reads to build `plan`, besides the recipe.

    `age` is that of the base images. Empty if the frontend asks a registry, or is not BuildKit's own.
    """
    attrs = recipe.frontend_attrs
    elsewhere = "image-resolve-mode" in attrs or any(name.startswith("context:") for name in attrs)
    if elsewhere or "BUILDKIT_SYNTAX" in recipe.build_args:
        return ""
    parts = [("text", plan.text.encode("utf-8", "surrogateescape")), (f"age {age}", b"")]
    if snapshot.ignore_file:
        parts.append((f"ignore {snapshot.ignore_file[0]}", snapshot.ignore_file[1]))
    for name, base in bases.items():
        if base.config is None or not (base.here or (base.digest and base.digest in plan.text)):
            return ""
        parts.append((f"base {name}", base.config.id.encode()))
    return _digest(parts)


def original_dockerfile(recipe: Recipe, snapshot: Snapshot) -> str | None:
    """Return the Dockerfile as the user has it; None if it does not exist."""
    if recipe.inline is not None:
        return recipe.inline
    data = snapshot.dockerfile
    return None if data is None else data.decode("utf-8", "surrogateescape")


def tree_inputs(snapshot: Snapshot, known: dict[tuple[str, bytes], bool] | None = None) -> TreeInputs:
    """Return the files of the tree that a C compiler can read; `known` caches what they contain."""
    places = {path: (snapshot, path) for path in snapshot.files}
    for other in snapshot.contexts.values():
        places |= {snapshot.shown(path, other): (other, path) for path in other.files}
    entries = {path: (tree, tree.files[name]) for path, (tree, name) in places.items()}
    files = {path: entry.digest for path, (_, entry) in entries.items() if not entry.is_dir}

    def read(path: str) -> bytes | None:
        tree, entry = entries[path]
        if entry.is_link and not path.endswith(".go"):
            return b""  # its target is a file of its own if it is in the tree
        if entry.is_link or entry.size > _LARGEST:
            return None
        try:
            with tree.open(entry.path) as file:
                return file.read()
        except (OSError, ContextChanged):  # changed since the scan: the build will be superseded
            return None

    return TreeInputs(files, read, known)


def digest_modules(snapshot: Snapshot, text: str) -> str:
    """Return a digest of the files that name the modules of this Dockerfile's build."""
    trees = {"": snapshot, **snapshot.contexts}
    named = [
        (f"{name}{path}", entry.digest)
        for name, tree in trees.items()
        for path, entry in tree.files.items()
        if path.endswith(_MODULE_FILES)
    ]
    return _digest([*named, ("", text.encode("utf-8", "surrogateescape"))])


def _digest(parts: list[tuple[str, bytes]]) -> str:
    state = hashlib.sha256()
    for path, content in sorted(parts):
        name = path.encode("utf-8", "surrogateescape")
        state.update(b"%d:%b%d:%b" % (len(name), name, len(content), content))
    return state.hexdigest()
