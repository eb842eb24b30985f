"""What a build that we direct asks of the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import pytest

from watcher.buildkit import gateway as bridge
from watcher.buildkit.errors import RpcError
from watcher.buildkit.frontend_cache import FrontendCache
from watcher.buildkit.gateway import Direction
from watcher.buildkit.grpc import Channel
from watcher.buildkit.llb import digest_of
from watcher.buildkit.messages import control_pb2
from watcher.buildkit.messages.gateway_pb2 import Ref, Result, ReturnRequest, SolveRequest, SolveResponse
from watcher.buildkit.messages.llb_pb2 import (
    Definition,
    ExecOp,
    Input,
    Location,
    Op,
    Position,
    Range,
    SourceOp,
)


class Gateway:
    """Answers the calls of builds: the frontend makes a definition, a build ends with what is returned."""

    def __init__(self) -> None:
        self.asked: list[SolveRequest] = []
        self.returned = asyncio.Event()
        source = SourceOp(identifier="local://context", attrs={"local.session": "first"})
        self.made = Definition(ops=[Op(source=source).SerializeToString()])
        place = Location(ranges=[Range(start=Position(line=9)), Range(start=Position(line=7))])
        self.made.Source.locations[digest_of(self.made.ops[0])].locations.append(place)

    async def unary(self, method: str, data: bytes, _: object = None) -> bytes:
        if method == bridge.SOLVE:
            self.solved = control_pb2.SolveRequest.FromString(data)
            await self.returned.wait()
            self.returned.clear()
            return b"built"
        if method.endswith("/Return"):
            self.result = ReturnRequest.FromString(data).result
            assert self.result.metadata == {"config": b"{}"}
            self.returned.set()
            return b""
        request = SolveRequest.FromString(data)
        self.asked.append(request)
        ref = Ref(id=str(len(self.asked)), definition=self.made)
        metadata = {"config": b"{}"} if request.Frontend else {}
        return SolveResponse(result=Result(ref=ref, metadata=metadata)).SerializeToString()


async def test_the_second_build_solves_what_the_first_was_given_and_caches_are_imported_in_both() -> None:
    gateway, cache = Gateway(), FrontendCache()
    located: list[Mapping[str, int]] = []
    for session in ("first", "second"):
        entry = control_pb2.CacheOptionsEntry(Type="registry", Attrs={"ref": "r/x"})
        message = control_pb2.SolveRequest(
            Ref="build",
            Session=session,
            Frontend="dockerfile.v0",
            Cache=control_pb2.CacheOptions(Imports=[entry]),
        ).SerializeToString()
        direction = Direction((), cache, "key", {}, located.append)
        assert await bridge.solve_directed(cast(Channel, gateway), message, direction) == b"built"
    first, second = gateway.asked
    for lines in located:  # of the session's own definition, whose digests differ
        assert list(lines.values()) == [7]
    assert len({digest for lines in located for digest in lines}) == 2
    assert (first.Frontend, len(first.Definition.ops)) == ("dockerfile.v0", 0)
    assert (second.Frontend, len(second.Definition.ops)) == ("", 1)
    assert Op.FromString(second.Definition.ops[0]).source.attrs["local.session"] == "second"
    for request in gateway.asked:
        assert request.allowResultReturn
        assert request.allowResultArrayRef
        assert [(each.Type, dict(each.Attrs)) for each in request.CacheImports] == [
            ("registry", {"ref": "r/x"})
        ]


def request(session: str = "first") -> bytes:
    return control_pb2.SolveRequest(
        Ref="build", Session=session, Frontend="dockerfile.v0"
    ).SerializeToString()


async def test_a_changed_definition_is_solved_in_place_of_the_frontends() -> None:
    gateway = Gateway()
    (source,) = gateway.made.ops
    copy = Op(inputs=[Input(digest=digest_of(source))])
    copy.file.actions.add(secondaryInput=0).copy.src = "/.shared/a"
    gateway.made.ops.append(copy.SerializeToString())
    direction = Direction((), FrontendCache(), None, {"/.shared": "shared"}, lambda _: None)
    await bridge.solve_directed(cast(Channel, gateway), request(), direction)
    _, changed = gateway.asked
    sources = [Op.FromString(data).source.identifier for data in changed.Definition.ops]
    assert "local://shared" in sources
    assert (gateway.solved.Frontend, dict(gateway.solved.FrontendAttrs)) == ("", {}), "BuildKit asks nobody"
    assert gateway.result.ref.id == "2", "the build's result is that of the changed definition"


async def test_steps_without_a_network_change_the_definition_and_an_unchanged_one_is_not_sent_again() -> None:
    gateway = Gateway()
    run = Op(exec=ExecOp()).SerializeToString()
    gateway.made.ops.append(run)
    place = Location(ranges=[Range(start=Position(line=4))])
    gateway.made.Source.locations[digest_of(run)].locations.append(place)
    for lines, calls, result in (((4,), 2, "2"), ((5,), 1, "3")):
        before = len(gateway.asked)
        direction = Direction(lines, FrontendCache(), None, {}, lambda _: None)
        await bridge.solve_directed(cast(Channel, gateway), request(), direction)
        assert len(gateway.asked) - before == calls
        assert gateway.result.ref.id == result


class Refusing(Gateway):
    """The frontend fails; the engine ends the build with the error that it is given, and a prefix."""

    error = ""

    async def unary(self, method: str, data: bytes, _: object = None) -> bytes:
        if method == bridge.SOLVE:
            await self.returned.wait()
            raise RpcError(2, f"failed to solve: {self.error}")
        if method.endswith("/Return"):
            self.error = ReturnRequest.FromString(data).error.message
            self.returned.set()
            return b""
        raise RpcError(3, "dockerfile parse error on line 4")


async def test_an_error_of_the_frontend_ends_the_build_and_is_raised_without_the_prefix() -> None:
    direction = Direction((), FrontendCache(), None, {}, lambda _: None)
    with pytest.raises(RpcError) as raised:
        await bridge.solve_directed(cast(Channel, Refusing()), request(), direction)
    assert (raised.value.code, raised.value.message) == (3, "dockerfile parse error on line 4")
