"""Revision → image: one service's builds, through BuildKit's Control API.

The Dockerfile's text is accelerated in memory; the file is never written. Every build gets a tag of its own
(`<repository>:rev-<revision>`) so that a tree that comes back is live without a build.
"""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from watcher import dockerfile as dockerfiles
from watcher import labels
from watcher.builder.base_images import PATIENCE, BaseImages, Lookups, credentials_of, fetches_image
from watcher.builder.connection import BuildkitConnection
from watcher.builder.dockerfile_variants import DockerfileVariants, Text, modules, original_dockerfile
from watcher.builder.journal import BuildJournal
from watcher.builder.located import SourceLocator
from watcher.builder.recipe import Recipe, full_reference
from watcher.builder.steps import OriginalStepNames, StepCounter
from watcher.builder.strategies import BuildStrategy, FailedBuild, StrategyHistory
from watcher.buildkit import (
    Client,
    ConnectError,
    ContextChanged,
    Credentials,
    IgnorePatternError,
    MemorySource,
    Progress,
    SolveFailed,
    SolveRequest,
    Step,
    parse_step,
)
from watcher.buildkit.session import CredentialsFor
from watcher.diagnosis.diagnose import base_failure, build_failure, engine_trouble, trouble_hint
from watcher.dockerfile import Accelerated, DockerfileError, Platforms
from watcher.engine import Engine, EngineError, Image, Login
from watcher.errors import EngineTrouble, EngineUnavailable, Superseded, UserError
from watcher.observers.events import Diagnostic, Failure, ImageSized, Notice, Observer
from watcher.reconcile.ports import Built, Scan
from watcher.tree import Snapshot

# A containerd store keeps layers as they would be pushed, and compressing one takes longer than linking it
# (moby/buildkit, exporter/containerimage/opts.go; a graph driver's exporter does not look at it).
_NOT_COMPRESSED = {"compression": "uncompressed"}


class ImageBuilder:
    """Builds the images of one service.

    `logins` gives the login for a registry; it is called in a thread. `recipe` may be replaced at any time;
    a build that runs goes on with the one it began with.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        engine: Engine,
        connection: BuildkitConnection,
        observer: Observer,
        journal: BuildJournal | None = None,
        logins: Callable[[str], Login | None] = lambda _: None,
        progressed: Callable[[], None] = lambda: None,
    ) -> None:
        """`progressed` is called for everything that BuildKit says of a build."""
        self.recipe = recipe
        self._engine, self._connection, self._observer = engine, connection, observer
        self._journal = journal or BuildJournal(None)
        self._exported: tuple[str, str | None] | None = None  # Dockerfile and base of the builder image
        self._logins, self._progressed = logins, progressed
        self._bases = BaseImages(engine, connection, self._login_finder)
        self._texts = DockerfileVariants(
            recipe.service, bases=self._bases, connection=connection, observer=observer
        )
        self._experience = StrategyHistory()
        self._located: SourceLocator | None = None  # for what was built last
        self._measuring: set[asyncio.Task[None]] = set()
        self._last: tuple[str, BuildStrategy] | None = None  # the revision that was built last, and how

    @property
    def texts(self) -> DockerfileVariants:
        """What makes the texts that are built."""
        return self._texts

    async def build(self, scan: Scan[Snapshot], *, forced: bool) -> Built:
        """Build `look`, or find its image; raises UserError, Superseded, EngineUnavailable."""
        recipe = self.recipe
        self._located = SourceLocator(recipe, scan.snapshot)
        tag = recipe.tag(scan.revision)
        if not forced and (found := await self._engine.image(tag)):
            self.measure(scan.revision, found.id)
            return Built(found.id, reused=True)
        if forced:
            self._bases.forget()
        text = original_dockerfile(recipe, scan.snapshot)
        if text is None:
            hint = f"restore {recipe.dockerfile} or set build.dockerfile"
            raise UserError(Failure("build", scan.snapshot.no_dockerfile, hint=hint))
        if problem := scan.snapshot.ignore_problem:
            raise UserError(Failure("build", problem.text, hint=f"mend {problem.path}"))
        counter = StepCounter(recipe.service, scan.revision, self._observer)
        image = await self._attempts(recipe, scan, text, counter)
        self.measure(scan.revision, image)
        return Built(
            image,
            context_bytes=counter.context_bytes,
            steps=counter.steps,
            cached_steps=counter.cached,
        )

    def locate_in_container(self, path: str, package: str, entered: Sequence[str]) -> str | None:
        """The user's file that a container of the image built last means by `path`; a `Where`."""
        return self._located.locate_in_container(path, package, entered) if self._located else None

    async def _attempts(self, recipe: Recipe, scan: Scan[Snapshot], text: str, counter: StepCounter) -> str:
        """Build, with less done to the text after each failure that this could be at fault for; an image."""
        # The compose file's own names follow what is live, not what was built (`deploy/deployer.py`).
        names = (full_reference(recipe.tag(scan.revision)),)
        downloaded = modules(scan.snapshot, text)
        way, after = self._experience.first(text, downloaded), None
        pins = True
        while True:
            made = await self._texts.make(recipe, text, scan.snapshot, way, pins=pins)
            way = made.way
            words = OriginalStepNames(text, made.plan)
            counter.begin(words)
            try:
                image = await self._solve(
                    recipe,
                    scan,
                    made.plan.text,
                    counter,
                    names=names,
                    target=recipe.target,
                    no_network_lines=made.plan.no_network_lines,
                    made_from=made.made_from,
                    locate=bool(made.plan.changes or made.plan.no_network_lines),
                    show=words.name,
                )
            except ContextChanged as error:
                raise Superseded(str(error)) from error
            except IgnorePatternError as error:  # BuildKit hands the ignore file's patterns back unread
                raise UserError(_ignore_failure(scan.snapshot, error)) from error
            except SolveFailed as error:
                if made.plan.pins and fetches_image(error.step):
                    pins = False  # the digest may be gone from its registry, or that gives images by tag only
                    self._bases.forget()
                    continue
                if trouble := engine_trouble(error.reason, error.log):
                    raise EngineTrouble(trouble, trouble_hint(trouble)) from error
                located = SourceLocator(recipe, scan.snapshot)
                failed = _failed(made, error, words, located, touched=counter.touched)
                following = self._experience.next(way, text, failed)
                if following is None:
                    raise UserError(failed.failure) from error
                self._tell_of_retry(recipe, way, following, failed)
            else:
                break
            way, after = following, way
        self._experience.record_success(way, text, downloaded, after=after)
        self._last = scan.revision, way
        if made.unread is not None:
            text = f"{recipe.dockerfile} is built as it is, because it was not understood here: {made.unread}"
            self._texts.tell_once("warning", text)
        if (
            way is BuildStrategy.OWN_MODULES
            and after is not None
            and self._experience.skips_module_cache(text)
        ):
            self._texts.tell_once(
                "info",
                f"{recipe.dockerfile} finds its modules only where the image has them: from now on no module "
                f"cache is mounted over them ({failed.failure.summary})",
            )
        if way is BuildStrategy.PLAIN and after is not None:
            left = (
                "left alone from now on"
                if self._experience.builds_original(text)
                else "tried again next time"
            )
            self._texts.tell_once(
                "warning",
                f"{recipe.dockerfile} failed when accelerated and built as it is; it is {left} "
                f"({failed.failure.summary})",
            )
        return image

    def _tell_of_retry(
        self, recipe: Recipe, way: BuildStrategy, following: BuildStrategy, failed: FailedBuild
    ) -> None:
        if way is BuildStrategy.OFFLINE and failed.misread and "network" in failed.reason:
            self._connection.record_refused_network()  # asked by trying; not worth a word
        elif following is BuildStrategy.OWN_MODULES:
            self._texts.tell_once(
                "info",
                f"a module is missing: built again without a module cache over the image's own modules "
                f"({failed.failure.summary})",
            )
        elif following is BuildStrategy.ACCELERATED:
            self._texts.tell_once("info", f"built again with a network ({failed.failure.summary})")
        else:
            self._texts.tell_once(
                "warning",
                f"the build failed when accelerated: {recipe.dockerfile} is built as it is, once, "
                f"to see whether that is at fault ({failed.failure.summary})",
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

    async def report_base_size(self, scan: Scan[Snapshot]) -> None:
        """Tell of the size of the image that the compile stage starts from, if the engine has it by name."""
        text = original_dockerfile(self.recipe, scan.snapshot)
        platforms = await self._connection.platforms(self.recipe.platform)
        stage = self._compile_stage(text, platforms)
        if text is None or stage is None:
            return
        if base := await self._base(text, stage, platforms):
            await self.tell_size("base", "", base.id)

    async def save_binaries(self, scan: Scan[Snapshot]) -> bool:
        """Keep what was linked for the next build; whether there is something to keep and it was kept."""
        text = original_dockerfile(self.recipe, scan.snapshot)
        plan = await self._plan_again(scan, text) if text is not None else None
        if plan is None or not plan.programs or self.recipe.no_cache:
            return False
        saving = replace(plan, text=dockerfiles.save_binaries(plan.text, plan.programs))
        return await self._solve_idle(scan, saving, dockerfiles.SAVE_STAGE, names=()) is not None

    async def export_builder(self, scan: Scan[Snapshot]) -> str | None:
        """Export the compile stage as an image, once for each Dockerfile and base; its id when it did."""
        text = original_dockerfile(self.recipe, scan.snapshot)
        platforms = await self._connection.platforms(self.recipe.platform)
        stage = self._compile_stage(text, platforms)
        if text is None or stage is None:
            return None
        base = await self._base(text, stage, platforms)
        exported = (text, base.id if base else None)
        if self._exported == exported:
            return None
        plan = await self._plan_again(scan, text)
        if plan is None:
            return None
        await self._name_builder()
        names = (full_reference(self.recipe.builder_tag),)
        image = await self._solve_idle(scan, plan, stage, names=names)
        if image is not None:
            self._exported = exported
        return image

    async def _name_builder(self) -> None:
        """Give the last exported image a name of its own, before the next one takes its tag.

        Without a name nothing would prove that it is ours, and it could not be pruned.
        """
        found = await self._engine.image(self.recipe.builder_tag)
        wanted = labels.image(self.recipe.project, self.recipe.service, labels.BUILDER)
        if found and wanted.items() <= found.labels.items():
            await self._engine.tag(found.id, self.recipe.builder_name(found.id))

    async def report_builder_size(
        self, scan: Scan[Snapshot], stage_size: Callable[[str], Awaitable[int | None]]
    ) -> None:
        """Tell of the size of the compile stage: that of its base, and what its steps added to it.

        `stage_size` gives the bytes that the steps of a stage added; None where they are not known.
        """
        text = original_dockerfile(self.recipe, scan.snapshot)
        platforms = await self._connection.platforms(self.recipe.platform)
        stage = self._compile_stage(text, platforms)
        base = await self._base(text, stage, platforms) if text is not None and stage is not None else None
        if stage is None or base is None:
            return
        added, size = await stage_size(stage), await self._engine.image_size(base.id)
        if added is not None and size is not None:
            told = ImageSized(
                service=self.recipe.service,
                stage="builder",
                revision=scan.revision,
                image=scan.revision,
                size=size + added,
            )
            self._observer.notify(told)

    async def _base(self, text: str, stage: str, platforms: Platforms) -> Image | None:
        """The image that a stage starts from, if the engine has it by name."""
        name = dockerfiles.base_of(dockerfiles.parse(text), stage, self.recipe.build_args, platforms)
        return await self._engine.image(name) if name else None

    async def _plan_again(self, scan: Scan[Snapshot], text: str) -> Accelerated | None:
        """What was built: another text would be compiled anew. None while a base's registry is silent."""
        way = self._experience.first(text, modules(scan.snapshot, text))
        if self._last is not None and self._last[0] == scan.revision:
            way = self._last[1]
        try:
            return (await self._texts.make(self.recipe, text, scan.snapshot, way)).plan
        except UserError:
            return None

    async def _solve_idle(
        self, scan: Scan[Snapshot], plan: Accelerated, stage: str, *, names: tuple[str, ...]
    ) -> str | None:
        """Build a stage of what was built; None when the tree moved on, then the next good deploy does it."""
        with contextlib.suppress(SolveFailed, ContextChanged, IgnorePatternError, UserError):
            return await self._solve(
                self.recipe,
                scan,
                plan.text,
                lambda _: None,
                names=names,
                target=stage,
                no_network_lines=plan.no_network_lines,
                kind=labels.BUILDER,
            )
        return None

    def _compile_stage(self, text: str | None, platforms: Platforms) -> str | None:
        recipe = self.recipe
        try:
            return dockerfiles.builder_stage(
                dockerfiles.parse(text or ""),
                recipe.target,
                recipe.build_args,
                platforms,
                label=recipe.builder_label,
            )
        except DockerfileError:
            return None

    async def tell_size(self, stage: str, revision: str, image: str) -> None:
        """Tell of the size of an image that is there."""
        size = await self._engine.image_size(image)
        if size is not None:
            self._observer.notify(
                ImageSized(
                    service=self.recipe.service, stage=stage, revision=revision, image=image, size=size
                )
            )

    async def _solve(
        self,
        recipe: Recipe,
        scan: Scan[Snapshot],
        text: str,
        on_progress: Callable[[Progress], None],
        *,
        names: tuple[str, ...],
        target: str | None,
        no_network_lines: tuple[int, ...] = (),
        made_from: str = "",
        locate: bool = False,
        show: Callable[[Step], str] = lambda step: step.name,
        kind: str = labels.FINAL,
    ) -> str:
        snapshot, filename = scan.snapshot, posixpath.basename(recipe.dockerfile)
        files = {filename: text.encode("utf-8", "surrogateescape")}
        if snapshot.ignore_file and snapshot.ignore_file[0] == f"{recipe.dockerfile}.dockerignore":
            files[f"{filename}.dockerignore"] = snapshot.ignore_file[1]
        request = SolveRequest(
            context=snapshot,
            dockerfile=MemorySource(files),
            shared_key=f"{recipe.project}/{recipe.service}{snapshot.odd_modes and '/'}{snapshot.odd_modes}",
            filename=filename,
            target=target or "",
            build_args=recipe.build_args,
            labels={**recipe.image_labels, **labels.image(recipe.project, recipe.service, kind)},
            platform=recipe.platform,
            no_cache=recipe.no_cache,
            frontend_attrs=recipe.frontend_attrs,
            network=recipe.network,
            without_network=no_network_lines,
            made_from=made_from,
            locate=locate,
            contexts={marker[1:]: snapshot.contexts[name] for name, marker in recipe.markers.items()},
            markers={marker: marker[1:] for marker in recipe.markers.values()},
            names=names,
            # Once something was built, this engine's own cache has more than any that is fetched.
            cache_imports=() if self._last else recipe.cache_from,
            entitlements=recipe.entitlements,
            exporter="moby" if names else "",
            exporter_attrs=_NOT_COMPRESSED if kind == labels.FINAL else {},
            secrets=recipe.secrets,
            ssh=recipe.ssh,
            credentials=self._login_finder(),
        )
        client = await self._connection.client()
        clock, lookups = asyncio.get_running_loop().time, Lookups()
        record = self._journal.build(recipe.service, scan.revision, final=kind == labels.FINAL, show=show)
        try:
            with record as write_down:
                async with asyncio.timeout(None) as limit:

                    def take(event: Progress) -> None:
                        self._progressed()
                        if lookups.take(event, clock()) and not limit.expired():
                            limit.reschedule(lookups.until)
                        write_down(event)
                        on_progress(event)

                    if self._connection.standalone and names:
                        return await self._load(client, request, take)
                    return (await client.solve(request, take)).image_id
        except TimeoutError as error:
            if not limit.expired():
                raise
            why = f"no answer within {PATIENCE:g} s"
            raise UserError(base_failure(lookups.pending, why)) from error
        except ConnectError as error:
            raise EngineUnavailable(f"the connection to BuildKit was lost: {error}") from error

    async def _load(self, client: Client, request: SolveRequest, take: Callable[[Progress], None]) -> str:
        """Build on a buildkitd, and take the image over into the engine; its id there."""
        with tempfile.TemporaryFile(prefix="watcher-") as archive:
            await client.solve(replace(request, exporter="docker", output=archive), take)
            archive.seek(0)
            await self._engine.load(archive)
        image = await self._engine.image(request.names[0])
        if image is None:
            raise EngineError(f"{request.names[0]} is gone, although it was loaded")
        return image.id

    def _login_finder(self) -> CredentialsFor:
        return partial(self._credentials, asyncio.get_running_loop())

    def _credentials(self, loop: asyncio.AbstractEventLoop, host: str) -> Credentials | None:
        """The login for a registry; called in a thread of BuildKit's client."""
        try:
            login = self._logins(host)
        except EngineError as error:
            text = f"{host} is asked without a login: {error}"
            loop.call_soon_threadsafe(self._texts.tell_once, "warning", text)
            return None
        return credentials_of(login)


def _ignore_failure(snapshot: Snapshot, error: IgnorePatternError) -> Failure:
    name = snapshot.ignore_file[0] if snapshot.ignore_file else ".dockerignore"
    return Failure("build", f"{name}: {error.pattern!r}: {error.rule}", hint=f"mend the pattern in {name}")


def _failed(
    made: Text, error: SolveFailed, words: OriginalStepNames, located: SourceLocator, *, touched: bool
) -> FailedBuild:
    """The failure, in the words of the user's file."""
    step = parse_step("", error.step, error.line)
    reason = words.reason(step, error.reason)
    failure_step = words.name(step) if error.step else ""
    failure = build_failure(
        failure_step,
        reason,
        error.log,
        where=located.locate_in_build(error.line),
        dockerfile=located.dockerfile,
        line=error.line,
    )
    if made.unread is not None and not error.step:
        name, unread = located.dockerfile, made.unread
        place = Diagnostic(name, unread.line, 0, unread.rule, said=name)
        failure = Failure("build", f"{name}:{unread.line}: {unread.rule}", failure.lines, (place,))
    return FailedBuild(failure, failure_step, error.reason, touched, made.plan.modules_mounted)
