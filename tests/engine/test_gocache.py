"""Go caches on a real engine: exactly a project's own are measured and emptied."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from watcher.builder import BuildJournal, BuildkitConnection, Recipe
from watcher.builder.dockerfile_variants import DockerfileVariants
from watcher.buildkit import MemorySource, SolveRequest
from watcher.daemon.engine_access import base_images
from watcher.engine import DockerEngine
from watcher.observers.events import Fanout
from watcher.prune import CacheNames, NamedCache, NotMeasured, TrimmedCaches
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

    def __init__(self, engine: DockerEngine, connection: BuildkitConnection, folder: Path) -> None:
        self.connection, self.folder, self.id = connection, folder, f"gocache-{uuid.uuid4().hex[:10]}"
        self.recipe = Recipe(service="web", project=self.id, image=f"{self.id}:latest")
        bases = base_images(engine, connection)
        variants = DockerfileVariants("web", bases=bases, connection=connection, observer=Fanout())
        self.names = CacheNames(None)
        self.caches = GoCaches(self.recipe, variants, connection, BuildJournal(None), self.names)

    def snapshot(self, text: str = DOCKERFILE) -> Snapshot:
        self.folder.joinpath("Dockerfile").write_text(text)
        return Tree(self.folder).scan()

    async def fill(self) -> None:
        await self.run(
            "mkdir -p /c/.h /c/00 && "
            f"head -c {SIZE} /dev/urandom > /c/00/a && touch /c/.h/b && chmod 500 /c/00"
        )

    async def add_entry(self, name: str, *, hours: int, mount: str = "gocache") -> None:
        """Put an entry of `SIZE` bytes, which was used so many hours ago, into one of the mounts."""
        file = f"/c/{name[:2]}/{name}"
        old = f"touch -d @$(( $(date +%s) - {hours * 3600} )) {file}"
        make = f"mkdir -p /c/{name[:2]} && head -c {SIZE} /dev/urandom > {file} && {old}"
        await self.run(make, mount=mount)

    async def run(self, command: str, *, mount: str = "gocache", options: str = "") -> None:
        # The engine does not tell two steps apart by the ids of their mounts.
        text = (
            f"FROM alpine\nRUN --mount=type=cache,id={self.id}-{mount},target=/c{options} "
            f"{command} # {self.id}-{mount}{options}\n"
        )
        request = SolveRequest(
            context=MemorySource({}),
            dockerfile=MemorySource({"Dockerfile": text.encode()}),
            shared_key=self.id,
            exporter="",
        )
        await (await self.connection.client()).solve(request, lambda _: None)

    async def sizes(self, *, empty: bool = False) -> dict[str, int]:
        found = await self.caches.measure(self.snapshot(), empty=empty)
        assert isinstance(found, tuple), found
        return {mount.target: mount.size for mount in found}


@pytest.fixture
async def projects(tmp_path: Path) -> AsyncIterator[tuple[Project, Project]]:
    engine = await DockerEngine.open()
    connection = BuildkitConnection(engine.endpoint, engine)
    yield Project(engine, connection, tmp_path), Project(engine, connection, tmp_path)
    await connection.close()
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
    assert isinstance(found, NotMeasured)


async def test_a_trim_removes_the_entries_unused_for_longest_and_none_in_use(
    projects: tuple[Project, Project],
) -> None:
    ours, theirs = projects
    await theirs.add_entry("aa1-d", hours=99)
    for name, hours in (("aa1-d", 40), ("bb2-d", 30), ("cc3-d", 20), ("dd4-d", 0)):
        await ours.add_entry(name, hours=hours)
    found = await ours.caches.trim(ours.snapshot(), SIZE * 5 // 2)
    assert isinstance(found, TrimmedCaches), found
    assert 2 * SIZE <= found.freed <= 2 * SIZE + 50_000
    assert found.builds < SIZE * 5 // 2
    await ours.run("test ! -e /c/aa/aa1-d && test ! -e /c/bb/bb2-d && test -e /c/cc/cc3-d")
    found = await ours.caches.trim(ours.snapshot(), 1000)
    assert isinstance(found, TrimmedCaches), found
    assert found.builds >= SIZE  # the entry of the last two hours
    assert (await theirs.sizes())["/root/.cache/go-build"] >= SIZE


async def test_a_former_cache_is_emptied_before_the_current_one_is_trimmed(
    projects: tuple[Project, Project],
) -> None:
    ours, _ = projects
    former = f"{ours.id}-gocache-cgo-0123456789"
    ours.names.note("web", {former: NamedCache("/c", 0.0)}, ())
    await ours.add_entry("aa1-d", hours=40)
    await ours.add_entry("bb2-d", hours=1, mount="gocache-cgo-0123456789")
    found = await ours.caches.trim(ours.snapshot(), SIZE * 3 // 2)
    assert isinstance(found, TrimmedCaches), found
    assert SIZE <= found.freed <= SIZE + 50_000
    assert former not in ours.names.known()
    await ours.run("test -e /c/aa/aa1-d")


async def test_the_cache_of_another_user_than_root_is_measured(projects: tuple[Project, Project]) -> None:
    ours, _ = projects
    text = DOCKERFILE.replace("COPY", "ENV GOCACHE=/tmp/c\nUSER 1000:1000\nCOPY", 1)
    await ours.fill()  # with the same id, of root: another cache
    fill = f"head -c {2 * SIZE} /dev/urandom > /c/a"
    await ours.run(fill, options=",uid=1000,gid=1000")
    found = await ours.caches.measure(ours.snapshot(text))
    assert isinstance(found, tuple), found
    (size,) = (mount.size for mount in found if not mount.modules)
    assert 2 * SIZE <= size < 2 * SIZE + 100_000
