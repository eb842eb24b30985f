"""Revision → image: one service's builds, through BuildKit's Control API.

The Dockerfile's text is accelerated in memory; the file is never written. Every build gets a tag of its own
(`<repository>:rev-<revision>`) beside the moving one, so that a tree that comes back is live without a build.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from watcher import dockerfile as dockerfiles
from watcher import labels, observe
from watcher.buildkit import (
    Client,
    ConnectError,
    ContextChanged,
    MemorySource,
    Progress,
    SolveFailed,
    SolveRequest,
    StepFinished,
    StepLog,
    StepStarted,
    StepStatus,
)
from watcher.buildkit.session import CredentialsFor
from watcher.diagnose import build_failure
from watcher.dockerfile import Accelerated, DockerfileError, ImageConfig, Level
from watcher.engine import Engine, EngineError
from watcher.errors import EngineUnavailable, Superseded, UserError
from watcher.observe import Failure, ImageSized, Notice, Observer, short
from watcher.reconcile import Built, Look
from watcher.tree import Snapshot

STAND_IN_LABEL = "watcher.stand-in"
_TRANSFER = "transferring context"  # how BuildKit names the status of the context's transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What decides the image beside the tree. `image` is the compose file's own reference, with a tag."""

    service: str
    project: str  # project id: scopes caches, labels and the engine's copy of the context
    image: str
    dockerfile: str = "Dockerfile"  # relative to the context
    inline: str | None = None  # a Dockerfile's text in the compose file, instead
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    level: Level = Level.EXACT
    platform: str = ""
    image_labels: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, bytes | Path] = field(default_factory=dict)
    frontend_attrs: Mapping[str, str] = field(default_factory=dict)  # see `SolveRequest`
    network: str = ""
    no_cache: bool = False
    builder_label: str = "stage=builder"  # how the Dockerfile marks its compile stage

    @property
    def repository(self) -> str:
        """The image reference without its tag."""
        head, colon, tag = self.image.rpartition(":")
        return head if colon and "/" not in tag else self.image

    def tag(self, revision: str) -> str:
        """The reference under which the image of `revision` is kept."""
        return f"{self.repository}:rev-{short(revision)}"

    @property
    def builder_tag(self) -> str:
        """The reference of the newest exported builder-stage image."""
        return f"{self.repository}:builder"

    def inputs(self) -> dict[str, str]:
        """The part of a revision that is not the tree."""
        plain = {
            "image": self.image,
            "dockerfile": self.dockerfile,
            "inline": self.inline or "",
            "target": self.target or "",
            "level": self.level.value,
            "platform": self.platform,
            "network": self.network,
        }
        for kind, pairs in (
            ("arg", self.build_args),
            ("label", self.image_labels),
            ("attr", self.frontend_attrs),
        ):
            plain |= {f"{kind} {name}": value for name, value in pairs.items()}
        return plain


def full_reference(ref: str) -> str:
    """The reference with registry and tag written out, as BuildKit's exporters want it."""
    head, colon, tag = ref.rpartition(":")
    name, tag = (head, tag) if colon and "/" not in tag else (ref, "latest")
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}:{tag}"
    if first == "localhost" or set(first) & {".", ":"}:
        return f"{name}:{tag}"
    return f"docker.io/{name}:{tag}"


class BuildkitLink:
    """The connection to the engine's BuildKit, made when needed and made again when it was lost."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: Client | None = None
        self._lock = asyncio.Lock()

    async def client(self) -> Client:
        """A connected client; raises EngineUnavailable."""
        async with self._lock:
            if self._client is None or self._client.closed:
                await self.close()
                try:
                    self._client = await Client.connect(self._address)
                except ConnectError as error:
                    raise EngineUnavailable(str(error)) from error
            return self._client

    async def close(self) -> None:
        """Give the connection back."""
        if self._client is not None:
            await self._client.close()
            self._client = None


class ImageBuilder:
    """Builds the images of one service."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        engine: Engine,
        link: BuildkitLink,
        observer: Observer,
        credentials: CredentialsFor | None = None,
    ) -> None:
        self.recipe = recipe
        self._engine, self._link, self._observer = engine, link, observer
        self._credentials = credentials
        self._told: set[str] = set()
        self._measuring: set[asyncio.Task[None]] = set()
        self._plain_text: bytes | None = None  # a Dockerfile that only built as it is

    async def build(self, look: Look[Snapshot], *, forced: bool) -> Built:
        """Build `look`, or find its image; raises UserError, Superseded, EngineUnavailable."""
        tag = self.recipe.tag(look.revision)
        if not forced and (found := await self._engine.image(tag)):
            if self.recipe.image not in found.tags:
                await self._engine.tag(found.id, self.recipe.image)
            self.measure(look.revision, found.id)
            return Built(found.id, reused=True)
        text = self._text(look.snapshot)
        if text is None:
            name = self.recipe.dockerfile
            raise UserError(
                Failure(
                    "build", f"{name}: there is no such file", hint=f"restore {name} or set build.dockerfile"
                )
            )
        plan = await self._accelerate(text)
        counter = _StepCounter(self.recipe.service, look.revision, self._observer, plan)
        names = tuple(dict.fromkeys((full_reference(self.recipe.image), full_reference(tag))))
        image = await self._solve_twice(look.snapshot, plan, counter, names, self.recipe.target)
        self.measure(look.revision, image)
        return Built(
            image,
            context_bytes=counter.context_bytes,
            steps=counter.steps,
            cached_steps=counter.cached,
        )

    def measure(self, revision: str, image: str) -> None:
        """Tell of the final image's size when it is known: it may take longer than to deploy the image."""
        task = asyncio.create_task(self._measured(revision, image))
        self._measuring.add(task)
        task.add_done_callback(self._measuring.discard)

    async def _measured(self, revision: str, image: str) -> None:
        try:
            await self.tell_size("final", revision, image)
        except (EngineError, EngineUnavailable) as error:
            text = f"the size of the final image is not known: {error}"
            self._observer.notify(Notice(service=self.recipe.service, level="warning", text=text))

    async def measured(self) -> None:
        """Wait until the sizes of all final images that were built are told."""
        while self._measuring:
            await asyncio.wait(self._measuring)

    async def tell_base(self, look: Look[Snapshot]) -> None:
        """Tell of the size of the image that the compile stage starts from, if the engine has it by name."""
        text = self._text(look.snapshot)
        stage = self._compile_stage(text)
        if text is None or stage is None:
            return
        dockerfile = dockerfiles.parse(text.decode("utf-8", "replace"))
        name = dockerfiles.base_of(dockerfile, stage, self.recipe.build_args)
        if name and (image := await self._engine.image(name)):
            await self.tell_size("base", "", image.id)

    async def export_builder(self, look: Look[Snapshot]) -> str | None:
        """Export the compile stage as an image; its id, None when there is no such stage."""
        text = self._text(look.snapshot)
        stage = self._compile_stage(text)
        if text is None or stage is None:
            return None
        plan = await self._accelerate(text)
        names = (full_reference(self.recipe.builder_tag),)
        try:
            image = await self._solve(
                look.snapshot, plan.text, lambda _: None, names=names, target=stage, kind=labels.BUILDER
            )
        except (SolveFailed, ContextChanged):
            return None  # the tree moved on; the next good deploy exports it
        await self.tell_size("builder", look.revision, image)
        return image

    def _compile_stage(self, text: bytes | None) -> str | None:
        recipe = self.recipe
        try:
            dockerfile = dockerfiles.parse((text or b"").decode("utf-8", "replace"))
            return dockerfiles.builder_stage(
                dockerfile, recipe.target, recipe.build_args, label=recipe.builder_label
            )
        except DockerfileError:
            return None

    def _text(self, snapshot: Snapshot) -> bytes | None:
        inline = self.recipe.inline
        return snapshot.dockerfile if inline is None else inline.encode("utf-8", "surrogateescape")

    async def tell_size(self, stage: str, revision: str, image: str) -> None:
        """Tell of the size of an image that is there."""
        size = await self._engine.image_size(image)
        if size is not None:
            self._observer.notify(
                ImageSized(
                    service=self.recipe.service, stage=stage, revision=revision, image=image, size=size
                )
            )

    async def _accelerate(self, text: bytes) -> Accelerated:
        """The text to build from; raises UserError where the Dockerfile cannot be read."""
        plain = text.decode("utf-8", "surrogateescape")
        level = Level.OFF if text == self._plain_text else self.recipe.level
        try:
            wanted = dockerfiles.base_images(
                dockerfiles.parse(plain), self.recipe.build_args, self.recipe.target
            )
            bases = {name: await self._base(name) for name in wanted}
            return dockerfiles.accelerate(
                plain,
                level=level,
                build_args=self.recipe.build_args,
                target=self.recipe.target,
                bases=bases,
                cache_scope=self.recipe.project,
            )
        except DockerfileError as error:
            summary = f"{self.recipe.dockerfile}: {error}"
            raise UserError(Failure("build", summary)) from error

    async def _base(self, name: str) -> ImageConfig | None:
        """What the engine knows of a base image; tells of stand-ins and of pulls, once each."""
        image = await self._engine.image(name)
        if image is None:
            self._tell_once("info", f"the base image {name} is not here: BuildKit pulls it")
            return None
        if STAND_IN_LABEL in image.labels:
            self._tell_once(
                "warning",
                f"{name} is a STAND-IN made on this machine, because the real image could not be pulled; "
                "sizes and packages differ from the real one's",
            )
        return ImageConfig(
            env=image.env,
            user=image.user,
            onbuild=image.onbuild,
            workdir=image.workdir,
            os=image.os,
            id=image.id,
        )

    def _tell_once(self, level: str, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._observer.notify(Notice(service=self.recipe.service, level=level, text=text))

    async def _solve_twice(
        self,
        snapshot: Snapshot,
        plan: Accelerated,
        counter: _StepCounter,
        names: tuple[str, ...],
        target: str | None,
    ) -> str:
        """Build; where only the accelerated text could be at fault, build the file as it is, once."""
        try:
            try:
                return await self._solve(snapshot, plan.text, counter, names=names, target=target)
            except SolveFailed as error:
                failure = build_failure(error.step, error.reason, error.log)
                if failure.kind == "compile" or not plan.changes or "RUN" not in error.step:
                    raise
            plain = self._text(snapshot) or b""
            text = plain.decode("utf-8", "surrogateescape")
            image = await self._solve(snapshot, text, counter, names=names, target=target)
        except SolveFailed as error:
            raise UserError(build_failure(error.step, error.reason, error.log)) from error
        except ContextChanged as error:
            raise Superseded(str(error)) from error
        self._plain_text = plain
        self._tell_once(
            "warning",
            f"{self.recipe.dockerfile} failed when accelerated and built as it is: "
            f"it is left alone from now on ({failure.summary})",
        )
        return image

    async def _solve(
        self,
        snapshot: Snapshot,
        text: str,
        on_progress: Callable[[Progress], None],
        *,
        names: tuple[str, ...],
        target: str | None,
        kind: str = labels.FINAL,
    ) -> str:
        recipe, filename = self.recipe, posixpath.basename(self.recipe.dockerfile)
        files = {filename: text.encode("utf-8", "surrogateescape")}
        if snapshot.ignore_file and snapshot.ignore_file[0] == f"{recipe.dockerfile}.dockerignore":
            files[f"{filename}.dockerignore"] = snapshot.ignore_file[1]
        request = SolveRequest(
            context=snapshot,
            dockerfile=MemorySource(files),
            shared_key=f"{recipe.project}/{recipe.service}",
            filename=filename,
            target=target or "",
            build_args=recipe.build_args,
            labels={**recipe.image_labels, **labels.image(recipe.project, recipe.service, kind)},
            platform=recipe.platform,
            no_cache=recipe.no_cache,
            frontend_attrs=recipe.frontend_attrs,
            network=recipe.network,
            names=names,
            secrets=recipe.secrets,
            credentials=self._credentials,
        )
        client = await self._link.client()
        try:
            return (await client.solve(request, on_progress)).image_id
        except ConnectError as error:
            raise EngineUnavailable(f"the connection to BuildKit was lost: {error}") from error


class _StepCounter:
    """Tells of the steps of one build, and counts them."""

    def __init__(self, service: str, revision: str, observer: Observer, plan: Accelerated) -> None:
        self._service, self._revision, self._observer = service, revision, observer
        self._plan = plan
        self._cached: dict[str, bool] = {}
        self.context_bytes = 0

    @property
    def steps(self) -> int:
        """Steps of the Dockerfile that ended, without BuildKit's internal ones."""
        return len(self._cached)

    @property
    def cached(self) -> int:
        """Those of them that were in the cache."""
        return sum(self._cached.values())

    def _own_words(self, name: str) -> str:
        """The step's name as the user's file has it, without what acceleration put in."""
        for change in self._plan.changes:
            name = name.replace(" ".join(change.after.split()), " ".join(change.before.split()))
        return name

    def __call__(self, event: Progress) -> None:
        """Take one event of BuildKit's."""
        step, service, revision = event.step, self._service, self._revision
        name = self._own_words(step.name)
        match event:
            case StepStarted():
                self._observer.notify(
                    observe.StepStarted(
                        service=service, revision=revision, step=step.digest, name=name, stage=step.stage
                    )
                )
            case StepFinished():
                if step.total:
                    self._cached[step.digest] = event.cached
                self._observer.notify(
                    observe.StepFinished(
                        service=service,
                        revision=revision,
                        step=step.digest,
                        name=name,
                        stage=step.stage,
                        seconds=event.seconds,
                        cached=event.cached,
                        error=event.error,
                    )
                )
            case StepLog():
                self._observer.notify(
                    observe.StepOutput(
                        service=service,
                        revision=revision,
                        step=step.digest,
                        text=event.text,
                        stage=step.stage,
                    )
                )
            case StepStatus() if _TRANSFER in event.name:
                self.context_bytes = max(self.context_bytes, event.current)
