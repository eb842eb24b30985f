"""A build on a real buildkitd, over its socket and over TLS, whose image comes into the engine."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest

from tests.buildkitd import CERTIFICATES, Buildkitd, buildkitd
from tests.facts import missing
from tests.registry import Registry, registry, registry_of, small_image
from watcher.builder import BuildkitConnection, ImageBuilder, Recipe, certificates
from watcher.dockerfile import Level
from watcher.engine import DockerEngine
from watcher.errors import EngineUnavailable, UserError
from watcher.observers.events import Event
from watcher.reconcile.ports import Scan
from watcher.tree import Tree, revision

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
GO = """FROM {base} AS builder
WORKDIR /w
COPY . .
RUN CGO_ENABLED=0 go build -a -trimpath -o /out/app .
FROM scratch
COPY --from=builder /out/app /app
CMD ["/app"]
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Buildkitd]:
    with buildkitd() as found:
        yield found


@pytest.fixture(scope="module")
def golang() -> Iterator[Registry]:
    """A registry with this machine's golang:alpine, which a buildkitd cannot take from the engine."""
    client = docker.DockerClient(base_url=ENGINE)
    with registry_of(client, "golang:alpine") as served:
        yield served
    client.close()


class Bench:
    """Builds on that buildkitd, into the engine."""

    def __init__(self, root: Path, engine: DockerEngine, connection: BuildkitConnection) -> None:
        self.root, self.engine, self.connection = root, engine, connection
        self.name = f"wt-{uuid.uuid4().hex[:10]}"
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def recipe(self, level: Level = Level.EXACT) -> Recipe:
        return Recipe(service="s", project=f"{self.name}-{level}", image=f"{self.name}:latest", level=level)

    async def build(self, files: dict[str, str], level: Level = Level.EXACT) -> tuple[str, str, bool]:
        """Save and build: the revision, the image, and whether it was there already."""
        for name, text in files.items():
            (self.root / name).write_text(text)
        self.events.clear()
        builder = ImageBuilder(
            self.recipe(level), engine=self.engine, connection=self.connection, observer=self
        )
        snapshot = Tree(self.root).scan()
        scan = Scan(revision(snapshot, {}), snapshot, 0.0)
        built = await builder.build(scan, forced=False)
        await builder.sizes.wait()
        return scan.revision, built.image, built.reused


@pytest.fixture(params=["unix", "tcp"])
async def bench(request: pytest.FixtureRequest, daemon: Buildkitd, tmp_path: Path) -> AsyncIterator[Bench]:
    engine = await DockerEngine.open(ENGINE)
    if request.param == "unix":
        connection = BuildkitConnection(daemon.unix, engine, standalone=True)
    else:
        connection = BuildkitConnection(
            daemon.tcp, engine, lambda: certificates(CERTIFICATES), standalone=True
        )
    made = Bench(tmp_path, engine, connection)
    yield made
    await connection.close()
    await engine.close()
    client = docker.DockerClient(base_url=ENGINE)
    for image in client.images.list(made.name):
        client.images.remove(str(image.id), force=True)
    client.close()


async def test_the_image_is_loaded_under_its_revision_and_is_there_when_the_tree_returns(
    bench: Bench,
) -> None:
    with registry(small_image(bench.name)) as served:
        dockerfile = f"FROM {served.image}\nCOPY file /\nENV NAME=value\n"
        first, image, _ = await bench.build({"Dockerfile": dockerfile, "file": "one"})
        found = await bench.engine.image(bench.recipe().tag(first))
        assert found is not None
        assert found.id == image
        assert found.env["NAME"] == "value"
        second, other, _ = await bench.build({"file": "two"})
        assert other != image
        assert second != first
        assert await bench.build({"file": "one"}) == (first, image, True)
        assert "/v2/base/manifests/1" in served.asked


async def test_a_missing_base_image_is_named(bench: Bench) -> None:
    with registry(small_image(bench.name)) as served, pytest.raises(UserError) as caught:
        await bench.build({"Dockerfile": f"FROM {served.host}/base:nosuch\n"})
    assert missing(caught.value.failure.summary, f"{served.host}/base:nosuch", "not found") == []


async def test_go_is_compiled_with_caches_and_to_the_same_bytes(bench: Bench, golang: Registry) -> None:
    main = 'package main\n\nfunc main() {{ println("{}") }}\n'
    files = {"Dockerfile": GO.format(base=golang.image), "go.mod": "module example.test/x\n\ngo 1.21\n"}
    for text in ("one", "two"):
        files["main.go"] = main.format(f"{bench.name} {text}")  # a step that was done is not done again
        before = await caches(bench)
        saved, _, _ = await bench.build(files)
        # The base is called neither golang nor by a name that the engine knows: its registry was asked.
        assert bool(await caches(bench) - before) == (text == "one")
        fast = binary(bench.recipe().tag(saved))
        plain, _, _ = await bench.build(files, Level.OFF)
        assert fast == binary(bench.recipe(Level.OFF).tag(plain))
        assert f"{bench.name} {text}".encode() in fast


async def caches(bench: Bench) -> set[str]:
    """The cache mounts that the buildkitd keeps."""
    found = await (await bench.connection.client()).disk_usage(["type==exec.cachemount"])
    return {record.id for record in found}


def binary(image: str) -> bytes:
    client = docker.DockerClient(base_url=ENGINE)
    container = client.containers.create(image)
    try:
        stream, _ = container.get_archive("/app")
        return b"".join(stream)
    finally:
        container.remove()
        client.close()


async def test_a_cancelled_build_ends_its_process_and_the_connection_stays(
    bench: Bench, golang: Registry
) -> None:
    mark = str(uuid.uuid4().int % 10**9)
    started = f"FROM {golang.image}\nRUN sleep 1000.{mark}\n"
    building = asyncio.create_task(bench.build({"Dockerfile": started}))
    async with asyncio.timeout(60):
        while not running(mark):
            await asyncio.sleep(0.02)
        client = await bench.connection.client()
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
        while running(mark):
            await asyncio.sleep(0.02)
    assert await bench.connection.client() is client
    assert await client.workers()


def running(mark: str) -> bool:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", f"1000.{mark}".encode()]:
            return True
    return False


async def test_without_a_certificate_it_is_not_reached(daemon: Buildkitd) -> None:
    engine = await DockerEngine.open(ENGINE)
    connection = BuildkitConnection(daemon.tcp, engine, standalone=True)
    try:
        with pytest.raises(EngineUnavailable, match=daemon.tcp):
            await connection.client()
    finally:
        await connection.close()
        await engine.close()
