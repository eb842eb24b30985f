"""Remove what projects with a deleted folder left: what was listed and confirmed, if it is still stale."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from watcher.engine import Engine, EngineError, Removal
from watcher.errors import WatcherError
from watcher.prune.address_image import remove_address_image
from watcher.prune.engine_visits import EngineVisits, VisitedEngine, visit_engines
from watcher.prune.gone import GoneProjects
from watcher.prune.gone_caches import RETRY
from watcher.prune.left_project import Choice, EngineLeftovers, LeftProject, Removed
from watcher.prune.location import Presence
from watcher.prune.model import Cause, ObjectKind, Verdict
from watcher.prune.removal import apply_result, remove_image
from watcher.system.lock import ProjectLock

STOP_SECONDS = 10.0  # stop timeout of a container that is still running
REMOVAL_TRIES = 6
_CACHED = (ObjectKind.STEP, ObjectKind.GO_CACHE)
_NOT_OURS = (Cause.FOREIGN, Cause.GONE, Cause.UNPROVEN)
_GONE = (Presence.GONE, Presence.PARENT_GONE, Presence.MOVED)


async def remove_gone(
    projects: GoneProjects, chosen: Sequence[LeftProject], done: Removed, *, named: bool = False
) -> None:
    """Remove what these projects left; `done` is correct at any time, also after a cancellation.

    A project that the user has `named` is also forgotten if an engine where it was watched was replaced by
    another one at the same address. Raises EngineUnavailable.
    """
    records = [left.record for left in chosen if left.record]
    async with visit_engines(projects.own, records, projects.open_engine) as visits:
        before = await visits.sum_layers()
        removal = _Removal(projects, visits, done, named=named)
        try:
            for left in chosen:
                if left.choice is not Choice.REFUSED:
                    await removal.remove_project(left)
        finally:
            after = await visits.sum_layers()
            if before is not None and after is not None:
                cached = (verdict.size for verdict in done.verdicts if verdict.kind in _CACHED)
                done.freed = max(0, before - after) + sum(cached)


class _Removal:
    """Removes the projects one by one."""

    def __init__(self, projects: GoneProjects, visits: EngineVisits, done: Removed, *, named: bool) -> None:
        self._projects, self._visits, self._done, self._named = projects, visits, done, named

    async def remove_project(self, left: LeftProject) -> None:
        """Remove what one project left. Holds its lock, so no daemon can start on it."""
        if refused := await self._why_not_gone(left):
            self._refuse_project(left, refused)
            return
        try:
            held = ProjectLock.take(Path(left.path or left.id), left.id)
        except WatcherError as error:
            self._refuse_project(left, str(error))
            return
        try:
            self._done.projects.append(replace(left, engines=()))
            given_up = self._visits.replaced if self._named else ()
            complete = all(use in given_up for use in self._visits.unreachable_engines(left.record))
            agreed = {verdict.id for on in left.engines for verdict in on.to_remove}
            for each in self._visits.engines:
                result = await self._remove_on(left, each, agreed)
                complete = complete and not result.problem and not any(map(is_left, result.verdicts))
            for use in self._visits.unreachable_engines(left.record):
                self._done.add(EngineLeftovers(use.endpoint, problem=self._visits.problems[use]))
            if complete:
                await self._forget_project(left)
        finally:
            held.release()

    def _refuse_project(self, left: LeftProject, why: str) -> None:
        self._done.projects.append(replace(left, choice=Choice.REFUSED, why=why, engines=()))

    async def _why_not_gone(self, left: LeftProject) -> str:
        """Return why the project must not be removed any more; empty if it is still gone."""
        if left.record is None:
            now = await self._projects.judge_unregistered(left, self._visits)
            return now.why if now.choice is Choice.REFUSED else ""
        found = await self._projects.find_presence(left.record)
        return "" if found.presence in _GONE else found.why

    async def _forget_project(self, left: LeftProject) -> None:
        """Remove the record of a project that has nothing left."""
        registry = self._projects.registry
        if not (registry.home / left.id).is_dir():
            return
        try:
            await asyncio.to_thread(registry.forget, left.id)
        except OSError as error:
            self._done.problems.append(f"{left.id} is still in the registry: {error}")
        else:
            self._done.forgotten.append(left.id)

    async def _remove_on(
        self, left: LeftProject, on: VisitedEngine, agreed: Collection[str]
    ) -> EngineLeftovers:
        """Remove the objects in `agreed` (ids) on one engine; the build cache is last."""
        done = EngineLeftovers(on.info.endpoint)
        self._done.add(done)
        for verdict in on.judge(left):
            if verdict.remove and verdict.id not in agreed:
                continue
            task = asyncio.ensure_future(remove_object(on.engine, verdict))
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:  # finish the current removal, so the report is correct
                self._done.replace_last(done := _add_verdict(done, await task))
                raise
            self._done.replace_last(done := _add_verdict(done, task.result()))
        for verdict in await remove_address_image(on.engine):
            self._done.replace_last(done := _add_verdict(done, verdict))
        steps, problem = await self._projects.process_caches(left, on)
        done = replace(done, verdicts=(*done.verdicts, *steps), problem=problem)
        self._done.replace_last(done)
        return done


def _add_verdict(done: EngineLeftovers, verdict: Verdict) -> EngineLeftovers:
    return replace(done, verdicts=(*done.verdicts, verdict))


def is_left(verdict: Verdict) -> bool:
    """Return whether an object of the project still exists, so its record is still needed."""
    return not verdict.remove and verdict.why.cause not in _NOT_OURS


async def remove_object(engine: Engine, verdict: Verdict) -> Verdict:
    """Carry out one verdict; the object stays if it is in use by now."""
    if not verdict.remove:
        return verdict
    try:
        match verdict.kind:
            case ObjectKind.CONTAINER:
                return await _remove_container(engine, verdict)
            case ObjectKind.NETWORK:
                return await _remove_network(engine, verdict)
            case _:
                return await remove_image(engine, verdict)
    except EngineError as error:
        return verdict.as_kept(Cause.REFUSED, f"the engine refused: {error}")


async def _remove_container(engine: Engine, verdict: Verdict) -> Verdict:
    found = await engine.container(verdict.id)
    if found is None:
        return verdict.as_kept(Cause.GONE, "already removed")
    if found.state not in ("created", "exited", "dead"):
        await engine.stop(found.id, STOP_SECONDS)
    result = await engine.remove(found.id, volumes=False)
    for tries in range(REMOVAL_TRIES):  # the engine refuses while it removes it for another program
        if result is not Removal.IN_USE:
            break
        await asyncio.sleep(RETRY.pause(tries))
        result = await engine.remove(found.id, volumes=False)
    return apply_result(verdict, result)


async def _remove_network(engine: Engine, verdict: Verdict) -> Verdict:
    """Remove a network unless a container uses it: the engine does not count stopped ones."""
    for item in await engine.containers():
        if item.networks & {verdict.id, verdict.name}:
            return verdict.as_kept(Cause.IN_USE, f"in use by container {item.name}")
    return apply_result(verdict, await engine.remove_network(verdict.id))
