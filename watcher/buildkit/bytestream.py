"""What an HTTP/2 connection runs on: any ordered stream of bytes in both directions."""

from __future__ import annotations

import asyncio
from typing import Protocol

# Bytes; thousands of small frames fit into it, and handling them must not hold up the event loop for long.
_READ_SIZE = 64 * 1024


class ByteStream(Protocol):
    """A byte stream: a socket, or a gRPC call that carries one. One reader and one writer at a time."""

    async def read(self) -> bytes:
        """Return the next bytes as soon as there are any; empty at the end. Raises `OSError` if broken."""
        ...

    async def write(self, data: bytes) -> None:
        """Write the bytes; returns when more can be written. Raises `OSError` if broken."""
        ...

    async def close(self) -> None:
        """Close both directions immediately. Safe to call twice, never raises."""
        ...


class SocketStream:
    """A byte stream over a connected socket, plain or TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """Return the next bytes, at most 64 KiB; empty at the end."""
        return await self._reader.read(_READ_SIZE)

    async def write(self, data: bytes) -> None:
        """Write the bytes and wait while the socket's buffer is full."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """Drop what is unsent and close the socket."""
        self._writer.transport.abort()
        try:
            await self._writer.wait_closed()
        except OSError:
            # Closing a broken connection reports once more why it broke; that was raised where it mattered.
            return
