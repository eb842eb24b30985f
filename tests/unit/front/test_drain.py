"""A container goes: what it has begun ends by itself; what has no end is ended so that nothing is lost."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from tests.unit.front.support import PATIENCE, fronted, get, ok, origin, says, true
from watcher.front import Backend, FrontTimes
from watcher.front.websocket import Frames, is_websocket, restart_frame

UPLOAD = b"POST /up HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n"
WEBSOCKET = get("/ws", "Connection: Upgrade", "Upgrade: websocket")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


HASTY = FrontTimes(last_word=0.02, stalled=1.0)


async def test_a_drain_waits_for_the_exchange_in_progress_and_closes_idle_connections_at_once() -> None:
    async with origin() as old, origin(says("new")) as new, fronted() as it:
        it.front.switch(old.backend)
        idle, busy = await it.connect(), await it.connect()
        await idle.send(get())
        await (await old.peer(0)).head()
        await old.peers[0].send(ok("x"))
        await idle.expect(ok("x"))
        await busy.send(get())
        server = await old.peer(1)
        await server.head()
        assert it.front.stats.active == {old.backend: 1}
        assert it.front.stats.idle == {old.backend: 1}
        it.front.switch(new.backend)
        drain = asyncio.create_task(it.front.drain(old.backend, PATIENCE))
        assert await old.peers[0].rest() == b""
        await idle.ask(get(), ok("new"))
        assert not drain.done()
        await server.send(ok("late"))
        await busy.expect(ok("late"))
        report = await drain
        assert (report.finished, report.cut) == (1, 0)
        assert it.front.stats.active == {}
        assert await server.rest() == b""
        await busy.ask(get(), ok("new"))


async def test_a_drain_cuts_what_is_open_when_its_time_is_up() -> None:
    async with origin() as old, origin(says("new")) as new, fronted() as it:
        it.front.switch(old.backend)
        stream, poll = await it.connect(), await it.connect()
        await stream.send(get("/events"))
        server = await old.peer()
        await server.head()
        await server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await stream.head()
        await poll.send(get("/poll"))
        await (await old.peer(1)).head()
        it.front.switch(new.backend)
        report = await it.front.drain(old.backend, 0)
        assert (report.finished, report.cut) == (0, 2)
        assert await stream.rest() == b""
        await poll.expect(ok("new"))


async def test_a_drain_closes_tunnels_when_its_time_is_up() -> None:
    async with origin() as old, origin() as new, fronted(protocol="tcp") as it:
        it.front.switch(old.backend)
        client = await it.connect()
        server = await old.peer()
        await server.send(b"hello")
        it.front.switch(new.backend)
        report = await it.front.drain(old.backend, 0)
        assert (report.finished, report.cut) == (0, 1)
        assert await client.rest() == b"hello"


async def test_a_tunnel_is_closed_between_an_answer_and_the_next_question() -> None:
    async with origin() as app, fronted(protocol="tcp") as it:
        it.front.switch(app.backend)
        client = await it.connect()
        server = await app.peer()
        pushed = await it.connect()
        pushing = await app.peer(1)
        await client.send(b"question")
        await server.expect(b"question")
        await pushing.send(b"news")
        await pushed.expect(b"news")
        it.front.switch(None)
        drain = asyncio.create_task(it.front.drain(app.backend, timeout=0))
        assert await pushed.rest() == b""  # nothing was due here
        await server.send(b"answer")
        assert await client.rest() == b"answer"
        assert (await drain).cut == 2


async def test_draining_the_current_backend_is_a_mistake() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        with pytest.raises(ValueError, match="switch first"):
            await it.front.drain(app.backend, 1)


async def test_an_upload_that_moves_goes_on_when_the_time_is_up() -> None:
    async with origin() as old, origin(says("new")) as new, fronted(times=HASTY) as it:
        it.front.switch(old.backend)
        client = await it.connect()
        await client.send(UPLOAD % 100 + b"x" * 10)
        server = await old.peer()
        await server.read(len(UPLOAD % 100) + 10)
        it.front.switch(new.backend)
        drain = asyncio.create_task(it.front.drain(old.backend, 0))
        for _ in range(9):
            await asyncio.sleep(0.05)  # well within what counts as moving, far leftover a last word
            await client.send(b"x" * 10)
            await server.expect(b"x" * 10)
        assert not drain.done()
        await server.send(ok("got it"))
        await client.expect(ok("got it"))
        report = await drain
        assert (report.finished, report.cut) == (1, 0)


async def test_a_download_of_known_length_that_moves_goes_on_when_the_time_is_up() -> None:
    async with origin() as old, fronted(times=HASTY) as it:
        it.front.switch(old.backend)
        client = await it.connect()
        await client.send(get("/file"))
        server = await old.peer()
        await server.head()
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        await client.head()
        it.front.switch(None)
        drain = asyncio.create_task(it.front.drain(old.backend, 0))
        for _ in range(10):
            await asyncio.sleep(0.05)
            await server.send(b"x" * 10)
            await client.expect(b"x" * 10)
        assert (await drain).cut == 0


async def test_a_transfer_that_has_stalled_is_cut() -> None:
    async with origin() as old, fronted(times=HASTY) as it:
        it.front.switch(old.backend)
        client = await it.connect()
        await client.send(UPLOAD % 100 + b"x" * 10)
        await (await old.peer()).head()
        it.front.switch(None)
        report = await it.front.drain(old.backend, 0)
        assert (report.finished, report.cut) == (0, 1)


async def test_nothing_that_moves_is_waited_for_in_a_hurry() -> None:
    async with origin() as old, fronted(times=HASTY) as it:
        it.front.switch(old.backend)
        client = await it.connect()
        await client.send(UPLOAD % 1_000_000 + b"x")
        server = await old.peer()
        await server.head()
        it.front.switch(None)
        drain = asyncio.create_task(it.front.drain(old.backend, 0))

        async def upload() -> None:
            while True:
                await client.send(b"x")
                await asyncio.sleep(0.01)

        sending = asyncio.create_task(upload())
        _, pending = await asyncio.wait([drain], timeout=0.3)
        assert pending
        it.front.hurry()
        assert (await drain).cut == 1
        sending.cancel()


async def test_a_websocket_is_told_that_the_service_restarts() -> None:
    async def handler(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve(handler, "127.0.0.1", 0) as server, fronted() as it:
        backend = Backend("127.0.0.1", next(iter(server.sockets)).getsockname()[1], "a" * 64)
        it.front.switch(backend)
        url = f"ws://127.0.0.1:{it.front.addresses[0].port}/chat"
        async with connect(url, proxy=None, open_timeout=PATIENCE) as client:
            await client.send("one")
            assert await client.recv() == "one"
            it.front.switch(None)
            assert (await it.front.drain(backend, 0)).cut == 1
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012


async def test_a_websocket_gets_its_answer_before_it_is_closed_and_the_app_no_more_questions() -> None:
    question, answer = b"\x81\x81\0\0\0\0?", b"\x81\x02ok"
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(WEBSOCKET)
        server = await app.peer()
        await server.expect(WEBSOCKET)
        await server.send(SWITCHED + b"\x81")  # half a frame's head comes with the answer to the upgrade
        await client.expect(SWITCHED + b"\x81")
        await client.send(question)
        await server.expect(question)
        it.front.switch(None)
        drain = asyncio.create_task(it.front.drain(app.backend, 0))
        context = it.front._context
        assert context is not None
        (served,) = context.clients
        await true(lambda: served._leaving)  # type: ignore[attr-defined]
        await client.send(question)
        await server.send(b"\x02hi" + answer[:1])
        await client.expect(b"\x02hi" + answer[:1])
        await server.send(answer[1:])
        assert await client.rest() == answer[1:] + restart_frame()
        assert (await drain).cut == 1
        assert await server.rest() == b""


async def test_a_client_that_ends_while_it_is_taken_leave_of_is_let_go() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client = await it.connect()
        await client.send(WEBSOCKET)
        server = await app.peer()
        await server.head()
        await server.send(SWITCHED)
        await client.expect(SWITCHED)
        it.front.switch(None)
        await it.front.drain(app.backend, 0)
        await client.expect(restart_frame())
        client.end()
        context = it.front._context
        assert context is not None
        await true(lambda: not context.clients)


FRAMES = st.builds(
    lambda size, code, fin: Frame(code, b"\x88" * size, fin=fin).serialize(mask=False),
    st.one_of(st.integers(0, 130), st.sampled_from([65_535, 65_536, 70_000])),
    st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONT]),
    st.booleans(),
)


@given(st.lists(FRAMES, max_size=4), st.lists(st.integers(1, 40_000), max_size=12), st.data())
def test_frames_are_followed_however_they_are_cut(
    frames: list[bytes], steps: list[int], data: st.DataObject
) -> None:
    stream = b"".join(frames)
    ends = {sum(map(len, frames[:count])) for count in range(len(frames) + 1)}
    cuts = {min(at, len(stream)) for at in steps}
    cuts |= {at + data.draw(st.integers(-3, 3)) for at in ends}
    places = sorted({0, len(stream), *(at for at in cuts if 0 <= at <= len(stream))})
    it = Frames()
    for begin, end in pairwise(places):
        it.feed(stream[begin:end])
        assert it.between == (end in ends)


def test_a_websocket_is_known_by_its_upgrade() -> None:
    assert is_websocket(get("/", "UPGRADE:  WebSocket", "Connection: Upgrade"))
    assert not is_websocket(get("/", "Upgrade: h2c"))
    assert not is_websocket(get("/?Upgrade:websocket"))
