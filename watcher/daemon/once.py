"""Build and deploy the tree as it is now, once, without a daemon: for CI and scripts.

It is the daemon's own loop, ended when each service has its first outcome. The containers publish their ports
themselves, as compose would have it; a daemon that is started later takes them over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

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
    ImageExplained,
    ImageSized,
    Notice,
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


class FirstOutcomes:
    """An observer that waits until each service has its first outcome: live, or failed.

    A service that waits for another one to be live has failed when that one has.
    """

    def __init__(self) -> None:
        self.reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._services: dict[str, ServiceOutcome] = {}
        self._needs: Mapping[str, Collection[str]] = {}

    def expect(self, needs: Mapping[str, Collection[str]], budgets: Mapping[str, int | None]) -> None:
        """Wait for these services. `needs` are those that each depends on, `budgets` largest image sizes."""
        self._needs = needs
        self._services = {name: ServiceOutcome(budgets[name]) for name in needs}

    def notify(self, event: Event) -> None:
        """Look for an outcome."""
        service = self._services.get(event.service)
        if service is None:
            return
        service.apply_event(event)
        if all(self._is_decided(name) for name in self._services) and not self.reached.done():
            self.reached.set_result(None)

    def stop(self, reason: str) -> None:
        """End without an outcome, because of a signal."""
        if not self.reached.done():
            self.reached.set_exception(StoppedBySignal(f"stopped by {reason} before the tree was live"))

    @property
    def failed(self) -> tuple[str, ...]:
        """Return the services that are not live, or whose image is too large."""
        return tuple(name for name, service in self._services.items() if service.good is not True)

    def find_failed_need(self, name: str) -> str:
        """Return a service that this one waits for in vain; empty if it has an outcome of its own."""
        if self._services[name].good is not None:
            return ""
        needs = (each for each in self._needs[name] if each in self._services)
        return next((each for each in needs if self._services[each].good is False), "")

    def _is_decided(self, name: str) -> bool:
        return self._services[name].good is not None or bool(self.find_failed_need(name))


class ServiceOutcome:
    """What became of one service: `good` is None until that is known. `most` bounds the image, in bytes."""

    def __init__(self, most: int | None) -> None:
        self.good: bool | None = None
        self._most = most
        self._desired: str | None = None
        self._too_big: set[str] = set()

    def apply_event(self, event: Event) -> None:
        """Take `event` into account; the first outcome stays, but for an image that turns out too large."""
        match event:
            case RevisionStateChanged(desired=str(desired), live=live, failed=failed):
                self._desired = desired
                if self.good is None and desired in (live, failed):
                    self.good = desired == live
            case BuildFinished(outcome=BuildOutcome.ERROR) | DeployFinished(outcome=DeployOutcome.ERROR):
                self.good = bool(self.good)
            case ImageSized(stage="final", revision=revision, size=size) if self._most and size > self._most:
                self._too_big.add(revision)
            case ImageExplained(revision=revision, over=over) if over:
                self._too_big.add(revision)
        if self._desired in self._too_big:
            self.good = False


async def deploy_once(settings: Settings, board: StatusBoard, observer: Observer) -> bool:
    """Build and deploy; return whether every service is live and within its size budget. Raises WatcherError.

    `board` hears each event before `observer`.
    """
    settings = _without_front(settings)
    outcomes = FirstOutcomes()
    listeners = Fanout(board, observer, outcomes)
    listeners.add(SizeBudget(Fanout(board, observer), level="error"))
    observers = Redactor(listeners)
    async with (
        open_project(settings, observers, lambda _: Unavailable()) as opened,
        stopping_signals(outcomes.stop),
    ):
        project, services = opened.configuration.compose, opened.fleet.services
        outcomes.expect(
            {name: sorted(project.needs(name)) for name in services},
            {name: settings.for_service(name).image.max_size for name in services},
        )
        run: asyncio.Task[None] | None = None
        try:
            info = await opened.engine.info()
            observers.notify(EngineUp(version=info.version, store=info.store, endpoint=info.endpoint))
            await opened.dependencies.check_startable()
            await opened.fleet.start()
            run = asyncio.create_task(opened.fleet.run())
            await outcomes.reached
            for name, service in services.items():
                if settings.for_service(name).image.max_size:
                    await service.builder.sizes.wait()
                if settings.for_service(name).image.components:
                    await service.explain_image()
            _report(outcomes, len(services), observers)
            return not outcomes.failed
        finally:
            if run:
                run.cancel()
                await asyncio.gather(run, return_exceptions=True)
            await opened.fleet.stop()
            await opened.dependencies.close(stop=False)


def _without_front(settings: Settings) -> Settings:
    """Return the settings with containers that publish their ports themselves, and stay."""
    update = {"strategy": "recreate", "on_exit": "keep"}
    own = {
        name: each.model_copy(update={"deploy": each.deploy.model_copy(update=update)})
        for name, each in settings.per_service.items()
    }
    deploy = settings.deploy.model_copy(update=update)
    return settings.model_copy(update={"deploy": deploy, "per_service": own})


def _report(outcomes: FirstOutcomes, count: int, observer: Observer) -> None:
    """Say which services failed, where there are several."""
    if count < 2 or not outcomes.failed:
        return
    for name in outcomes.failed:
        if need := outcomes.find_failed_need(name):
            text = f"it is not deployed: it depends on {need}, which failed"
            observer.notify(Notice(service=name, level="error", text=text))
    text = f"{len(outcomes.failed)} of {count} services failed: {', '.join(outcomes.failed)}"
    observer.notify(Notice(level="error", text=text))
