"""Real programs on both sides of the front: gRPC over HTTP/2 with prior knowledge, HTTPS, curl."""

from __future__ import annotations

import asyncio
import functools
import queue
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import grpc
import pytest

from tests.unit.front.support import PATIENCE, Fronted, Peer, fronted, ok, origin, true
from watcher.front import Backend
from watcher.observers.events import FrontOld

T = TypeVar("T")
LARGE = bytes(range(256)) * 8_000  # more than one HTTP/2 window


async def elsewhere(call: Callable[[], T]) -> T:
    """The result of a call that blocks; the front goes on meanwhile."""
    async with asyncio.timeout(PATIENCE):
        return await asyncio.to_thread(call)


def run_program(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, check=False)


class Named(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """Says who answers; sends back a stream of messages."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        if details.method == "/t.T/Echo":
            return grpc.stream_stream_rpc_method_handler(lambda messages, _: iter(messages))
        return grpc.unary_unary_rpc_method_handler(lambda message, _: self._name + message)


@contextmanager
def serving(name: bytes) -> Iterator[Backend]:
    """A gRPC server."""
    server = grpc.server(ThreadPoolExecutor(4), handlers=(Named(name),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield Backend("127.0.0.1", port, name.decode() * 64)
    server.stop(None).wait()


@contextmanager
def calling(it: Fronted) -> Iterator[grpc.Channel]:
    """A client of its own connection."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{it.front.addresses[0].port}", options) as channel:
        yield channel


async def test_a_grpc_call_ends_where_it_began_and_the_next_one_goes_to_the_new_version() -> None:
    messages: queue.Queue[bytes | None] = queue.Queue()
    async with fronted() as it:
        with serving(b"a") as old, serving(b"b") as new, calling(it) as channel:
            it.front.switch(old)
            named = channel.unary_unary("/t.T/Name")
            assert await elsewhere(functools.partial(named, b"1")) == b"a1"
            echoed = channel.stream_stream("/t.T/Echo")(iter(messages.get, None))
            messages.put(b"x")
            assert await elsewhere(functools.partial(next, echoed)) == b"x"
            it.front.switch(new)

            async def moved() -> bool:
                return bool(await elsewhere(functools.partial(named, b"2")) == b"b2")

            async with asyncio.timeout(PATIENCE):
                while not await moved():
                    pass
            assert [event.connections for event in it.told(FrontOld)] == [0, 1]
            messages.put(LARGE)
            assert await elsewhere(functools.partial(next, echoed)) == LARGE
            messages.put(None)
            assert await elsewhere(lambda: list(echoed)) == []
            await true(lambda: [event.connections for event in it.told(FrontOld)] == [0, 1, 0])
            report = await it.front.drain(old, timeout=0)
            assert (report.cut, report.left) == (0, 0)


async def test_no_grpc_call_fails_however_often_the_version_changes() -> None:
    stop = threading.Event()

    def call(channel: grpc.Channel) -> set[bytes]:
        named, seen = channel.unary_unary("/t.T/Name"), set()
        while not stop.is_set():
            seen.add(bytes(named(LARGE[:3000], wait_for_ready=True)[:1]))  # a call that fails raises
        return seen

    async with fronted() as it:
        with serving(b"a") as one, serving(b"b") as two, calling(it) as first, calling(it) as second:
            it.front.switch(one)
            calls = [asyncio.create_task(asyncio.to_thread(call, each)) for each in (first, second)]
            for number in range(6):
                await asyncio.sleep(0.1)  # so that calls run on either side of each switch
                old, new = (one, two) if number % 2 == 0 else (two, one)
                it.front.switch(new)
                assert (await it.front.drain(old, timeout=PATIENCE)).cut == 0
            stop.set()
            assert await asyncio.gather(*calls) == [{b"a", b"b"}, {b"a", b"b"}]


async def test_a_grpc_stream_without_an_end_is_left_to_the_app_and_then_cut() -> None:
    messages: queue.Queue[bytes | None] = queue.Queue()
    async with fronted() as it:
        with serving(b"a") as old, calling(it) as channel:
            it.front.switch(old)
            echoed = channel.stream_stream("/t.T/Echo")(iter(messages.get, None))
            messages.put(b"x")
            assert await elsewhere(functools.partial(next, echoed)) == b"x"
            it.front.switch(None)
            report = await it.front.drain(old, timeout=0)
            assert (report.finished, report.cut, report.left) == (0, 0, 1)
            messages.put(b"y")  # it goes on while the app is being told to stop
            assert await elsewhere(functools.partial(next, echoed)) == b"y"
            assert await it.front.cut(old) == 1
            with pytest.raises(grpc.RpcError):
                await elsewhere(lambda: list(echoed))
            messages.put(None)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost, in one file."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    )
    arguments = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(file), "-out", "-"]
    done = subprocess.run([*command.split(), *arguments], capture_output=True, check=True)
    with file.open("ab") as both:
        both.write(done.stdout)
    return file


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
async def test_tls_ends_at_the_app_and_not_before(certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        await peer.head()
        await peer.send(ok("secret"))
        await peer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with fronted() as it:
        it.front.switch(Backend("127.0.0.1", server.sockets[0].getsockname()[1], "a" * 64))
        port = it.front.addresses[0].port
        trusting = ssl.create_default_context(cafile=str(certificate))
        client = Peer(
            *await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")
        )
        await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.expect(ok("secret"))
        await client.close()
    server.close()
    await server.wait_closed()


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("coding", [(), ("-H", "Transfer-Encoding: chunked")], ids=["length", "chunked"])
async def test_curl_waits_for_100_continue_before_it_sends_a_large_body(
    coding: tuple[str, ...], tmp_path: Path
) -> None:
    body = tmp_path / "body"
    body.write_bytes(LARGE)
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        head = await peer.head()
        seen.append(head)
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if b"chunked" in head:
            while size := int(await peer.until(b"\r\n"), 16):
                await peer.read(size + 2)
            await peer.expect(b"\r\n")
        else:
            await peer.read(len(LARGE))
        await peer.send(ok("got it"))

    async with origin(handler) as app, fronted() as it:
        it.front.switch(app.backend)
        url = f"http://127.0.0.1:{it.front.addresses[0].port}/"
        command = ["curl", "-sS", "--noproxy", "*", "-X", "POST", "-H", "Expect: 100-continue", *coding]
        command += ["--expect100-timeout", str(PATIENCE), "--data-binary", f"@{body}", url]
        done = await elsewhere(functools.partial(run_program, command))
        assert done.stdout == b"got it", done.stderr
        assert b"Expect: 100-continue\r\n" in seen[0]
