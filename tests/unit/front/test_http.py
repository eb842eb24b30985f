"""HTTP/1.1 through the front: bytes unchanged, exchanges told apart, nothing lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.front.support import PATIENCE, fronted, get, ok, origin, refusals, says
from watcher.front import ExtraHeaders, FrontLimits
from watcher.observers.events import FrontExchange, FrontRefused

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
UNUSUAL = (
    b"GET /a%20b?x=1&&y HTTP/1.1\r\nhOsT:   test\t\r\nX-Twice: 1\r\nx-tWICE: 2\r\n"
    b'Empty:\r\nObs: \xff\xfe\r\nCookie: a=b; c="d"\r\nConnection: keep-alive, X-Twice\r\n\r\n'
)


async def test_a_request_and_its_answer_pass_byte_for_byte() -> None:
    fields = b"Set-Cookie: a\r\nset-cookie: b\r\nContent-Length: 3\r\nX-O: \xfc\r\n\r\n"
    answer = b"HTTP/1.1 200 Fine by me\r\n" + fields + b"abc"
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(UNUSUAL)
        server = await app.peer()
        await server.expect(UNUSUAL)
        await server.send(answer)
        await client.expect(answer)


@pytest.mark.parametrize(
    "request_line",
    [
        b"FROBNICATE / HTTP/1.1",
        b"PLAY / HTTP/1.1",
        b"get / HTTP/1.1",
        "GET /é HTTP/1.1".encode(),
        b"OPTIONS * HTTP/1.1",
    ],
)
async def test_methods_and_targets_that_the_parser_does_not_know_pass(request_line: bytes) -> None:
    request = request_line + b"\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi"
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(request)
        await (await app.peer()).expect(request)


async def test_the_next_request_of_a_kept_connection_goes_to_the_new_backend() -> None:
    async with origin(says("old")) as old, origin(says("new"), "b" * 64) as new, fronted() as it:
        it.front.switch(old.backend)
        client = await it.connect()
        await client.ask(get(), ok("old"))
        await client.ask(get(), ok("old"))
        it.front.switch(new.backend)
        await client.ask(get(), ok("new"))
        assert len(old.peers) == len(new.peers) == 1
        assert [event.revision[0] for event in it.told(FrontExchange)] == ["a", "a", "b"]


async def test_an_exchange_in_progress_stays_with_the_old_backend() -> None:
    async with origin() as old, origin(says("new")) as new, fronted() as it:
        it.front.switch(old.backend)
        client = await it.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc")
        server = await old.peer()
        await server.head()
        it.front.switch(new.backend)
        await client.send(b"def")
        await server.expect(b"abcdef")
        await server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nold\r\n")
        await client.until(b"old\r\n")
        await server.send(b"0\r\n\r\n")
        await client.expect(b"0\r\n\r\n")
        assert await server.rest() == b""
        await client.ask(get(), ok("new"))


async def test_pipelined_requests_are_answered_in_order_each_by_the_backend_of_its_moment() -> None:
    async with origin() as old, origin(says("new")) as new, fronted() as it:
        it.front.switch(old.backend)
        client = await it.connect()
        await client.send(get("/1") + get("/2") + get("/3"))
        server = await old.peer()
        await server.expect(get("/1"))
        await server.send(ok("one"))
        await server.expect(get("/2"))
        it.front.switch(new.backend)
        await server.send(ok("two"))
        await client.expect(ok("one") + ok("two") + ok("new"))
        assert bytes(old.seen[0]) == get("/1") + get("/2")
        assert bytes(new.seen[0]) == get("/3")


async def test_a_head_may_come_byte_by_byte() -> None:
    async with origin(says("x")) as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        for byte in get("/slow", "X: y"):
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        await client.expect(ok("x"))
        assert bytes(app.seen[0]) == get("/slow", "X: y")


async def test_empty_lines_before_a_request_are_dropped() -> None:
    async with origin(says("x")) as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.ask(b"\r\n\r\n" + get("/1"), ok("x"))
        await client.ask(b"\r", b"")
        await client.ask(b"\n" + get("/2"), ok("x"))
        assert bytes(app.seen[0]) == get("/1") + get("/2")


CHUNKED_BODY = b'5;ext="a\tb"\r\n\r\n\r\n\n\r\n1\r\nx\r\n0\r\nTrailer: 1\r\nOther: 2\r\n\r\n'


async def test_chunked_bodies_and_trailers_pass_in_both_directions() -> None:
    request = (
        b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n" + CHUNKED_BODY
    )
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n" + CHUNKED_BODY
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        for _ in range(2):
            await client.send(request)
            server = await app.peer()
            await server.expect(request)
            await server.send(answer)
            await client.expect(answer)


async def test_expect_100_continue_lets_the_server_decide() -> None:
    head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(head)
        server = await app.peer()
        await server.expect(head)
        await server.send(CONTINUE)
        await client.expect(CONTINUE)
        await client.send(b"body")
        await server.expect(b"body")
        await server.send(ok("done"))
        await client.expect(ok("done"))
        assert [event.code for event in it.told(FrontExchange)] == [200]


async def test_interim_responses_come_before_the_final_one() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        server = await app.peer()
        await server.head()
        await server.send(hints)
        await client.expect(hints)
        await server.send(CONTINUE + hints + ok("final"))
        await client.expect(CONTINUE + hints + ok("final"))
        await client.send(get("/next"))
        await server.expect(get("/next"))


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
        (
            b"GET",
            b"HTTP/1.1 426 Try Again\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n",
        ),
    ],
)
async def test_a_response_without_a_body_leaves_the_connection_open(method: bytes, answer: bytes) -> None:
    request = method + b" / HTTP/1.1\r\nHost: test\r\n\r\n"
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        for _ in range(2):
            await client.send(request)
            server = await app.peer()
            await server.expect(request)
            await server.send(answer)
            await client.expect(answer)


async def test_http_1_0_with_keep_alive_keeps_the_connection() -> None:
    request = b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
    answer = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        for _ in range(2):
            await client.send(request)
            await (await app.peer()).expect(request)
            await (await app.peer()).send(answer)
            await client.expect(answer)


async def test_server_sent_events_arrive_one_by_one() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get("/events"))
        server = await app.peer()
        await server.head()
        await server.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await client.head()
        for number in range(5):
            event = b"8\r\ndata: %d\n\r\n" % number
            await server.send(event)
            await client.expect(event)


async def test_half_a_head_is_answered_408_after_a_while_and_a_whole_one_stops_the_clock() -> None:
    async with origin() as app, fronted(FrontLimits(head_seconds=0.3)) as it:
        it.front.switch(app.backend)
        quick, slow, idle = [await it.connect() for _ in range(3)]
        await quick.send(get()[:9])
        await quick.send(get()[9:])
        server = await app.peer()
        await server.expect(get())
        await slow.send(get("/slow")[:-2])
        assert (await slow.rest()).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert refusals(it.told(FrontRefused)) == [("timeout", 408)]
        await server.send(ok("late"))
        await quick.expect(ok("late"))
        await idle.send(get("/idle"))
        await (await app.peer(1)).expect(get("/idle"))


async def test_a_head_that_is_too_long_is_answered_431() -> None:
    async with origin() as app, fronted(FrontLimits(head_bytes=1000)) as it:
        it.front.switch(app.backend)
        for request in (get("/", "X: " + "x" * 1000), b"GET /" + b"x" * 2000):
            client = await it.connect()
            await client.send(request)
            assert (await client.rest()).startswith(b"HTTP/1.1 431 ")
        assert app.seen == []


async def test_nothing_is_added_unless_asked_for_and_then_at_the_end_of_the_head() -> None:
    extra_headers = ExtraHeaders(forwarded=True, revision=True)
    async with origin() as app, fronted(extra_headers=extra_headers) as it:
        it.front.switch(app.backend)
        client = await it.connect()
        port = it.front.addresses[0].port
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi")
        server = await app.peer()
        await server.expect(
            b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nX-Forwarded-For: 127.0.0.1\r\n"
            b"X-Forwarded-Proto: http\r\nX-Forwarded-Port: %d\r\n\r\nhi" % port
        )
        await server.send(CONTINUE + ok("body"))
        await client.expect(
            CONTINUE + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Watcher-Revision: " + b"a" * 64
        )
        assert (await client.head()).startswith(b"\r\nServer-Timing: held;dur=")
        await client.expect(b"body")


async def test_exchanges_are_told_with_code_time_and_revision() -> None:
    async with origin(says("x")) as app, fronted() as it:
        it.front.switch(app.backend)
        await (await it.connect()).ask(get(), ok("x"))
        (event,) = it.told(FrontExchange)
        assert (event.service, event.code, event.revision, event.held) == ("svc", 200, "a" * 64, 0.0)
        assert 0 < event.seconds < PATIENCE
