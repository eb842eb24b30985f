"""Carry out the verdicts of `select_stale`: one removal at a time, by id or tag, never with force."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from watcher import labels
from watcher.engine import Container, Engine, EngineError, Image, SystemInfo, Usage
from watcher.engine.ownership import proven_containers
from watcher.observers import humanize
from watcher.observers.events import Notice, Observer, Pruned
from watcher.prune.disk import free_space
from watcher.prune.model import (
    Cause,
    Disk,
    Inventory,
    Needed,
    NotMeasured,
    ObjectKind,
    PrunePolicy,
    ServiceScope,
    Verdict,
)
from watcher.prune.record_pruner import RecordPruner
from watcher.prune.removal import apply_result, remove_image
from watcher.prune.select import select_stale

CARRY_ON = 10.0  # seconds to wait for the current removal after a cancellation


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """The result of a prune of one service.

    `freed` is the bytes freed on the disk and `cached` the bytes that only the build cache still holds; both
    are None if nothing was removed or measured. `usage` is the disk usage of the engine afterwards.
    """

    verdicts: tuple[Verdict, ...]
    freed: int | None = None
    cached: int | None = None
    low: bool = False  # the disk is nearly full, so fewer images were kept
    seconds: float = 0.0
    dry_run: bool = False
    at: float = 0.0  # Unix seconds by the engine's clock
    usage: Usage | None = None


def freed_bytes(before: Usage, after: Usage, bound: int) -> tuple[int, int]:
    """Return the bytes freed on the disk, and the bytes that moved from images to the build cache alone.

    Layers of an image can also be build cache records (those of BuildKit are): a layer is not free while the
    cache holds it. Records that others made or pruned in between are not counted; layers that a build added
    make the result too small, never too large. `bound` is the sum of the sizes of all removed objects.
    """
    both = {record.id for record in before.cache} & {record.id for record in after.cache}

    def alone(usage: Usage) -> int:
        return sum(record.size for record in usage.cache if record.id in both and not record.shared)

    dropped = min(max(0, before.layers - after.layers), bound)
    cached = min(max(0, alone(after) - alone(before)), dropped)
    return dropped - cached, cached


class Pruner:
    """Prunes the objects of one service. `needed` returns what this process needs at that moment."""

    def __init__(
        self,
        engine: Engine,
        observer: Observer,
        *,
        scope: ServiceScope,
        policy: PrunePolicy,
        records: RecordPruner | None = None,
        needed: Callable[[], Needed] = Needed,
        known: set[str] | None = None,
        space: Callable[[SystemInfo], Disk | NotMeasured] = free_space,
    ) -> None:
        self._engine, self._observer = engine, observer
        self._scope, self._policy, self._needed, self._space = scope, policy, needed, space
        self._known = set() if known is None else known  # ids of images that are proven to be ours
        self._records = records
        self._low = False
        self._info: SystemInfo | None = None

    async def prune(self, *, dry_run: bool = False) -> PruneReport:
        """Select the stale objects and remove them; with `dry_run` only report them.

        Emits `Pruned`, also if it is cancelled after a removal. Raises EngineUnavailable.
        """
        begun, info = time.monotonic(), await self._engine.info()
        self._info = info
        disk = self._space(info)
        policy = self._policy.with_disk(disk)
        inventory = await self.inventory()
        now = info.clock or time.time()
        verdicts = select_stale(inventory, policy, now)
        report = PruneReport(
            verdicts=tuple(verdict for verdict in verdicts if verdict.kind is not ObjectKind.OTHER),
            low=policy.eager,
            dry_run=dry_run,
            at=now,
        )
        if dry_run:
            steps = await self._records.prune(dry_run=True, low=policy.eager) if self._records else ()
            seconds = time.monotonic() - begun
            return replace(report, verdicts=(*report.verdicts, *steps), seconds=seconds)
        report = await self._carry_out(report, begun)
        self._warn_low_disk(report, info)
        return report

    def became_short(self) -> bool:
        """Return whether the disk became nearly full since the last prune; the engine is not asked."""
        return (
            not self._low
            and self._info is not None
            and self._policy.is_short_of_space(self._space(self._info))
        )

    async def inventory(self) -> Inventory:
        """Return the objects of the engine, with the details of this service's objects that a list lacks."""
        listed = await self._engine.containers()
        own = frozenset(item.id for item in proven_containers(listed))
        containers = [await self._inspect_container(item) for item in listed]
        images = [await self._inspect_image(item) for item in await self._engine.images()]
        there = tuple(item for item in images if item)
        self._remember_images(there)
        return Inventory(
            self._scope,
            there,
            tuple(item for item in containers if item),
            self._needed(),
            own,
            frozenset(self._known),
        )

    def _remember_images(self, images: Iterable[Image]) -> None:
        """Remember the images that are proven by name: a rebuild moves the tag to another image."""
        self._known &= {image.id for image in images}
        self._known |= {
            image.id
            for image in images
            if self._scope.matches_labels(image.labels)
            and any(self._scope.proves_tag(tag, image.id) for tag in image.tags)
        }

    async def _inspect_container(self, listed: Container) -> Container | None:
        if not labels.is_app(listed.labels, self._scope.project, self._scope.service):
            return listed
        found = await self._engine.container(listed.id)
        return found and replace(listed, state=found.state, changed=found.changed)

    async def _inspect_image(self, listed: Image) -> Image | None:
        own = self._scope.matches_labels(listed.labels)
        if not own and (listed.tags or not self._policy.has_builder_label(listed.labels)):
            return listed
        found = await self._engine.image(listed.id)
        if found is None:
            return None
        unnamed = own and not found.tags and listed.labels.get(labels.KIND) == labels.BUILDER
        step = await self._engine.last_step(listed.id) if unnamed else ""
        return replace(listed, tags=found.tags, tagged=found.tagged, parent=found.parent, last_step=step)

    async def _carry_out(self, report: PruneReport, begun: float) -> PruneReport:
        stale = any(verdict.remove for verdict in report.verdicts)
        before = await self._read_usage() if stale else None
        done: list[Verdict] = []
        try:
            for verdict in report.verdicts:
                done.append(await self._finish_removal(verdict, done) if verdict.remove else verdict)
            report = replace(report, verdicts=tuple(done))
            if before is not None and (after := await self._read_usage()) is not None:
                report = _with_freed_bytes(report, before, after)
            if self._records:  # after the images, because their removal releases records of the build cache
                done += await self._records.prune(low=report.low)
                report = _with_steps(report, done)
                self._tell_forgotten(self._records.forgotten)
        except BaseException:
            if any(verdict.remove for verdict in done):
                self._emit_pruned(done, 0, begun)
            raise
        report = replace(report, seconds=time.monotonic() - begun)
        self._emit_pruned(done, report.freed or 0, begun)
        return report

    def _tell_forgotten(self, steps: int) -> None:
        """Say that other steps run again at their next build."""
        if steps:
            text = (
                "superseded build steps were removed, and BuildKit forgot "
                f"{humanize.count(steps, 'other step')} with them: the next build of each project that used "
                "them runs them again"
            )
            self._observer.notify(Notice(service=self._scope.service, level="info", text=text))

    async def _read_usage(self) -> Usage | None:
        try:
            return await self._engine.usage()
        except EngineError:  # needed only for sizes
            return None

    def _emit_pruned(self, done: Sequence[Verdict], freed: int, begun: float) -> None:
        # build cache records are listed only if they were removed: many stay for the next build
        items = tuple(item.item for item in done if item.remove or item.kind is not ObjectKind.STEP)
        seconds = time.monotonic() - begun
        self._observer.notify(Pruned(service=self._scope.service, items=items, freed=freed, seconds=seconds))

    async def _finish_removal(self, verdict: Verdict, done: list[Verdict]) -> Verdict:
        """Carry out one verdict completely even if cancelled, so the report is correct.

        If the engine does not respond, a cancelled prune waits `CARRY_ON` seconds at most.
        """
        removal = asyncio.ensure_future(self._remove_object(verdict))
        try:
            return await asyncio.shield(removal)
        except asyncio.CancelledError:
            ended, _ = await asyncio.wait([removal], timeout=CARRY_ON)
            done += [task.result() for task in ended if not task.exception()]
            raise

    async def _remove_object(self, verdict: Verdict) -> Verdict:
        """Carry out one verdict; the object stays if it is needed by now."""
        needed = self._needed()
        if verdict.id in needed.ids or verdict.id == needed.live:
            return verdict.as_kept(Cause.NEEDED, "the daemon needs it")
        try:
            if verdict.kind is ObjectKind.CONTAINER:
                return apply_result(verdict, await self._engine.remove(verdict.id))
            return await remove_image(self._engine, verdict)
        except EngineError as error:
            return verdict.as_kept(Cause.REFUSED, f"the engine refused: {error}")

    def _warn_low_disk(self, report: PruneReport, info: SystemInfo) -> None:
        """Warn once that the engine's disk is nearly full, if pruning did not help."""
        disk = self._space(info)
        was, self._low = self._low, self._policy.is_short_of_space(disk)
        if not isinstance(disk, Disk) or not self._low or was:
            return
        text = (
            f"the engine's disk has {humanize.size(disk.free)} of {humanize.size(disk.total)} free: "
            f"only one final image is kept now, pruning freed {humanize.size(report.freed or 0)}; "
            "`watcher prune --dry-run` shows what fills it"
        )
        self._observer.notify(Notice(service=self._scope.service, level="warning", text=text))


def _with_freed_bytes(report: PruneReport, before: Usage, after: Usage) -> PruneReport:
    bound = sum(verdict.size for verdict in report.verdicts if verdict.remove)
    freed, cached = freed_bytes(before, after, bound)
    return replace(report, freed=freed, cached=cached, usage=after)


def _with_steps(report: PruneReport, done: Sequence[Verdict]) -> PruneReport:
    """Add the bytes of removed build cache records to the report."""
    freed = sum(verdict.size for verdict in done if verdict.kind is ObjectKind.STEP and verdict.remove)
    if not freed:
        return replace(report, verdicts=tuple(done))
    cached = max(0, (report.cached or 0) - freed)
    return replace(report, verdicts=tuple(done), freed=(report.freed or 0) + freed, cached=cached)
