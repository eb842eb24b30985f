"""A build that its client directs: the frontend is asked by the client, not by the engine.

What the frontend made of a Dockerfile is handed to the client as a definition (LLB), so it can be changed:
single steps are run without a network where the frontend is older than `RUN --network` (BuildKit 0.9), while
every BuildKit knows steps without one. And it can be reused (`frontend_cache.py`): the next build of the same
Dockerfile starts with its first step.

The calls are the gateway's (moby/buildkit, frontend/gateway/pb/gateway.proto, `LLBBridge.Solve` and
`Return`). A build with neither a frontend nor a definition is directed by its client
(solver/llbsolver/solver.go, `Solve`). The client's calls name it in their metadata (client/buildid), and it
ends with the result passed to `Return`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from dataclasses import dataclass

from watcher.buildkit.errors import RpcError
from watcher.buildkit.frontend_cache import FrontendCache, FrontendResult
from watcher.buildkit.grpc import Channel
from watcher.buildkit.llb import find_first_lines, redirect_sources, without_network
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
# Seconds for the build to end after its calls were refused; milliseconds are normal.
_REST = 3.0


@dataclass(frozen=True, slots=True)
class Direction:
    """How a build differs from what its frontend would have made of it.

    `markers` name what is read from another context, see `redirect_sources`. `lines` are the first lines of
    the instructions that get no network. Builds with an equal `key`, other than None, reuse the frontend's
    result. `locate` is called before any step of the Dockerfile starts, with the first line of each step's
    instruction: the step's digest -> line.
    """

    lines: Collection[int]
    cache: FrontendCache
    key: Hashable | None
    markers: Mapping[str, str]
    locate: Callable[[Mapping[str, int]], None]


async def solve_directed(channel: Channel, message: bytes, direction: Direction) -> bytes:
    """Build what `message`, a `Control.SolveRequest`, asks for.

    Returns and raises what `Control.Solve` does.
    """
    asked = control_pb2.SolveRequest.FromString(message)
    directed = control_pb2.SolveRequest.FromString(message)
    directed.ClearField("Frontend")
    directed.ClearField("FrontendAttrs")
    solving = asyncio.create_task(channel.unary(SOLVE, directed.SerializeToString()))
    directing = asyncio.create_task(_direct_build(channel, asked, direction))
    try:
        await asyncio.wait((solving, directing), return_when=asyncio.FIRST_COMPLETED)
        if not solving.done() and directing.exception():
            await asyncio.wait((solving,), timeout=_REST)  # the build is gone; its error has the reason
            if not solving.done():
                directing.result()
        return await solving
    except RpcError as error:
        said = directing.result() if directing.done() and not directing.exception() else None
        if said is not None and said.message in error.message:
            raise said from error  # without the engine's prefix
        raise
    finally:
        for task in (solving, directing):
            task.cancel()
        await asyncio.gather(solving, directing, return_exceptions=True)


async def _direct_build(
    channel: Channel, asked: control_pb2.SolveRequest, direction: Direction
) -> RpcError | None:
    """Have the frontend read the Dockerfile, change what it made, and return that as the build's result.

    Returns what the frontend failed with, after ending the build with it.
    """
    build = [(BUILD_ID, asked.Ref)]
    imports = [CacheOptionsEntry(Type=each.Type, Attrs=each.Attrs) for each in asked.Cache.Imports]

    async def bridge(request: SolveRequest) -> Result:
        request.CacheImports.extend(imports)  # ignored in the build request when the client directs the build
        request.allowResultReturn = request.allowResultArrayRef = True
        answer = await channel.unary(f"{_BRIDGE}/Solve", request.SerializeToString(), build)
        return SolveResponse.FromString(answer).result

    try:
        result, failure = await _make_result(bridge, asked, direction), None
        returned = ReturnRequest(result=result)
    except RpcError as error:
        returned, failure = ReturnRequest(error=Status(code=error.code, message=error.message)), error
    await channel.unary(f"{_BRIDGE}/Return", returned.SerializeToString(), build)
    return failure


async def _make_result(
    bridge: Callable[[SolveRequest], Awaitable[Result]],
    asked: control_pb2.SolveRequest,
    direction: Direction,
) -> Result:
    """Return the build's result. Nothing is built by these calls: a result is built when it is used."""
    if known := direction.cache.find(direction.key, asked.Session):
        direction.locate(find_first_lines(known.definition))
        again = await bridge(SolveRequest(Definition=known.definition))
        return Result(ref=Ref(id=again.ref.id), metadata=known.metadata)
    result = await bridge(SolveRequest(Frontend=asked.Frontend, FrontendOpt=asked.FrontendAttrs))
    changed = without_network(result.ref.definition, direction.lines)
    if direction.markers:
        changed = redirect_sources(changed or result.ref.definition, direction.markers) or changed
    made = FrontendResult(changed or result.ref.definition, dict(result.metadata))
    direction.cache.store(direction.key, made)
    direction.locate(find_first_lines(made.definition))
    if changed is not None:
        other = await bridge(SolveRequest(Definition=changed))
        result.ref.CopyFrom(Ref(id=other.ref.id))
    return result
