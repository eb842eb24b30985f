"""The progress of a pull, summed up over its layers, its errors, and its end when the registry is silent.

The engine is a server that answers as a real one does.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import docker
import docker.auth
import pytest

from watcher.engine import DockerEngine, EngineError, PullProgress, pulling
from watcher.errors import EngineUnavailable

LINES: list[dict[str, Any]] = [
    {"status": "Pulling from library/redis", "id": "alpine"},
    {"status": "Downloading", "id": "a", "progressDetail": {"current": 10, "total": 100}},
    {"status": "Downloading", "id": "b", "progressDetail": {"current": 5, "total": 50}},
    {"status": "Downloading", "id": "c", "progressDetail": {}},
    {"status": "Download complete", "id": "a", "progressDetail": {}},
    {"status": "Extracting", "id": "a", "progressDetail": {"current": 1, "total": 900}},
]


class PullServer(ThreadingHTTPServer):
    """Answers pulls with `lines`; before line `stop` it waits for `go_on`, and then says no more."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lines, self.stop, self.status, self.broken = LINES, -1, 200, False
        self.go_on = threading.Event()
        self.asked: list[tuple[dict[str, list[str]], str]] = []
        self.hung_up = threading.Event()  # the client closed its connection


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PullServer

    def do_POST(self) -> None:
        server = self.server
        url = urlsplit(self.path)
        if url.path.endswith("/start"):
            self.send_response(204)
            self.end_headers()
            return
        server.asked.append((parse_qs(url.query), self.headers.get("X-Registry-Auth", "")))
        if server.stop == 0:
            server.go_on.wait(20)
        self.send_response(server.status)
        if server.status != 200:
            body = json.dumps({"message": "pull access denied for redis"}).encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        try:
            for place, line in enumerate(server.lines):
                if place == server.stop:
                    self._wait_for_client()
                    return
                self._send(json.dumps(line).encode() + b"\r\n")
            if not server.broken:
                self._send(b"")
        except ConnectionError:  # it was cancelled before all lines were sent
            server.hung_up.set()

    def _send(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _wait_for_client(self) -> None:
        self.connection.settimeout(20)
        if not self.connection.recv(1):
            self.server.hung_up.set()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[PullServer]:
    made = PullServer()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.go_on.set()
    made.shutdown()
    made.server_close()
    thread.join()


def connect(server: PullServer, times: pulling.PullTimes | None = None) -> DockerEngine:
    client = docker.APIClient(f"tcp://127.0.0.1:{server.server_address[1]}", version="1.41")
    return DockerEngine(client, times)


@pytest.fixture
def engine(server: PullServer) -> DockerEngine:
    return connect(server)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.001)


def test_bytes_of_all_layers_are_summed_up() -> None:
    layers, sums = pulling.LayerProgress(), []
    for line in LINES:
        layers.add_status(line)
        sums.append(layers.total_bytes)
    assert sums == [(0, 0), (10, 100), (15, 150), (15, 150), (105, 150), (105, 150)]


async def test_an_image_is_asked_for_by_name_tag_platform_and_login(
    server: PullServer, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker.auth, "get_config_header", lambda _, registry: f"login for {registry}")
    await engine.pull("redis", platform="linux/arm64")
    await engine.pull("ghcr.io/a/b@sha256:" + "0" * 64)
    assert server.asked == [
        ({"fromImage": ["redis"], "tag": ["latest"], "platform": ["linux/arm64"]}, "login for docker.io"),
        ({"fromImage": ["ghcr.io/a/b"], "tag": ["sha256:" + "0" * 64]}, "login for ghcr.io"),
    ]


async def test_errors_of_a_pull_are_raised(server: PullServer, engine: DockerEngine) -> None:
    server.lines = [LINES[0], {"error": "unexpected EOF", "errorDetail": {}}, LINES[1]]
    with pytest.raises(EngineError, match="unexpected EOF"):
        await engine.pull("redis")
    server.status = 404
    with pytest.raises(EngineError, match="pull access denied for redis"):
        await engine.pull("redis")
    server.status = 500
    with pytest.raises(EngineError, match="pull access denied for redis"):
        await engine.pull("redis")


async def test_an_engine_that_ends_in_the_middle_of_a_pull_is_away(
    server: PullServer, engine: DockerEngine
) -> None:
    server.broken = True
    with pytest.raises(EngineUnavailable):
        await engine.pull("redis")


async def test_a_pull_reports_what_has_arrived_also_while_nothing_does(server: PullServer) -> None:
    engine = connect(server, pulling.PullTimes(report_every=0.002))
    server.stop = 3
    shown: list[PullProgress] = []
    pull = asyncio.create_task(engine.pull("redis", progress=shown.append))
    await until(lambda: bool(shown) and shown[-1].received == 15 and shown[-1].silent > 0.05)
    assert shown[-1].known == 150
    pull.cancel()
    await asyncio.gather(pull, return_exceptions=True)


@pytest.mark.parametrize("stop", [0, 3])
async def test_a_pull_of_which_nothing_arrives_is_given_up(server: PullServer, stop: int) -> None:
    engine = connect(server, pulling.PullTimes(stalled=0.2))
    server.stop = stop
    with pytest.raises(EngineError, match=r"nothing arrived for 0\.2 s"):
        await asyncio.wait_for(engine.pull("redis"), 10)


async def test_a_cancelled_pull_ends_at_the_engine_too(server: PullServer, engine: DockerEngine) -> None:
    """Else the next pull of the same image would join the download that hangs."""
    server.stop = 2
    pull = asyncio.create_task(engine.pull("redis"))
    await until(lambda: bool(server.asked))
    pull.cancel()
    await asyncio.wait([pull])
    assert await asyncio.to_thread(server.hung_up.wait, 10)


async def test_pulls_that_hang_leave_the_other_calls_their_threads(
    server: PullServer, engine: DockerEngine
) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    server.stop = 0
    pulls = [asyncio.create_task(engine.pull(f"image-{number}")) for number in range(3)]
    async with asyncio.timeout(10):
        await until(lambda: len(server.asked) == len(pulls))
        await engine.start("container")
        for task in pulls:
            task.cancel()
        ended = await asyncio.gather(*pulls, return_exceptions=True)
    assert [type(each) for each in ended] == [asyncio.CancelledError] * 3
