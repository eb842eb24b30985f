"""Work on the compile stage for which no save waits: export it, save its binaries, measure it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace

from watcher import dockerfile as dockerfiles
from watcher import labels
from watcher.builder.connection import BuildkitConnection
from watcher.builder.dockerfile_variants import original_dockerfile
from watcher.builder.image_sizes import ImageSizes
from watcher.builder.recipe import Recipe, full_reference
from watcher.builder.solver import SolveJob, Solver
from watcher.buildkit import ContextChanged, IgnorePatternError, Progress, SolveFailed, StepLog
from watcher.dockerfile import Accelerated, DockerfileError
from watcher.engine import Engine, Image
from watcher.errors import RegistryTrouble
from watcher.reconcile.ports import Scan
from watcher.tree import Snapshot

PlanAgain = Callable[[Scan[Snapshot], str], Awaitable[Accelerated | None]]


class CompileStage:
    """The stage of one service's Dockerfile that compiles.

    `recipe` returns the current recipe. `plan_again` returns the Dockerfile as it was built: BuildKit would
    run another text again. Everything that a build can fail with is ignored: the next deploy tries again.
    """

    def __init__(
        self,
        recipe: Callable[[], Recipe],
        plan_again: PlanAgain,
        *,
        engine: Engine,
        connection: BuildkitConnection,
        solver: Solver,
        sizes: ImageSizes,
    ) -> None:
        self._recipe, self._plan_again = recipe, plan_again
        self._engine, self._connection, self._solver, self._sizes = engine, connection, solver, sizes
        self._exported: tuple[str, str | None] | None = None  # Dockerfile and base of the last exported image
        self._filled: set[str] = set()  # mounts that were filled; once each: go may keep its cache elsewhere

    async def report_base_size(self, scan: Scan[Snapshot]) -> None:
        """Emit the size of the image that the stage starts from, if the engine has it by name."""
        text = original_dockerfile(self._recipe(), scan.snapshot)
        _, base = await self._find_stage(text)
        if base is not None:
            await self._sizes.report("base", "", base.id)

    async def report_size(
        self, scan: Scan[Snapshot], stage_size: Callable[[str], Awaitable[int | None]]
    ) -> None:
        """Emit the size of the stage: that of its base, and what its steps added to it.

        `stage_size` returns the bytes that the steps of a stage added; None if they are not known.
        """
        stage, base = await self._find_stage(original_dockerfile(self._recipe(), scan.snapshot))
        if stage is None or base is None:
            return
        added, size = await stage_size(stage), await self._sizes.measure(base.id)
        if added is not None and size is not None:
            self._sizes.emit("builder", scan.revision, scan.revision, size + added)

    async def save_binaries(self, scan: Scan[Snapshot]) -> bool:
        """Save the linked binaries for the next build; return whether there were any.

        If that finds Go's cache empty, compile once to fill it, so that the next save does not have to.
        """
        recipe = self._recipe()
        text = original_dockerfile(recipe, scan.snapshot)
        plan = await self._plan_again(scan, text) if text is not None else None
        if plan is None or not plan.programs or recipe.no_cache:
            return False
        turn = uuid.uuid4().hex[:12]
        saving = replace(plan, text=dockerfiles.save_binaries(plan.text, plan.programs, turn))
        printed: list[str] = []
        saved = await self._solve(scan, saving, dockerfiles.SAVE_STAGE, names=(), printed=printed) is not None
        mounts = {one.mount for one in plan.programs}
        if dockerfiles.EMPTY_CACHE in "\n".join(printed) and not mounts <= self._filled:
            self._filled |= mounts
            text = dockerfiles.fill_cache(plan.text, plan.programs, turn)
            filling = replace(plan, text=text, no_network_lines=())
            for stage in dict.fromkeys(one.stage for one in plan.programs):
                await self._solve(scan, filling, stage, names=())
        return saved

    async def export_image(self, scan: Scan[Snapshot]) -> str | None:
        """Export the stage as an image, once for each Dockerfile and base; return its id if it was."""
        recipe = self._recipe()
        text = original_dockerfile(recipe, scan.snapshot)
        stage, base = await self._find_stage(text)
        exported = (text or "", base.id if base else None)
        if stage is None or text is None or self._exported == exported:
            return None
        plan = await self._plan_again(scan, text)
        if plan is None:
            return None
        await self._rename_exported(recipe)
        image = await self._solve(scan, plan, stage, names=(full_reference(recipe.builder_tag),))
        if image is not None:
            self._exported = exported
        return image

    async def _rename_exported(self, recipe: Recipe) -> None:
        """Give the last exported image a name of its own, before the next one takes its tag.

        Without a name nothing would prove that it is ours, and it could not be pruned.
        """
        found = await self._engine.image(recipe.builder_tag)
        ours = labels.image_labels(recipe.project, recipe.labelled_service, labels.BUILDER)
        if found and ours.items() <= found.labels.items():
            await self._engine.tag(found.id, recipe.builder_name(found.id))

    async def _find_stage(self, text: str | None) -> tuple[str | None, Image | None]:
        """Return the name of the stage, and the image that it starts from if the engine has it by name."""
        if text is None:
            return None, None
        recipe = self._recipe()
        platforms = await self._connection.platforms(recipe.platform)
        args, label = recipe.build_args, recipe.builder_label
        try:
            parsed = dockerfiles.parse(text)
            stage = dockerfiles.builder_stage(parsed, recipe.target, args, platforms, label=label)
            base = dockerfiles.base_of(parsed, stage, args, platforms) if stage is not None else None
        except DockerfileError:
            return None, None
        return stage, await self._engine.image(base) if base else None

    async def _solve(
        self,
        scan: Scan[Snapshot],
        plan: Accelerated,
        stage: str,
        *,
        names: tuple[str, ...],
        printed: list[str] | None = None,
    ) -> str | None:
        """Build a stage of what was built; None if that failed, for example because the tree has changed.

        `printed` takes the output of its steps.
        """
        job = SolveJob(
            recipe=self._recipe(),
            scan=scan,
            text=plan.text,
            names=names,
            target=stage,
            no_network_lines=plan.no_network_lines,
            kind=labels.BUILDER,
        )

        def take(event: Progress) -> None:
            if printed is not None and isinstance(event, StepLog):
                printed.append(event.text)

        with contextlib.suppress(SolveFailed, ContextChanged, IgnorePatternError, RegistryTrouble):
            return await self._solver.solve(job, take)
        return None
