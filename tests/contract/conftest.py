"""Two worlds with one set of tests: the engine in memory, and the real one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

import docker
import docker.errors
import pytest

from tests.fake_engine import FakeEngine, Program
from tests.images import Made, archive
from watcher.engine import DockerEngine, Engine

RUN = "watcher.test"  # every object that a test makes carries this label, with a value of the run's own


class World(Protocol):
    """An engine, and what others do with it."""

    @property
    def engine(self) -> Engine:
        """The engine under test."""
        ...

    @property
    def run(self) -> str:
        """Value of the label RUN, and part of every name."""
        ...

    async def add_image(
        self,
        *,
        tags: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        layers: Mapping[str, int] | None = None,
        created: float = 1_000_000_000.0,
    ) -> str:
        """Put an image into the store; its id."""
        ...

    async def add_program(self, exit_code: int | None, lines: Sequence[str]) -> dict[str, Any]:
        """What to `create` for a container that prints lines and then ends, or runs (exit code None)."""
        ...


class FakeWorld:
    """The engine in memory."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.run = uuid.uuid4().hex[:12]

    async def add_image(
        self,
        *,
        tags: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        layers: Mapping[str, int] | None = None,
        created: float = 1_000_000_000.0,
    ) -> str:
        """See `World.add_image`."""
        found = {RUN: self.run, **(labels or {})}
        return self.engine.add_image(tags=tags, labels=found, layers=layers, created=created)

    async def add_program(self, exit_code: int | None, lines: Sequence[str]) -> dict[str, Any]:
        """See `World.add_program`."""
        image = self.engine.add_image(labels={RUN: self.run})
        self.engine.programs[image] = Program(exit_code, tuple(lines))
        return {"Image": image, "Labels": {RUN: self.run}}


class RealWorld:
    """The engine of this machine; what a test leaves behind is removed by id."""

    def __init__(self, engine: DockerEngine, api: docker.APIClient) -> None:
        self.engine, self._api = engine, api
        self.run = uuid.uuid4().hex[:12]

    async def add_image(
        self,
        *,
        tags: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        layers: Mapping[str, int] | None = None,
        created: float = 1_000_000_000.0,
    ) -> str:
        """See `World.add_image`."""
        unlike = {f"{self.run} {text}": size for text, size in (layers or {uuid.uuid4().hex: 100}).items()}
        made = Made(unlike, tags, {RUN: self.run, **(labels or {})}, created)
        content, _ = archive([made])
        return await asyncio.to_thread(self._load, content)

    def _load(self, content: bytes) -> str:
        before = self._mine()
        for part in self._api.load_image(content, quiet=True) or ():  # type: ignore[no-untyped-call]
            assert "error" not in part, part
        # Asked for and not computed: an id is the digest of the configuration on one image store, and of the
        # manifest that the engine writes on the other.
        (image,) = self._mine() - before
        return image

    def _mine(self) -> set[str]:
        listed = self._api.images(filters={"label": [f"{RUN}={self.run}"]})
        return {str(item["Id"]) for item in listed}

    async def add_program(self, exit_code: int | None, lines: Sequence[str]) -> dict[str, Any]:
        """See `World.add_program`."""
        script = "; ".join(f"echo {line}" for line in lines) or ":"
        end = "exec sleep 600" if exit_code is None else f"exit {exit_code}"
        return {
            "Image": "alpine:latest",
            "Cmd": ["sh", "-c", f"{script}; {end}"],
            "Labels": {RUN: self.run},
            "HostConfig": {"Init": True},
        }

    def clean(self) -> None:
        """Remove what the test made."""
        mine: Any = {"label": [f"{RUN}={self.run}"]}
        for item in self._api.containers(all=True, filters=mine):
            self._api.remove_container(item["Id"], force=True, v=True)
        for item in self._api.images(filters=mine):
            self._api.remove_image(item["Id"], force=True)
        for item in self._api.networks(filters=mine):
            self._api.remove_network(item["Id"])
        for item in self._api.volumes(filters=mine)["Volumes"] or ():
            self._api.remove_volume(item["Name"])


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.engine)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """One of the two."""
    if request.param == "fake":
        yield FakeWorld()
        return
    engine = await DockerEngine.open()
    api = docker.from_env(version="auto").api
    real = RealWorld(engine, api)
    try:
        yield real
    finally:
        real.clean()
        api.close()
        await engine.close()
