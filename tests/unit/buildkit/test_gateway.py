"""What a build that we direct asks of the gateway."""

from __future__ import annotations

import asyncio
from typing import cast

from watcher.buildkit import gateway as bridge
from watcher.buildkit.frontend_cache import FrontendCache
from watcher.buildkit.gateway import Direction
from watcher.buildkit.grpc import Channel
from watcher.buildkit.llb import digest_of
from watcher.buildkit.messages import control_pb2
from watcher.buildkit.messages.gateway_pb2 import Ref, Result, ReturnRequest, SolveRequest, SolveResponse
from watcher.buildkit.messages.llb_pb2 import Definition, Location, Op, Position, Range, SourceOp


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
            await self.returned.wait()
            self.returned.clear()
            return b"built"
        if method.endswith("/Return"):
            assert ReturnRequest.FromString(data).result.metadata == {"config": b"{}"}
            self.returned.set()
            return b""
        request = SolveRequest.FromString(data)
        self.asked.append(request)
        ref = Ref(id=str(len(self.asked)), definition=self.made)
        metadata = {"config": b"{}"} if request.Frontend else {}
        return SolveResponse(result=Result(ref=ref, metadata=metadata)).SerializeToString()


async def test_the_second_build_solves_what_the_first_was_given_and_caches_are_imported_in_both() -> None:
    gateway, cache, located = Gateway(), FrontendCache(), []
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
        assert [(each.Type, dict(each.Attrs)) for each in request.CacheImports] == [
            ("registry", {"ref": "r/x"})
        ]
