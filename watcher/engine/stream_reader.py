"""Run a blocking generator in its own thread and hand its items to the event loop in batches."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Generator
from typing import Generic, TypeVar

T = TypeVar("T")


class BatchReader(Generic[T]):
    """Buffers at most `most` items; the thread waits while the buffer is full.

    Create it in the event loop. The caller of `close` must make `items` stop waiting for its next item.
    """

    def __init__(self, items: Generator[T], *, most: int, name: str) -> None:
        self._items = items
        self._loop = asyncio.get_running_loop()
        self._room = threading.Semaphore(most)
        self._come: deque[T] = deque()
        self._wake = asyncio.Event()
        self._closed = self._ended = False
        threading.Thread(target=self._read_items, name=name, daemon=True).start()

    def _read_items(self) -> None:
        try:
            for item in self._items:
                self._room.acquire()
                if self._closed:
                    return
                self._come.append(item)
                self._wake_loop()
        finally:
            self._items.close()
            self._ended = True
            self._wake_loop()

    def _wake_loop(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:  # the loop can be closed when the daemon ends
            self._closed = True

    async def batches(self) -> AsyncIterator[list[T]]:
        """Yield the items since the last batch, never empty, until the generator ends."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            ended = self._ended  # read first, so what came before it is taken below
            batch = [self._come.popleft() for _ in range(len(self._come))]
            if batch:
                self._room.release(len(batch))
                yield batch
            if ended:
                return

    def close(self) -> None:
        """Stop reading; the thread ends when the generator yields one more item or ends."""
        self._closed = True
        self._room.release()
