"""A second project on the same base image compiles only what is its own: go itself lists what it compiles."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from watcher.builder import BuildkitConnection, Recipe
from watcher.builder.dockerfile_variants import DockerfileVariants
from watcher.builder.strategies import BuildStrategy
from watcher.buildkit import MemorySource, Progress, SolveRequest, StepLog
from watcher.daemon.engine_access import base_images
from watcher.dockerfile import own_caches
from watcher.engine import DockerEngine
from watcher.observers.events import Fanout
from watcher.prune.gone_caches import RETRY, _drop_mounts
from watcher.tree import Tree

pytestmark = pytest.mark.engine

DOCKERFILE = """FROM golang:alpine
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -v -o /app .
"""
SCOPE = f"watcher-{secrets.token_hex(6)}"


class Project:
    """A Go program in a folder of its own."""

    def __init__(self, engine: DockerEngine, connection: BuildkitConnection, folder: Path) -> None:
        folder.mkdir()
        self.connection, self.folder = connection, folder
        self.recipe = Recipe(
            service="web",
            project=f"{folder.name}-{secrets.token_hex(5)}",
            image=f"{folder.name}:latest",
            cache_scope=SCOPE,
        )
        bases = base_images(engine, connection)
        self.variants = DockerfileVariants("web", bases=bases, connection=connection, observer=Fanout())
        self.mounts: list[str] = []
        (folder / "Dockerfile").write_text(DOCKERFILE)
        (folder / "go.mod").write_text(f"module example.com/{folder.name}\n\ngo 1.20\n")

    async def compiled(self, said: str) -> list[str]:
        """Build a program; return the packages that go compiled."""
        (self.folder / "main.go").write_text(f'package main\n\nfunc main() {{ println("{said}") }}\n')
        snapshot = Tree(self.folder).scan()
        text = DOCKERFILE
        made = await self.variants.make_variant(self.recipe, text, snapshot, BuildStrategy.ACCELERATED)
        self.mounts += [one.id for one in own_caches(made.plan.text, self.recipe.project, SCOPE)]
        lines: list[str] = []

        def hear(event: Progress) -> None:
            if isinstance(event, StepLog):
                lines.extend(event.text.splitlines())

        tree = {each: (self.folder / each).read_bytes() for each in ("go.mod", "main.go")}
        request = SolveRequest(
            context=MemorySource(tree),
            dockerfile=MemorySource({"Dockerfile": made.plan.text.encode()}),
            shared_key=self.recipe.project,
            exporter="",
        )
        await (await self.connection.client()).solve(request, hear)
        return [line.strip() for line in lines if line.strip()]


@pytest.fixture
async def projects(tmp_path: Path) -> AsyncIterator[tuple[Project, Project]]:
    engine = await DockerEngine.open()
    connection = BuildkitConnection(engine.endpoint, engine)
    ours, theirs = (Project(engine, connection, tmp_path / name) for name in ("shop", "blog"))
    yield ours, theirs
    mounts = {*ours.mounts, *theirs.mounts}
    await _drop_mounts(await connection.client(), mounts, own=(), seconds=10, retry=RETRY)
    await connection.close()
    await engine.close()


async def test_a_second_project_compiles_nothing_of_the_standard_library(
    projects: tuple[Project, Project],
) -> None:
    ours, theirs = projects
    first = await ours.compiled("one")
    assert "runtime" in first
    assert first[-1] == "example.com/shop"
    assert await theirs.compiled("two") == ["example.com/blog"]
    assert await ours.compiled("three") == ["example.com/shop"]
    assert len(set(ours.mounts)) == len({*ours.mounts, *theirs.mounts})
