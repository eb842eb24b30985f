"""The names of what is live: the compose file's, for its container and for its image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from watcher.deploy import names
from watcher.deploy.owned import OwnContainers
from watcher.deploy.traffic import Traffic
from watcher.engine import Engine, EngineError
from watcher.errors import EngineUnavailable
from watcher.observers.events import Notice, Observer


class LiveNames:
    """Names the live container and its image. `references` are the image's moving names."""

    def __init__(
        self,
        engine: Engine,
        own: OwnContainers,
        traffic: Traffic,
        observer: Observer,
        references: Callable[[], Sequence[str]],
    ) -> None:
        self._engine, self._own, self._traffic = engine, own, traffic
        self._observer, self._references = observer, references
        self._warned: set[str] = set()

    async def name_container(self, container: str) -> None:
        """Give the container the compose file's name; it serves on where it cannot have it."""
        await names.take_name(self._engine, self._own, self._traffic.recipe, container, self._warn_once)

    async def name_image(self) -> None:
        """Let the image's moving names follow what is live; what failed or was rolled back has none."""
        async with self._traffic.lock:
            if (live := self._traffic.live) is None:
                return
            try:
                for reference in self._references():
                    await self._engine.tag(live.image, reference)
            except EngineError as error:
                self.warn(f"the live image could not get all of its names: {error}")
            except EngineUnavailable:
                return  # named when the next container is live or adopted

    def warn(self, text: str) -> None:
        """Notify a warning of the service."""
        service = self._traffic.recipe.service
        self._observer.notify(Notice(service=service, level="warning", text=text))

    def inform_once(self, text: str) -> None:
        """Notify the user once of how the service is run."""
        if text not in self._warned:
            self._warned.add(text)
            service = self._traffic.recipe.service
            self._observer.notify(Notice(service=service, level="info", text=text))

    def _warn_once(self, text: str) -> None:
        """Warn once: another container can have the name for a long time."""
        if text not in self._warned:
            self._warned.add(text)
            self.warn(text)
