"""Measure the size of an image so that it is equal on every image store."""

from __future__ import annotations

import asyncio

import docker.errors

from watcher.engine.archive import Unreadable, archive_size
from watcher.engine.calls import EngineCalls
from watcher.engine.image_stream import read_image


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
                try:
                    size = await read_image(
                        self._calls, image, lambda archive: archive_size(archive, self._layers)
                    )
                except Unreadable:
                    return await self.sum_history(image)
                if size is None:
                    return None
                self._sizes[image] = size
            return self._sizes[image]

    async def sum_history(self, image: str) -> int | None:
        """Return the sum of the layers by the store's own figures; None if the image does not exist."""
        try:
            layers = await self._calls.call(self._calls.client.history, image)
        except docker.errors.NotFound:
            return None
        return sum(int(layer["Size"]) for layer in layers)
