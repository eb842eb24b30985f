"""Runs the app inside the daemon's own event loop."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import cast

import uvicorn
from fastapi import FastAPI

from watcher.errors import ConfigError
from watcher.system import inherited_sockets
from watcher.system.lock import watcher_at
from watcher.web.connection import DEFAULT_LIMITS, Connection, ConnectionLimits

STOP_SECONDS = 2  # for answers that are under way when the daemon stops


class _Server(uvicorn.Server):
    """uvicorn inside the daemon: it handles no signals, and does not wake up without requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self.stop = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        await self.stop.wait()  # uvicorn's own looks ten times a second, for the Date header that Guard sets


class PortTaken(ConfigError):
    """Another program listens at the port."""


def listen_at_first(host: str, ports: Sequence[int]) -> socket.socket:
    """Return a listening socket at the first of `ports` that is free; raises ConfigError."""
    first, *others = ports
    try:
        return listen(host, first)
    except PortTaken:
        for port in others:
            with suppress(PortTaken):
                return listen(host, port)
        raise


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on `host` and `port` (0: any free one); raises ConfigError, saying what to do."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(
            "http.host", host, f"is not an address of this machine ({error.strerror})"
        ) from error
    if there := inherited_sockets.take_socket(family, str(address[0]), int(address[1])):
        there.setblocking(False)
        return there
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            holder = watcher_at(port) or "another program"
            rule = f"is in use by {holder}; stop it or set another port (0 = any free one)"
            raise PortTaken("http.port", port, rule) from error
        if error.errno == errno.EACCES:
            raise ConfigError("http.port", port, "needs privileges; set one above 1023") from error
        raise ConfigError("http.host", host, f"cannot be listened on ({error.strerror})") from error
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def serve(
    app: FastAPI, host: str, ports: Sequence[int], limits: ConnectionLimits = DEFAULT_LIMITS
) -> AsyncGenerator[str]:
    """Serve `app` at the first free port while the context lasts; yields its URL. Raises ConfigError."""
    listener = listen_at_first(host, ports)
    app.state.listener = listener
    bound, number = listener.getsockname()[:2]
    config = uvicorn.Config(
        app,
        http=cast(type[Connection], partial(Connection, limits=limits)),  # called for each connection
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([listener]), name="http")
    up = asyncio.create_task(server.up.wait())
    await asyncio.wait({task, up}, return_when=asyncio.FIRST_COMPLETED)
    up.cancel()
    try:
        shown = "127.0.0.1" if bound == "0.0.0.0" else "::1" if bound == "::" else bound
        yield f"http://[{shown}]:{number}/" if ":" in shown else f"http://{shown}:{number}/"
    finally:
        app.state.board.close()  # ends the event streams, which would last for ever
        server.stop.set()
        await task
