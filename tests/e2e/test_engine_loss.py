"""The engine goes away, hangs and comes back while the daemon works: it serves on, says so, and catches up.

Between the daemon and the engine stands a wire that can be cut and stopped. The containers run on meanwhile,
as they do when an engine with live-restore is replaced.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.conftest import Project, constant_load, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


class Wire:
    """A Unix socket that leads to the engine while it is not cut; while it is stopped nothing moves on it."""

    def __init__(self, path: Path, engine: str) -> None:
        self.endpoint = f"unix://{path}"
        self._path, self._engine = path, urlsplit(engine)
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._is_cut = True
        self._calls: set[asyncio.Task[None]] = set()
        self._moves = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._listen())
        self.go_on()

    def cut(self) -> None:
        """Nobody answers, and every call under way breaks off."""
        self._do(self._hang_up())

    def mend(self) -> None:
        """The engine is there again."""
        self._do(self._listen())

    def stop(self) -> None:
        """Connections are taken, and nothing moves on any of them."""
        self._loop.call_soon_threadsafe(self._moves.clear)

    def go_on(self) -> None:
        """What was held up goes on."""
        self._loop.call_soon_threadsafe(self._moves.set)

    def close(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._path.unlink(missing_ok=True)
        self._is_cut = False
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def _hang_up(self) -> None:
        server, self._server = self._server, None
        self._is_cut = True
        if server is None:
            return
        server.close()
        self._path.unlink(missing_ok=True)
        while self._calls:  # one may be on its way to the engine, and has nothing to hang up yet
            for call in self._calls:
                call.cancel()
            await asyncio.sleep(0.01)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = self._loop.create_task(self._call(reader, writer))
        self._calls.add(call)

        def over(_: object) -> None:  # not in the task, which may be cancelled before it has begun
            self._calls.discard(call)
            writer.transport.abort()

        call.add_done_callback(over)
        if self._is_cut:  # taken before the cut, and told of after it
            call.cancel()

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._engine.scheme == "unix":
            opening = asyncio.ensure_future(asyncio.open_unix_connection(self._engine.path))
        else:
            opening = asyncio.ensure_future(asyncio.open_connection(self._engine.hostname, self._engine.port))
        try:
            ends = await asyncio.shield(opening)
        except asyncio.CancelledError:  # asyncio leaves a transport open whose opening is cancelled
            with suppress(OSError):
                (await opening)[1].transport.abort()
            raise
        try:
            await asyncio.gather(self._pass_on(reader, ends[1]), self._pass_on(ends[0], writer))
        finally:
            ends[1].transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._moves.wait()
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    endpoint = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    made = Wire(tmp_path_factory.mktemp("wire") / "engine.sock", endpoint)
    yield made
    made.close()


def engine_is_up(project: Project) -> bool:
    return bool(json.loads(project.watcher("status", "--json").stdout)["engine"]["up"])


def begin_to_build(project: Project, version: str) -> None:
    """Save this version and see its build begin; at the API, since a command may take longer than it."""
    address = project.api() + "api/status"

    def building() -> bool:
        asked = httpx.get(address, trust_env=False).json()
        return bool(asked["services"][0]["phase"] == "building")

    project.set_version(version)
    until(building, "a build has begun")


def said(project: Project) -> str:
    return "".join(project.output[-60:])


def test_a_save_while_the_engine_is_away_goes_live_when_it_is_back(wire: Wire, project: Project) -> None:
    project.start("--engine", wire.endpoint)
    assert project.wait()["outcome"] == "live", said(project)
    with constant_load(project) as failures:
        wire.cut()
        until(lambda: not engine_is_up(project), "the loss is seen")
        project.set_version("3.0.0")
        until(lambda: project.status()["phase"] == "down", "the save is seen, and that it cannot be built")
        assert project.watcher("wait", "--timeout", "0.5").returncode == 124
        assert project.health()["version"] != "3.0.0"
        wire.mend()
        assert project.wait()["outcome"] == "live", said(project)
        assert project.health()["version"] == "3.0.0"
    assert failures == []
    assert engine_is_up(project)


def test_an_engine_that_goes_away_during_a_build_is_not_the_users_fault(wire: Wire, project: Project) -> None:
    with constant_load(project) as failures:
        begin_to_build(project, "3.1.0")
        wire.cut()
        until(lambda: not engine_is_up(project), "the loss is seen")
        assert project.status()["failed"] is None
        wire.mend()
        assert project.wait()["outcome"] == "live", said(project)
        assert project.health()["version"] == "3.1.0"
    assert failures == []


def test_an_engine_that_hangs_for_a_while_costs_that_while(wire: Wire, project: Project) -> None:
    with constant_load(project) as failures:
        begin_to_build(project, "3.2.0")
        wire.stop()
        assert project.watcher("wait", "--timeout", "3").returncode == 124
        wire.go_on()
        assert project.wait()["outcome"] == "live", said(project)
        assert project.health()["version"] == "3.2.0"
    assert failures == []


def test_the_daemon_ends_in_good_order_without_an_engine(wire: Wire, project: Project) -> None:
    wire.cut()
    until(lambda: not engine_is_up(project), "the loss is seen")
    assert project.stop() == 0
    assert not [line for line in project.output if "Traceback" in line], said(project)
    wire.mend()
    project.start("--engine", wire.endpoint)
    assert project.wait()["outcome"] == "live", said(project)
    assert project.health()["version"] == "3.2.0"
