"""Requests that arrive while nothing can answer, and requests whose connection breaks."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import pytest

from tests.facts import missing
from tests.unit.front.support import (
    PATIENCE,
    POST,
    Closing,
    Fronted,
    Origin,
    echo_length,
    fronted,
    get,
    ok,
    origin,
    refusals,
    says,
    true,
)
from watcher.front import FrontLimits, Unavailable
from watcher.observers.events import FrontExchange, FrontHeld, FrontRefused, Notice

SHORT = FrontLimits(hold_seconds=0.05)


def holds(it: Fronted, count: int) -> bool:
    return it.front.stats.held == count


async def test_requests_that_come_before_there_is_a_backend_are_answered_by_the_first_one() -> None:
    async with origin(says("x")) as app, fronted() as it:
        clients = [await it.connect() for _ in range(20)]
        for client in clients:
            await client.send(get())
        await true(lambda: it.front.stats.held == 20)
        it.front.switch(app.backend)
        for client in clients:
            await client.expect(ok("x"))
        assert it.front.stats.held == 0
        assert [event.held for event in it.told(FrontHeld)][-1] == 0
        assert max(event.held for event in it.told(FrontHeld)) == 20
        exchanges = it.told(FrontExchange)
        assert len(exchanges) == 20
        assert all(0 < event.held <= event.seconds for event in exchanges)
        assert it.told(FrontRefused) == []


async def test_more_requests_than_can_be_dialled_for_at_once_are_all_answered() -> None:
    async with origin(says("x")) as app, fronted() as it:
        clients = [await it.connect() for _ in range(200)]
        for client in clients:
            await client.send(get())
        await true(lambda: it.front.stats.held == 200)
        it.front.switch(app.backend)
        for client in clients:
            await client.expect(ok("x"))


async def test_a_body_that_comes_while_its_request_is_held_arrives_whole() -> None:
    body = bytes(range(256)) * 1000
    head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with origin() as app, fronted() as it:
        client = await it.connect()
        sending = asyncio.create_task(client.send(head + body))
        await true(lambda: it.front.stats.held_bytes > 0)
        it.front.switch(app.backend)
        await (await app.peer()).expect(head + body)
        await sending
        await (await app.peer()).send(ok("x"))
        await client.expect(ok("x"))


async def test_a_held_request_that_waits_too_long_is_answered_503() -> None:
    def explain() -> Unavailable:
        return Unavailable("The build failed", "See below.", ("main.go:1:1: syntax error",), retry_after=7)

    async with fronted(SHORT, explain=explain) as it:
        client = await it.connect()
        await client.send(get("/", "Accept: application/json"))
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 7" in head
        assert json.loads(body)["lines"] == ["main.go:1:1: syntax error"]
        assert refusals(it.told(FrontRefused)) == [("timeout", 503)]


async def test_a_held_upload_that_waits_too_long_gets_its_answer_while_it_is_still_sending() -> None:
    async with fronted(SHORT) as it:
        client = await it.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n" + bytes(200_000)
        )
        answer = await client.head()
        assert answer.startswith(b"HTTP/1.1 503 ")
        await client.send(bytes(200_000))
        assert (await client.rest()).startswith(b"The service is starting\n")


async def test_the_end_of_the_front_is_not_called_a_start() -> None:
    async with fronted() as it:
        client = await it.connect()
        await client.send(get())
        await true(lambda: it.front.stats.held == 1)
        await it.front.close()
        answer = (await client.rest()).decode()
        assert missing(answer, 503, "closed", "port") == []
        assert "starting" not in answer
        assert refusals(it.told(FrontRefused)) == [("closing", 503)]


async def test_when_waiting_is_pointless_the_answer_comes_at_once() -> None:
    async with fronted(explain=lambda: Unavailable("Failed", "It did not compile.", wait=False)) as it:
        client = await it.connect()
        await client.send(get())
        assert (await client.rest()).endswith(b"Failed\nIt did not compile.\n")
        assert refusals(it.told(FrontRefused)) == [("backend", 503)]
        assert it.told(FrontHeld) == []


async def test_those_who_wait_are_told_when_waiting_has_become_pointless() -> None:
    said = Unavailable()
    async with fronted(explain=lambda: said) as it:
        client = await it.connect()
        await client.send(get())
        await true(lambda: it.front.stats.held == 1)
        it.front.reconsider()
        assert it.front.stats.held == 1
        said = Unavailable("Failed", "It did not compile.", wait=False)
        it.front.reconsider()
        assert (await client.rest()).endswith(b"Failed\nIt did not compile.\n")


async def test_no_more_requests_are_held_than_allowed() -> None:
    async with origin(says("x")) as app, fronted(FrontLimits(held=2, hold_seconds=PATIENCE)) as it:
        clients = [await it.connect() for _ in range(3)]
        for number, client in enumerate(clients[:2]):
            await client.send(get())
            await true(partial(holds, it, number + 1))
        await clients[2].send(get())
        assert (await clients[2].rest()).startswith(b"HTTP/1.1 503 ")
        assert refusals(it.told(FrontRefused)) == [("limit", 503)]
        it.front.switch(app.backend)
        for client in clients[:2]:
            await client.expect(ok("x"))


async def test_no_more_bytes_are_held_than_allowed() -> None:
    async with fronted(FrontLimits(held_bytes=1000, hold_seconds=PATIENCE)) as it:
        big = await it.connect()
        await big.send(get("/", "X: " + "x" * 1000))
        assert (await big.head()).startswith(b"HTTP/1.1 503 ")
        growing = await it.connect()
        await growing.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5000\r\n\r\n")
        await true(lambda: it.front.stats.held == 1)
        await growing.send(bytes(1000))
        assert (await growing.head()).startswith(b"HTTP/1.1 503 ")
        assert refusals(it.told(FrontRefused)) == [("limit", 503)] * 2


async def test_a_client_that_breaks_off_while_it_waits_is_forgotten() -> None:
    async with origin(says("x")) as app, fronted() as it:
        client = await it.connect()
        await client.send(POST)
        await true(lambda: it.front.stats.held == 1)
        client.drop()
        await true(lambda: it.front.stats.held == 0)
        it.front.switch(app.backend)
        await (await it.connect()).ask(get(), ok("x"))
        assert [bytes(seen) for seen in app.seen] == [get()]


async def test_a_backend_that_refuses_connections_is_waited_for() -> None:
    async with origin(says("x")) as app, fronted() as it:
        backend = app.backend
        await app.stop()
        it.front.switch(backend)
        clients = [await it.connect() for _ in range(3)]
        await clients[0].send(get())
        await clients[1].send(POST)
        await true(lambda: it.front.stats.held == 2)
        await clients[2].send(get())
        await true(lambda: it.front.stats.held == 3)
        await true(lambda: bool(it.told(Notice)))
        assert it.told(FrontRefused) == []
        back = Origin(echo_length, "a" * 64)
        back.port = backend.port
        await back.start()
        for client in clients:
            await client.expect(ok("x"))
        await back.stop()
        warning, info = it.told(Notice)
        assert (warning.level, info.level) == ("warning", "info")
        assert missing(warning.text, f"127.0.0.1:{backend.port}", "Connection refused") == []


async def test_a_new_backend_frees_those_who_wait_for_one_that_refuses() -> None:
    async with origin() as dead, origin(says("x")) as app, fronted() as it:
        await dead.stop()
        it.front.switch(dead.backend)
        client = await it.connect()
        await client.send(get())
        await true(lambda: it.front.stats.held == 1)
        it.front.switch(app.backend)
        await client.expect(ok("x"))


async def test_a_backend_that_accepts_and_closes_is_waited_for() -> None:
    handler = Closing(5)
    async with origin(handler) as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.ask(get(), ok("x"))
        assert handler.closed == 5
        assert it.told(FrontRefused) == []
        assert it.front.stats.retried >= 1  # more only on a busy machine


async def test_a_dead_backend_with_a_time_limit_is_answered_for_with_503() -> None:
    async with origin() as app, fronted(SHORT) as it:
        await app.stop()
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(get())
        assert (await client.rest()).startswith(b"HTTP/1.1 503 ")
        assert refusals(it.told(FrontRefused)) == [("timeout", 503)]


@pytest.mark.thorough
async def test_a_crowd_at_a_healthy_app_is_not_held() -> None:
    async with origin(says("x")) as app, fronted(FrontLimits(held=10, hold_seconds=PATIENCE)) as it:
        it.front.switch(app.backend)
        clients = await asyncio.gather(*(it.connect() for _ in range(1500)))
        await asyncio.gather(*(client.ask(get(), ok("x")) for client in clients))
        assert it.told(FrontRefused) == []
        assert it.told(FrontHeld) == []


async def test_a_crowd_of_raw_connections_at_a_healthy_app_is_not_held() -> None:
    async with origin(says("x")) as app, fronted(FrontLimits(held=1), protocol="tcp") as it:
        it.front.switch(app.backend)
        clients = await asyncio.gather(*(it.connect() for _ in range(300)))
        await asyncio.gather(*(client.ask(get(), ok("x")) for client in clients))
        assert it.told(FrontRefused) == []


async def test_a_crowd_at_an_app_that_went_silent_is_held_up_to_the_limit() -> None:
    app = Origin(says("x"), "a" * 64)
    await app.start()
    await app.stop()
    async with fronted(FrontLimits(held=2, hold_seconds=PATIENCE)) as it:
        it.front.switch(app.backend)
        clients = [await it.connect() for _ in range(2)]
        for client in clients:
            await client.send(get())
        await true(lambda: it.front.stats.held == 2)
        late = await it.connect()
        await late.send(get())
        assert (await late.rest()).startswith(b"HTTP/1.1 503 ")
        await app.start()
        for client in clients:
            await client.expect(ok("x"))
        assert it.front.stats.held == 0
        await app.stop()


async def test_what_changes_something_is_not_passed_on_when_its_client_hung_up_while_it_was_held() -> None:
    async with origin(echo_length) as app, fronted() as it:
        gone = await it.connect()
        await gone.send(POST)
        await true(lambda: it.front.stats.held == 1)
        await gone.close()
        await true(lambda: it.front.stats.held == 0)
        it.front.switch(app.backend)
        await (await it.connect()).ask(get(), ok("x"))
        assert b"POST" not in b"".join(app.seen)
        assert refusals(it.told(FrontRefused)) == [("gone", 503)]


async def test_a_client_that_only_ended_its_side_is_told_that_its_post_was_not_passed_on() -> None:
    async with fronted() as it:
        client = await it.connect()
        await client.send(POST)
        await true(lambda: it.front.stats.held == 1)
        client.end()
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"it was not passed on" in answer


async def test_an_end_behind_a_body_that_was_not_read_yet_is_noticed() -> None:
    head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 900000\r\n\r\n"
    async with origin(echo_length) as app, fronted(FrontLimits(hold_seconds=PATIENCE, read_ahead=1000)) as it:
        client = await it.connect()
        client.writer.write(head + bytes(900_000))
        await true(lambda: it.front.stats.held_bytes > 1000)
        client.end()
        await true(lambda: client.writer.transport.get_write_buffer_size() == 0)
        it.front.switch(app.backend)
        await true(lambda: refusals(it.told(FrontRefused)) == [("gone", 503)])
        assert b"POST" not in b"".join(app.seen)


async def test_a_get_whose_client_ended_its_side_is_answered() -> None:
    async with origin(says("x")) as app, fronted() as it:
        client = await it.connect()
        await client.send(get())
        await true(lambda: it.front.stats.held == 1)
        client.end()
        await asyncio.sleep(0)
        it.front.switch(app.backend)
        assert await client.rest() == ok("x")


async def test_a_post_whose_client_ended_its_side_is_answered_by_a_live_app() -> None:
    async with origin(echo_length) as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(POST)
        client.end()
        assert await client.rest() == ok("x")
