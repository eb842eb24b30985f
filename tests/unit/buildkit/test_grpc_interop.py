"""Our gRPC understands the reference implementation, on either side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from watcher.buildkit.bytestream import SocketStream
from watcher.buildkit.errors import RpcError
from watcher.buildkit.grpc import Channel, Server, ServerCall, answer_unary, frame_message
from watcher.buildkit.http2 import Http2Connection

LARGE = bytes(range(256)) * 12_000


class Reference(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """A server of the reference implementation: echo as a stream, reverse as a unary call, an error."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        def echo(requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
            yield from requests

        def reverse(request: bytes, context: grpc.ServicerContext) -> bytes:
            if request == b"bad":
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "100 % bad: é")
            return request[::-1]

        if details.method == "/t.T/Echo":
            return grpc.stream_stream_rpc_method_handler(echo)
        return grpc.unary_unary_rpc_method_handler(reverse) if details.method == "/t.T/Reverse" else None


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "reference"
    server = grpc.server(ThreadPoolExecutor(4), handlers=(Reference(),))
    server.add_insecure_port(f"unix:{path}")
    server.start()
    yield path
    server.stop(None).wait()


@pytest.fixture
async def channel(reference: Path) -> AsyncIterator[Channel]:
    connection = Http2Connection(
        SocketStream(*await asyncio.open_unix_connection(reference)), peer="reference"
    )
    connection.start()
    yield Channel(connection, "localhost")
    await connection.close()


async def test_our_client_makes_unary_calls_of_any_size(channel: Channel):
    for request in (b"", b"abc", LARGE):
        assert await channel.unary("/t.T/Reverse", request) == request[::-1]


async def test_our_client_reads_errors(channel: Channel):
    with pytest.raises(RpcError) as caught:
        await channel.unary("/t.T/Reverse", b"bad")
    assert (caught.value.code, caught.value.message) == (9, "100 % bad: é")
    with pytest.raises(RpcError) as caught:
        await channel.unary("/t.T/Nothing", b"")
    assert caught.value.code == 12


async def test_our_client_streams_in_both_directions(channel: Channel):
    sent = [LARGE[:size] for size in (0, 1, 20_000, 2_000_000, 5)] * 3
    received: list[bytes] = []
    with channel.open("/t.T/Echo") as call:

        async def take() -> None:
            while batch := await call.receive():
                received.extend(batch)

        taking = asyncio.create_task(take())
        await call.send(b"".join(map(frame_message, sent)))
        call.end()
        await taking
    assert received == sent


async def echo(call: ServerCall) -> None:
    assert call.metadata["k"] == ["a", "b"]
    while batch := await call.receive():
        await call.send(b"".join(map(frame_message, batch)))


async def reverse(request: bytes) -> bytes:
    if request == b"bad":
        raise RpcError(9, "100 % bad: é")
    return request[::-1]


async def test_our_server_serves_the_reference_client(tmp_path: Path):
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers = {"/t.T/Echo": echo, "/t.T/Reverse": answer_unary(reverse)}
        await Server(handlers, peer="reference").serve(SocketStream(reader, writer))

    sent = [LARGE[:size] for size in (0, 1, 20_000, 2_000_000, 5)] * 3

    def use() -> None:
        with grpc.insecure_channel(f"unix:{tmp_path}/ours") as channel:
            assert channel.unary_unary("/t.T/Reverse")(LARGE) == LARGE[::-1]
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/t.T/Reverse")(b"bad")
            assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
            assert caught.value.details() == "100 % bad: é"
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/t.T/Nothing")(b"")
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
            stream = channel.stream_stream("/t.T/Echo")(iter(sent), metadata=(("k", "a"), ("k", "b")))
            assert list(stream) == sent

    async with await asyncio.start_unix_server(accept, tmp_path / "ours"):
        await asyncio.to_thread(use)
