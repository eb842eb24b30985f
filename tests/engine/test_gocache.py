"""Go caches on a real engine: exactly a project's own are measured and emptied."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from watcher.builder import BuildJournal, BuildkitLink, Recipe
from watcher.builder.dockerfile_variants import Texts
from watcher.buildkit import MemorySource, SolveRequest
from watcher.daemon.project import bases_of
from watcher.engine import DockerEngine
from watcher.observers.events import Fanout
from watcher.prune import Unseen
from watcher.prune.go_cache import GoCaches
from watcher.tree import Snapshot, Tree

pytestmark = pytest.mark.engine

DOCKERFILE = """FROM golang:alpine AS builder
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -o /app .
FROM alpine
COPY --from=builder /app /app
"""
SIZE = 3_000_000


class Project:
    """One project's caches, filled as a build would, without compiling anything."""

    def __init__(self, engine: DockerEngine, link: BuildkitLink, folder: Path) -> None:
        self.link, self.folder, self.id = link, folder, f"gocache-{uuid.uuid4().hex[:10]}"
        self.recipe = Recipe(service="web", project=self.id, image=f"{self.id}:latest")
        bases = bases_of(engine, link)
        texts = Texts("web", bases=bases, link=link, observer=Fanout())
        self.caches = GoCaches(self.recipe, texts, link, BuildJournal(None))

    def snapshot(self, text: str = DOCKERFILE) -> Snapshot:
        self.folder.joinpath("Dockerfile").write_text(text)
        return Tree(self.folder).take()

    async def fill(self) -> None:
        text = (
            "FROM alpine\n"
            f"RUN --mount=type=cache,id={self.id}-gocache,target=/c mkdir -p /c/.h /c/00 && "
            # The engine does not tell two steps apart by the ids of their mounts.
            f"head -c {SIZE} /dev/urandom > /c/00/a && touch /c/.h/b && chmod 500 /c/00 # {self.id}\n"
        )
        request = SolveRequest(
            context=MemorySource({}),
            dockerfile=MemorySource({"Dockerfile": text.encode()}),
            shared_key=self.id,
            exporter="",
        )
        await (await self.link.client()).solve(request, lambda _: None)

    async def sizes(self, *, empty: bool = False) -> dict[str, int]:
        found = await self.caches.measure(self.snapshot(), empty=empty)
        assert isinstance(found, tuple), found
        return {mount.target: mount.size for mount in found}


@pytest.fixture
async def projects(tmp_path: Path) -> AsyncIterator[tuple[Project, Project]]:
    engine = await DockerEngine.open()
    link = BuildkitLink(engine.endpoint, engine)
    yield Project(engine, link, tmp_path), Project(engine, link, tmp_path)
    await link.close()
    await engine.close()


async def test_own_caches_are_measured_and_emptied_and_nobody_elses(
    projects: tuple[Project, Project],
) -> None:
    ours, theirs = projects
    await ours.fill()
    await theirs.fill()
    before = await ours.sizes()
    assert set(before) == {"/root/.cache/go-build", "/go/pkg/mod"}
    assert SIZE <= before["/root/.cache/go-build"] < SIZE + 100_000
    assert await ours.sizes(empty=True) == before  # what they held
    assert (await ours.sizes())["/root/.cache/go-build"] < 100_000
    assert (await theirs.sizes())["/root/.cache/go-build"] >= SIZE


async def test_what_cannot_be_measured_is_said(projects: tuple[Project, Project]) -> None:
    ours, _ = projects
    assert await ours.caches.measure(ours.snapshot("FROM alpine\nRUN true\n")) == ()
    missing = DOCKERFILE.replace("golang:alpine", "localhost:1/golang:alpine")
    found = await ours.caches.measure(ours.snapshot(missing))
    assert isinstance(found, Unseen)
