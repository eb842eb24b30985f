"""The Go caches that acceleration mounts into builds: how large they are, and giving them back.

The engine tells the size of every cache mount but not its id (moby/buildkit, solver/llbsolver/mounts: a
record's description is the folder and the command), so nothing tells whose a record is. The id is what a
build names to have the mount, so a build is what can look into exactly ours: one step, without network,
whose result is thrown away. A build without cache makes the engine drop the mounts that it names
(solver/llbsolver/vertex.go, detectPrunedCacheID); a build that uses them meanwhile keeps them to its end.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from watcher import dockerfile as dockerfiles
from watcher import regex
from watcher.builder.connection import BuildkitLink
from watcher.builder.dockerfile_variants import Texts, written
from watcher.builder.journal import BuildJournal
from watcher.builder.recipe import Recipe
from watcher.builder.strategies import Way
from watcher.buildkit import ConnectError, MemorySource, Progress, SolveFailed, SolveRequest, StepLog
from watcher.dockerfile import DockerfileError, OwnCache
from watcher.errors import EngineUnavailable, UserError
from watcher.prune import CacheMount, Unseen
from watcher.tree import Snapshot

_FOLDER = "/watcher-caches"
_MEASURED = regex.compile(rf"(\d+)\s+{_FOLDER}/(\d+)")


class GoCaches:
    """The cache mounts of one service."""

    def __init__(self, recipe: Recipe, texts: Texts, link: BuildkitLink, journal: BuildJournal) -> None:
        self._recipe, self._texts, self._link, self._journal = recipe, texts, link, journal

    async def measure(self, snapshot: Snapshot, *, empty: bool = False) -> tuple[CacheMount, ...] | Unseen:
        """The mounts that a build of this tree has, with their sizes; `empty` gives them back after that.

        Raises EngineUnavailable.
        """
        try:
            dockerfile = written(self._recipe, snapshot)
            if dockerfile is None:
                return Unseen(f"there is no {self._recipe.dockerfile}")
            made = await self._texts.make(self._recipe, dockerfile, snapshot, Way.ACCELERATED)
            text = made.plan.text
            own = dockerfiles.own_caches(text, self._recipe.project)
            if not own:
                return ()
            args, platforms = self._recipe.build_args, await self._link.platforms(self._recipe.platform)
            base = dockerfiles.base_of(dockerfiles.parse(text), own[0].stage, args, platforms)
            # The engine must not take the step from its cache, nor forget the mounts: no two are the same.
            measure = f"du -sk {_FOLDER}/* # {uuid.uuid4().hex}"
            lines = await self._step(base or "scratch", own, measure)
            if empty:
                await self._step(base or "scratch", own, "true", no_cache=True)
        except DockerfileError as error:
            return Unseen(f"{self._recipe.dockerfile}: {error}")
        except (SolveFailed, UserError) as error:
            return Unseen(str(error).splitlines()[0])
        sizes = {int(found[2]): int(found[1]) * 1024 for line in lines if (found := _MEASURED.match(line))}
        if len(sizes) != len(own):
            return Unseen(f"{base} has no du as it is known here")
        return tuple(CacheMount(cache.target, sizes[number]) for number, cache in enumerate(own))

    async def _step(
        self, base: str, own: Sequence[OwnCache], command: str, *, no_cache: bool = False
    ) -> list[str]:
        """What one step prints that has the mounts."""
        mounts = " ".join(
            f"--mount=type=cache,sharing=shared,id={cache.id},target={_FOLDER}/{number}"
            for number, cache in enumerate(own)
        )
        text = f"FROM {base}\nUSER 0:0\nRUN {mounts} {command}\n"
        printed: list[str] = []

        def hear(event: Progress) -> None:
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
        client = await self._link.client()
        try:
            with self._journal.build(self._recipe.service, "", final=False) as write_down:
                await client.solve(request, hear)
        except ConnectError as error:
            raise EngineUnavailable(f"the connection to BuildKit was lost: {error}") from error
        return printed
