"""How gRPC is reached at an address is found out by asking."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.unit.buildkit.fake_engine import Build, FakeEngine
from watcher.buildkit import Client, ConnectError, MemorySource, SolveRequest
from watcher.buildkit.bytestream import SocketStream
from watcher.buildkit.grpc import Server
from watcher.buildkit.transport import Address

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SWITCHING = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


async def never(_build: object) -> dict[str, str]:
    raise AssertionError


async def take_context(build: Build) -> dict[str, str]:
    await build.receive()
    return {"containerimage.digest": "sha256:1"}


async def serve_grpc(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await Server(FakeEngine(never).handlers(), peer="the client").serve(SocketStream(reader, writer))


class Engine28:
    """An HTTP/1.1 API that upgrades `POST /grpc`, as engines 20.10 to 28 do."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        if head.startswith(b"POST /grpc HTTP/1.1\r\n") and b"\r\nUpgrade: h2c\r\n" in head:
            writer.write(SWITCHING)
            await serve_grpc(reader, writer)
        else:
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


class BuildkitD:
    """HTTP/2 from the first byte, as a standalone buildkitd and engines from 29 on."""

    def __init__(self) -> None:
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await serve_grpc(reader, writer)


@asynccontextmanager
async def listening(path: Path, serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            tasks.discard(task)

    if tls is None:
        server = await asyncio.start_unix_server(accept, path)
        address = f"unix://{path}"
    else:
        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
        address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield address
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def use(address: str, tls: ssl.SSLContext | None = None) -> None:
    async with await Client.connect(address, tls=tls, timeout=5) as client:
        assert await client.workers() == []


async def test_an_engine_before_29_is_reached_by_an_upgrade(tmp_path: Path):
    engine = Engine28()
    async with listening(tmp_path / "s", engine) as address:
        await use(address)
        assert [head.split()[:2] for head in engine.requests] == [[b"PRI", b"*"], [b"POST", b"/grpc"]]


class SessionEngine28:
    """An engine before 29 that also takes sessions as connections of their own, if `willing`."""

    def __init__(self, *, willing: bool) -> None:
        self.engine = FakeEngine(take_context)
        self.willing = willing
        self.asked: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        stream = SocketStream(reader, writer)
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        self.asked.append(head.split()[1])
        if head.startswith("POST /grpc "):
            writer.write(SWITCHING)
            await Server(self.engine.handlers(), peer="the client").serve(stream)
        elif head.startswith("POST /session ") and self.willing:
            writer.write(SWITCHING)
            name, key = (fields[f"x-docker-expose-session-{field}"] for field in ("uuid", "sharedkey"))
            await self.engine.adopt_session(name, key, stream)
        else:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("willing", [True, False])
async def test_a_session_gets_a_connection_of_its_own_where_the_engine_allows_it(
    tmp_path: Path, willing: bool
):
    engine = SessionEngine28(willing=willing)
    request = SolveRequest(
        context=MemorySource({"a": b"x" * 1_000_000}),
        dockerfile=MemorySource({"Dockerfile": b"FROM scratch\n"}),
        shared_key="a key with spaces, é and\nlines",
    )
    async with listening(tmp_path / "s", engine) as address, await Client.connect(address) as client:
        for _ in range(2):
            assert (await client.solve(request, lambda _event: None)).image_id == "sha256:1"
    assert engine.asked == ["*", "/grpc", "/session", "/session"]
    (kept,) = engine.engine.kept.values()
    assert kept.contents == {"a": b"x" * 1_000_000}
    assert [build.requested for build in engine.engine.builds] == [["a"], []]


async def test_a_server_of_http2_is_reached_at_once(tmp_path: Path):
    async with listening(tmp_path / "s", BuildkitD()) as address:
        await use(address)


async def test_what_was_found_out_is_remembered(tmp_path: Path):
    engine, daemon = Engine28(), BuildkitD()
    async with listening(tmp_path / "e", engine) as one, listening(tmp_path / "d", daemon) as other:
        for address in (one, other):
            await use(address)
            await use(address)
        assert [head.split()[0] for head in engine.requests] == [b"PRI", b"POST", b"POST"]
        assert daemon.connections == 3


@pytest.mark.parametrize("order", [(Engine28, BuildkitD), (BuildkitD, Engine28)])
async def test_an_engine_that_was_exchanged_is_asked_anew(
    tmp_path: Path, order: tuple[Callable[[], Serve], Callable[[], Serve]]
):
    first, second = order
    async with listening(tmp_path / "s", first()) as address:
        await use(address)
    (tmp_path / "s").unlink(missing_ok=True)
    async with listening(tmp_path / "s", second()) as address:
        try:
            await use(address)
        except ConnectError:
            # The caller's next attempt finds out.
            await use(address)


async def hang_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)


async def stay_silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def talk_nonsense(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP ready\r\n" * 5000)
    await writer.drain()


async def refuse_grpc(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


async def serve_other_grpc(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await Server({}, peer="the client").serve(SocketStream(reader, writer))


async def settings_then_silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("serve", "text"),
    [
        (hang_up, "neither HTTP/2 nor HTTP/1"),
        (talk_nonsense, "neither HTTP/2 nor HTTP/1"),
        (refuse_grpc, "HTTP/1.1 404 Not Found"),
        (serve_other_grpc, "offers no BuildKit"),
        (stay_silent, "within 0.2 s"),
        (settings_then_silence, "within 0.2 s"),
    ],
)
async def test_a_server_without_buildkit_is_said_to_be_one(tmp_path: Path, serve: Serve, text: str):
    async with listening(tmp_path / "s", serve) as address:
        with pytest.raises(ConnectError) as caught:
            await Client.connect(address, timeout=0.2)
    assert text in str(caught.value)
    assert address in str(caught.value)


async def test_nobody_at_the_address_is_a_connect_error(tmp_path: Path):
    with pytest.raises(ConnectError, match="cannot be reached"):
        await Client.connect(f"unix://{tmp_path}/nothing")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:///var/run/docker.sock", ("/var/run/docker.sock", "localhost", 0)),
        ("unix:/run/buildkit/buildkitd.sock", ("/run/buildkit/buildkitd.sock", "localhost", 0)),
        ("tcp://build.example:1234", ("", "build.example", 1234)),
        ("tcp://[::1]:1234", ("", "::1", 1234)),
        ("tcp://build.example", ("", "build.example", 2376)),
    ],
)
def test_addresses_are_read(text: str, expected: tuple[str, str, int]):
    address = Address.parse(text, tls=True)
    assert (address.path, address.host, address.port) == expected


def test_what_is_known_of_an_address_is_not_believed_of_it_with_tls():
    address = "tcp://build.example:1234"
    assert Address.parse(address, tls=True) != Address.parse(address, tls=False)


@pytest.mark.parametrize(
    "text", ["", "ssh://host", "unix://", "tcp://", "http://x", "tcp://x:99999", "/var/run/docker.sock"]
)
def test_an_unusable_address_is_shown(text: str):
    with pytest.raises(ConnectError) as caught:
        Address.parse(text, tls=False)
    assert repr(text) in str(caught.value)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return key, cert


@pytest.mark.parametrize("protocols", [["h2"], ["http/1.1"], []])
async def test_tls_is_spoken_whatever_the_server_agrees_to(
    tmp_path: Path, certificate: tuple[Path, Path], protocols: list[str]
):
    key, cert = certificate
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=cert)
    server.load_cert_chain(cert, key)
    server.verify_mode = ssl.CERT_REQUIRED
    if protocols:
        server.set_alpn_protocols(protocols)
    ours = ssl.create_default_context(cafile=cert)
    ours.load_cert_chain(cert, key)
    engine: Serve = BuildkitD() if protocols == ["h2"] else Engine28()
    agreed: set[str | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        agreed.add(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await engine(reader, writer)

    async with listening(tmp_path / "s", serve, server) as address:
        await use(address, ours)
    assert agreed == {*protocols} or (agreed, protocols) == ({None}, [])


async def test_an_untrusted_certificate_is_a_connect_error(tmp_path: Path, certificate: tuple[Path, Path]):
    key, cert = certificate
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(cert, key)
    async with listening(tmp_path / "s", BuildkitD(), server) as address:
        with pytest.raises(ConnectError, match=r"(?i)certificate"):
            await Client.connect(address, tls=ssl.create_default_context())
