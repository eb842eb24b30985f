"""Requests whose connection breaks: what is repeated, and what must not be."""

from __future__ import annotations

import pytest

from tests.unit.front.support import (
    POST,
    Closing,
    Origin,
    Peer,
    echo_length,
    fronted,
    get,
    ok,
    origin,
    refusals,
    true,
)
from watcher.front import FrontLimits, FrontTimes
from watcher.observers.events import FrontRefused


async def talking(app: Origin) -> Peer:
    """The connection, after the first, that carries something: the others are probes."""
    await true(lambda: any(app.seen[1:]) and len(app.peers) == len(app.seen))
    return next(peer for peer, seen in list(zip(app.peers, app.seen, strict=True))[1:] if seen)


async def test_a_kept_connection_that_the_backend_has_closed_is_replaced_unnoticed() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        for number in range(3):
            await client.send(POST)
            server = await app.peer(number)
            await server.expect(POST)
            await server.send(ok("x"))
            await client.expect(ok("x"))
            await server.close()
        assert len(app.peers) == 3
        assert it.told(FrontRefused) == []


@pytest.mark.parametrize(
    "request_", [get(), POST.replace(b"POST", b"PUT"), get("/", "Connection: upgrade", "Upgrade: x")]
)
async def test_a_request_that_may_be_repeated_is_repeated_on_a_fresh_connection(request_: bytes) -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.ask(b"", b"")
        await client.send(get("/first"))
        server = await app.peer()
        await server.head()
        await server.send(ok("1"))
        await client.expect(ok("1"))
        await client.send(request_)
        await server.expect(request_)
        server.drop()
        second = await talking(app)
        await second.expect(request_)
        await second.send(ok("2"))
        await client.expect(ok("2"))
        assert it.front.stats.retried == 1


async def test_a_request_that_fails_three_times_is_answered_502() -> None:
    async def handler(peer: Peer) -> None:
        await peer.head()
        peer.drop()

    async with origin(handler) as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        assert (await client.rest()).startswith(b"HTTP/1.1 502 ")
        assert sum(bool(seen) for seen in app.seen) == 3
        assert refusals(it.told(FrontRefused)) == [("backend", 502)]


async def test_after_a_broken_exchange_nothing_goes_out_before_the_backend_has_shown_that_it_lives() -> None:
    handler = Closing(0)
    async with origin(handler) as app, fronted() as it:
        it.front.switch(app.backend)
        client, other = await it.connect(), await it.connect()
        await client.ask(get(), ok("x"))
        handler.left = 4  # the container dies, and docker-proxy stays for a moment
        app.peers[0].drop()
        await true(lambda: not it.front.stats.idle)
        await client.send(get())
        await true(lambda: it.front.stats.retried > 0)  # from here on the front knows
        await other.ask(POST, ok("x"))
        await client.expect(ok("x"))
        assert it.told(FrontRefused) == []


async def test_a_request_that_may_have_been_done_is_not_repeated() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(POST)
        server = await app.peer()
        await server.expect(POST)
        server.drop()
        assert (await client.rest()).startswith(b"HTTP/1.1 502 ")
        assert it.front.stats.retried == 0


@pytest.mark.parametrize("before", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 2"])
async def test_a_request_with_a_byte_of_an_answer_is_not_repeated(before: bytes) -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        server = await app.peer()
        await server.head()
        await server.send(before)
        await server.close()
        assert b"HTTP/1.1 502 " in await client.rest()
        assert it.front.stats.retried == 0


async def test_a_large_request_is_not_kept_for_repetition() -> None:
    async with origin() as app, fronted(FrontLimits(replay_bytes=1000)) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 2000\r\n\r\n" + bytes(500))
        server = await app.peer()
        await server.head()
        await server.read(500)
        await client.send(bytes(1500))
        await server.read(1500)
        server.drop()
        assert (await client.rest()).startswith(b"HTTP/1.1 502 ")


async def test_the_rest_of_a_body_follows_a_request_that_is_sent_again() -> None:
    head = b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\n"
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(head + b"abc")
        server = await app.peer()
        await server.expect(head + b"abc")
        server.drop()
        await true(lambda: it.front.stats.retried == 1)
        await client.send(b"def" + get("/next"))
        second = await talking(app)
        await second.expect(head + b"abcdef")
        await second.send(ok("x"))
        await client.expect(ok("x"))
        await second.expect(get("/next"))


async def test_a_post_does_not_go_out_on_a_connection_that_has_been_idle_for_long() -> None:
    async with origin(echo_length) as app, fronted(times=FrontTimes(reuse_idle=0.0)) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        for _ in range(2):
            await client.ask(get(), ok("x"))
        assert len(app.peers) == 1
        await client.ask(POST, ok("x"))
        assert len(app.peers) == 2
