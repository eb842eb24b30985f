"""A service's builder on a real engine: what compiles without a network, what is tried when that fails.

All tests are builds of one project, so that the standard library is compiled once.
"""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import docker
import pytest

from tests.facts import missing
from watcher.builder import BuildkitConnection, ImageBuilder, Recipe
from watcher.buildkit import Client
from watcher.engine import DockerEngine
from watcher.errors import UserError
from watcher.observers import events
from watcher.observers.events import Event
from watcher.reconcile.ports import Scan
from watcher.tree import Tree, revision

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

NAME = f"wt-{uuid.uuid4().hex[:10]}"
ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
# A module that imports nothing, so that there is little to compile.
VERSION = "v0.0.0-20200823014737-9f7001d12a5f"
MODULE = f"module example.test/x\n\ngo 1.21\n\nrequire github.com/dgryski/go-rendezvous {VERSION}\n"
SUMS = f"""github.com/dgryski/go-rendezvous {VERSION} h1:lO4WD4F/rVNCu3HqELle0jiPLLBs70cWOduZpkS1E78=
github.com/dgryski/go-rendezvous {VERSION}/go.mod h1:cuUVRXasLTGF7a8hSLbxyZXjz+1KgoB3wDUb6vlszIc=
"""
DOCKERFILE = """FROM golang:alpine AS builder
WORKDIR /w
COPY . .
RUN CGO_ENABLED=0 go build -a -o /out/{name} .
FROM scratch
COPY --from=builder /out/{name} /app
"""
ALONE = 'package main\n\nfunc main() {{ println("{}") }}\n'
WITH_MODULE = """package main

import "github.com/dgryski/go-rendezvous"

func main() {{ println(rendezvous.New([]string{{"{}"}}, func(s string) uint64 {{ return 1 }}).Lookup("x")) }}
"""


class Bench:
    """A builder of a small module in a folder, on the real engine."""

    def __init__(self, root: Path, engine: DockerEngine, connection: BuildkitConnection) -> None:
        self.root = root
        self.engine, self.connection = engine, connection
        self.events: list[Event] = []
        recipe = Recipe(service="s", project=NAME, image=f"{NAME}:latest")
        self.builder = ImageBuilder(recipe, engine=engine, connection=connection, observer=self)
        self.write("Dockerfile", DOCKERFILE.format(name=NAME))
        self.write("go.mod", MODULE)
        self.write("go.sum", SUMS)

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    async def save(self, text: str, *, forced: bool = False) -> str:
        """Save main.go and build; the image. `events` are then those of this build."""
        self.write("main.go", text)
        return await self.build(forced=forced)

    async def build(self, *, forced: bool = False) -> str:
        """Build what is there; the image. `events` are then those of this build, `look` is what it built."""
        self.events.clear()
        snapshot = Tree(self.root).scan()
        self.scan = Scan(revision(snapshot, {}), snapshot, 0.0)
        return (await self.builder.build(self.scan, forced=forced)).image

    @property
    def compiled(self) -> list[bool]:
        """Whether the compile step went well, once for each time that it ran."""
        return [
            not event.error
            for event in self.events
            if isinstance(event, events.BuildStepFinished) and "go build" in event.name and not event.cached
        ]

    @property
    def linked(self) -> bool:
        """Whether the compile step, whose go has `-x`, ran the linker."""
        printed = [event.text for event in self.events if isinstance(event, events.BuildStepOutput)]
        return "/link -o" in "".join(printed)

    @property
    def read(self) -> bool:
        """Whether BuildKit's frontend read the Dockerfile."""
        finished = [event.name for event in self.events if isinstance(event, events.BuildStepFinished)]
        return any("load build definition" in name for name in finished)

    @property
    def notices(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, events.Notice))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    engine = await DockerEngine.open(ENGINE)
    connection = BuildkitConnection(engine.endpoint, engine)
    yield Bench(tmp_path, engine, connection)
    await connection.close()
    await engine.close()


@pytest.fixture(scope="module", autouse=True)
def _tidy() -> Iterator[None]:
    yield
    remove_images(NAME)
    asyncio.run(forget_caches())


async def forget_caches() -> None:
    async with await Client.connect(ENGINE) as client:
        found = await client.disk_usage([f"type==exec.cachemount,description~={NAME}"])
        if found:
            await client.prune([f"id=={record.id}" for record in found])


def remove_images(name: str) -> None:
    client = docker.DockerClient(base_url=ENGINE)
    try:
        for image in client.images.list(name):
            for tag in image.tags:
                client.images.remove(tag)
    finally:
        client.close()


async def test_the_engine_is_known_to_take_networks_or_not(bench: Bench) -> None:
    version = (await bench.engine.info()).version
    assert await bench.connection.supports_run_network() is (int(version.split(".")[0]) >= 23)


async def test_a_module_that_is_used_first_is_fetched_although_the_last_build_had_all(bench: Bench) -> None:
    await bench.save(ALONE.format("one"))
    await bench.save(ALONE.format("two"))
    assert bench.compiled == [True]
    await bench.save(WITH_MODULE.format("three"))
    assert bench.compiled == [False, True]
    assert missing(bench.notices, "built again", "network") == []
    await bench.save(WITH_MODULE.format("four"))
    assert bench.compiled == [True]


async def test_a_compile_error_is_compiled_once(bench: Bench) -> None:
    await bench.save(ALONE.format("one"))
    for number in range(2):
        with pytest.raises(UserError, match=r"main\.go:3: undefined: nothing"):
            await bench.save(f"package main\n\nfunc main() {{ nothing() }} // {number}\n")
        assert bench.compiled == [False]


async def test_a_comment_that_does_not_change_the_program_gives_the_same_image(bench: Bench) -> None:
    """So it is not deployed again. One in the main package does change it: go notes its source's hash."""
    (bench.root / "greet").mkdir()
    main = 'package main\n\nimport "example.test/x/greet"\n\nfunc main() {{ println(greet.Text) }}\n'
    bench.write("greet/greet.go", 'package greet\n\nconst Text = "hello"\n')
    first = await bench.save(main.format())
    bench.write("greet/greet.go", 'package greet\n\nconst Text = "hello" // a word\n')
    assert await bench.save(main.format()) == first
    assert bench.compiled == [True]
    bench.write("greet/greet.go", 'package greet\n\nconst Text = "hi"\n')
    other = await bench.save(main.format())
    assert other != first
    bench.write("greet/greet.go", 'package greet\n\nconst Text = "hello"\n')
    assert await bench.save(main.format()) == first  # back again, without a build
    assert bench.compiled == []


async def test_a_file_that_needs_its_modules_in_a_layer_builds_and_is_left_alone_in_the_end(
    bench: Bench,
) -> None:
    """The second RUN reads the module cache by a name that no reading of the text finds."""
    text = DOCKERFILE.format(name=NAME)
    hidden = "RUN ls $(printf '/go/pkg/%s' mod)/github.com/dgryski\nFROM scratch\n"
    bench.write("Dockerfile", text.replace("-a ", "").replace("FROM scratch\n", hidden))
    for number, times in enumerate((2, 2, 1)):
        assert await bench.save(WITH_MODULE.format(number))
        assert len(bench.compiled) == times
        said = missing(bench.notices, "from now on", "no module cache") == []
        assert said is (number == 1)


async def test_a_save_that_is_not_in_the_program_finds_it_linked(bench: Bench):
    bench.write("Dockerfile", DOCKERFILE.format(name=NAME).replace("-a -o", "-x -o"))
    image = await bench.save(ALONE.format("linked once"))
    assert bench.linked
    assert await bench.builder.compile_stage.save_binaries(bench.scan)
    bench.write("env.yaml", "a: 1\n")
    assert await bench.build() == image
    assert (bench.compiled[-1:], bool(bench.linked)) == ([True], False)
    assert await bench.save(ALONE.format("linked again")) != image
    assert bench.linked


async def test_the_program_of_a_tree_that_came_back_is_found_linked(bench: Bench):
    bench.write("Dockerfile", DOCKERFILE.format(name=NAME).replace("-a -o", "-x -o"))
    for text in ("first", "second", "first"):
        await bench.save(ALONE.format(text))
        assert await bench.builder.compile_stage.save_binaries(bench.scan)
    bench.write("env.yaml", "a: 1\n")
    await bench.build()
    assert (bench.compiled[-1:], bool(bench.linked)) == ([True], False)


async def test_an_emptied_cache_is_filled_before_the_next_save(bench: Bench):
    bench.write("Dockerfile", DOCKERFILE.format(name=NAME).replace("-a -o", "-x -o"))
    await bench.save(ALONE.format("before the cache is emptied"))
    await forget_caches()
    await bench.build(forced=False)
    assert not bench.compiled, "the step is cached over an empty mount"
    assert await bench.builder.compile_stage.save_binaries(bench.scan)
    await bench.save(ALONE.format("after it was filled"))
    printed = [event.text for event in bench.events if isinstance(event, events.BuildStepOutput)]
    assert " -p main " in "".join(printed)
    assert " -p runtime " not in "".join(printed)


async def test_nothing_is_kept_of_a_file_that_is_built_as_it_is(bench: Bench):
    bench.write("Dockerfile", DOCKERFILE.format(name=NAME).replace("go build", "true; go build"))
    await bench.save(ALONE.format("plain"))
    assert not await bench.builder.compile_stage.save_binaries(bench.scan)


@pytest.fixture
def base(bench: Bench) -> Iterator[Callable[[str], None]]:
    """A base image that is made anew with another value of the variable WHICH."""
    client = docker.DockerClient(base_url=ENGINE)
    name = f"{NAME}-base:latest"

    def make(value: str) -> None:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as made:
            made.addfile(tarfile.TarInfo("empty"))
        archive.seek(0)
        client.api.import_image_from_data(
            archive.getvalue(),
            repository=name.partition(":")[0],
            tag="latest",
            changes=[f"ENV WHICH={value}"],
        )

    yield make
    remove_images(f"{NAME}-base")
    client.close()


async def test_a_base_image_that_was_made_anew_is_what_the_next_build_starts_from(
    bench: Bench, base: Callable[[str], None]
) -> None:
    """Although the Dockerfile is not read again while nothing but the tree changes."""
    bench.write("Dockerfile", f"FROM {NAME}-base\nCOPY main.go /\n")
    seen: list[tuple[str, bool]] = []
    for number, value in enumerate(("one", None, "two", None)):
        if value:
            base(value)
        image = await bench.save(ALONE.format(number))
        config = await bench.engine.image(image)
        assert config
        seen.append((config.env["WHICH"], bench.read))
    assert seen == [("one", True), ("one", False), ("two", True), ("two", False)]


async def test_a_rebuild_reads_the_dockerfile_again(bench: Bench) -> None:
    bench.write("Dockerfile", "FROM scratch\nCOPY main.go /\n")
    seen: list[bool] = []
    for forced in (False, False, True, False):
        await bench.save(ALONE.format(f"rebuilt {len(seen)}"), forced=forced)
        seen.append(bench.read)
    assert seen == [True, False, True, False]
