"""What is not HTTP/1.1, or stops being it: passed through unread."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tests.unit.front.support import PATIENCE, Peer, fronted, get, ok, origin, says, true
from watcher.front import Backend, FrontLimits, FrontTimes
from watcher.observers.events import FrontExchange, FrontOld, FrontRefused

UPGRADE = get("/ws", "Connection: keep-alive, Upgrade", "Upgrade: echo")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"GET / HTTP/1.1\r\n\r\n" * 5
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


async def echo(peer: Peer) -> None:
    """Sends back what it gets; ends its half when the other has ended."""
    while data := await peer.reader.read(65536):
        await peer.send(data)
    peer.end()


async def test_a_websocket_works_and_survives_a_switch() -> None:
    async def handler(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with (
        serve(handler, "127.0.0.1", 0) as server,
        origin(says("new"), "b" * 64) as new,
        fronted() as it,
    ):
        backend = Backend("127.0.0.1", next(iter(server.sockets)).getsockname()[1], "a" * 64)
        it.front.switch(backend)
        url = f"ws://127.0.0.1:{it.front.addresses[0].port}/chat"
        async with connect(url, proxy=None, open_timeout=PATIENCE) as client:
            await client.send("one")
            assert await client.recv() == "one"
            it.front.switch(new.backend)
            await (await it.connect()).ask(get(), ok("new"))
            big = b"\xff" * 500_000
            await client.send(big)
            assert await client.recv() == big
            await (await client.ping())
        report = await it.front.drain(backend, PATIENCE)
        assert report.cut == 0
        assert 101 in [event.code for event in it.told(FrontExchange)]


async def test_bytes_that_come_with_an_upgrade_follow_it_raw() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(UPGRADE + b"\x81\x05early")
        server = await app.peer()
        await server.expect(UPGRADE)
        await server.send(SWITCHED + b"\x00first")
        await client.expect(SWITCHED + b"\x00first")
        await server.expect(b"\x81\x05early")
        await client.send(b"GET / HTTP/1.1\n\0not http")
        await server.expect(b"GET / HTTP/1.1\n\0not http")


async def test_a_refused_upgrade_leaves_an_ordinary_connection() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(UPGRADE + get("/next"))
        server = await app.peer()
        await server.expect(UPGRADE)
        await server.send(ok("no"))
        await server.expect(get("/next"))
        await server.send(ok("next"))
        await client.expect(ok("no") + ok("next"))


async def test_connect_opens_a_tunnel() -> None:
    request = b"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n"
    answer = b"HTTP/1.1 200 Connection established\r\n\r\n"
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(request)
        server = await app.peer()
        await server.expect(request)
        await server.send(answer)
        await client.expect(answer)
        await client.send(b"\0\1\2")
        await server.expect(b"\0\1\2")
        await server.send(b"\3\4")
        await client.expect(b"\3\4")
        client.end()
        assert await server.rest() == b""
        await server.close()
        assert await client.rest() == b""
        await true(lambda: [event.code for event in it.told(FrontExchange)] == [200])


async def test_a_refused_connect_leaves_an_ordinary_connection() -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(b"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n")
        server = await app.peer()
        await server.head()
        await server.send(refusal)
        await client.expect(refusal)
        await client.send(get())
        await server.expect(get())


@pytest.mark.parametrize("hello", [CLIENT_HELLO, H2_PREFACE], ids=["TLS", "HTTP/2"])
@pytest.mark.parametrize("step", [1, 1000])
async def test_tls_and_http_2_pass_through_unread(hello: bytes, step: int) -> None:
    async with origin(echo) as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        for at in range(0, len(hello), step):
            await client.send(hello[at : at + step])
            await asyncio.sleep(0)
        await client.expect(hello)
        client.end()
        assert await client.rest() == b""
        await true(lambda: [event.code for event in it.told(FrontExchange)] == [0])


async def test_tls_is_held_like_a_request() -> None:
    async with origin(echo) as app, fronted() as it:
        client = await it.connect()
        await client.send(CLIENT_HELLO)
        await true(lambda: it.front.stats.held == 1)
        await client.send(b"more")
        client.end()
        await true(lambda: it.front.stats.held_bytes == len(CLIENT_HELLO) + 4)
        it.front.switch(app.backend)
        assert await client.rest() == CLIENT_HELLO + b"more"


async def test_a_raw_connection_that_waits_too_long_is_closed() -> None:
    async with fronted(FrontLimits(hold_seconds=0.05), protocol="tcp") as it:
        client = await it.connect()
        await client.send(b"hello")
        assert await client.rest() == b""
        assert [(event.reason, event.code) for event in it.told(FrontRefused)] == [("timeout", 0)]


async def test_the_http_2_preface_after_a_request_is_refused() -> None:
    async with origin(says("x")) as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.ask(get(), ok("x"))
        await client.send(H2_PREFACE)
        assert (await client.rest()).startswith(b"HTTP/1.1 505 ")
        assert bytes(app.seen[0]) == get()


async def test_raw_tcp_passes_both_ways_and_the_server_may_speak_first() -> None:
    async def greet(peer: Peer) -> None:
        await peer.send(b"220 hello\r\n")
        await echo(peer)

    async with origin(greet) as app, fronted(protocol="tcp") as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.expect(b"220 hello\r\n")
        await client.ask(b"\0\xff\n", b"\0\xff\n")


async def test_raw_connections_go_to_the_backend_of_their_beginning() -> None:
    async with origin(echo) as old, origin(echo) as new, fronted(protocol="tcp") as it:
        it.front.switch(old.backend)
        first = await it.connect()
        await first.ask(b"1", b"1")
        it.front.switch(new.backend)
        second = await it.connect()
        await second.ask(b"2", b"2")
        await first.ask(b"3", b"3")
        assert [bytes(seen) for seen in old.seen + new.seen] == [b"13", b"2"]


async def test_a_raw_backend_that_accepts_and_closes_is_waited_for() -> None:
    left = 3

    async def handler(peer: Peer) -> None:
        nonlocal left
        if left:
            left -= 1
            return await peer.close()
        await peer.send(b"220 hello\r\n")
        return await echo(peer)

    async with origin(handler) as app, fronted(protocol="tcp") as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.expect(b"220 hello\r\n")
        assert left == 0
        assert it.told(FrontRefused) == []


async def test_a_client_that_only_connects_and_leaves_casts_no_doubt_on_the_backend() -> None:
    async with origin(echo) as app, fronted(protocol="tcp") as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await app.peer()
        client.end()
        assert await client.rest() == b""
        await true(lambda: it.front.stats.connections == 0)
        assert len(app.peers) == 1


async def test_either_side_of_a_tunnel_may_end_its_half_first() -> None:
    async with origin() as app, fronted(protocol="tcp") as it:
        it.front.switch(app.backend)
        for first in ("client", "server"):
            client = await it.connect()
            server = await app.peer(len(it.peers) - 1)
            early, late = (client, server) if first == "client" else (server, client)
            await early.send(b"question")
            early.end()
            assert await late.rest() == b"question"
            await late.send(b"answer" * 50_000)
            late.end()
            assert await early.rest() == b"answer" * 50_000
        await true(lambda: it.front.stats.connections == 0)
        assert len(it.told(FrontExchange)) == 2


async def test_a_client_that_breaks_off_breaks_the_tunnel() -> None:
    async with origin() as app, fronted(protocol="tcp") as it:
        it.front.switch(app.backend)
        client = await it.connect()
        server = await app.peer()
        client.drop()
        assert await server.rest() == b""


async def test_a_backend_that_resets_a_tunnel_resets_its_client() -> None:
    async with origin() as app, fronted(protocol="tcp") as it:
        it.front.switch(app.backend)
        client = await it.connect()
        server = await app.peer()
        await client.send(b"x")
        await true(lambda: bool(app.seen[0]))
        server.drop()
        with pytest.raises(ConnectionResetError):
            await client.rest()


HASTY = FrontTimes(quiet=0.1, old_check=0.01)


async def test_a_quiet_tls_connection_is_closed_after_a_switch() -> None:
    async with origin(echo) as old, origin(echo) as new, fronted(times=HASTY) as it:
        it.front.switch(old.backend)
        client = await it.connect()
        await client.ask(CLIENT_HELLO, CLIENT_HELLO)
        it.front.switch(new.backend)
        await true(lambda: [event.connections for event in it.told(FrontOld)] == [0, 1])
        assert await client.rest() == b""
        await true(lambda: [event.connections for event in it.told(FrontOld)] == [0, 1, 0])
        assert (await it.front.drain(old.backend, 0)).cut == 0


async def test_a_tls_connection_that_waits_for_the_app_or_moves_is_not_closed() -> None:
    async with origin() as old, fronted(times=HASTY) as it:
        it.front.switch(old.backend)
        waiting, moving = await it.connect(), await it.connect()
        await waiting.send(CLIENT_HELLO)
        asked = await old.peer(0)
        await asked.expect(CLIENT_HELLO)
        await moving.send(CLIENT_HELLO)
        mover = await old.peer(1)
        await mover.expect(CLIENT_HELLO)
        it.front.switch(None)
        for _ in range(15):
            await mover.send(b"\x17x")
            await moving.expect(b"\x17x")
            await asyncio.sleep(0.02)
        await asked.send(b"late")
        await waiting.expect(b"late")
        assert it.told(FrontOld)[-1].connections == 2


async def test_what_only_the_app_can_end_is_left_open_by_a_drain() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(CLIENT_HELLO)
        server = await app.peer()
        await server.expect(CLIENT_HELLO)
        it.front.switch(None)
        report = await it.front.drain(app.backend, 0)
        assert (report.cut, report.left) == (0, 1)
        await server.send(b"goodbye")
        await server.close()
        assert await client.rest() == b"goodbye"
        assert await it.front.cut(app.backend) == 0
        assert it.front.stats.active == {}
