"""Measure images, and emit their sizes."""

from __future__ import annotations

import asyncio

from watcher.engine import Engine, EngineError
from watcher.errors import EngineUnavailable
from watcher.observers.events import ImageSized, Notice, Observer


class ImageSizes:
    """Emits the sizes of one service's images."""

    def __init__(self, service: str, engine: Engine, observer: Observer) -> None:
        self._service, self._engine, self._observer = service, engine, observer
        self._tasks: set[asyncio.Task[None]] = set()

    async def measure(self, image: str) -> int | None:
        """Return the size in bytes of an image; None if the engine does not have it."""
        return await self._engine.image_size(image)

    async def report(self, stage: str, revision: str, image: str) -> None:
        """Emit the size of an image if the engine has it."""
        size = await self.measure(image)
        if size is not None:
            self.emit(stage, revision, image, size)

    def emit(self, stage: str, revision: str, image: str, size: int) -> None:
        """Emit the size of the image of a stage: base, builder or final."""
        service = self._service
        self._observer.notify(
            ImageSized(service=service, stage=stage, revision=revision, image=image, size=size)
        )

    def report_later(self, revision: str, image: str) -> None:
        """Emit the size of a final image in the background: measuring can take longer than deploying it."""
        task = asyncio.create_task(self._report_final(revision, image))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _report_final(self, revision: str, image: str) -> None:
        try:
            await self.report("final", revision, image)
        except (EngineError, EngineUnavailable) as error:
            text = f"the size of the final image is not known: {error}"
            self._observer.notify(Notice(service=self._service, level="warning", text=text))

    async def wait(self) -> None:
        """Wait until the sizes of all final images have been emitted."""
        while self._tasks:
            await asyncio.wait(self._tasks)
