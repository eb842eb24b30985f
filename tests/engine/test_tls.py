"""A real engine behind TLS with certificates of clients, as `DOCKER_HOST=tcp://…` reaches it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from watcher.builder import BuildkitConnection
from watcher.buildkit import MemorySource, SolveRequest
from watcher.engine import DockerEngine
from watcher.errors import EngineUnavailable

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]

SOCKET = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
CERTIFICATES = Path(__file__).parents[1] / "certificates"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """The engine's socket as a port that wants TLS and a certificate of the client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "cert-server.pem", CERTIFICATES / "key-server.pem")
    context.load_verify_locations(CERTIFICATES / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    open_connections: set[asyncio.Task[None]] = set()

    async def splice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        open_connections.add(task)
        back, forth = await asyncio.open_unix_connection(SOCKET)
        await asyncio.gather(_copy(reader, forth), _copy(back, writer))
        open_connections.discard(task)

    server = await asyncio.start_server(splice, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for task in open_connections:
        task.cancel()
    await asyncio.gather(*open_connections, return_exceptions=True)


async def test_engine_and_buildkit_are_reached_with_the_certificates_of_the_environment(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(CERTIFICATES))
    engine = await DockerEngine.open()
    connection = BuildkitConnection(engine.endpoint, engine, engine.tls)
    try:
        assert engine.endpoint == f"tcp://127.0.0.1:{port}"
        assert (await engine.info()).version
        request = SolveRequest(
            context=MemorySource({"file": b"text"}),
            dockerfile=MemorySource({"Dockerfile": b"FROM scratch\nCOPY file /\n"}),
            shared_key="watcher-test-tls",
            exporter="",
        )
        await (await connection.client()).solve(request, lambda _: None)
    finally:
        await connection.close()
        await engine.close()


async def test_without_a_certificate_the_engine_does_not_answer(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_TLS_VERIFY", raising=False)
    monkeypatch.delenv("DOCKER_CERT_PATH", raising=False)
    with pytest.raises(EngineUnavailable, match=rf"no Docker engine answers at tcp://127\.0\.0\.1:{port}"):
        await DockerEngine.open(f"tcp://127.0.0.1:{port}")
