"""Base images: what the engine has, what a registry answered, and how long to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from tests.fake_engine import FakeEngine
from watcher.builder import BaseImages, BuildkitConnection, Recipe, config_of, platforms_of
from watcher.builder.base_images import (
    DEFAULT_PATIENCE,
    PLACEHOLDER_LABEL,
    RegistryPatience,
    credentials_of,
    fetches_image,
    pulls_image,
)
from watcher.buildkit import BuildkitError, ResolvedImage, SolveFailed
from watcher.dockerfile import ImageConfig, Platforms
from watcher.engine import EngineError, Image, Login
from watcher.errors import EngineUnavailable

DIGEST = "sha256:12"
ANSWER = ResolvedImage(
    DIGEST,
    {
        "os": "freebsd",
        "config": {
            "Env": ["A=1=2", "B="],
            "User": "nobody",
            "OnBuild": ["RUN x"],
            "WorkingDir": "/w",
            "Entrypoint": ["run"],
            "Cmd": ["me"],
            "Labels": {PLACEHOLDER_LABEL: ""},
        },
    },
)


class Registry:
    """A connection whose client asks `answer` for each image."""

    def __init__(self) -> None:
        self.standalone, self.closed, self.reachable = False, False, True
        self.answer: Callable[[], Awaitable[ResolvedImage]] = self.give
        self.asked: list[str] = []

    async def give(self) -> ResolvedImage:
        return ANSWER

    async def be_silent(self) -> ResolvedImage:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def client(self) -> Registry:
        return self

    async def platforms(self, target: str) -> Platforms:
        if not self.reachable:
            raise EngineUnavailable("no BuildKit")
        return Platforms.of("linux/riscv64", target)

    async def resolve_image(self, reference: str, **_: object) -> ResolvedImage:
        self.asked.append(reference)
        return await self.answer()


class Bench:
    def __init__(self, patience: RegistryPatience = DEFAULT_PATIENCE) -> None:
        self.engine, self.registry = FakeEngine(), Registry()
        self.bases = BaseImages(
            self.engine,
            cast(BuildkitConnection, self.registry),
            lambda: lambda _host: None,
            patience,
        )

    def fail(self, error: Exception) -> None:
        async def answer() -> ResolvedImage:
            raise error

        self.registry.answer = answer


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_an_image_of_the_engine_needs_no_registry(bench: Bench) -> None:
    bench.engine.add_image(tags=["own/base:latest"], labels={PLACEHOLDER_LABEL: ""})
    found = await bench.bases.find_image("own/base")
    assert (found.here, found.placeholder, found.digest, found.problem) == (True, True, "", "")
    assert bench.registry.asked == []


async def test_the_configuration_is_that_of_the_registry(bench: Bench) -> None:
    found = await bench.bases.find_image("own/base")
    assert found.config == ImageConfig(
        env={"A": "1=2", "B": ""},
        user="nobody",
        onbuild=("RUN x",),
        workdir="/w",
        os="freebsd",
        id=DIGEST,
        command=("run", "me"),
        entrypoint=("run",),
    )
    assert (found.here, found.placeholder, found.digest, found.problem) == (False, True, DIGEST, "")
    assert bench.registry.asked == ["docker.io/own/base:latest"]


async def test_an_empty_configuration_is_that_of_a_linux_image(bench: Bench) -> None:
    async def empty() -> ResolvedImage:
        return ResolvedImage(DIGEST, {})

    bench.registry.answer = empty
    found = await bench.bases.find_image("own/base")
    assert found.config == ImageConfig(id=DIGEST)
    assert not found.placeholder


async def test_an_answer_is_used_until_it_is_old_or_forgotten(bench: Bench) -> None:
    first = await bench.bases.find_image("own/base")
    assert await bench.bases.find_image("own/base") is first
    await bench.bases.find_image("own/base", "linux/arm64")
    assert len(bench.registry.asked) == 2, "each platform has its own answer"
    age = bench.bases.age
    bench.bases.forget_answers()
    assert bench.bases.age == age + 1
    await bench.bases.find_image("own/base")
    assert len(bench.registry.asked) == 3
    bench.bases.patience = RegistryPatience(fresh=0.0)
    await bench.bases.find_image("own/base")
    assert len(bench.registry.asked) == 4


async def test_an_earlier_answer_is_used_if_the_registry_does_not_answer_again(bench: Bench) -> None:
    """The wait is short: an answer is there already. Without one it is long, and ends with an error."""
    bench.bases.patience = RegistryPatience(again=0.01, fresh=0.0)
    first = await bench.bases.find_image("own/base")
    bench.registry.answer = bench.registry.be_silent
    async with asyncio.timeout(10):  # less than `first`
        assert await bench.bases.find_image("own/base") == first
    bench.bases.patience = RegistryPatience(first=0.01, again=600.0, fresh=0.0)
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            await bench.bases.find_image("own/other")


async def test_a_registry_that_refuses_is_the_problem_unless_it_answered_before(bench: Bench) -> None:
    bench.fail(SolveFailed("pull access denied"))
    found = await bench.bases.find_image("own/base")
    assert (found.config, found.problem) == (None, "pull access denied")
    bench.bases.patience = RegistryPatience(fresh=0.0)
    bench.registry.answer = bench.registry.give
    known = await bench.bases.find_image("own/base")
    bench.fail(SolveFailed("no such host"))
    assert await bench.bases.find_image("own/base") == known


async def test_a_lost_connection_is_no_answer_of_the_registry(bench: Bench) -> None:
    bench.fail(BuildkitError("reset"))
    bench.registry.closed = True
    with pytest.raises(EngineUnavailable, match="reset"):
        await bench.bases.find_image("own/base")
    assert (await bench.bases.try_to_find("own/base")).problem.endswith("reset")


@pytest.mark.parametrize(
    ("error", "problem"),
    [(EngineError("broken"), "broken"), (EngineUnavailable("away"), "away"), (TimeoutError(), "no answer")],
)
async def test_every_error_is_a_problem_on_request(bench: Bench, error: Exception, problem: str) -> None:
    bench.fail(error)
    found = await bench.bases.try_to_find("own/base")
    assert found.config is None
    assert problem in found.problem


async def test_the_platforms_are_those_of_buildkit_or_of_this_machine(bench: Bench) -> None:
    recipe = Recipe(service="s", project="p", image="s", platform="linux/arm64")
    assert await platforms_of(recipe, bench.bases) == Platforms("linux/riscv64", "linux/arm64")
    this_machine = Platforms.of_this_machine("linux/arm64")
    assert await platforms_of(recipe, None) == this_machine
    bench.registry.reachable = False
    assert await platforms_of(recipe, bench.bases) == this_machine


def test_the_configuration_of_an_engines_image_is_taken_over() -> None:
    image = Image("sha256:1", env={"A": "1"}, user="u", onbuild=("x",), workdir="/w", command=("c",), os="o")
    assert config_of(image) == ImageConfig({"A": "1"}, "u", ("x",), "/w", "o", "sha256:1", ("c",))


def test_a_login_is_passed_on() -> None:
    found = credentials_of(Login("me", "secret"))
    assert found
    assert (found.username, found.secret) == ("me", "secret")
    assert credentials_of(None) is None


@pytest.mark.parametrize(
    ("step", "pulls", "fetches"),
    [
        ("[builder 1/4] FROM golang:alpine", True, True),
        ("FROM golang:alpine", True, True),
        ("docker-image://docker.io/library/golang:alpine", True, True),
        ("[internal] load metadata for docker.io/library/golang:alpine", False, True),
        ("", False, True),
        ("[builder 4/4] RUN echo FROM x", False, False),
        ("[internal] load build context", False, False),
    ],
)
def test_the_name_of_a_step_shows_whether_it_needs_a_registry(step: str, pulls: bool, fetches: bool) -> None:
    assert (pulls_image(step), fetches_image(step)) == (pulls, fetches)
