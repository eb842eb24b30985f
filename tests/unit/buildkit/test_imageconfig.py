"""The configuration of an image is asked for inside a build that is started for it alone."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.unit.buildkit.fake_engine import FakeEngine, running
from watcher.buildkit import ProtocolError, SolveFailed
from watcher.buildkit.errors import RpcError
from watcher.buildkit.grpc import answer_unary
from watcher.buildkit.messages.control_pb2 import SolveRequest
from watcher.buildkit.messages.gateway_pb2 import ResolveImageConfigRequest, ResolveImageConfigResponse

RESOLVE = "/moby.buildkit.v1.frontend.LLBBridge/ResolveImageConfig"


class Engine(FakeEngine):
    """Answers with `config`, or refuses: the build that was begun (`refusal`) or the question itself."""

    def __init__(self, config: bytes = b"{}", refusal: RpcError | None = None) -> None:
        super().__init__(self.build)
        self.config, self.refusal = config, refusal
        self.answer: RpcError | None = None
        self.asked: list[ResolveImageConfigRequest] = []
        self.begun: list[SolveRequest] = []
        self.running_build = asyncio.Event()
        self.handlers = lambda: {  # type: ignore[method-assign]
            **FakeEngine.handlers(self),
            RESOLVE: answer_unary(self.resolve),
        }

    async def build(self, build: object) -> dict[str, str]:
        self.begun.append(build.request)  # type: ignore[attr-defined]
        if self.refusal:
            raise self.refusal
        self.running_build.set()
        await asyncio.Event().wait()  # the client does not wait for its end
        return {}

    async def resolve(self, data: bytes) -> bytes:
        self.asked.append(ResolveImageConfigRequest.FromString(data))
        await self.running_build.wait()  # never after a refusal
        if self.answer:
            raise self.answer
        return ResolveImageConfigResponse(Digest="sha256:1", Config=self.config).SerializeToString()


async def test_the_image_is_what_the_engine_says() -> None:
    engine = Engine(json.dumps({"architecture": "arm64", "config": {"User": "1"}}).encode())
    async with running(engine) as (client, _):
        found = await client.resolve_image("docker.io/library/alpine:latest", platform="linux/arm64/v8")
    assert (found.digest, found.config["config"]) == ("sha256:1", {"User": "1"})
    (asked,) = engine.asked
    assert (asked.Ref, asked.ResolveMode) == ("docker.io/library/alpine:latest", "local")
    assert (asked.Platform.OS, asked.Platform.Architecture, asked.Platform.Variant) == (
        "linux",
        "arm64",
        "v8",
    )
    assert all(request.Internal for request in engine.begun)


async def test_without_a_platform_the_engine_takes_its_own() -> None:
    engine = Engine()
    async with running(engine) as (client, _):
        await client.resolve_image("x")
    assert not engine.asked[0].HasField("Platform")


@pytest.mark.parametrize("part", ["refusal", "answer"])
async def test_a_refusal_is_a_failed_build(part: str) -> None:
    engine = Engine()
    setattr(engine, part, RpcError(5, "docker.io/x: not found"))
    async with running(engine) as (client, _):
        with pytest.raises(SolveFailed, match=r"docker\.io/x: not found"):
            await client.resolve_image("docker.io/x")


@pytest.mark.parametrize(("config", "reason"), [(b"oops", "is not JSON"), (b"[]", "is not an object")])
async def test_an_answer_that_makes_no_sense_is_told(config: bytes, reason: str) -> None:
    async with running(Engine(config)) as (client, _):
        with pytest.raises(ProtocolError, match=reason):
            await client.resolve_image("x")
