"""How connections and answers end: on purpose, half, early, or broken."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.front.support import POST, Peer, fronted, get, ok, origin, refusals, says, true
from watcher.front import FrontLimits, FrontTimes
from watcher.observers.events import FrontExchange, FrontRefused


async def test_a_response_that_ends_with_its_connection_ends_the_clients_too() -> None:
    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        await peer.send(b"all there is")
        await peer.close()

    async with origin(handler) as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        assert (await client.rest()).endswith(b"\r\n\r\nall there is")
        assert [event.code for event in it.told(FrontExchange)] == [200]


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (get("/", "Connection: close"), ok("bye")),
        (get("/", "Connection: Foo, CLOSE"), ok("bye")),
        (get(), ok("bye", "Connection: close")),
        (b"GET / HTTP/1.0\r\n\r\n", ok("bye")),
        (get(), b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nbye"),
    ],
)
async def test_a_connection_that_either_side_ends_is_closed_after_the_answer(
    request_: bytes, answer: bytes
) -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(request_)
        server = await app.peer()
        await server.head()
        await server.send(answer)
        assert await client.rest() == answer


async def test_an_early_answer_lets_the_rest_of_the_body_pass() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc")
        server = await app.peer()
        await server.head()
        await server.send(ok("early"))
        await client.expect(ok("early"))
        await client.send(b"def" + get("/next"))
        await server.expect(b"abcdef" + get("/next"))
        await server.send(ok("next"))
        await client.expect(ok("next"))


async def test_an_early_refusal_that_closes_reaches_a_client_that_is_still_sending() -> None:
    refusal = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n" + bytes(100_000)
        )
        server = await app.peer()
        await server.head()
        await server.send(refusal)
        await server.close()
        await client.send(bytes(100_000))
        assert await client.rest() == refusal


async def test_an_early_answer_is_whole_even_when_the_backend_leaves_before_the_body_has_come() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc")
        server = await app.peer()
        await server.head()
        await server.send(ok("early"))
        await client.expect(ok("early"))
        await server.close()
        assert await client.rest() == b""
        assert [event.code for event in it.told(FrontExchange)] == [200]
        assert it.told(FrontRefused) == []


async def test_more_than_the_answer_after_an_early_answer_is_not_passed_on() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc")
        server = await app.peer()
        await server.head()
        await server.send(ok("early"))
        await client.expect(ok("early"))
        await server.send(b"too much")
        await client.send(b"def" + get("/next"))
        second = await app.peer(1)
        await second.expect(get("/next"))
        await second.send(ok("next"))
        await client.expect(ok("next"))


async def test_a_bad_chunk_later_in_a_body_ends_the_request_for_the_backend_and_the_client() -> None:
    head = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(head + b"3\r\nabc\r\n")
        server = await app.peer()
        await server.expect(head + b"3\r\nabc\r\n")
        await client.send(b"0\r\nA: b\nGET /evil HTTP/1.1\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
        assert b"evil" not in await server.rest()


async def test_a_bad_chunk_after_an_early_answer_ends_the_connection_without_another() -> None:
    head = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(head)
        server = await app.peer()
        await server.head()
        await server.send(ok("early"))
        await client.expect(ok("early"))
        await client.send(b"nonsense\r\n")
        assert await client.rest() == b""


async def test_a_client_that_ends_its_half_gets_its_answers() -> None:
    async with origin(says("x")) as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get("/1") + get("/2"))
        client.end()
        assert await client.rest() == ok("x") + ok("x")
        assert await app.peers[0].rest() == b""


async def test_a_client_that_ends_its_half_while_it_waits_gets_its_answer() -> None:
    async with origin(says("x")) as app, fronted() as it:
        client = await it.connect()
        await client.send(get())
        client.end()
        await true(lambda: it.front.stats.held == 1)
        it.front.switch(app.backend)
        assert await client.rest() == ok("x")


async def test_the_backend_learns_that_the_client_of_a_long_poll_has_gone() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get("/poll"))
        server = await app.peer()
        await server.head()
        await client.close()
        assert await server.rest() == b""


async def test_a_backend_that_gives_up_a_client_that_has_ended_is_not_asked_again() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get("/poll"))
        server = await app.peer()
        await server.head()
        client.end()
        assert await server.rest() == b""
        await server.close()
        assert await client.rest() == b""
        assert len(app.peers) == 1
        assert it.told(FrontRefused) == []


async def test_what_a_backend_says_unasked_is_not_passed_on() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get("/1"))
        server = await app.peer()
        await server.head()
        await server.send(ok("one") + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await client.expect(ok("one"))
        await client.send(get("/2"))
        second = await app.peer(1)
        await second.head()
        await second.send(ok("two"))
        await client.expect(ok("two"))
        await second.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        assert await second.rest() == b""


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_100_000,
    ],
)
async def test_a_backend_that_does_not_speak_http_is_answered_for_with_502(garbage: bytes) -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        server = await app.peer()
        await server.head()
        await server.send(garbage)
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert b"revision aaaaaaaaaaaa" in answer
        assert [(event.reason, event.code) for event in it.told(FrontRefused)] == [("backend", 502)]


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"half"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nhalf\r\n"),
    ],
)
@pytest.mark.parametrize("last", [b"", b"nonsense\r\n"])
async def test_an_answer_that_breaks_off_breaks_off_for_the_client_too(
    head: bytes, part: bytes, last: bytes
) -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        server = await app.peer()
        await server.head()
        await server.send(head + part)
        await client.expect(head + part)
        await server.send(last)
        await server.close()
        passed_on = last if b"Length" in head else b""
        assert await client.rest() == passed_on
        assert [(event.reason, event.code) for event in it.told(FrontRefused)] == [("backend", 502)]
        assert it.told(FrontExchange) == []


async def test_an_answer_that_has_no_length_and_is_broken_off_does_not_look_complete() -> None:
    async with origin() as app, origin() as new, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        server = await app.peer()
        await server.head()
        await server.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await client.until(b"half")
        it.front.switch(new.backend)
        await it.front.drain(app.backend, 0)
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_an_idle_connection_is_closed_when_the_app_closes_its_side() -> None:
    async with origin() as app, fronted(times=FrontTimes(app_closed=0.01)) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        server = await app.peer()
        await server.head()
        await server.send(ok("x"))
        await client.expect(ok("x"))
        await server.close()
        assert await client.rest() == b""


async def test_an_idle_connection_outlives_its_container() -> None:
    times = FrontTimes(app_closed=0.01)
    async with origin() as app, origin(says("new")) as new, fronted(times=times) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        server = await app.peer()
        await server.head()
        await server.send(ok("x"))
        await client.expect(ok("x"))
        it.front.switch(None)
        await server.close()
        await asyncio.sleep(0.05)
        it.front.switch(new.backend)
        await client.ask(get(), ok("new"))


async def test_a_stream_that_a_drain_ends_is_no_failure_of_the_app() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get("/events"))
        server = await app.peer()
        await server.head()
        await server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.head()
        it.front.switch(None)
        assert (await it.front.drain(app.backend, 0)).cut == 1
        assert await client.rest() == b""
        assert it.told(FrontRefused) == []
        assert [event.code for event in it.told(FrontExchange)] == [200]


async def test_a_request_that_a_drain_ends_is_told_what_happened() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(POST)
        await (await app.peer()).head()
        it.front.switch(None)
        await it.front.drain(app.backend, 0)
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"A newer version has taken over" in answer
        assert refusals(it.told(FrontRefused)) == [("drain", 502)]


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: a", b"GE", b"\r\nPOST / HTTP/1.1\r\n"])
@pytest.mark.parametrize("protocol", ["http", "auto"])
async def test_half_a_head_is_answered_400(sent: bytes, protocol: str) -> None:
    async with fronted(protocol=protocol) as it:
        client = await it.connect()
        await client.send(sent)
        client.end()
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")


async def test_half_a_head_after_a_request_is_answered_400() -> None:
    async with origin(says("x")) as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.ask(get(), ok("x"))
        await client.send(b"GET / HT")
        client.end()
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("version", [b"1.2", b"1.9"])
async def test_a_higher_minor_version_is_passed_on_as_our_own(version: bytes) -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(b"PUT /a HTTP/%s\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody" % version)
        server = await app.peer()
        await server.expect(b"PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody")
        await server.send(ok("x"))
        await client.expect(ok("x"))
        await client.send(get("/kept"))
        await server.expect(get("/kept"))


@pytest.mark.parametrize("version", [b"0.9", b"2.0", b"3.0"])
async def test_another_major_version_is_answered_505(version: bytes) -> None:
    async with fronted() as it:
        client = await it.connect()
        await client.send(b"GET / HTTP/%s\r\nHost: test\r\n\r\n" % version)
        assert (await client.rest()).startswith(b"HTTP/1.1 505 ")


async def test_empty_lines_before_a_request_are_left_out() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(b"\r\n\r\n" + get())
        await (await app.peer()).expect(get())


async def test_the_sizes_of_heads_can_be_set() -> None:
    async with origin() as app, fronted(FrontLimits(head_bytes=200_000, answer_head_bytes=5000)) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        large = get("/", "X: " + "x" * 150_000)
        await client.send(large)
        server = await app.peer()
        await server.expect(large)
        await server.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 6000)
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"front.answer_head_size" in answer
