"""Real containers that fail in the usual ways: what is told of each, and that the one before serves on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import docker
import pytest

from tests.facts import missing
from tests.images import build
from tests.unit.deploy.world import NotedFront, Recipe
from watcher import labels
from watcher.deploy import ContainerDeployer, DeployPolicy, Published
from watcher.engine import DockerEngine
from watcher.errors import UserError
from watcher.front import Front
from watcher.observers.events import Event, Failure

pytestmark = [pytest.mark.engine, pytest.mark.timeout(180)]

ELF_MACHINE = slice(18, 20)  # e_machine of an ELF header, little endian (elf(5))
ANSWERS = "busybox httpd -f -p 9000"


class Told(Recipe):
    """A recipe for alpine with a command of the test's own."""

    def __init__(self, run: str) -> None:
        super().__init__(name=f"fail-{run}", project=f"fail-{run}")
        self.command: list[str] = []
        self.host: dict[str, Any] = {}

    def config(
        self, image: str, publish: Published, extra_labels: Mapping[str, str], joins: str = "", **named: bool
    ) -> Mapping[str, Any]:
        body = dict(super().config(image, publish, extra_labels, joins, **named))
        body |= {"Cmd": self.command, "ExposedPorts": {f"{port}/tcp": {} for port in self.ports}}
        body["HostConfig"] = {**body["HostConfig"], **self.host}
        body["StopSignal"] = "SIGKILL"  # a shell as first process does not hear SIGTERM: 10 s for each test
        return body


class Bench:
    """A deployer on the real engine."""

    def __init__(self, engine: DockerEngine, run: str) -> None:
        self.recipe = Told(run)
        self.front = NotedFront()
        self.fronts = {9000: cast(Front, self.front)}
        self.events: list[Event] = []
        self.deployer = ContainerDeployer(
            self.recipe,
            engine=engine,
            fronts=self.fronts,
            policy=DeployPolicy(startup_timeout=60.0, soak=0.0, drain=0.0),
            observer=self,
            on_lost=self.events.append,
            on_rolled_back=self.events.append,
        )

    def notify(self, event: Event) -> None:
        self.events.append(event)

    async def deploy(self, image: str, *command: str, **host: Any) -> None:
        self.recipe.command, self.recipe.host = list(command), host
        await self.deployer.deploy(uuid.uuid4().hex, image)

    async def fails(self, image: str, *command: str, **host: Any) -> Failure:
        """Deploy what must fail."""
        self.recipe.digest = uuid.uuid4().hex
        with pytest.raises(UserError) as caught:
            await self.deploy(image, *command, **host)
        return caught.value.failure

    async def patience(self, seconds: float) -> None:
        policy = DeployPolicy(startup_timeout=seconds, soak=0.0, drain=0.0)
        await self.deployer.reconfigure(self.recipe, fronts=self.fronts, policy=policy)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    engine = await DockerEngine.open()
    made = Bench(engine, uuid.uuid4().hex[:10])
    try:
        await made.deploy("alpine:latest", "sh", "-c", ANSWERS)
        serving = made.deployer.container
        yield made
        assert made.deployer.container == serving, "the one before serves on"
        left = await engine.containers(labels=[f"{labels.PROJECT}={made.recipe.project}"])
        assert [item.id for item in left] == [serving.id if serving else ""]
    finally:
        await made.deployer.close(stop=True)
        await engine.close()


@pytest.fixture
async def image(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """An image with /app: a program of this machine's, as it is or said to be for another architecture."""
    program = bytearray(Path("/bin/true").read_bytes())
    if request.param == "arm":
        program[ELF_MACHINE] = (183 if program[ELF_MACHINE] != b"\xb7\x00" else 62).to_bytes(2, "little")
    api = docker.from_env(version="auto").api
    tag = f"fail-{uuid.uuid4().hex[:10]}:1"
    dockerfile = "FROM alpine\nCOPY app /app\nRUN chmod 755 /app\n"
    try:
        await asyncio.to_thread(build, api, tag, dockerfile, {"app": bytes(program)}, {})
        yield tag
    finally:
        api.remove_image(tag, force=True)
        api.close()


async def test_a_missing_environment_file(bench: Bench) -> None:
    command = "echo 'go-server: open _envs/env_dev.yaml: no such file or directory' >&2; exit 1"
    failure = await bench.fails("alpine:latest", "sh", "-c", command)
    assert "exit status 1" in failure.summary
    assert "_envs/env_dev.yaml" in failure.lines[-1]
    assert "environment file" in failure.hint


@pytest.mark.parametrize("image", ["arm"], indirect=True)
async def test_a_binary_for_another_architecture(bench: Bench, image: str) -> None:
    failure = await bench.fails(image, "/app")
    assert "GOARCH" in failure.hint, failure


@pytest.mark.parametrize("image", ["glibc"], indirect=True)
async def test_a_binary_that_needs_a_library_which_alpine_lacks(bench: Bench, image: str) -> None:
    failure = await bench.fails(image, "/app")
    assert "CGO_ENABLED=0" in failure.hint, failure


async def test_a_program_that_is_not_there(bench: Bench) -> None:
    failure = await bench.fails("alpine:latest", "./mygoexecutable")
    assert "COPY --from" in failure.hint, failure


async def test_a_program_that_nobody_may_run(bench: Bench) -> None:
    failure = await bench.fails("alpine:latest", "/etc/passwd")
    assert "the file's mode" in failure.hint, failure


async def test_too_much_memory(bench: Bench) -> None:
    endless = "a=x; while :; do a=$a$a; done"
    failure = await bench.fails("alpine:latest", "sh", "-c", endless, Memory=16 << 20, MemorySwap=16 << 20)
    assert "too much memory" in failure.hint, failure


async def test_nobody_listens(bench: Bench) -> None:
    await bench.patience(3.0)
    failure = await bench.fails("alpine:latest", "sleep", "60", Init=True)
    assert missing(failure.summary, "port 9000", "3 s") == []
    assert missing(failure.hint, "nothing", "port 9000") == []


async def test_it_listens_inside_of_the_container_only(bench: Bench) -> None:
    await bench.patience(3.0)
    command = f"echo listening on 127.0.0.1:9000; exec {ANSWERS.replace('9000', '127.0.0.1:9000')}"
    failure = await bench.fails("alpine:latest", "sh", "-c", command, Init=True)
    assert "as its log says" in failure.hint, failure


async def test_it_listens_on_another_port(bench: Bench) -> None:
    await bench.patience(3.0)
    command = f"echo listening on :8080; exec {ANSWERS.replace('9000', '8080')}"
    failure = await bench.fails("alpine:latest", "sh", "-c", command, Init=True)
    assert missing(failure.hint, "8080", "9000", "ports", "expose") == [], failure


async def test_it_ends_well(bench: Bench) -> None:
    failure = await bench.fails("alpine:latest", "true")
    assert "exit status 0" in failure.summary
    assert "must keep running" in failure.hint
