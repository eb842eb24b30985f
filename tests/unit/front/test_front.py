"""The front as its owner sees it: addresses, switch, drain, close, limits, statistics, load."""

from __future__ import annotations

import asyncio
import resource
import socket
import time

import pytest

from tests.unit.front.support import PATIENCE, fronted, get, ok, origin, says, true
from watcher.front import CannotListen, ExtraHeaders, Front, FrontLimits, Listen, PortInUse, room_for
from watcher.front.sockets import bind
from watcher.observers.events import Event, FrontRefused


class Deaf:
    def notify(self, event: Event) -> None:
        pass


def front(*listen: Listen) -> Front:
    return Front(listen, observer=Deaf())


async def test_all_addresses_means_ipv4_and_ipv6_on_one_port() -> None:
    it = front(Listen("", 0))
    await it.start()
    v4, v6 = it.addresses
    assert (v4.host, v6.host) == ("0.0.0.0", "::")
    assert v4.port == v6.port
    for host in ("127.0.0.1", "::1"):
        _, writer = await asyncio.open_connection(host, v4.port)
        writer.close()
        await writer.wait_closed()
    await it.close()


async def test_one_address_means_no_other() -> None:
    it = front(Listen("127.0.0.1", 0), Listen("::1", 0))
    await it.start()
    assert [address.host for address in it.addresses] == ["127.0.0.1", "::1"]
    assert str(it.addresses[1]) == f"[::1]:{it.addresses[1].port}"
    await it.close()


async def test_all_ipv4_addresses_leave_ipv6_alone() -> None:
    it = front(Listen("0.0.0.0", 0))
    await it.start()
    assert [address.host for address in it.addresses] == ["0.0.0.0"]
    await it.close()


@pytest.mark.parametrize(
    ("limits", "asked", "room"),
    [
        ((1024, 1_048_576), 65_536, 4096),
        ((1024, resource.RLIM_INFINITY), 65_536, 4096),
        ((1024, 4096), 4096, 1920),
        ((1024, 1024), None, 384),
        ((200_000, 200_000), None, 4096),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None, 4096),
        ((100, 100), None, 1),
    ],
)
def test_there_are_descriptors_for_every_connection_that_is_let_in(
    limits: tuple[int, int], asked: int | None, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, now: set_to.append(now))
    assert room_for(4096) == room
    assert set_to == ([] if asked is None else [(asked, limits[1])])


def test_a_limit_that_cannot_be_raised_is_lived_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_what: int, _limits: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256 + 20, 10_000))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert room_for(4096) == 10


async def test_a_taken_port_is_named_and_nothing_is_left_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        it = front(Listen("localhost", 0), Listen("127.0.0.1", port))
        with pytest.raises(
            PortInUse, match=f"cannot listen on 127.0.0.1:{port}: another process has the port"
        ):
            await it.start()
        assert it.addresses == ()
        with pytest.raises(PortInUse) as caught:
            await front(Listen("", port)).start()
        assert (caught.value.host, caught.value.port) == ("", port)


async def test_a_port_taken_on_ipv6_only_is_taken() -> None:
    (sock,) = bind([Listen("::", 0)])
    with pytest.raises(PortInUse):
        await front(Listen("", sock.getsockname()[1])).start()
    sock.close()


async def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(CannotListen, match=r"192\.0\.2\.1:0: the address does not belong to this machine"):
        await front(Listen("192.0.2.1", 0)).start()


async def test_a_name_that_is_not_known_is_named() -> None:
    with pytest.raises(CannotListen, match="the name is not known"):
        await front(Listen("no such name", 0)).start()


@pytest.mark.parametrize(
    ("number", "why"),
    [(13, "ports below 1024 need a privilege"), (105, "No buffer space available")],
)
async def test_other_reasons_are_told_in_words(
    monkeypatch: pytest.MonkeyPatch, number: int, why: str
) -> None:
    def fail(host: str, port: int) -> socket.socket:
        raise OSError(number, "some text")

    monkeypatch.setattr("watcher.front.sockets._bind_socket", fail)
    with pytest.raises(CannotListen, match=why):
        await front(Listen("127.0.0.1", 80)).start()


async def test_without_ipv6_all_addresses_means_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def no_ipv6(family: int = -1, *rest: int, **named: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *rest, **named)

    monkeypatch.setattr("watcher.front.sockets.socket.socket", no_ipv6)
    (sock,) = bind([Listen("", 0)])
    sock.close()


async def test_closing_lets_exchanges_end_and_answers_those_who_wait() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        port = it.front.addresses[0].port
        busy, idle, waiting = [await it.connect() for _ in range(3)]
        await busy.send(get())
        server = await app.peer()
        await server.head()
        it.front.switch(None)
        await waiting.send(get())
        await true(lambda: it.front.stats.held == 1 and it.front.stats.connections == 3)
        closing = asyncio.create_task(it.front.close(grace=PATIENCE))
        assert (await waiting.rest()).startswith(b"HTTP/1.1 503 ")
        assert await idle.rest() == b""
        await server.send(ok("x"))
        assert await busy.rest() == ok("x", "Connection: close")
        await closing
        assert it.front.addresses == ()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_closing_does_not_wait_longer_than_it_may() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        server = await app.peer()
        await server.head()
        await it.front.close(grace=0)
        assert await client.rest() == b""
        assert await server.rest() == b""
        with pytest.raises(RuntimeError, match="not started"):
            it.front.switch(None)
        await it.front.close()


async def test_a_tunnel_that_is_open_at_the_end_is_closed() -> None:
    async with origin() as app, fronted(protocol="tcp") as it:
        it.front.switch(app.backend)
        client = await it.connect()
        server = await app.peer()
        await it.front.close(grace=0)
        assert await client.rest() == await server.rest() == b""


async def test_a_client_that_is_accepted_while_the_front_closes_is_closed() -> None:
    async with fronted() as it:
        context = it.front._context
        assert context is not None
        context.closing = True
        client = await it.connect()
        assert await client.rest() == b""


@pytest.mark.parametrize("turns", range(5))
async def test_a_request_of_the_moment_of_a_hand_over_is_answered_or_left_to_the_successor(
    turns: int,
) -> None:
    if isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop):
        pytest.skip("asyncio drops a connection whose server is closed right after the accept")
    async with origin(says("x")) as app, fronted() as it:
        it.front.switch(app.backend)
        (successor,) = it.front.sockets
        with successor, socket.create_connection(("127.0.0.1", it.front.addresses[0].port)) as client:
            client.sendall(get("/", "Connection: close"))
            for _ in range(turns):
                await asyncio.sleep(0)
            await it.front.close(grace=PATIENCE, linger=PATIENCE)
            successor.setblocking(False)
            try:
                successor.accept()[0].close()
            except BlockingIOError:
                client.settimeout(PATIENCE)
                with client.makefile("rb") as answer:
                    assert answer.read().endswith(b"x")


async def test_a_kept_connection_is_told_that_it_ends_before_it_does() -> None:
    """A client that was not told sends its next request into a reset."""
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        server = await app.peer()
        await server.head()
        half = ok("xy")[:-1]
        await server.send(half)
        await client.expect(half)  # the head has gone: it says nothing of an end
        closing = asyncio.create_task(it.front.close(grace=PATIENCE, linger=PATIENCE))
        await asyncio.sleep(0)
        await server.send(b"y")
        await client.expect(b"y")
        await client.send(get())
        await server.head()
        await server.send(ok("z", "Connection: keep-alive"))
        answer = await client.rest()
        assert answer.endswith(b"\r\n\r\nz")
        assert b"\r\nConnection: close\r\n" in answer
        await closing


async def test_a_response_in_progress_when_clients_are_waited_for_no_longer_ends_its_connection() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        server = await app.peer()
        await server.head()
        half = ok("xy")[:-1]
        await server.send(half)
        await client.expect(half)
        closing = asyncio.create_task(it.front.close(grace=PATIENCE))
        await asyncio.sleep(0)
        await server.send(b"y")
        assert await client.rest() == b"y"
        await closing


async def test_a_request_that_arrives_while_the_loop_is_stuck_is_answered() -> None:
    async with origin(says("x")) as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.ask(get(), ok("x"))
        linger = 0.05
        closing = asyncio.create_task(it.front.close(grace=PATIENCE, linger=linger))
        await asyncio.sleep(0)
        client.writer.write(get())  # sent at once
        time.sleep(linger * 2)  # all of it goes by without a turn of the loop
        await closing
        assert (await client.rest()).endswith(b"x")


async def test_a_raw_connection_too_many_is_closed() -> None:
    async with origin(says("x")) as app, fronted(FrontLimits(connections=1), protocol="tcp") as it:
        it.front.switch(app.backend)
        first, second = await it.connect(), await it.connect()
        assert await second.rest() == b""
        await first.ask(get(), ok("x"))


async def test_a_connection_too_many_is_told_so() -> None:
    async with origin(says("x")) as app, fronted(FrontLimits(connections=2)) as it:
        it.front.switch(app.backend)
        first, second, third = [await it.connect() for _ in range(3)]
        await third.send(get())
        assert (await third.rest()).startswith(b"HTTP/1.1 503 ")
        assert [(event.reason, event.code) for event in it.told(FrontRefused)] == [("limit", 503)]
        for client in (first, second):
            await client.ask(get(), ok("x"))


async def test_other_settings_are_in_force_for_what_comes_next_and_nobody_is_cut_off() -> None:
    async with origin(says("one")) as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.ask(get(), ok("one"))
        it.front.configure(
            protocol="http", limits=FrontLimits(held=0), extra_headers=ExtraHeaders(revision=True)
        )
        await client.send(get())
        assert b"X-Watcher-Revision" in await client.head()
        await client.expect(b"one")
        it.front.switch(None)
        await client.send(get())
        assert b" 503 " in await client.head()
