"""Measure the size of an image so that it is equal on every image store."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import docker.errors

from watcher.engine import private_api
from watcher.engine.archive import Unreadable, archive_size
from watcher.engine.calls import EngineCalls

_READ_TIMEOUT = 300.0  # seconds


class ImageSizer:
    """Sums up the layers of images and caches the sizes."""

    def __init__(self, calls: EngineCalls) -> None:
        self._calls = calls
        self._measuring = asyncio.Lock()
        self._sizes: dict[str, int] = {}  # of images, by id
        self._layers: dict[str, int] = {}

    async def measure_image(self, image: str) -> int | None:
        """Return the size in bytes of the image with this id, read once; None if it does not exist."""
        async with self._measuring:  # one at a time: reading an image is expensive
            if image not in self._sizes:
                stop = threading.Event()
                try:
                    self._sizes[image] = await self._calls.call(self._read_archive, image, stop)
                except docker.errors.NotFound:
                    return None
                except Unreadable:
                    return await self.sum_history(image)
                finally:
                    stop.set()
            return self._sizes[image]

    def _read_archive(self, image: str, stop: threading.Event) -> int:
        client = self._calls.client
        with private_api.open_stream(client, "/images/{0}/get", image, timeout=_READ_TIMEOUT) as answer:
            return archive_size(_Stoppable(answer.raw, stop), self._layers)

    async def sum_history(self, image: str) -> int | None:
        """Return the sum of the layers by the store's own figures; None if the image does not exist."""
        try:
            layers = await self._calls.call(self._calls.client.history, image)
        except docker.errors.NotFound:
            return None
        return sum(int(layer["Size"]) for layer in layers)


class _Stoppable:
    """The body of a response that ends when `stop` is set."""

    def __init__(self, body: Any, stop: threading.Event) -> None:
        self._body, self._stop = body, stop

    def read(self, size: int = -1, /) -> bytes:
        if self._stop.is_set():
            raise Unreadable("the measurement was stopped")
        return bytes(self._body.read(size))
