"""Many clients, slow ones, and backends that hang."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import pytest

from tests.facts import missing
from tests.unit.front.support import PATIENCE, Peer, fronted, get, ok, origin, says, true
from watcher.front import Backend, FrontLimits
from watcher.front.gate import ConnectionRequest, Waiter
from watcher.front.upstream import Upstream
from watcher.observers.events import Notice

SIZE = 64 * 1024 * 1024


@pytest.mark.thorough
async def test_a_thousand_clients_at_once_are_all_served() -> None:
    async with origin(says("x")) as app, fronted() as it:
        it.front.switch(app.backend)
        clients = await asyncio.gather(*(it.connect() for _ in range(1000)))
        for _ in range(2):
            await asyncio.gather(*(client.ask(get(), ok("x")) for client in clients))
        assert it.front.stats.connections == 1000
        assert it.front.stats.idle == {app.backend: 1000}
        assert it.front.stats.exchanges == 2000


def link_paused(it: object) -> bool:
    context = it.front._context  # type: ignore[attr-defined]
    pool = [upstream for group in context.pool._groups.values() for upstream in group.upstreams]
    return bool(pool) and not pool[0].transport.is_reading()


async def test_a_request_that_is_dialled_for_goes_to_the_new_backend_when_there_is_one() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        name = full.getsockname()
        full.setblocking(False)
        crowd = [socket.socket() for _ in range(4)]
        for sock in crowd:  # the accept queue is full now: further connections are not even refused
            sock.setblocking(False)
            sock.connect_ex(name)
        async with origin(says("new")) as new, fronted() as it:
            it.front.switch(Backend("127.0.0.1", name[1], "c" * 64))
            client, gone = await it.connect(), await it.connect()
            await client.send(get())
            await gone.send(get())
            context = it.front._context
            assert context is not None
            await true(lambda: len(context.gate._dials) == 2)
            gone.drop()
            await true(lambda: it.front.stats.connections == 1)
            it.front.switch(new.backend)
            await client.expect(ok("new"))
            assert it.front.stats.exchanges == 1
        for sock in crowd:
            sock.close()


async def test_a_connection_that_is_made_although_it_was_given_up_is_dropped() -> None:
    given: list[Upstream] = []

    class Anybody:
        upstream_ready = given.append

    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        context = it.front._context
        assert context is not None
        pending = ConnectionRequest(cast(Waiter, Anybody()), 0)
        context.gate.request_connection(pending)
        pending.dial = None  # as after a switch that comes when the connection is there, but not known yet
        context.gate.request_connection(pending)
        group = context.pool.group_of(app.backend)
        await true(lambda: len(app.peers) == 2 and len(group.upstreams) == 1)
        assert group.upstreams == set(given)
        given[0].abort()


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("protocol", ["http", "tcp"])
async def test_a_front_that_closes_while_a_connection_is_being_made_forgets_it(
    protocol: str, turns: int
) -> None:
    async with origin() as app, fronted(protocol=protocol) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        client.writer.write(get())
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            await it.front.close(grace=0)


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("protocol", ["http", "tcp"])
async def test_a_connection_that_is_given_up_while_it_is_made_does_not_hold_up_a_drain(
    protocol: str, turns: int
) -> None:
    async with origin() as old, origin(says("new")) as new, fronted(protocol=protocol) as it:
        it.front.switch(old.backend)
        client = await it.connect()
        client.writer.write(get())
        for _ in range(turns):
            await asyncio.sleep(0)
        it.front.switch(new.backend)
        async with asyncio.timeout(PATIENCE):
            await it.front.drain(old.backend, timeout=0.01)


async def test_a_backend_that_does_not_even_refuse_is_given_up_after_a_while() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        crowd = [socket.socket() for _ in range(4)]
        for sock in crowd:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        async with fronted(FrontLimits(connect_seconds=0.01, hold_seconds=PATIENCE)) as it:
            it.front.switch(Backend("127.0.0.1", full.getsockname()[1], "c" * 64))
            client = await it.connect()
            await client.send(get())
            await true(lambda: it.front.stats.held == 1)
            await true(lambda: bool(it.told(Notice)))
            assert missing(it.told(Notice)[0].text, "not answer", "too long") == []
        for sock in crowd:
            sock.close()


@pytest.mark.parametrize("protocol", ["http", "tcp"])
async def test_a_client_that_reads_slowly_slows_the_backend_down(protocol: str) -> None:
    sent = 0

    async def handler(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        for _ in range(SIZE // 65536):
            await peer.send(bytes(65536))
            sent += 65536

    async with origin(handler) as app, fronted(protocol=protocol) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        head = await client.head()
        await true(lambda: link_paused(it))
        context = it.front._context
        assert context is not None
        (served,) = context.clients
        assert served._transport.get_write_buffer_size() < 1 << 20  # type: ignore[attr-defined]
        assert sent < SIZE / 2
        assert head.startswith(b"HTTP/1.1 200 OK")
        left = SIZE
        while left:
            left -= len(await client.reader.read(left))
        assert sent == SIZE


async def test_a_new_backend_is_slowed_down_by_a_client_that_was_slow_before() -> None:
    async with origin() as old, origin() as new, fronted() as it:
        it.front.switch(old.backend)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect(("127.0.0.1", it.front.addresses[0].port))
        client = Peer(*await asyncio.open_connection(sock=sock, limit=1))
        it.peers.append(client)
        await client.send(get("/1") + get("/2"))
        server = await old.peer()
        await server.head()
        context = it.front._context
        assert context is not None
        (served,) = context.clients
        transport = served._transport  # type: ignore[attr-defined]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        transport.set_write_buffer_limits(0)
        it.front.switch(new.backend)
        await server.send(ok("x" * 30_000))
        second = await new.peer()
        await second.expect(get("/2"))
        assert served._client_slow  # type: ignore[attr-defined]
        assert not served._upstream.transport.is_reading()  # type: ignore[attr-defined]
        await second.send(ok("two"))
        await client.expect(ok("x" * 30_000) + ok("two"))


@pytest.mark.parametrize("protocol", ["http", "tcp"])
async def test_a_backend_that_reads_slowly_slows_the_client_down(protocol: str) -> None:
    head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % SIZE
    async with origin() as app, fronted(protocol=protocol) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        sending = asyncio.create_task(client.send(head + bytes(SIZE)))
        server = await app.peer()
        await server.head()
        context = it.front._context
        assert context is not None
        (served,) = context.clients
        await true(lambda: not served._transport.is_reading())  # type: ignore[attr-defined]
        assert served._upstream.transport.get_write_buffer_size() < 1 << 20  # type: ignore[attr-defined]
        assert not sending.done()
        left = SIZE
        while left:
            left -= len(await server.reader.read(left))
        await sending
        await server.send(ok("x"))
        await client.expect(ok("x"))


async def test_what_is_pipelined_beyond_the_read_ahead_is_left_in_the_socket() -> None:
    async with origin() as app, fronted(FrontLimits(read_ahead=1000)) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        count = 200
        await client.send(get() * count)
        server = await app.peer()
        await server.head()
        context = it.front._context
        assert context is not None
        (served,) = context.clients
        await true(lambda: not served._transport.is_reading())  # type: ignore[attr-defined]
        await server.send(ok("x"))
        for _ in range(count - 1):
            await server.expect(get())
            await server.send(ok("x"))
        await client.expect(ok("x") * count)
