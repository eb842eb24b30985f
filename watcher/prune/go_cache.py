"""Measure, trim and empty the Go caches that acceleration mounts into builds.

The engine lists the size of every cache mount but not its id (moby/buildkit, solver/llbsolver/mounts: a
record's description is the target and the command), so the owner of a record is unknown. Only a build can
mount a cache by its id. One step without network, whose result is discarded, therefore reads exactly our
mounts. A build with `no_cache` makes the engine drop the mounts that its steps name
(solver/llbsolver/vertex.go, detectPrunedCacheID); a build that uses them keeps them until it ends.

A cache that other projects use too is measured and trimmed like one of ours, because Go knows which entries
nobody used. It is never emptied.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from watcher import dockerfile as dockerfiles
from watcher.builder.connection import BuildkitConnection
from watcher.builder.dockerfile_variants import DockerfileVariants, original_dockerfile
from watcher.builder.journal import BuildJournal
from watcher.builder.recipe import Recipe
from watcher.builder.strategies import BuildStrategy
from watcher.buildkit import ConnectError, MemorySource, Progress, SolveFailed, SolveRequest, StepLog
from watcher.dockerfile import DockerfileError, OwnCache
from watcher.errors import EngineUnavailable, RegistryTrouble
from watcher.prune import CacheMount, CacheNames, NamedCache, NotMeasured, TrimmedCaches
from watcher.prune.go_cache_script import FOLDER, measure_script, parse_sizes, trim_script
from watcher.prune.go_cache_select import plan_trim
from watcher.tree import Snapshot


@dataclass(frozen=True, slots=True)
class _Mounts:
    """The cache mounts of a project, numbered as in the steps, and the base image for these steps.

    `former` are those that no current Dockerfile mounts, with the time of their last use. `users` are the
    other projects that use a shared one.
    """

    base: str
    caches: tuple[OwnCache, ...]
    former: Mapping[str, float] = field(default_factory=dict)
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class GoCaches:
    """The cache mounts of a project, by the Dockerfile of one service: its own and all others that are known.

    `services` are all services of the project: the mounts of their current Dockerfiles are not former ones.
    """

    def __init__(
        self,
        recipe: Recipe,
        variants: DockerfileVariants,
        connection: BuildkitConnection,
        journal: BuildJournal,
        names: CacheNames | None = None,
        *,
        services: Collection[str] = (),
    ) -> None:
        self._recipe, self._variants, self._connection, self._journal = recipe, variants, connection, journal
        self._names, self._services = names or CacheNames(None), services

    async def measure(
        self, snapshot: Snapshot, *, empty: bool = False
    ) -> tuple[CacheMount, ...] | NotMeasured:
        """Return the mounts that builds have used, with their sizes; `empty` empties them afterwards.

        Those that other projects use stay as they are: `CacheMount.users`. Raises EngineUnavailable.
        """
        try:
            mounts = await self._find_mounts(snapshot)
            if isinstance(mounts, NotMeasured):
                return mounts
            found = await self._measure_mounts(mounts)
            if empty and not isinstance(found, NotMeasured):
                alone = [cache.id for cache in mounts.caches if cache.id not in mounts.users]
                if alone:
                    await self._empty_mounts(mounts, alone)
        except DockerfileError as error:
            return NotMeasured(f"{self._recipe.dockerfile}: {error}")
        except (SolveFailed, RegistryTrouble) as error:
            return NotMeasured(str(error).splitlines()[0])
        return found

    async def trim(self, snapshot: Snapshot, most: int) -> TrimmedCaches | NotMeasured:
        """Trim the build caches to `most` bytes; entries in use stay. Raises EngineUnavailable."""
        try:
            mounts = await self._find_mounts(snapshot)
            if isinstance(mounts, NotMeasured):
                return mounts
            before = await self._measure_mounts(mounts)
            if isinstance(before, NotMeasured):
                return before
            plan, after = plan_trim(before, most, time.time()), before
            if plan.empty:
                await self._empty_mounts(mounts, plan.empty)
                after = tuple(mount for mount in before if mount.id not in plan.empty)
            if plan.excess:
                found = await self._trim_current(mounts, plan.excess)
                if isinstance(found, NotMeasured):
                    return found
                after = tuple(mount for mount in found if mount.id not in plan.empty)
        except DockerfileError as error:
            return NotMeasured(f"{self._recipe.dockerfile}: {error}")
        except (SolveFailed, RegistryTrouble) as error:
            return NotMeasured(str(error).splitlines()[0])
        freed = sum(mount.size for mount in before) - sum(mount.size for mount in after)
        return TrimmedCaches(after, max(0, freed))

    async def _find_mounts(self, snapshot: Snapshot) -> _Mounts | NotMeasured:
        dockerfile = original_dockerfile(self._recipe, snapshot)
        if dockerfile is None:
            return NotMeasured(f"there is no {self._recipe.dockerfile}")
        made = await self._variants.make_variant(
            self._recipe, dockerfile, snapshot, BuildStrategy.ACCELERATED
        )
        text, scopes, now = made.plan.text, (self._recipe.project, self._recipe.cache_scope), time.time()
        current = dockerfiles.own_caches(text, *scopes)
        recent = {text, *self._variants.recent}
        self._variants.recent.clear()
        named = [cache for each in recent for cache in dockerfiles.own_caches(each, *scopes)]
        used = {cache.id: NamedCache(cache.target, now, cache.modules, owner=cache.owner) for cache in named}
        own = {cache.id for cache in current}
        await asyncio.to_thread(self._names.note, self._recipe.service, used, own)  # the disk can be slow
        if not current:
            return _Mounts("scratch", ())
        others = {name: cache for name, cache in self._names.known().items() if name not in own}
        shared = [name for name in (*own, *others) if dockerfiles.is_shared_cache(name)]
        users = await asyncio.to_thread(self._names.find_users, shared, now)
        # A former one that others use is theirs now.
        others = {name: cache for name, cache in others.items() if name not in users}
        stage = current[0].stage
        args, platforms = self._recipe.build_args, await self._connection.platforms(self._recipe.platform)
        base = dockerfiles.base_of(dockerfiles.parse(text), stage, args, platforms)
        more = (
            OwnCache(name, found.target, stage, found.modules, found.owner) for name, found in others.items()
        )
        former = {
            name: found.last_named
            for name, found in others.items()
            if found.services.isdisjoint(self._services)
        }
        return _Mounts(base or "scratch", (*current, *more), former, users)

    async def _measure_mounts(self, mounts: _Mounts) -> tuple[CacheMount, ...] | NotMeasured:
        if not mounts.caches:
            return ()
        return self._with_sizes(mounts, await self._run_step(mounts, measure_script(uuid.uuid4().hex)))

    async def _trim_current(self, mounts: _Mounts, excess: int) -> tuple[CacheMount, ...] | NotMeasured:
        numbers = [number for number, cache in enumerate(mounts.caches) if not cache.modules]
        script = trim_script(numbers, excess // 1024 + 1, uuid.uuid4().hex)
        return self._with_sizes(mounts, await self._run_step(mounts, script))

    async def _empty_mounts(self, mounts: _Mounts, ids: Sequence[str]) -> None:
        caches = tuple(cache for cache in mounts.caches if cache.id in ids)
        await self._run_step(_Mounts(mounts.base, caches), "true", no_cache=True)
        await asyncio.to_thread(self._names.forget, ids)

    def _with_sizes(self, mounts: _Mounts, lines: Sequence[str]) -> tuple[CacheMount, ...] | NotMeasured:
        sizes = parse_sizes(lines)
        if len(sizes) != len(mounts.caches):
            return NotMeasured(f"{mounts.base} has no usable `du`")
        return tuple(
            CacheMount(
                cache.target,
                sizes[number],
                cache.id,
                modules=cache.modules,
                last_named=mounts.former.get(cache.id),
                users=mounts.users.get(cache.id, ()),
            )
            for number, cache in enumerate(mounts.caches)
        )

    async def _run_step(self, mounts: _Mounts, command: str, *, no_cache: bool = False) -> list[str]:
        """Run one step with the mounts and return the lines that it prints."""
        flags = " ".join(
            f"--mount={cache.mount_at(f'{FOLDER}/{number}')}" for number, cache in enumerate(mounts.caches)
        )
        text = f"FROM {mounts.base}\nUSER 0:0\nRUN {flags} {command}\n"
        printed: list[str] = []

        def on_progress(event: Progress) -> None:
            write_down(event)
            if isinstance(event, StepLog):
                printed.extend(event.text.splitlines())

        request = SolveRequest(
            context=MemorySource({}),
            dockerfile=MemorySource({"Dockerfile": text.encode()}),
            shared_key=f"{self._recipe.project}/caches",
            platform=self._recipe.platform,
            no_cache=no_cache,
            network="none",
            exporter="",
        )
        client = await self._connection.client()
        try:
            with self._journal.build(self._recipe.service, "", final=False) as write_down:
                await client.solve(request, on_progress)
        except ConnectError as error:
            raise EngineUnavailable(f"the connection to BuildKit was lost: {error}") from error
        return printed
