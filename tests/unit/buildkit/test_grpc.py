"""gRPC over HTTP/2: what is sent arrives, flow control holds, failures are told apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.buildkit.pipes import MemoryStream, pipe, whole
from watcher.buildkit.errors import ConnectError, ProtocolError, RpcError, SolveFailed
from watcher.buildkit.grpc import Channel, Handler, Server, ServerCall, answer_unary, frame_message
from watcher.buildkit.http2 import Http2Connection


async def echo(call: ServerCall) -> None:
    while batch := await call.receive():
        await call.send(b"".join(map(frame_message, batch)))


async def reverse(request: bytes) -> bytes:
    return request[::-1]


async def refuse(request: bytes) -> bytes:
    raise RpcError(5, request.decode())


async def stumble(request: bytes) -> bytes:
    raise KeyError(request.decode())


HANDLERS: Mapping[str, Handler] = {
    "/t.T/Echo": echo,
    "/t.T/Reverse": answer_unary(reverse),
    "/t.T/Refuse": answer_unary(refuse),
    "/t.T/Stumble": answer_unary(stumble),
}


@asynccontextmanager
async def served(
    handlers: Mapping[str, Handler] = HANDLERS,
    split: Callable[[bytes], Iterable[bytes]] = whole,
    limit: int = 1 << 30,
) -> AsyncIterator[tuple[Channel, Http2Connection, MemoryStream]]:
    near, far = pipe(split, limit)
    server = asyncio.create_task(Server(handlers, peer="the client").serve(far))
    connection = Http2Connection(near, peer="the server")
    connection.start()
    try:
        yield Channel(connection, "localhost"), connection, near
    finally:
        await connection.close()
        await server


async def receive_all(call: object) -> list[bytes]:
    messages: list[bytes] = []
    while batch := await call.receive():  # type: ignore[attr-defined]
        messages += batch
    return messages


def cut_at(sizes: list[int]) -> Callable[[bytes], Iterable[bytes]]:
    """Cut everything that passes into pieces of these sizes, over and over."""

    def split(data: bytes) -> Iterable[bytes]:
        at = index = 0
        while at < len(data):
            size = sizes[index % len(sizes)]
            yield data[at : at + size]
            at += size
            index += 1

    return split


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(
        st.lists(st.binary(max_size=40) | st.binary(min_size=40_000, max_size=70_000), max_size=4), max_size=5
    ),
    sizes=st.lists(st.integers(1, 30) | st.integers(1000, 100_000), min_size=1, max_size=6),
)
@pytest.mark.thorough
def test_messages_arrive_whole_and_in_order_however_the_bytes_are_cut(
    batches: list[list[bytes]], sizes: list[int]
):
    async def run() -> None:
        async with served(split=cut_at(sizes)) as (channel, _, _):
            with channel.open("/t.T/Echo") as call:
                reading = asyncio.create_task(receive_all(call))
                for batch in batches:
                    await call.send(b"".join(map(frame_message, batch)))
                call.end()
                assert await reading == [message for batch in batches for message in batch]

    asyncio.run(run())


async def test_many_messages_leave_in_few_large_frames():
    async with served() as (channel, _, near):
        stats = b"".join(frame_message(b"x" * 60) for _ in range(28_000))
        with channel.open("/t.T/Echo") as call:
            near.writes.clear()
            reading = asyncio.create_task(receive_all(call))
            await call.send(stats)
            call.end()
            assert len(await reading) == 28_000
        assert len(near.writes) < len(stats) / 16_384


async def test_a_sender_waits_while_nobody_takes_what_it_sends():
    taken: list[int] = []
    go_on = asyncio.Event()

    async def slow(call: ServerCall) -> None:
        await go_on.wait()
        while batch := await call.receive():
            taken.append(sum(map(len, batch)))

    async with served({"/t.T/Slow": slow}) as (channel, _, near):
        with channel.open("/t.T/Slow") as call:
            sending = asyncio.create_task(call.send(frame_message(bytes(20_000_000))))
            # All else has come to rest when a call on the same connection has gone back and forth.
            with pytest.raises(RpcError):
                await channel.unary("/t.T/Nothing", b"")
            done, _ = await asyncio.wait([sending], timeout=0.05)
            assert not done
            assert sum(near.writes) < 4_200_000
            go_on.set()
            await sending
            call.end()
            assert await receive_all(call) == []
        assert taken == [20_000_000]


async def test_a_slow_transport_keeps_little_in_memory():
    async with served(limit=1000, split=cut_at([500])) as (channel, connection, _):
        sizes: list[int] = []
        with channel.open("/t.T/Echo") as call:
            reading = asyncio.create_task(receive_all(call))
            sending = asyncio.create_task(call.send(frame_message(bytes(8_000_000))))
            while not sending.done():
                sizes.append(connection._unsent)
                await asyncio.sleep(0)
            call.end()
            assert [len(message) for message in await reading] == [8_000_000]
        assert max(sizes) <= 2 * 1024 * 1024 + 16_384


async def test_many_calls_at_once_get_their_own_answers():
    async with served() as (channel, _, _):
        requests = [str(number).encode() * 1000 for number in range(80)]
        answers = await asyncio.gather(*(channel.unary("/t.T/Reverse", each) for each in requests))
        assert answers == [each[::-1] for each in requests]


@pytest.mark.parametrize("text", ["no such thing", "100 % of é\n\tlines", "", "%41"])
async def test_an_error_brings_its_code_and_its_text(text: str):
    async with served() as (channel, _, _):
        with pytest.raises(RpcError) as caught:
            await channel.unary("/t.T/Refuse", text.encode())
        assert (caught.value.code, caught.value.message) == (5, text)


async def test_what_a_handler_stumbles_over_is_told_to_the_caller():
    async with served() as (channel, _, _):
        with pytest.raises(RpcError, match="KeyError") as caught:
            await channel.unary("/t.T/Stumble", b"x")
        assert caught.value.code == 13


async def test_a_method_that_is_not_served_is_unimplemented():
    async with served() as (channel, _, _):
        with pytest.raises(RpcError, match="T/Nothing is not served") as caught:
            await channel.unary("/t.T/Nothing", b"")
        assert caught.value.code == 12


async def test_a_unary_call_without_a_message_is_refused():
    async with served() as (channel, _, _):
        with channel.open("/t.T/Reverse") as call:
            call.end()
            with pytest.raises(RpcError, match="came with 0"):
                await call.receive()


async def test_metadata_arrives_with_repeated_keys_and_any_utf8():
    seen: list[Mapping[str, object]] = []

    async def note(call: ServerCall) -> None:
        seen.append(call.metadata)

    async with served({"/t.T/Note": note}) as (channel, _, _):
        with channel.open("/t.T/Note", [("k", "a"), ("k", "é")]) as call:
            call.end()
            assert await call.receive() == []
    assert seen[0]["k"] == ["a", "é"]


async def test_cancelling_a_unary_call_reaches_the_server_at_once():
    started, ended = asyncio.Event(), asyncio.Event()

    async def wait_for_more(call: ServerCall) -> None:
        started.set()
        try:
            await call.receive()
            await call.receive()
        except ProtocolError:
            ended.set()
            raise

    async with served({"/t.T/Wait": wait_for_more}) as (channel, connection, _):
        with channel.open("/t.T/Wait") as call:
            waiting = asyncio.create_task(call.receive())
            await started.wait()
            waiting.cancel()
            await asyncio.wait([waiting])
        await ended.wait()
        assert not connection._streams
        with pytest.raises(RpcError):
            await channel.unary("/t.T/Nothing", b"")


async def test_finished_calls_leave_nothing_behind():
    async with served() as (channel, connection, _):
        for _ in range(20):
            await channel.unary("/t.T/Reverse", b"x")
        assert not connection._streams


async def test_a_lost_connection_ends_every_call_with_a_connect_error():
    async with served() as (channel, connection, near):
        with channel.open("/t.T/Echo") as one, channel.open("/t.T/Echo") as other:
            waiting = [asyncio.create_task(call.receive()) for call in (one, other)]
            await channel.unary("/t.T/Reverse", b"x")
            await near.tear()
            errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in errors] == [ConnectError, ConnectError]
        assert "the pipe was broken" in str(errors[0])
        with pytest.raises(ConnectError):
            await channel.unary("/t.T/Reverse", b"x")
        assert isinstance(connection.failure, ConnectError)


async def test_closing_ends_handlers_that_still_run():
    cancelled = asyncio.Event()
    started = asyncio.Event()

    async def forever(call: ServerCall) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with served({"/t.T/Forever": forever}) as (channel, _, _):
        with channel.open("/t.T/Forever"):
            await started.wait()
    assert cancelled.is_set()


@asynccontextmanager
async def scripted(answer: Callable[[H2Connection, int], None]) -> AsyncIterator[Channel]:
    """A peer that answers each request with whatever `answer` does to its HTTP/2 connection."""
    near, far = pipe()
    h2 = H2Connection(H2Configuration(client_side=False, validate_outbound_headers=False))

    async def serve() -> None:
        h2.initiate_connection()
        await far.write(h2.data_to_send())
        while data := await far.read():
            for event in h2.receive_data(data):
                if isinstance(event, RequestReceived):
                    number = event.stream_id
                elif isinstance(event, StreamEnded):
                    answer(h2, number)
            await far.write(h2.data_to_send())

    server = asyncio.create_task(serve())
    connection = Http2Connection(near, peer="the peer")
    connection.start()
    try:
        yield Channel(connection, "localhost")
    finally:
        await connection.close()
        await asyncio.wait([server])


RESPONSE = [(":status", "200"), ("content-type", "application/grpc")]


async def test_an_error_may_come_in_the_headers_alone():
    def answer(h2: H2Connection, number: int) -> None:
        h2.send_headers(number, [*RESPONSE, ("grpc-status", "14"), ("grpc-message", "busy")], end_stream=True)

    async with scripted(answer) as channel:
        with pytest.raises(RpcError, match="busy"):
            await channel.unary("/t.T/X", b"")


async def test_an_answer_that_is_not_grpc_is_named_by_its_http_status():
    def answer(h2: H2Connection, number: int) -> None:
        h2.send_headers(number, [(":status", "404")], end_stream=True)

    async with scripted(answer) as channel:
        with pytest.raises(RpcError, match="HTTP status 404"):
            await channel.unary("/t.T/X", b"")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\1\0\0\0\1x", "compressed"),
        (b"\0\0\0\0\5x", "ended within a message"),
        (b"\0\0\0", "within"),
        (b"", "0 messages"),
    ],
)
async def test_a_broken_message_is_a_protocol_error(data: bytes, text: str):
    def answer(h2: H2Connection, number: int) -> None:
        h2.send_headers(number, RESPONSE)
        h2.send_data(number, data)
        h2.send_headers(number, [("grpc-status", "0")], end_stream=True)

    async with scripted(answer) as channel:
        with pytest.raises(ProtocolError, match=text):
            await channel.unary("/t.T/X", b"")


async def test_a_reset_is_a_protocol_error():
    async with scripted(lambda h2, number: h2.reset_stream(number, 2)) as channel:
        with pytest.raises(ProtocolError, match="reset with HTTP/2 error 2"):
            await channel.unary("/t.T/X", b"")


async def test_a_goaway_is_a_lost_connection():
    async with scripted(lambda h2, _: h2.close_connection(11)) as channel:
        with pytest.raises(ConnectError, match="error 11"):
            await channel.unary("/t.T/X", b"")


async def test_bytes_that_are_no_http2_are_a_protocol_error():
    near, far = pipe()
    connection = Http2Connection(near, peer="the peer")
    connection.start()
    # A DATA frame for stream 0, which has none.
    await far.write(bytes(9))
    with pytest.raises(ProtocolError):
        await connection.wait_greeted()
    await connection.wait_closed()
    assert isinstance(connection.failure, ProtocolError)
    await connection.close()


def test_an_error_reads_as_its_message_or_as_its_number_without_one():
    assert [str(RpcError(5, "no such image")), str(RpcError(14, ""))] == ["no such image", "gRPC status 14"]
    failed = [SolveFailed("exit code: 1"), SolveFailed("exit code: 1", step="[2/3] RUN x")]
    assert [str(each) for each in failed] == ["exit code: 1", "[2/3] RUN x: exit code: 1"]
