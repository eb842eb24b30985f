"""Listening sockets that another process makes and hands over; here that process is on this machine."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest

from watcher.deploy.network_sockets import TARGET, NetworkSockets
from watcher.engine import ContainerCommand, Engine, EngineError
from watcher.front import Front

REAL_CLOCK = True  # the other process needs time


class Container:
    """Runs the program of a command as the shell in the address container does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.refuses = folder, False
        self.programs: list[asyncio.subprocess.Process] = []

    async def execute(self, container: str, command: ContainerCommand) -> tuple[int, tuple[str, ...]]:
        if container == "gone":
            raise EngineError("No such container")
        if self.refuses:
            return 1, ("python: not found",)
        *_, program, path, port = command.words
        arguments = ("-I", "-S", "-c", program, path.removeprefix(f"{TARGET}/"), port)
        self.programs.append(
            await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=self.folder)
        )
        return 0, ()

    async def end(self) -> None:
        for program in self.programs:
            if program.returncode is None:
                program.kill()
            await program.wait()


class EchoingFront:
    """A front that answers each connection with its own word."""

    def __init__(self, word: bytes) -> None:
        self.word = word

    async def listen_also(self, sock: socket.socket) -> asyncio.Server:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(self.word)
            writer.close()

        return await asyncio.start_server(answer, sock=sock)


class Rig:
    def __init__(self, folder: Path) -> None:
        self.container = Container(folder)
        self.sockets = NetworkSockets(cast(Engine, self.container), folder)
        self.ended = asyncio.Event()
        self.sockets.on_end = self.ended.set
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])

    async def open(self, front: EchoingFront, container: str = "c") -> None:
        await self.sockets.open(container, {self.port: cast(Front, front)})

    async def read(self) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            return await reader.read()
        finally:
            writer.close()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path / ("long" * 30) / "folder")
    yield made
    await made.sockets.close()
    await made.container.end()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_front_serves_what_arrives_there(rig: Rig) -> None:
    front = EchoingFront(b"one")
    await rig.open(front)
    assert rig.sockets.ports == {rig.port}
    assert await rig.read() == b"one"
    await rig.open(front)
    assert len(rig.container.programs) == 1, "nothing has changed"
    assert [*rig.container.folder.iterdir()] == [], "the way to hand them over is closed"


async def test_another_front_takes_over(rig: Rig) -> None:
    await rig.open(EchoingFront(b"one"))
    await rig.open(EchoingFront(b"two"))
    assert await rig.read() == b"two"
    await asyncio.wait_for(rig.container.programs[0].wait(), 10)


async def test_nothing_listens_once_it_is_closed(rig: Rig) -> None:
    await rig.open(EchoingFront(b"one"))
    await rig.sockets.close()
    assert rig.sockets.ports == frozenset()
    await asyncio.wait_for(rig.container.programs[0].wait(), 10)
    with pytest.raises(OSError, match="onnect"):
        await rig.read()


async def test_the_end_of_the_container_is_noticed(rig: Rig) -> None:
    await rig.open(EchoingFront(b"one"))
    rig.container.programs[0].kill()
    await asyncio.wait_for(rig.ended.wait(), 10)
    assert rig.sockets.ports == frozenset()
    await rig.open(EchoingFront(b"two"))
    assert await rig.read() == b"two"


async def test_where_it_cannot_be_no_port_is_served_and_it_is_not_tried_again(rig: Rig) -> None:
    rig.container.refuses = True
    front = EchoingFront(b"one")
    await rig.open(front)
    assert rig.sockets.ports == frozenset()
    rig.container.refuses = False
    await rig.open(front)
    assert rig.sockets.ports == frozenset()
    await rig.open(front, "another")
    assert rig.sockets.ports == {rig.port}
    await rig.open(front, "gone")
    assert rig.sockets.ports == frozenset()


async def test_a_port_that_is_taken_there_is_not_served(rig: Rig) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", rig.port))
        other.listen()
        await rig.open(EchoingFront(b"one"))
        assert rig.sockets.ports == frozenset()


async def test_it_is_closed_without_fronts(rig: Rig) -> None:
    await rig.open(EchoingFront(b"one"))
    await rig.sockets.open("c", {})
    assert rig.sockets.ports == frozenset()
    await until(lambda: rig.container.programs[0].returncode is not None)
