"""Pruning on a real buildkitd: superseded steps go, and it remembers everybody's others."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest

from tests.buildkitd import buildkitd
from tests.registry import registry_of
from watcher.builder import BuildJournal, BuildkitConnection, ImageBuilder, Recipe
from watcher.buildkit import MemorySource, Progress, SolveRequest, StepFinished
from watcher.engine import DockerEngine
from watcher.observers.events import Event
from watcher.prune import Marks, RecordPruner
from watcher.reconcile.ports import Scan
from watcher.tree import Tree, revision

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
DOCKERFILE = "FROM {base}\nRUN echo everyday >/kept\nCOPY file /\nRUN cat file file >/made\n"
OTHERS = "FROM {base}\nRUN echo {name} >/one\nRUN echo {name} >/two\n"


class Site:
    """Builds of ours, with their journal, and builds of somebody else's on the same buildkitd."""

    def __init__(self, root: Path, engine: DockerEngine, connection: BuildkitConnection, base: str) -> None:
        self.name = f"wt-{uuid.uuid4().hex[:10]}"
        self.connection, self._base, self._root = connection, base, root / "tree"
        self._root.mkdir()
        (self._root / "Dockerfile").write_text(DOCKERFILE.format(base=base))
        self.journal = BuildJournal(root)
        recipe = Recipe(service="s", project=self.name, image=f"{self.name}:latest")
        self._builder = ImageBuilder(
            recipe, engine=engine, connection=connection, observer=self, journal=self.journal
        )

    def notify(self, event: Event) -> None:
        """Nothing is looked at."""

    async def build(self, content: str) -> int:
        """Save and build a file with that content; how many steps were cached."""
        (self._root / "file").write_text(content)
        snapshot = Tree(self._root).scan()
        built = await self._builder.build(Scan(revision(snapshot, {}), snapshot, 0.0), forced=True)
        await self._builder.sizes.wait()
        return built.cached_steps

    async def build_others(self) -> list[bool]:
        """Whether each `RUN` of the others' build was cached."""
        found = []

        def hear(event: Progress) -> None:
            if isinstance(event, StepFinished) and "RUN" in event.step.name:
                found.append(event.cached)

        text = OTHERS.format(base=self._base, name=self.name).encode()
        request = SolveRequest(
            context=MemorySource({}),
            dockerfile=MemorySource({"Dockerfile": text}),
            shared_key=f"{self.name}-others",
            exporter="",
        )
        await (await self.connection.client()).solve(request, hear)
        return found


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    client = docker.DockerClient(base_url=ENGINE)
    with buildkitd() as daemon, registry_of(client, "alpine") as alpine:
        engine = await DockerEngine.open(ENGINE)
        connection = BuildkitConnection(daemon.unix, engine, standalone=True)
        made = Site(tmp_path, engine, connection, alpine.image)
        yield made
        await connection.close()
        await engine.close()
    for image in client.images.list(made.name):
        client.images.remove(str(image.id), force=True)
    client.close()


async def test_superseded_steps_go_and_all_others_stay_cached(site: Site) -> None:
    assert await site.build_others() == [False, False]
    for content in ("one", "two", "three"):
        await site.build(content)
    pruner = RecordPruner(site.connection, site.journal, Marks("p"), keep={"s": 1})
    before = {record.id for record in (await pruner.read_records()).records}
    gone = [verdict for verdict in await pruner.prune() if verdict.remove]
    assert sorted(verdict.name for verdict in gone) == [
        *["[3/4] COPY file /"] * 2,
        *["[4/4] RUN cat file file >/made"] * 2,
    ]
    after = {record.id for record in (await pruner.read_records()).records}
    assert before - after == {verdict.id for verdict in gone}
    assert await site.build_others() == [True, True]
    assert await site.build("three") == 3  # every step of the newest revision is there
    assert await site.build("four") == 1  # and the everyday step of all
