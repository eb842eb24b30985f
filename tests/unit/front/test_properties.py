"""Any sequence of valid exchanges passes unchanged; no sequence of bytes makes the front fail or smuggles."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from itertools import cycle
from unittest.mock import patch

import h11
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.front.support import PATIENCE, Fronted, Handler, Origin, Peer, fronted, get, ok, origin, says
from tests.unit.front.test_framing import REFUSED, chunked_bodies
from watcher.front.upstream import Upstream
from watcher.observers.events import FrontExchange

EXAMPLES = int(
    os.environ.get("FRONT_EXAMPLES", "150")
)  # of each property; bench/conformance.py asks for more
slow = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

loops = st.sampled_from([asyncio.SelectorEventLoop, uvloop.new_event_loop])
sizes = st.lists(st.sampled_from([1, 2, 3, 7, 20, 100, 5000]), min_size=1, max_size=6)
names = st.sampled_from(["Host", "X-a", "cookie", "ACCEPT", "X-Content-Length", "Te"])
values = st.text("azAZ09 !#\"',;=/\xe9", max_size=12).map(str.strip)
field_lists = st.lists(st.tuples(names, values), max_size=4)
bodies = st.binary(max_size=300) | st.sampled_from([b"\r\n\r\n", b"GET /evil HTTP/1.1\r\n\r\n", b"0\r\n\r\n"])


def run(factory: object, scenario: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:  # type: ignore[arg-type]
        runner.run(asyncio.wait_for(scenario, PATIENCE))


def lines(first: str, fields: list[tuple[str, str]]) -> bytes:
    return "\r\n".join((first, *(f"{name}: {value}" for name, value in fields), "", "")).encode("latin-1")


@dataclass(frozen=True)
class Plan:
    """One exchange: its bytes, the backend it must go to, whether it waits for that."""

    request: bytes
    response: bytes
    backend: int
    held: bool


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FROB"]))
    line, fields = f"{method} /{draw(st.text('abc/?&=%', max_size=8))} HTTP/1.1", draw(field_lists)
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    if framing == "length":
        body = draw(bodies)
        return method, lines(line, [*fields, ("Content-Length", str(len(body)))]) + body
    if framing == "chunked":
        return method, lines(line, [("Transfer-Encoding", "chunked"), *fields]) + draw(chunked_bodies())
    return method, lines(line, fields)


@st.composite
def responses(draw: st.DrawFn, method: str) -> bytes:
    interim = st.sampled_from([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"])
    before = b"".join(draw(st.lists(interim, max_size=2)))
    status, fields, body = (
        draw(st.sampled_from([200, 201, 204, 304, 404, 500])),
        draw(field_lists),
        draw(bodies),
    )
    if draw(st.booleans()) and status != 204:
        fields, body = [*fields, ("Transfer-Encoding", "chunked")], draw(chunked_bodies())
    elif status != 204:
        fields = [("Content-Length", str(len(body))), *fields]
    no_body = method == "HEAD" or status in {204, 304}
    return before + lines(f"HTTP/1.1 {status} Reason", fields) + (b"" if no_body else body)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    method, request = draw(requests())
    return Plan(request, draw(responses(method)), draw(st.integers(0, 2)), draw(st.booleans()))


async def pieces(peer: Peer, data: bytes, steps: list[int]) -> None:
    """Send `data` in pieces of these sizes, over and over."""
    turn, at = cycle(steps), 0
    while at < len(data):
        step = next(turn)
        await peer.send(data[at : at + step])
        at += step
        await asyncio.sleep(0)


@slow
@given(loops, st.lists(plans(), min_size=1, max_size=6), sizes, sizes)
def test_every_exchange_passes_unchanged_and_whole_on_the_backend_of_its_moment(
    factory: object, script: list[Plan], client_steps: list[int], server_steps: list[int]
) -> None:
    async def scenario() -> None:
        at = 0
        async with AsyncExitStack() as stack:
            it = await stack.enter_async_context(fronted())

            def switch(number: int) -> None:
                """Let the exchange with this number find its backend, at once or after a hold."""
                target = apps[script[number].backend].backend
                it.front.switch(None if script[number].held else target)
                if script[number].held:
                    asyncio.get_running_loop().call_later(0.002, it.front.switch, target)

            def serving(mine: int) -> Handler:
                async def handler(peer: Peer) -> None:
                    nonlocal at
                    while first := await peer.reader.read(1):
                        plan = script[at]
                        assert mine == plan.backend
                        assert first + await peer.read(len(plan.request) - 1) == plan.request
                        at += 1
                        if at < len(script):
                            switch(at)
                        await pieces(peer, plan.response, server_steps)

                return handler

            apps = [await stack.enter_async_context(origin(serving(n), str(n) * 64)) for n in range(3)]
            switch(0)
            client = await it.connect()
            sending = asyncio.create_task(pieces(client, b"".join(p.request for p in script), client_steps))
            try:
                for plan in script:
                    await client.expect(plan.response)
            finally:
                sending.cancel()
            assert at == len(script)
            assert [event.revision[0] for event in it.told(FrontExchange)] == [str(p.backend) for p in script]
            await it.front.close(grace=0)

    run(factory, scenario())


ODDITIES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b"\x0b",
    b"\xff",
    b"0",
    b"-",
    b"+",
    b"x",
    b";",
]
ODDITIES += [
    b"Content-Length: 5\r\n",
    b"Content-Length: 50\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
]
ODDITIES += [
    b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"\r\n ",
    b"chunked",
    b"identity, ",
]
ODDITIES += [
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: x\r\n",
    b"HTTP/1.0",
    b"5\r\nhello\r\n",
]
mutations = st.lists(
    st.tuples(
        st.sampled_from(["insert", "replace", "delete", "repeat"]),
        st.floats(0, 1),
        st.integers(1, 12),
        st.sampled_from(ODDITIES) | st.binary(min_size=1, max_size=4),
    ),
    max_size=4,
)


def mutated(data: bytes, changes: list[tuple[str, float, int, bytes]]) -> bytes:
    for kind, where, length, new in changes:
        at = int(where * len(data))
        old = data[at : at + length]
        middle = {"insert": new + old, "replace": new, "delete": b"", "repeat": old + old}[kind]
        data = data[:at] + middle + data[at + length :]
    return data


class Strict:
    """A backend that reads with h11, not with the front's parser, and counts the requests it understands."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        with suppress(h11.RemoteProtocolError):
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await peer.reader.read(65536))
                elif isinstance(event, h11.Request):
                    request = event
                    self.requests.append(event.target)
                elif isinstance(event, h11.EndOfMessage):
                    body = b"" if request.method == b"HEAD" else b"ok"
                    answer = h11.Response(status_code=404, headers=[("Content-Length", str(len(body)))])
                    out = connection.send(answer) + connection.send(h11.Data(data=body))
                    await peer.send(out + connection.send(h11.EndOfMessage()))
                    if connection.our_state is h11.MUST_CLOSE:
                        break
                    connection.start_next_cycle()
                elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                    break
        await peer.close()


async def still_works(it: Fronted, app: Origin) -> None:
    it.front.switch(app.backend)
    await (await it.connect()).ask(get(), ok("fine"))


def taken_from(stream: bytes, part: bytes) -> bool:
    """Whether `part` stands in `stream` as it is, but for empty lines that were left out between requests."""

    def matches(at: int) -> bool:
        for number in range(len(part)):
            while part[number : number + 1] != stream[at : at + 1]:
                if stream[at : at + 2] != b"\r\n":
                    return False
                at += 2
            at += 1
        return True

    return any(matches(at) for at in range(len(stream) + 1))


async def attack(stream: bytes, steps: list[int]) -> tuple[Strict, int, list[bytes]]:
    """Send `stream` and end. Returns the backend, how many exchanges the front knows of, what arrived."""
    strict, begun = Strict(), 0
    async with (
        origin(strict) as app,
        origin(says("fine")) as good,
        fronted(protocol="http") as it,
    ):
        begin = Upstream.begin

        def count(upstream: Upstream) -> None:
            nonlocal begun
            begun += 1
            begin(upstream)

        it.front.switch(app.backend)
        client = await it.connect()
        with patch.object(Upstream, "begin", count), suppress(ConnectionError):
            await pieces(client, stream, steps)
            client.end()
            await client.rest()
        seen = begun
        await still_works(it, good)
        return strict, seen, [bytes(part) for part in app.seen]


@slow
@given(loops, st.lists(requests(), min_size=1, max_size=3), mutations, sizes)
def test_no_backend_sees_a_request_that_the_front_does_not_know_of(
    factory: object,
    sent: list[tuple[str, bytes]],
    changes: list[tuple[str, float, int, bytes]],
    steps: list[int],
) -> None:
    stream = mutated(b"".join(request for _, request in sent), changes)

    async def scenario() -> None:
        strict, begun, arrived = await attack(stream, steps)
        assert len(strict.requests) <= begun
        assert all(taken_from(stream, part) for part in arrived)

    run(factory, scenario())


@settings(deadline=None, max_examples=len(REFUSED) * 3)
@given(st.sampled_from(sorted(REFUSED)), sizes)
def test_no_byte_of_a_refused_head_reaches_a_backend(name: str, steps: list[int]) -> None:
    async def scenario() -> None:
        _, begun, arrived = await attack(REFUSED[name] + b"3\r\nabc\r\n0\r\n\r\n" + get("/evil"), steps)
        assert begun == 0
        assert arrived == []

    run(asyncio.SelectorEventLoop, scenario())


@slow
@given(loops, responses("GET"), mutations, sizes)
@example(asyncio.SelectorEventLoop, b"", [], [1])
@example(
    uvloop.new_event_loop,
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    [],
    [7],
)
def test_no_answer_of_a_backend_makes_the_front_fail(
    factory: object, response: bytes, changes: list[tuple[str, float, int, bytes]], steps: list[int]
) -> None:
    wild = mutated(response, changes)

    async def handler(peer: Peer) -> None:
        await peer.head()
        await pieces(peer, wild, steps)
        await peer.close()

    async def scenario() -> None:
        async with origin(handler) as app, origin(says("fine")) as good, fronted() as it:
            it.front.switch(app.backend)
            client = await it.connect()
            await client.send(get("/", "Connection: close"))
            with suppress(ConnectionResetError):
                await client.rest()
            await still_works(it, good)

    run(factory, scenario())
