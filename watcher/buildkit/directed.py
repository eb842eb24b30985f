"""A build that its client directs, so that single steps of a Dockerfile can be run without a network.

Frontends older than BuildKit 0.9 do not know `RUN --network`, but every BuildKit knows steps without one.
What its Dockerfile frontend made is taken back as a definition (LLB), changed and solved in place of it.

The calls are the gateway's (moby/buildkit, frontend/gateway/pb/gateway.proto, `LLBBridge.Solve` and
`Return`). A build with neither a frontend nor a definition is directed by its client
(solver/llbsolver/solver.go, `Solve`), whose calls name it in their metadata (client/buildid), and ends
with what `Return` says.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection

from watcher.buildkit.errors import RpcError
from watcher.buildkit.grpc import Channel
from watcher.buildkit.messages import control_pb2
from watcher.buildkit.messages.gateway_pb2 import (
    Ref,
    Result,
    ReturnRequest,
    SolveRequest,
    SolveResponse,
    Status,
)
from watcher.buildkit.messages.llb_pb2 import NONE, Definition, Op

SOLVE = "/moby.buildkit.v1.Control/Solve"
BUILD_ID = "buildkit-controlapi-buildid"
_BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge"
# Seconds that the build may take to end after its calls were refused; milliseconds are normal.
_REST = 3.0


async def solve(channel: Channel, message: bytes, lines: Collection[int]) -> bytes:
    """Build what `message`, a `Control.SolveRequest`, asks for; the steps of these lines get no network.

    Returns and raises what the call `Control.Solve` does. A line is where an instruction begins.
    """
    asked = control_pb2.SolveRequest.FromString(message)
    directed = control_pb2.SolveRequest.FromString(message)
    directed.ClearField("Frontend")
    directed.ClearField("FrontendAttrs")
    solving = asyncio.create_task(channel.unary(SOLVE, directed.SerializeToString()))
    directing = asyncio.create_task(_direct(channel, asked, lines))
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


async def _direct(
    channel: Channel, asked: control_pb2.SolveRequest, lines: Collection[int]
) -> RpcError | None:
    """Have the frontend read the Dockerfile, change what it made, and return that as the build's result.

    Returns what the frontend failed with, after ending the build with it.
    """
    build = [(BUILD_ID, asked.Ref)]

    async def bridge(request: SolveRequest) -> Result:
        request.allowResultReturn = request.allowResultArrayRef = True
        answer = await channel.unary(f"{_BRIDGE}/Solve", request.SerializeToString(), build)
        return SolveResponse.FromString(answer).result

    try:
        result = await bridge(SolveRequest(Frontend=asked.Frontend, FrontendOpt=asked.FrontendAttrs))
        changed = without_network(result.ref.definition, lines)
        if changed is not None:  # nothing was built yet: a result is built when it is used
            other = await bridge(SolveRequest(Definition=changed))
            result.ref.CopyFrom(Ref(id=other.ref.id))
        returned, failure = ReturnRequest(result=result), None
    except RpcError as error:
        returned, failure = ReturnRequest(error=Status(code=error.code, message=error.message)), error
    await channel.unary(f"{_BRIDGE}/Return", returned.SerializeToString(), build)
    return failure


def without_network(definition: Definition, lines: Collection[int]) -> Definition | None:
    """`definition` with no network for the exec steps of these lines; None if none of them has one.

    Operations name their inputs by the digest of their bytes, and each stands after its inputs
    (moby/buildkit, client/llb/marshal.go): so all that follow a changed one are changed too. The others keep
    their bytes, and all keep what is not read here.
    """
    wanted = {
        digest
        for digest, places in definition.Source.locations.items()
        for place in places.locations
        if any(each.start.line in lines for each in place.ranges)
    }
    renamed: dict[str, str] = {}
    cut = False
    ops: list[bytes] = []
    for data in definition.ops:
        digest, op = digest_of(data), Op.FromString(data)
        touched = False
        for each in op.inputs:
            if each.digest in renamed:
                each.digest = renamed[each.digest]
                touched = True
        if digest in wanted and op.HasField("exec") and op.exec.network != NONE:
            op.exec.network = NONE
            touched = cut = True
        if touched:
            data = op.SerializeToString()  # noqa: PLW2901 - the changed one stands in its place
            renamed[digest] = digest_of(data)
        ops.append(data)
    if not cut:
        return None
    changed = Definition.FromString(definition.SerializeToString())
    changed.ops[:] = ops
    for old, new in renamed.items():
        if old in changed.metadata:
            changed.metadata[new].CopyFrom(changed.metadata[old])
            del changed.metadata[old]
        if old in changed.Source.locations:
            changed.Source.locations[new].CopyFrom(changed.Source.locations[old])
            del changed.Source.locations[old]
    return changed


def digest_of(data: bytes) -> str:
    """The name of an operation."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
