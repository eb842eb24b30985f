"""Byte streams in memory, for tests of what runs on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable


class MemoryStream:
    """One end of a pipe. Bytes arrive at the other end cut as `split` says; at most `limit` of them wait
    there.
    """

    def __init__(self, split: Callable[[bytes], Iterable[bytes]], limit: int) -> None:
        self.peer: MemoryStream = self
        self.writes: list[int] = []
        self._split = split
        self._limit = limit
        self._chunks: list[bytes] = []
        self._ended = False
        self._broken = False
        self._changed = asyncio.Condition()

    async def read(self) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: self._chunks or self._ended or self._broken)
            if self._broken:
                raise ConnectionResetError("the pipe was broken")
            if not self._chunks:
                return b""
            self._changed.notify_all()
            return self._chunks.pop(0)

    async def write(self, data: bytes) -> None:
        self.writes.append(len(data))
        peer = self.peer
        async with peer._changed:
            for chunk in self._split(data):
                await peer._changed.wait_for(
                    lambda: sum(map(len, peer._chunks)) < self._limit or peer._ended or peer._broken
                )
                if peer._broken or peer._ended:
                    raise BrokenPipeError("nobody reads from the pipe")
                peer._chunks.append(chunk)
                peer._changed.notify_all()

    async def close(self) -> None:
        for end in (self, self.peer):
            async with end._changed:
                end._ended = True
                end._changed.notify_all()

    async def tear(self) -> None:
        """Break both directions."""
        for end in (self, self.peer):
            async with end._changed:
                end._broken = True
                end._changed.notify_all()


def whole(data: bytes) -> Iterable[bytes]:
    return (data,)


def pipe(
    split: Callable[[bytes], Iterable[bytes]] = whole, limit: int = 1 << 30
) -> tuple[MemoryStream, MemoryStream]:
    """Two ends of a pipe."""
    one, other = MemoryStream(split, limit), MemoryStream(split, limit)
    one.peer, other.peer = other, one
    return one, other
