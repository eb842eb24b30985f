"""Revision → image: one service's builds, through BuildKit's Control API.

The Dockerfile's text is accelerated in memory; the file is never written. Every build gets a tag of its own
(`<repository>:rev-<revision>`), so a tree that comes back is live without a build.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from watcher.builder.base_images import DEFAULT_PATIENCE, BaseImages, RegistryPatience, fetches_image
from watcher.builder.compile_stage import CompileStage
from watcher.builder.connection import BuildkitConnection
from watcher.builder.dockerfile_variants import (
    DockerfileVariant,
    DockerfileVariants,
    digest_modules,
    original_dockerfile,
)
from watcher.builder.image_sizes import ImageSizes
from watcher.builder.journal import BuildJournal
from watcher.builder.recipe import Recipe, full_reference
from watcher.builder.retry_notices import recovery_notice, retry_notice
from watcher.builder.solver import SolveJob, Solver
from watcher.builder.source_locator import SourceLocator
from watcher.builder.steps import OriginalStepNames, StepCounter, misses_output
from watcher.builder.strategies import BuildStrategy, FailedBuild, StrategyHistory
from watcher.buildkit import ContextChanged, IgnorePatternError, SolveFailed, parse_step
from watcher.diagnosis.command_error import remove_command
from watcher.diagnosis.diagnose import build_failure, engine_trouble, interruption, trouble_hint
from watcher.diagnosis.failure_hints import is_registry_trouble
from watcher.dockerfile import Accelerated
from watcher.engine import Engine, Login
from watcher.errors import (
    EngineTrouble,
    EngineUnavailable,
    RegistryTrouble,
    Superseded,
    UserError,
    WatcherError,
)
from watcher.observers.events import Diagnostic, Failure, Observer
from watcher.reconcile.ports import Built, Scan
from watcher.tree import Snapshot

MOST_REPEATS = 2  # of a build that failed in a step that it shared with another build


class ImageBuilder:
    """Builds the images of one service.

    `logins` returns the login for a registry and is called in a thread. `recipe` can be replaced at any time;
    a running build continues with the one it started with.
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
        base_notices: set[str] | None = None,
        patience: RegistryPatience = DEFAULT_PATIENCE,
    ) -> None:
        """`progressed` is called for every event of BuildKit's; `base_notices` see `DockerfileVariants`."""
        self.recipe = recipe
        self.sizes = ImageSizes(recipe.service, engine, observer)
        self._engine, self._connection, self._observer = engine, connection, observer
        self._solver = Solver(
            engine=engine,
            connection=connection,
            journal=journal or BuildJournal(None),
            logins=logins,
            progressed=progressed,
            warn=lambda text: self.variants.notify_once("warning", text),
            patience=patience,
        )
        self._bases = BaseImages(engine, connection, self._solver.credentials_finder, patience)
        self.variants = DockerfileVariants(
            recipe.service,
            bases=self._bases,
            connection=connection,
            observer=observer,
            base_notices=base_notices,
        )
        self.compile_stage = CompileStage(
            lambda: self.recipe,
            self._plan_again,
            engine=engine,
            connection=connection,
            solver=self._solver,
            sizes=self.sizes,
        )
        self._history = StrategyHistory()
        self._locator: SourceLocator | None = None  # of the last build
        self._last: tuple[str, BuildStrategy] | None = None  # revision and strategy of the last good build

    async def build(self, scan: Scan[Snapshot], *, forced: bool) -> Built:
        """Build the scanned tree, or find its image.

        Raises UserError, Superseded, EngineUnavailable, EngineTrouble, RegistryTrouble.
        """
        recipe = self.recipe
        self._locator = SourceLocator(recipe, scan.snapshot)
        if not forced and (found := await self._engine.image(recipe.tag(scan.revision))):
            self.sizes.report_later(scan.revision, found.id)
            return Built(found.id, reused=True)
        if forced:
            self._bases.forget_answers()
        text = original_dockerfile(recipe, scan.snapshot)
        if text is None:
            hint = f"restore {recipe.dockerfile} or set build.dockerfile"
            raise UserError(Failure("build", scan.snapshot.no_dockerfile, hint=hint))
        if problem := scan.snapshot.ignore_problem:
            raise UserError(Failure("build", problem.text, hint=f"mend {problem.path}"))
        counter = StepCounter(recipe.service, scan.revision, self._observer)
        image = await self._try_strategies(recipe, scan, text, counter)
        self.sizes.report_later(scan.revision, image)
        return Built(
            image,
            context_bytes=counter.context_bytes,
            steps=counter.steps,
            cached_steps=counter.cached,
        )

    def locate_in_container(self, path: str, package: str, entered: Sequence[str]) -> str | None:
        """Return the user's file that `path` means in a container of the last image; a `Where`."""
        return self._locator.locate_in_container(path, package, entered) if self._locator else None

    async def _try_strategies(
        self, recipe: Recipe, scan: Scan[Snapshot], text: str, counter: StepCounter
    ) -> str:
        """Build one variant of the Dockerfile after the other until one succeeds; return the image."""
        modules = digest_modules(scan.snapshot, text)
        strategy, after = self._history.first_strategy(text, modules), None
        failed: FailedBuild | None = None
        pins, repeats = True, 0
        while True:
            variant = await self.variants.make_variant(recipe, text, scan.snapshot, strategy, pins=pins)
            strategy = variant.strategy
            names = OriginalStepNames(text, variant.plan)
            try:
                image = await self._solve_variant(recipe, scan, variant, names, counter)
                break
            except SolveFailed as error:
                unseen = misses_output(error)
                interrupted = interruption(error.reason)
                if (unseen or interrupted) and repeats < MOST_REPEATS:
                    repeats += 1  # a failure is not cached: this time the step runs for this build
                    continue
                if interrupted:
                    raise EngineUnavailable(f"{interrupted} ({remove_command(error.reason)})") from error
                if variant.plan.pins and fetches_image(error.step) and not unseen:
                    # The registry can have lost the digest, or serve images by tag only.
                    pins = False
                    self._bases.forget_answers()
                    continue
                touched = counter.touched or unseen  # acceleration can have changed an unseen step
                failed = self._judge_failure(recipe, scan, variant, names, error, touched=touched)
                following = self._history.next_strategy(strategy, text, failed)
                if following is None:
                    raise _explain_failed_build(failed) from error
                self._report_retry(recipe, strategy, following, failed)
                strategy, after = following, strategy
        self._history.record_success(strategy, text, modules, after=after)
        self._last = scan.revision, strategy
        if variant.unread is not None:
            reason = f"because it was not understood here: {variant.unread}"
            self.variants.notify_once("warning", f"{recipe.dockerfile} is built as it is, {reason}")
        if failed and after is not None:
            notice = recovery_notice(recipe.dockerfile, text, strategy, failed, self._history)
            if notice:
                self.variants.notify_once(*notice)
        return image

    async def _solve_variant(
        self,
        recipe: Recipe,
        scan: Scan[Snapshot],
        variant: DockerfileVariant,
        names: OriginalStepNames,
        counter: StepCounter,
    ) -> str:
        """Build a variant and return the image.

        Raises SolveFailed, UserError, Superseded, RegistryTrouble.
        """
        plan = variant.plan
        job = SolveJob(
            recipe=recipe,
            scan=scan,
            text=plan.text,
            # The compose file's own names follow what is live, not what was built (`deploy/deployer.py`).
            names=(full_reference(recipe.tag(scan.revision)),),
            target=recipe.target,
            no_network_lines=plan.no_network_lines,
            frontend_inputs=variant.frontend_inputs,
            locate=bool(plan.changes or plan.no_network_lines),
            show=names.name_step,
        )
        counter.start(names)
        try:
            return await self._solver.solve(job, counter)
        except ContextChanged as error:
            raise Superseded(str(error)) from error
        except IgnorePatternError as error:  # raised by BuildKit's patterns of the ignore file
            raise UserError(_ignore_failure(scan.snapshot, error)) from error

    def _judge_failure(
        self,
        recipe: Recipe,
        scan: Scan[Snapshot],
        variant: DockerfileVariant,
        names: OriginalStepNames,
        error: SolveFailed,
        *,
        touched: bool,
    ) -> FailedBuild:
        """Return the failure in terms of the user's Dockerfile; raises EngineTrouble for a full disk."""
        if trouble := engine_trouble(error.reason, error.log):
            raise EngineTrouble(trouble, trouble_hint(trouble)) from error
        locator = SourceLocator(recipe, scan.snapshot)
        step = parse_step("", error.step, error.line)
        name = names.name_step(step) if error.step else ""
        failure = build_failure(
            name,
            names.explain_error(step, error.reason),
            error.log,
            where=locator.locate_in_build(error.line),
            dockerfile=locator.dockerfile,
            line=error.line,
        )
        if variant.unread is not None and not error.step:
            file, unread = locator.dockerfile, variant.unread
            place = Diagnostic(file, unread.line, 0, unread.rule, said=file)
            failure = Failure("build", f"{file}:{unread.line}: {unread.rule}", failure.lines, (place,))
        reason = remove_command(error.reason)
        return FailedBuild(
            failure,
            name,
            reason,
            touched,
            variant.plan.modules_mounted,
            registry_trouble=is_registry_trouble(error.step, reason),
        )

    def _report_retry(
        self, recipe: Recipe, strategy: BuildStrategy, following: BuildStrategy, failed: FailedBuild
    ) -> None:
        if strategy is BuildStrategy.OFFLINE and failed.misread and "network" in failed.reason:
            self._connection.record_refused_network()  # found out by trying: nothing to report
        else:
            self.variants.notify_once(*retry_notice(recipe.dockerfile, following, failed))

    async def _plan_again(self, scan: Scan[Snapshot], text: str) -> Accelerated | None:
        """Return the plan of the last build; None while the registry of a base image does not answer."""
        strategy = self._history.first_strategy(text, digest_modules(scan.snapshot, text))
        if self._last is not None and self._last[0] == scan.revision:
            strategy = self._last[1]
        try:
            return (await self.variants.make_variant(self.recipe, text, scan.snapshot, strategy)).plan
        except RegistryTrouble:
            return None


def _explain_failed_build(failed: FailedBuild) -> WatcherError:
    """Return the error of a build that no strategy can mend."""
    if failed.registry_trouble:
        return RegistryTrouble(failed.failure.summary, failed.failure.hint)
    return UserError(failed.failure)


def _ignore_failure(snapshot: Snapshot, error: IgnorePatternError) -> Failure:
    name = snapshot.ignore_file[0] if snapshot.ignore_file else ".dockerignore"
    return Failure("build", f"{name}: {error.pattern!r}: {error.rule}", hint=f"mend the pattern in {name}")
