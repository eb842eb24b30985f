"""The limits of an API connection, which hold for everybody who reaches the port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.observers.story import Story
from tests.unit.web.support import Site, site
from watcher.web import connection
from watcher.web.connection import BODY_BYTES, HEAD_BYTES, HEAD_FIELDS, PIPELINED, ConnectionLimits

GOOD = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"


@asynccontextmanager
async def raw(at: Site) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    port = int(at.url.rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer_to(at: Site, *pieces: bytes) -> tuple[int, str]:
    """The answer to what is sent; 0 when the connection is closed without one."""
    async with raw(at) as (reader, writer):
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            text = await reader.read()
        except ConnectionError:
            text = await reader.read() if not reader.exception() else b""
    head, _, body = text.partition(b"\r\n\r\n")
    return (int(head.split()[1]), json.loads(body)["detail"]) if head else (0, "")


async def test_a_request_as_usual_is_answered_and_kept_alive(story: Story) -> None:
    async with site(story) as at, raw(at) as (reader, writer):
        for _ in range(3):
            writer.write(GOOD)
            assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([b"GET / HTTP/1.1\r\nx: " + b"a" * 8192] + [b"a" * 8192] * 6, 431),
        ([b"GET / HTTP/1.1\r\nx: " + b"a" * (HEAD_BYTES + 1) + b"\r\n\r\n"], 431),
        ([b"GET /" + b"a" * (HEAD_BYTES + 1) + b" HTTP/1.1\r\n\r\n"], 431),
        ([b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * (HEAD_FIELDS + 2)], 431),
        (
            [b"POST /api/pause HTTP/1.1\r\nhost: nobody\r\ntransfer-encoding: chunked\r\n\r\nfffff\r\n"]
            + [b"x" * 65536] * 3,
            0,
        ),
        ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], 400),
        ([b"GET / HTTP/1.1\r\n\x00\r\n\r\n"], 400),
    ],
    ids=["endless field", "long field", "long target", "many fields", "endless body", "tls", "no field"],
)
async def test_what_exceeds_a_limit_is_refused(story: Story, pieces: list[bytes], status: int) -> None:
    async with site(story) as at:
        code, detail = await answer_to(at, *pieces)
        assert code in ((status,) if status else (0, 413, 421))
        assert detail or not status
        assert at.desk.asked == []
        assert (await at.client.get("/livez")).text == "ok\n"


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 431)])
async def test_a_head_may_be_as_long_as_the_limit(story: Story, more: int, status: int) -> None:
    taken = len("/livez") + len("hostlocalhost") + 4 + len("x") + 4
    field = b"a" * (HEAD_BYTES - taken + more)
    async with site(story) as at, raw(at) as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: " + field + b"\r\n\r\n")
        assert int((await reader.readline()).split()[1]) == status


async def test_a_body_that_is_too_long_is_refused(story: Story) -> None:
    head = f"POST /api/pause HTTP/1.1\r\nhost: localhost\r\ncontent-length: {2 * BODY_BYTES}\r\n\r\n"
    async with site(story) as at:
        async with raw(at) as (reader, writer):
            writer.write(head.encode())
            writer.write(b"x" * (BODY_BYTES + 1))
            assert await reader.read() is not None  # it is closed, whatever was answered
        assert (await at.client.get("/livez")).text == "ok\n"


async def test_who_pipelines_without_end_is_let_go(story: Story) -> None:
    async with site(story) as at, raw(at) as (reader, writer):
        writer.write(GOOD * (PIPELINED + 50))
        text = await reader.read()  # ends
        assert text.count(b"HTTP/1.1 200") <= PIPELINED + 1  # those that wait, and the one before them
        assert (await at.client.get("/livez")).text == "ok\n"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"POST /api/pause HTTP/1.1\r\ncontent-length: 9\r\n\r\n"])
async def test_who_is_slow_is_let_go(story: Story, sent: bytes) -> None:
    async with site(story, ConnectionLimits(message_seconds=0.05)) as at:
        async with raw(at) as (reader, writer):
            writer.write(sent)
            await reader.read()  # ends
        async with raw(at) as (reader, writer):  # and the second request of a connection
            writer.write(GOOD)
            await reader.readuntil(b"ok\n")
            writer.write(b"GET / HT")
            assert b" 408 " in await reader.read()


async def test_a_stream_outlives_every_limit_of_a_request(story: Story) -> None:
    async with (
        site(story, ConnectionLimits(message_seconds=0.05)) as at,
        at.client.stream("GET", "/api/events") as answer,
    ):
        lines = answer.aiter_lines()
        assert await anext(lines)
        await asyncio.sleep(0.2)
        for event in story.cycle(1).events:
            at.board.notify(event)
        async for line in lines:
            if '"phase":"live"' in line:
                break


async def test_idle_clients_make_way_for_new_ones(story: Story) -> None:
    async with site(story, ConnectionLimits(connections=3)) as at:
        idle = [await asyncio.open_connection("127.0.0.1", at_port(at)) for _ in range(20)]
        async with raw(at) as (reader, writer):
            writer.write(GOOD)
            assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
        for _, writer in idle:
            writer.close()


async def test_with_busy_clients_only_a_new_one_is_refused(story: Story) -> None:
    async with site(story, ConnectionLimits(connections=2)) as at:
        busy = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", at_port(at))
            writer.write(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            busy.append(writer)
        assert (await answer_to(at, b""))[0] == 503
        for writer in busy:
            writer.close()


async def test_who_does_not_read_is_let_go(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, end = asyncio.Event(), connection.Connection.end

    def end_and_tell(it: connection.Connection) -> None:
        end(it)
        ended.set()

    monkeypatch.setattr(connection.Connection, "end", end_and_tell)
    for number in range(4000):
        story.said(f"{number} " + "x" * 2000)
    async with site(story, ConnectionLimits(write_seconds=0.05)) as at, raw(at) as (reader, writer):
        writer.write(b"GET /api/logs?tail=4000 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await asyncio.wait_for(ended.wait(), 60)
        assert len(await reader.read()) < 7_000_000  # not the whole answer


def at_port(at: Site) -> int:
    return int(at.url.rstrip("/").rpartition(":")[2])


@settings(max_examples=8)
@given(st.lists(st.lists(st.binary(max_size=60), max_size=4), min_size=10, max_size=20))
def test_any_bytes_leave_the_api_answering(clients: list[list[bytes]]) -> None:
    async def main() -> None:
        async with site(Story().start()) as at:
            for pieces in clients:
                async with raw(at) as (_, writer):
                    for piece in pieces:
                        writer.write(piece)
            assert (await at.client.get("/livez")).text == "ok\n"

    asyncio.run(main())
