"""The fronts' listening sockets in the network of an address container.

What arrives there for a port of a front is served by the front, as from outside: kept HTTP connections go to
the new container with their next request, and requests are held while none is live. The kernel forwards all
else.

A socket belongs to the network in which it was made, and can be handed to another process (unix(7),
SCM_RIGHTS). So this process's own interpreter runs for a moment in the address container, makes the sockets
and sends them here. That needs an engine on this machine; elsewhere the kernel forwards these ports too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from watcher.deploy.forwarding import listen_command
from watcher.engine import Engine, EngineError
from watcher.front import Front

TARGET = "/watcher"  # the folder in the address container
PATIENCE = 5.0  # seconds for the sockets to arrive


class NetworkSockets:
    """Opens and closes the sockets of one service's fronts. `folder` is shared with address containers.

    `on_end` is called when they are lost: the address container ended.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine, self._folder = engine, folder
        self.on_end: Callable[[], None] = lambda: None
        self.ports: frozenset[int] = frozenset()
        self._opened: tuple[object, ...] = ()
        self._python = os.path.realpath(sys.executable)  # outside of a virtual environment
        self._servers: list[asyncio.Server] = []
        self._control: socket.socket | None = None  # to the program in the container
        self._watcher: asyncio.Task[None] | None = None

    @property
    def mounts(self) -> Mapping[str, str]:
        """Folders of this machine that an address container needs for it, and where."""
        interpreter = {prefix: prefix for prefix in (sys.base_prefix,) if not prefix.startswith("/usr")}
        return {str(self._folder): TARGET, **interpreter}

    def prepare(self) -> None:
        """Make the folder. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def open(self, container: str, fronts: Mapping[int, Front]) -> None:
        """Let the fronts listen in the network of this container too; `ports` says what became of it.

        Raises EngineUnavailable.
        """
        wanted = (container, *sorted((port, id(front)) for port, front in fronts.items()))
        if wanted == self._opened:
            return
        new = None
        if fronts:
            with contextlib.suppress(OSError, EngineError):
                # Before the old ones are closed: a port that stays is listened on throughout.
                new = await self._receive(container, [*fronts])
        await self.close()
        self._opened = wanted  # one that cannot be is not tried at each deploy
        if new is None:
            return
        self._control, sockets = new
        for front, sock in zip(fronts.values(), sockets, strict=True):
            self._servers.append(await front.listen_also(sock))
        self.ports = frozenset(fronts)
        self._watcher = asyncio.create_task(self._watch(self._control))

    async def _receive(self, container: str, ports: list[int]) -> tuple[socket.socket, list[socket.socket]]:
        self.prepare()
        name = secrets.token_hex(8)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                # The path of a socket has at most 107 bytes (unix(7)); that of the folder can be longer.
                listener.bind(f"/proc/self/fd/{folder}/{name}")
            finally:
                os.close(folder)
            try:
                listener.listen(1)
                listener.setblocking(False)
                command = listen_command(self._python, f"{TARGET}/{name}", ports)
                status, lines = await self._engine.execute(container, command)
                if status:
                    raise EngineError(" ".join(lines))
                async with asyncio.timeout(PATIENCE):
                    control, _ = await asyncio.get_running_loop().sock_accept(listener)
            finally:
                (self._folder / name).unlink(missing_ok=True)
        try:
            async with asyncio.timeout(PATIENCE):
                await _until_readable(control)
            _, found, _, _ = socket.recv_fds(control, 1, len(ports))
            if len(found) != len(ports):
                for each in found:
                    os.close(each)
                raise OSError("not all sockets arrived")
        except BaseException:
            control.close()
            raise
        return control, [socket.socket(fileno=each) for each in found]

    async def _watch(self, control: socket.socket) -> None:
        """Notice the end of the program in the container, which ends no earlier than this connection."""
        await _until_readable(control)
        self._close_sockets()
        self.on_end()

    def _close_sockets(self) -> None:
        servers, self._servers, self.ports, self._opened = self._servers, [], frozenset(), ()
        for server in servers:
            server.close()
        if self._control:
            self._control.close()
            self._control = None

    async def close(self) -> None:
        """Stop listening there; connections that are open go on."""
        watcher, self._watcher = self._watcher, None
        if watcher and watcher is not asyncio.current_task():
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        self._close_sockets()


async def _until_readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)
