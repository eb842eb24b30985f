"""A build that its client directs: the frontend is asked by the client, not by the engine.

What the frontend made of a Dockerfile is handed to the client as a definition (LLB), so it can be changed:
single steps are run without a network where the frontend is older than `RUN --network` (BuildKit 0.9), while
every BuildKit knows steps without one. And it can be kept: the next build of the same Dockerfile begins with
its first step.

The calls are the gateway's (moby/buildkit, frontend/gateway/pb/gateway.proto, `LLBBridge.Solve` and
`Return`). A build with neither a frontend nor a definition is directed by its client
(solver/llbsolver/solver.go, `Solve`), whose calls name it in their metadata (client/buildid), and ends
with what `Return` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass

from watcher.buildkit.errors import RpcError
from watcher.buildkit.grpc import Channel
from watcher.buildkit.llb import Made, first_lines, for_session, redirected, without_network
from watcher.buildkit.messages import control_pb2
from watcher.buildkit.messages.gateway_pb2 import (
    CacheOptionsEntry,
    Ref,
    Result,
    ReturnRequest,
    SolveRequest,
    SolveResponse,
    Status,
)

SOLVE = "/moby.buildkit.v1.Control/Solve"
BUILD_ID = "buildkit-controlapi-buildid"
_BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge"
# Seconds that the build may take to end after its calls were refused; milliseconds are normal.
_REST = 3.0


@dataclass(slots=True)
class Shelf:
    """Where what a frontend made is kept between builds."""

    made: Made | None = None


@dataclass(frozen=True, slots=True)
class Direction:
    """How a build differs from what its frontend would have made of it.

    `markers` say what is read from another context, see `redirected`. `lines` are where the instructions
    begin whose steps get no network. What was made is kept on `shelf` for builds with an equal `key`; None:
    it is not kept. `locate` is told, before any step of the Dockerfile begins, where the instruction of each
    step begins: the step's digest -> line.
    """

    lines: Collection[int]
    shelf: Shelf
    key: Hashable | None
    markers: Mapping[str, str]
    locate: Callable[[Mapping[str, int]], None]


async def solve(channel: Channel, message: bytes, direction: Direction) -> bytes:
    """Build what `message`, a `Control.SolveRequest`, asks for.

    Returns and raises what `Control.Solve` does.
    """
    asked = control_pb2.SolveRequest.FromString(message)
    directed = control_pb2.SolveRequest.FromString(message)
    directed.ClearField("Frontend")
    directed.ClearField("FrontendAttrs")
    solving = asyncio.create_task(channel.unary(SOLVE, directed.SerializeToString()))
    directing = asyncio.create_task(_direct(channel, asked, direction))
    try:
        await asyncio.wait((solving, directing), return_when=asyncio.FIRST_COMPLETED)
        if not solving.done() and directing.exception():
            await asyncio.wait((solving,), timeout=_REST)  # the build is gone; it says why
            if not solving.done():
                directing.result()
        return await solving
    except RpcError as error:
        said = directing.result() if directing.done() and not directing.exception() else None
        if said is not None and said.message in error.message:
            raise said from error  # without what the engine puts before it
        raise
    finally:
        for task in (solving, directing):
            task.cancel()
        await asyncio.gather(solving, directing, return_exceptions=True)


async def _direct(channel: Channel, asked: control_pb2.SolveRequest, direction: Direction) -> RpcError | None:
    """Have the frontend read the Dockerfile, change what it made, and return that as the build's result.

    Returns what the frontend failed with, after ending the build with it.
    """
    build = [(BUILD_ID, asked.Ref)]
    imports = [CacheOptionsEntry(Type=each.Type, Attrs=each.Attrs) for each in asked.Cache.Imports]

    async def bridge(request: SolveRequest) -> Result:
        request.CacheImports.extend(imports)  # those of a build that its client directs are not looked at
        request.allowResultReturn = request.allowResultArrayRef = True
        answer = await channel.unary(f"{_BRIDGE}/Solve", request.SerializeToString(), build)
        return SolveResponse.FromString(answer).result

    # Nothing is built by these calls: a result is built when it is used.
    try:
        kept = direction.shelf.made
        if kept is not None and kept.key == direction.key:
            again = for_session(kept.definition, asked.Session)
            direction.locate(first_lines(again))
            result = await bridge(SolveRequest(Definition=again))
            result = Result(ref=Ref(id=result.ref.id), metadata=kept.metadata)
        else:
            result = await bridge(SolveRequest(Frontend=asked.Frontend, FrontendOpt=asked.FrontendAttrs))
            changed = without_network(result.ref.definition, direction.lines)
            if direction.markers:
                changed = redirected(changed or result.ref.definition, direction.markers) or changed
            made = Made(direction.key, changed or result.ref.definition, dict(result.metadata))
            if direction.key is not None:
                direction.shelf.made = made if made.lasts else None
            direction.locate(first_lines(made.definition))
            if changed is not None:
                other = await bridge(SolveRequest(Definition=changed))
                result.ref.CopyFrom(Ref(id=other.ref.id))
        returned, failure = ReturnRequest(result=result), None
    except RpcError as error:
        returned, failure = ReturnRequest(error=Status(code=error.code, message=error.message)), error
    await channel.unary(f"{_BRIDGE}/Return", returned.SerializeToString(), build)
    return failure
