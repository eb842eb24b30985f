"""The configuration of an image that BuildKit builds on, without building.

The call is the gateway's (moby/buildkit, frontend/gateway/pb/gateway.proto, `LLBBridge.ResolveImageConfig`),
which a build can make while it runs. A build that its client directs (see `gateway`) is started for it, and
cancelled after it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from watcher.buildkit.errors import ProtocolError, RpcError, SolveFailed
from watcher.buildkit.gateway import BUILD_ID, SOLVE
from watcher.buildkit.grpc import Channel
from watcher.buildkit.messages.control_pb2 import SolveRequest
from watcher.buildkit.messages.gateway_pb2 import ResolveImageConfigRequest, ResolveImageConfigResponse
from watcher.buildkit.messages.worker_pb2 import Platform
from watcher.buildkit.session import CredentialsFor, Session, SessionDialer, registry_logins

_RESOLVE = "/moby.buildkit.v1.frontend.LLBBridge/ResolveImageConfig"


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image as BuildKit would take it now: `config` is its OCI image configuration, parsed."""

    digest: str
    config: Mapping[str, Any]


async def resolve_config(
    channel: Channel,
    dial: SessionDialer | None,
    workers: Executor,
    reference: str,
    *,
    platform: str,
    resolve_mode: str,
    credentials: CredentialsFor | None,
) -> ResolvedImage:
    """See `Client.resolve_image`."""
    ref = secrets.token_hex(16)
    session = Session("", registry_logins(credentials, workers))
    begin = SolveRequest(Ref=ref, Session=session.id, Internal=True).SerializeToString()
    ask = ResolveImageConfigRequest(
        Ref=reference, Platform=_parse_platform(platform), ResolveMode=resolve_mode
    ).SerializeToString()
    serving = asyncio.create_task(session.run(channel, dial))
    solving = asyncio.create_task(channel.unary(SOLVE, begin))
    asking = asyncio.create_task(channel.unary(_RESOLVE, ask, [(BUILD_ID, ref)]))
    tasks = (serving, solving, asking)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done() and solving.done():
            solving.result()  # raises the reason for the refusal
        answer = ResolveImageConfigResponse.FromString(await asking)
        config = json.loads(answer.Config)
    except RpcError as error:
        raise SolveFailed(error.message) from error
    except ValueError as error:
        raise ProtocolError(f"the configuration of {reference} is not JSON: {error}") from error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not isinstance(config, dict):
        raise ProtocolError(f"the configuration of {reference} is not an object")
    return ResolvedImage(answer.Digest, config)


def _parse_platform(text: str) -> Platform | None:
    """`linux/arm64/v8` as a message, None for an empty one: the engine's own."""
    if not text:
        return None
    system, _, rest = text.partition("/")
    architecture, _, variant = rest.partition("/")
    return Platform(OS=system, Architecture=architecture, Variant=variant)
