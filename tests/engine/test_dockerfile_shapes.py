"""Dockerfiles of many shapes, built for real as they are and accelerated: the binary must be the same.

Each shape has a text of its own in its program, and all share the accelerated caches, so a binary out of a
stale cache would hold another shape's text.
"""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import docker
import pytest

from tests.platforms import AMD64
from watcher.buildkit import Client, MemorySource, Progress, SolveFailed, SolveRequest, StepLog
from watcher.dockerfile import (
    SAVE_STAGE,
    Accelerated,
    ImageConfig,
    Level,
    TreeInputs,
    accelerate,
    base_images,
    parse,
    save_binaries,
)

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
SHAPES = Path(__file__).parent / "shapes"
NAMES = sorted(path.stem for path in SHAPES.glob("*.Dockerfile") if path.stem != "c")
SCOPE = f"watcher-test-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    with closing(docker.DockerClient(base_url=ENGINE)) as connected:
        yield connected
    asyncio.run(forget_caches())


async def forget_caches() -> None:
    """Remove the cache mounts of the shapes, which all name `/out/app` in the command that made them.

    By id, because BuildKit 0.8 does not look at a description when it prunes (cache/manager.go, prune).
    """
    async with await Client.connect(ENGINE) as client:
        found = await client.disk_usage(["type==exec.cachemount,description~=out.app"])
        if found:
            await client.prune([f"id=={record.id}" for record in found])


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with await Client.connect(ENGINE) as connected:
        yield connected


class Workshop:
    """Builds one Dockerfile on one tree, accelerated or not, and gives the program that comes out."""

    def __init__(
        self, client: Client, engine: docker.DockerClient, text: str, tree: dict[str, bytes]
    ) -> None:
        self.client = client
        self.engine = engine
        self.text = text
        self.tree = tree
        self.lines: list[str] = []
        self.images: list[str] = []

    def accelerated(self, level: Level, *, without_network: bool = False) -> Accelerated:
        digests = {path: sha256(content).digest() for path, content in self.tree.items()}
        return accelerate(
            self.text,
            level=level,
            build_args={},
            target=None,
            platforms=AMD64,
            bases={name: self.config(name) for name in base_images(parse(self.text), {}, None, AMD64)},
            cache_scope=SCOPE,
            compile_without_network=without_network,
            inputs=TreeInputs(digests, self.tree.get),
        )

    def config(self, name: str) -> ImageConfig:
        attrs = self.engine.images.get(name).attrs
        config = attrs["Config"]
        return ImageConfig(
            env=dict(pair.split("=", 1) for pair in config.get("Env") or ()),
            user=config.get("User") or "",  # engine 29 leaves out what is empty
            onbuild=tuple(config.get("OnBuild") or ()),
            workdir=config.get("WorkingDir") or "",
            os=attrs["Os"],
            id=attrs["Id"],
        )

    async def build(self, dockerfile: str) -> bytes:
        """The program `/out/app` of the image that this text gives."""
        self.lines.clear()
        name = f"{SCOPE}-{uuid.uuid4().hex[:12]}"
        await self.client.solve(
            SolveRequest(
                context=MemorySource(self.tree, mode=0o755),
                dockerfile=MemorySource({"Dockerfile": dockerfile.encode()}),
                shared_key=f"{SCOPE}-shapes",
                names=(f"docker.io/library/{name}:latest",),
            ),
            self.told,
        )
        self.images.append(name)
        container = self.engine.containers.create(name)
        try:
            stream, _ = container.get_archive("/out/app")
            data = io.BytesIO(b"".join(stream))
        finally:
            container.remove()
        with tarfile.open(fileobj=data) as archive:
            file = archive.extractfile("app")
            assert file is not None
            return file.read()

    async def keep(self, accelerated: Accelerated) -> None:
        """Keep the programs of the last build for the next one, as a daemon does when idle."""
        await self.client.solve(
            SolveRequest(
                context=MemorySource(self.tree, mode=0o755),
                dockerfile=MemorySource(
                    {
                        "Dockerfile": save_binaries(
                            accelerated.text, accelerated.programs, uuid.uuid4().hex
                        ).encode()
                    }
                ),
                shared_key=f"{SCOPE}-shapes",
                target=SAVE_STAGE,
                exporter="",
            ),
            lambda _: None,
        )

    def told(self, event: Progress) -> None:
        if isinstance(event, StepLog):
            self.lines += event.text.splitlines()

    def says(self) -> str:
        """What the program of the last build prints."""
        output = self.engine.containers.run(self.images[-1], stderr=True, remove=True)
        return bytes(output).decode().strip()


def tree_of(folder: str, **replaced: str) -> dict[str, bytes]:
    """The files of a shape's tree; `replaced` puts new text in place of a word in all of them."""
    root = SHAPES / folder
    files = {
        path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()
    }
    for old, new in replaced.items():
        files = {path: text.replace(old, new) for path, text in files.items()}
    return {path: text.encode() for path, text in files.items()}


@pytest.fixture
def workshop(client: Client, engine: docker.DockerClient) -> Iterator[Workshop]:
    """A bench for the article's shape with a greeting of its own; its images go at the end."""
    made = Workshop(client, engine, "", {})
    use(made, "article")
    yield made
    for name in made.images:
        engine.images.remove(name)  # by name: equal programs are one image with several


def use(workshop: Workshop, shape: str) -> str:
    """Put a shape on the bench; returns the text that its program will hold."""
    greeting = f"{SCOPE} {shape} {uuid.uuid4().hex[:8]}"
    workshop.text = (SHAPES / f"{shape}.Dockerfile").read_text()
    workshop.tree = tree_of("module", hello=greeting)
    return greeting


def early_frontend(engine: docker.DockerClient) -> bool:
    """Whether the engine's own frontend is BuildKit 0.8's (no here-documents, no `RUN --network`)."""
    return int(engine.version()["Version"].split(".")[0]) < 23


@pytest.mark.parametrize("shape", NAMES)
async def test_exact_gives_the_same_program_as_the_file_itself(
    workshop: Workshop, engine: docker.DockerClient, shape: str
):
    greeting = use(workshop, shape)
    accelerated = workshop.accelerated(Level.EXACT)
    assert accelerated.changes
    if shape == "heredoc" and early_frontend(engine):
        for text in (workshop.text, accelerated.text):  # neither is understood: nobody is worse off
            with pytest.raises(SolveFailed):
                await workshop.build(text)
        return
    fast = await workshop.build(accelerated.text)
    assert greeting.encode() in fast
    plain = await workshop.build(workshop.text)
    assert sha256(fast).hexdigest() == sha256(plain).hexdigest()


BUILD = "RUN CGO_ENABLED=0 go build -trimpath -o /out/app .\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (BUILD, BUILD.replace(" .\n", " ./nowhere\n")),
        (BUILD, BUILD.replace("go build", "go build -mod=nonsense")),
        (BUILD, BUILD.replace("\n", " && exit 3\n")),
        (BUILD, f"RUN CGO_ENABLED=0 go build -o /else . && CGO_ENABLED=0 go vet ./nowhere\n{BUILD}"),
        ("/out/app /out/app", "/out/other /out/app"),
    ],
)
async def test_a_build_that_fails_as_it_is_fails_when_accelerated(workshop: Workshop, old: str, new: str):
    use(workshop, "article")
    text = f"FROM golang:alpine AS b\nWORKDIR /src\nCOPY . .\n{BUILD}"
    text += "FROM scratch\nCOPY --from=b /out/app /out/app\n"
    assert old in text
    workshop.text = text.replace(old, new)
    for built in (workshop.text, workshop.accelerated(Level.EXACT).text):
        with pytest.raises(SolveFailed):
            await workshop.build(built)


async def test_a_header_outside_its_package_is_seen_by_exact(workshop: Workshop):
    workshop.text = (SHAPES / "c.Dockerfile").read_text()
    for number in ("41", "42"):
        workshop.tree = tree_of("c") | {"include/number.h": f"#define NUMBER {number}\n".encode()}
        fast = await workshop.build(workshop.accelerated(Level.EXACT).text)
        assert workshop.says() == number
    plain = await workshop.build(workshop.text)
    assert sha256(fast).hexdigest() == sha256(plain).hexdigest()


async def test_what_a_header_includes_is_seen_by_exact_whatever_its_name(workshop: Workshop):
    workshop.text = (SHAPES / "c.Dockerfile").read_text()
    for number in ("43", "44"):
        header = b'enum { NUMBER =\n#include "number.tbl"\n};\n'
        workshop.tree = tree_of("c") | {"include/number.h": header, "include/number.tbl": number.encode()}
        await workshop.build(workshop.accelerated(Level.EXACT).text)
        assert workshop.says() == number


async def test_what_go_assembly_includes_is_seen_by_exact(workshop: Workshop):
    workshop.text = (
        "FROM golang:alpine AS builder\nWORKDIR /src\nCOPY . .\n"
        "RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -o /out/app .\n"
        'FROM alpine\nCOPY --from=builder /out/app /out/app\nCMD ["/out/app"]\n'
    )
    for number in ("45", "46"):
        workshop.tree = {
            "go.mod": b"module example.test/assembly\n\ngo 1.21\n",
            "main.go": b"package main\n\nfunc number() int64\n\nfunc main() { println(number()) }\n",
            "n_amd64.s": b'#include "textflag.h"\n#include "number.inc"\n'
            b"TEXT \xc2\xb7number(SB), NOSPLIT, $0-8\n\tMOVQ $NUMBER, ret+0(FP)\n\tRET\n",
            "number.inc": f"#define NUMBER {number}\n".encode(),
        }
        await workshop.build(workshop.accelerated(Level.EXACT).text)
        assert workshop.says() == number


async def test_after_the_first_build_only_what_changed_is_compiled(workshop: Workshop):
    for _ in range(2):
        use(workshop, "article")
        workshop.text = workshop.text.replace("-trimpath", "-v -trimpath")
        await workshop.build(workshop.accelerated(Level.EXACT).text)
    assert sorted(line for line in workshop.lines if "/" in line) == [
        "example.test/shapes",
        "example.test/shapes/greet",
    ]
    await workshop.build(workshop.text)
    assert "internal/abi" in workshop.lines


async def test_fast_gives_a_program_that_says_the_same_without_dwarf(workshop: Workshop):
    greeting = use(workshop, "stages")
    exact = await workshop.build(workshop.accelerated(Level.EXACT).text)
    assert workshop.says() == f"{greeting} 1"
    fast = await workshop.build(workshop.accelerated(Level.FAST).text)
    assert workshop.says() == f"{greeting} 1"
    assert b".debug_info" in exact
    assert b".debug_info" not in fast


async def test_a_compile_step_builds_without_a_network(workshop: Workshop, engine: docker.DockerClient):
    greeting = use(workshop, "article")
    accelerated = workshop.accelerated(Level.EXACT, without_network=True)
    assert accelerated.without_network
    if early_frontend(engine):
        with pytest.raises(SolveFailed, match="network"):
            await workshop.build(accelerated.text)
        return
    assert greeting.encode() in await workshop.build(accelerated.text)


def linked(workshop: Workshop) -> bool:
    """Whether the last build, whose go has `-x`, ran the linker."""
    return any("/link -o" in line for line in workshop.lines)


async def test_what_is_not_in_the_program_does_not_link_it_again(workshop: Workshop):
    greeting = use(workshop, "article")
    workshop.text = workshop.text.replace("-trimpath", "-x -trimpath")
    accelerated = workshop.accelerated(Level.EXACT)
    first = await workshop.build(accelerated.text)
    assert linked(workshop)
    await workshop.keep(accelerated)
    for path, text in (
        ("_envs/env_dev.yaml", b"a: 2\n"),
        ("main_test.go", b"package main\n"),
        ("x.md", b"x\n"),
    ):
        workshop.tree[path] = text
        again = await workshop.build(accelerated.text)
        assert again == first
        assert not linked(workshop), path
    assert workshop.says().startswith(greeting)
    greeting = use(workshop, "article")
    await workshop.build(accelerated.text)
    assert linked(workshop)
    assert workshop.says().startswith(greeting)


async def test_a_program_that_embeds_its_folder_does_not_embed_itself(workshop: Workshop):
    workshop.text = (
        "FROM golang:alpine AS builder\nWORKDIR /out\nCOPY . .\n"
        "RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -o app .\n"
        'FROM alpine\nCOPY --from=builder /out/app /out/app\nCMD ["/out/app"]\n'
    )
    main = 'package main\n\nimport "embed"\n\n//go:embed *\nvar all embed.FS\n\nfunc main() {\n'
    main += '\tfound, _ := all.ReadDir(".")\n\tfor _, one := range found {\n\t\tprintln(one.Name())\n\t}\n}\n'
    workshop.tree = {"go.mod": b"module example.test/embeds\n\ngo 1.21\n", "main.go": main.encode()}
    for number in range(3):
        workshop.tree["data.txt"] = f"{SCOPE} {number}\n".encode()
        accelerated = workshop.accelerated(Level.EXACT)
        fast = await workshop.build(accelerated.text)
        await workshop.keep(accelerated)
        assert workshop.says().split() == ["data.txt", "go.mod", "main.go"]
    plain = await workshop.build(workshop.text)
    assert sha256(fast).hexdigest() == sha256(plain).hexdigest()
