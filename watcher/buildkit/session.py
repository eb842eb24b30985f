"""A BuildKit session: the requests that the engine can make of its client while it builds.

`Control.Session` (moby/buildkit, api/services/control/control.proto) is a call with messages that carry the
bytes of one more HTTP/2 connection; on that one the engine is the client and this is the server. Engines
that speak HTTP/1 take that connection as one of its own, too (`POST /session`), which saves both sides one of
two layers of HTTP/2.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from watcher.buildkit.bytestream import ByteStream
from watcher.buildkit.errors import BuildkitError, ConnectError, RpcError
from watcher.buildkit.grpc import (
    NOT_FOUND,
    Call,
    Channel,
    Handler,
    Metadata,
    Server,
    ServerCall,
    answer_unary,
    frame_message,
)
from watcher.buildkit.messages.auth_pb2 import CredentialsRequest, CredentialsResponse
from watcher.buildkit.messages.control_pb2 import BytesMessage
from watcher.buildkit.messages.health_pb2 import HealthCheckResponse
from watcher.buildkit.messages.secrets_pb2 import GetSecretRequest, GetSecretResponse
from watcher.system.regular_file import read_regular

_SESSION = "/moby.buildkit.v1.Control/Session"
_HEALTH = "/grpc.health.v1.Health/Check"
_CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
_GET_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"  # noqa: S105 - the name of a method

_FILE_SEND = "/moby.filesync.v1.FileSend/DiffCopy"

# Bytes in one message of the tunnel; far below the 4 MiB that a gRPC server takes by default.
_LARGEST_SECRET = 512 * 1024  # as buildx has it (moby/buildkit, session/secrets/secretsprovider)
_LARGEST_MESSAGE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to log in to a registry. An identity token is a `secret` with an empty `username`."""

    username: str
    secret: str = field(repr=False)


CredentialsFor = Callable[[str], Credentials | None]
"""Gives the credentials for a registry's host name; called in a worker thread. `None`: go there anonymously.
"""


SessionDialer = Callable[[Metadata], Awaitable[ByteStream]]
"""Opens a connection for one session, given its headers. Raises `ConnectError` or `OSError`."""


class Session:
    """One session of one build, identified by `id`."""

    def __init__(self, shared_key: str, handlers: Mapping[str, Handler]) -> None:
        """Serve `handlers` and health checks. What the engine keeps of contexts it keeps per `shared_key`."""
        self.id = secrets.token_hex(16)
        # It becomes a header, which takes printable ASCII only.
        self._shared_key = quote(shared_key)
        self._handlers = {_HEALTH: answer_unary(_serve_on), **handlers}

    async def run(self, channel: Channel, dial: SessionDialer | None) -> None:
        """Serve until cancelled, or until the engine ends the session.

        `dial` opens a connection for the session alone, if available; if it fails, and
        otherwise, the session uses the channel. Raises `ConnectError` or `RpcError` if that fails
        too.
        """
        metadata = [
            ("x-docker-expose-session-uuid", self.id),
            ("x-docker-expose-session-name", ""),
            ("x-docker-expose-session-sharedkey", self._shared_key),
            *(("x-docker-expose-session-grpc-method", method) for method in self._handlers),
        ]
        server = Server(self._handlers, peer="the engine")
        if dial is not None:
            try:
                stream = await dial(metadata)
            except (ConnectError, OSError):
                # A proxy before the engine's socket can allow one and not the other.
                dial = None
            else:
                await server.serve(stream)
        if dial is None:
            with channel.open(_SESSION, metadata) as call:
                await server.serve(_Tunnel(call))


class _Tunnel:
    """The byte stream in a session call."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def read(self) -> bytes:
        """Return the next bytes from the engine; empty when it has ended the session."""
        messages = await self._call.receive()
        return b"".join(BytesMessage.FromString(message).data for message in messages)

    async def write(self, data: bytes) -> None:
        """Send bytes in as few messages as possible."""
        parts = (data[at : at + _LARGEST_MESSAGE] for at in range(0, len(data), _LARGEST_MESSAGE))
        await self._call.send(
            b"".join(frame_message(BytesMessage(data=part).SerializeToString()) for part in parts)
        )

    async def close(self) -> None:
        """End the sending direction. The task that opened the call ends it."""
        try:
            self._call.end()
        except BuildkitError:
            return


async def _serve_on(_request: bytes) -> bytes:
    """`grpc.health.v1.Health/Check`: without it the engine drops a session after about ten seconds."""
    return HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()


def registry_logins(credentials: CredentialsFor | None, workers: Executor) -> dict[str, Handler]:
    """Return the handler of `moby.filesync.v1.Auth/Credentials`; empty credentials log in anonymously."""
    loop = asyncio.get_running_loop()

    async def respond(request: bytes) -> bytes:
        host = CredentialsRequest.FromString(request).Host
        found = await loop.run_in_executor(workers, credentials, host) if credentials is not None else None
        if found is None:
            return CredentialsResponse().SerializeToString()
        return CredentialsResponse(Username=found.username, Secret=found.secret).SerializeToString()

    return {_CREDENTIALS: answer_unary(respond)}


def build_secrets(values: Mapping[str, bytes | Path], workers: Executor) -> dict[str, Handler]:
    """Return the handler of `moby.buildkit.secrets.v1.Secrets/GetSecret`; it reads files on request."""
    loop = asyncio.get_running_loop()

    async def respond(request: bytes) -> bytes:
        name = GetSecretRequest.FromString(request).ID
        value = values.get(name)
        if value is None:
            raise RpcError(NOT_FOUND, f"secret {name!r} not found")
        if isinstance(value, Path):
            try:
                data = await loop.run_in_executor(workers, read_regular, value, _LARGEST_SECRET)
            except OSError as error:
                raise RpcError(
                    NOT_FOUND, f"secret {name!r} cannot be read: {value}: {error.strerror}"
                ) from error
        else:
            data = value
        return GetSecretResponse(data=data).SerializeToString()

    return {_GET_SECRET: answer_unary(respond)}


def take_output(
    file: BinaryIO, workers: Executor, on_failure: Callable[[Exception], None]
) -> dict[str, Handler]:
    """Return the handler of `moby.filesync.v1.FileSend/DiffCopy`: writes what an exporter sends into a file.

    (moby/buildkit, session/filesync/diffcopy.go, `writeTargetFile`.) `on_failure` is called if writing fails.
    """
    loop = asyncio.get_running_loop()

    async def handle(call: ServerCall) -> None:
        while batch := await call.receive():
            data = b"".join(BytesMessage.FromString(message).data for message in batch)
            try:
                await loop.run_in_executor(workers, file.write, data)
            except OSError as error:
                on_failure(error)
                raise

    return {_FILE_SEND: handle}
