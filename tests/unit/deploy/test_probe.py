"""One try at a port of loopback: what counts as an answer, and what is said of the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.loopback import serve_on_loopback
from watcher.deploy import probe


@asynccontextmanager
async def program(said: bytes, *, ends: bool = True, asked: list[bytes] | None = None) -> AsyncGenerator[int]:
    """A program that reads a head, says something, and closes the connection if it `ends`; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.read(4096)
        if asked is not None:
            asked.append(head)
        writer.write(said)
        if not ends:
            await reader.read()

    async with serve_on_loopback(serve) as port:
        yield port


def answer(status: int) -> bytes:
    return b"HTTP/1.1 %d OK\r\nContent-Length: 2\r\n\r\nok" % status


@pytest.mark.parametrize(
    ("path", "status", "ready"),
    [("/up", 200, True), ("/up", 399, True), ("/up", 400, False), ("/up", 503, False), (None, 503, True)],
)
async def test_with_a_path_an_answer_must_be_good_and_without_one_any_will_do(
    path: str | None, status: int, ready: bool
) -> None:
    asked: list[bytes] = []
    async with program(answer(status), asked=asked) as port:
        found = await probe.probe_http("127.0.0.1", port, path)
    assert found.ready is ready
    assert str(status) in found.text
    assert (path or "/") in found.text
    assert asked[0].startswith(f"GET {path or '/'} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(("path", "ready"), [(None, True), ("/up", True)])
async def test_what_speaks_another_protocol_has_status_0(path: str | None, ready: bool) -> None:
    async with program(b"220 mail.test ESMTP\r\n", ends=False) as port:
        found = await probe.probe_http("127.0.0.1", port, path)
    assert found.ready is ready
    assert found.text.endswith(" 0")


async def test_a_body_without_an_end_is_not_waited_for() -> None:
    async with program(b"HTTP/1.1 200 OK\r\n\r\nlog: 1\n", ends=False) as port:
        async with asyncio.timeout(probe.TRY):
            found = await probe.probe_http("127.0.0.1", port, "/log")
    assert found.ready
    assert "200" in found.text


async def test_a_connection_that_is_closed_without_an_answer_is_not_ready() -> None:
    async with program(b"") as port:
        found = await probe.probe_http("127.0.0.1", port, "/up")
    assert not found.ready
    assert "closed" in found.text


async def test_a_server_that_knows_only_http_2_is_ready_if_no_path_is_asked() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.read(4096)).startswith(b"PRI * HTTP/2.0"):
            writer.write(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))

    async with serve_on_loopback(serve) as port:
        found = await probe.probe_http("127.0.0.1", port, None)
        assert (found.ready, found.text) == (True, "HTTP/2")
        assert not (await probe.probe_http("127.0.0.1", port, "/up")).ready


async def test_a_port_that_nobody_listens_on_is_not_ready_and_the_system_says_why() -> None:
    for found in (await probe.probe_http("127.0.0.1", 1, "/"), await probe.probe_tcp("127.0.0.1", 1)):
        assert not found.ready
        assert "1" in found.text


@pytest.mark.parametrize(
    ("said", "ends", "ready"), [(b"", False, True), (b"220 hello", True, True), (b"", True, False)]
)
async def test_a_raw_port_is_ready_if_the_connection_stays_or_it_speaks(
    said: bytes, ends: bool, ready: bool
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        if not ends:
            await reader.read()  # until the one who asks has gone

    async with serve_on_loopback(serve) as port:
        found = await probe.probe_tcp("127.0.0.1", port)
    assert found.ready is ready
    assert ("closed" in found.text) is not ready
