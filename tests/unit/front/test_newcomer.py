"""Ports of which nobody has said what they speak: it is found out for each connection."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.unit.front.support import PATIENCE, Origin, Peer, fronted, get, ok, origin, refusals, says, true
from watcher.front import FrontLimits, FrontTimes
from watcher.front.h2 import PREFACE
from watcher.front.speech import Speech, speech_of
from watcher.observers.events import FrontExchange, FrontHeld, FrontRefused

GREETING = b"220 mail.test ESMTP\r\n"
QUICK = FrontTimes(silence=0.01, undecided=0.01)


async def greeting(peer: Peer) -> None:
    """A server that speaks first, then echoes lines."""
    await peer.send(GREETING)
    while line := await peer.reader.readline():
        await peer.send(b"250 " + line)
    peer.writer.close()


@pytest.mark.parametrize(
    ("early", "speech"),
    [
        (b"G", Speech.UNKNOWN),
        (b"GET", Speech.UNKNOWN),
        (b"GET ", Speech.HTTP),
        (b"\r\n", Speech.UNKNOWN),
        (b"\r\nGET / HTTP/1.1\r\n", Speech.HTTP),
        (b"PROPFIND / HTTP/1.1\r\n", Speech.HTTP),
        (b"PROPFIND /a", Speech.UNKNOWN),
        (b"GET  / HTTP/1.1\r\n", Speech.HTTP),
        (b"MADEUP /\xff HTTP/7.3\n", Speech.HTTP),
        (b"P", Speech.UNKNOWN),
        (b"PRI * HTTP/2.0\r\n\r\n", Speech.H2),
        (b"PRI * HTTP/1.1\r\n", Speech.HTTP),
        (b"\x16\x03", Speech.TLS),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", Speech.RAW),  # PostgreSQL asks for TLS
        (b'{"method":"RPCServer.State"}', Speech.RAW),  # delve
        (b"*1\r\n$4\r\nPING\r\n", Speech.RAW),  # Redis
        (b"+$qSupported:multiprocess+#c6", Speech.RAW),  # gdb
        (b"EHLO client.test\r\n", Speech.RAW),
        (b"HELLO", Speech.UNKNOWN),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Speech.RAW),
        (b"x" * 40, Speech.RAW),
        (b"CONNECT\n", Speech.RAW),  # STOMP
        (b"GET /\r\n", Speech.HTTP),  # HTTP/0.9 is refused like any malformed request
    ],
)
def test_what_is_spoken_is_known_by_the_first_bytes(early: bytes, speech: Speech) -> None:
    assert speech_of(early, "auto") is speech


def test_on_a_port_for_http_all_is_http_but_tls_and_http_2() -> None:
    for early in (b"\0\0", b"EHLO a\r\n", b"{", b"HELLO"):
        assert speech_of(early, "http") is Speech.HTTP
    assert speech_of(b"\x16\x03\x01", "http") is Speech.TLS
    assert speech_of(PREFACE, "http") is Speech.H2
    assert speech_of(b"PRI * ", "http") is Speech.UNKNOWN


async def test_a_server_that_speaks_first_is_heard() -> None:
    async with origin(greeting) as app, fronted(times=QUICK) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.expect(GREETING)
        await client.ask(b"EHLO test\r\n", b"250 EHLO test\r\n")
        client.end()
        assert await client.rest() == b""
        await true(lambda: [event.code for event in it.told(FrontExchange)] == [0])
        await (await it.connect()).expect(GREETING)
        assert it.told(FrontRefused) == []


async def test_a_client_that_ends_its_half_at_once_hears_the_server() -> None:
    async with origin(greeting) as app, fronted(times=QUICK) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        client.end()
        assert await client.rest() == GREETING
        later = await it.connect()  # this time the connection to the app exists when the client ends its half
        await true(lambda: len(app.peers) == 2)
        later.end()
        assert await later.rest() == GREETING


async def test_a_client_that_comes_and_goes_while_nothing_can_answer_is_not_held() -> None:
    async with fronted(times=QUICK) as it:
        client = await it.connect()
        client.end()
        assert await client.rest() == b""
        assert (it.told(FrontHeld), it.told(FrontRefused)) == ([], [])


async def test_once_the_app_was_the_first_to_speak_the_next_ones_do_not_wait() -> None:
    async with origin(greeting) as app, fronted(times=FrontTimes(silence=2 * PATIENCE)) as it:
        it.front.switch(app.backend)
        context = it.front._context
        assert context is not None
        context.app_speaks_first = True
        await (await it.connect()).expect(GREETING)


async def test_a_silent_client_waits_for_the_first_container_without_being_counted() -> None:
    async with origin(greeting) as app, fronted(times=QUICK) as it:
        client = await it.connect()
        context = it.front._context
        assert context is not None
        await true(lambda: bool(context.gate._quiet))
        assert it.front.stats.held == 0
        it.front.switch(app.backend)
        await client.expect(GREETING)
        assert it.told(FrontHeld) == []


async def test_a_silent_client_hears_the_new_version_after_the_old_one_was_drained() -> None:
    async with origin() as old, origin(greeting) as new, fronted(times=QUICK) as it:
        it.front.switch(old.backend)
        client = await it.connect()
        await old.peer()
        it.front.switch(new.backend)
        await it.front.drain(old.backend, 0)
        await client.expect(GREETING)


async def test_a_client_that_was_silent_can_ask_for_a_page() -> None:
    async with origin(says("x")) as app, fronted(times=QUICK) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await app.peer()
        await client.ask(get(), ok("x"))
        await client.ask(get(), ok("x"))
        assert len(app.peers) == 1  # the connection that was made to listen was used


async def test_an_app_that_closes_a_silent_connection_closes_the_clients_too() -> None:
    async def closes(peer: Peer) -> None:
        await asyncio.sleep(0.02)
        peer.writer.close()

    async with origin(closes) as app, fronted(times=replace(QUICK, not_answering=0.0)) as it:
        it.front.switch(app.backend)
        assert await (await it.connect()).rest() == b""


@pytest.mark.parametrize("sent", [b"*1\r\n$4\r\nPING\r\n", b'{"id":1}', b"\0\1\2", b"HELLO"])
async def test_what_is_not_http_is_passed_on_as_it_is(sent: bytes) -> None:
    async def echo(peer: Peer) -> None:
        while data := await peer.reader.read(65536):
            await peer.send(data)

    async with origin(echo) as app, fronted(times=QUICK) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        for byte in sent:
            await client.send(bytes((byte,)))
            await asyncio.sleep(0)
        await client.expect(sent)
        await client.ask(b"more", b"more")


async def test_raw_bytes_on_a_port_for_http_are_refused() -> None:
    async with origin() as app, fronted(protocol="http") as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(b"\0\1\2")
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")


async def test_a_slowly_typed_request_is_a_request() -> None:
    async with origin(says("x")) as app, fronted(times=QUICK) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(b"GE")
        await asyncio.sleep(0.05)
        await client.ask(b"T / HTTP/1.1\r\nHost: a\r\n\r\n", ok("x"))
        await true(lambda: [event.code for event in it.told(FrontExchange)] == [200])


async def test_a_silent_client_that_goes_leaves_nothing() -> None:
    async with origin() as app, fronted(times=QUICK) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        server = await app.peer()
        client.end()
        assert await server.rest() == b""
        server.writer.close()  # as any server does that hears no more
        await true(lambda: it.front.stats.connections == 0)


async def test_an_app_that_is_not_up_yet_is_waited_for() -> None:
    app = Origin(greeting, "a" * 64)
    await app.start()
    await app.stop()
    async with fronted(times=QUICK) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        context = it.front._context
        assert context is not None
        await true(lambda: not context.gate.ready)
        await app.start()
        await client.expect(GREETING)
        await app.stop()


async def test_a_connection_too_many_gets_no_http_answer_where_the_app_speaks_first() -> None:
    async with origin(greeting) as app, fronted(FrontLimits(connections=1)) as it:
        it.front.switch(app.backend)
        context = it.front._context
        assert context is not None
        context.app_speaks_first = True
        first = await it.connect()
        await first.expect(GREETING)
        assert await (await it.connect()).rest() == b""
        await true(lambda: refusals(it.told(FrontRefused)) == [("limit", 0)])


async def test_one_too_many_is_not_taken_for_an_idle_connection_as_well() -> None:
    async with fronted(FrontLimits(connections=1)) as it:
        first = await it.connect()
        second = await it.connect()
        assert (await second.head()).startswith(b"HTTP/1.1 503 ")
        context = it.front._context
        assert context is not None
        await second.rest()
        await second.close()
        await true(lambda: it.front.stats.connections == 1)
        assert sum(map(len, context.room._idle.values())) == 1
        await first.close()
        await true(lambda: not context.room._idle)
