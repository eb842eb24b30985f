"""Build and deploy the tree as it is now, once, without a daemon: for CI and scripts.

It is the daemon's own loop, ended at the first outcome. The container publishes its ports itself, as compose
would have it; a daemon that is started later takes it over.
"""

from __future__ import annotations

import asyncio
from typing import Any

from watcher.daemon.project import open_project
from watcher.errors import EXIT_STOPPED, WatcherError
from watcher.front import Unavailable
from watcher.observers.events import (
    BuildFinished,
    BuildOutcome,
    DeployFinished,
    DeployOutcome,
    EngineUp,
    Event,
    Fanout,
    ImageSized,
    Observer,
    RevisionStateChanged,
)
from watcher.observers.redact import Redactor
from watcher.observers.size_budget import SizeBudget
from watcher.observers.status_board import StatusBoard
from watcher.settings import Settings
from watcher.system.signals import stopping_signals


class StoppedBySignal(WatcherError):
    """A signal came before there was an outcome."""

    exit_status = EXIT_STOPPED
    outcome = "stopped"


class FirstOutcome:
    """An observer that waits for the end of the first build or deploy that ends the matter."""

    def __init__(self, max_size: int | None) -> None:
        self.reached: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._max_size = max_size
        self._desired: str | None = None
        self._too_big: set[str] = set()

    def notify(self, event: Event) -> None:
        """Look for the end."""
        match event:
            case RevisionStateChanged(desired=str(desired), live=live, failed=failed):
                self._desired = desired
                if desired in (live, failed):
                    self._reach(good=desired == live and not self.too_big)
            case BuildFinished(outcome=BuildOutcome.ERROR) | DeployFinished(outcome=DeployOutcome.ERROR):
                self._reach(good=False)
            case ImageSized(stage="final", revision=revision, size=size) if self._max_size:
                if size > self._max_size:
                    self._too_big.add(revision)
        if self.too_big:
            self._reach(good=False)

    def stop(self, reason: str) -> None:
        """End without an outcome, because of a signal."""
        if not self.reached.done():
            self.reached.set_exception(StoppedBySignal(f"stopped by {reason} before the tree was live"))

    @property
    def too_big(self) -> bool:
        """Whether the image of the tree is known to be larger than allowed."""
        return self._desired in self._too_big

    def _reach(self, *, good: bool) -> None:
        if not self.reached.done():
            self.reached.set_result(good)


async def deploy_once(settings: Settings, board: StatusBoard, observer: Observer) -> bool:
    """Build and deploy; return whether the tree is live and within its size budget. Raises WatcherError.

    `board` hears each event before `observer`.
    """
    deploy = settings.deploy.model_copy(update={"strategy": "recreate", "on_exit": "keep"})
    settings = settings.model_copy(update={"deploy": deploy})
    outcome = FirstOutcome(settings.image.max_size)
    listeners = Fanout(board, observer, outcome)
    listeners.add(SizeBudget(Fanout(board, observer), level="error"))
    observers = Redactor(listeners)
    async with (
        open_project(settings, observers, lambda _: Unavailable()) as opened,
        stopping_signals(outcome.stop),
    ):
        tasks: list[asyncio.Task[None]] = []
        try:
            info = await opened.engine.info()
            observers.notify(EngineUp(version=info.version, store=info.store, endpoint=info.endpoint))
            await opened.dependencies.check()
            for service in opened.services.values():
                await service.start()
                tasks.append(asyncio.create_task(service.run()))
            ends: list[asyncio.Future[Any]] = [*tasks, outcome.reached]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            good = outcome.reached.result()
            if good and settings.image.max_size:
                for service in opened.services.values():
                    await service.builder.sizes.wait()
            return good and not outcome.too_big
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for service in opened.services.values():
                await service.stop()
            await opened.dependencies.close(stop=False)
