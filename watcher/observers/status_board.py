"""The in-memory view that page, API and CLI share: events folded into the status document."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from itertools import count
from typing import Any, Final

from watcher.observers.events import (
    BuildStepOutput,
    ConfigurationRefused,
    ContainerOutput,
    DaemonStarted,
    DaemonStopping,
    DependencyChanged,
    DependencyRemoved,
    EngineDown,
    EngineUp,
    Event,
    FrontExchange,
    ImageExplained,
    InternalError,
    LoopLag,
    Notice,
    ServiceRemoved,
    SourceEvents,
)
from watcher.observers.log_buffer import LogBuffer
from watcher.observers.service_status import ServiceView
from watcher.observers.status_schema import (
    BuildInfo,
    DaemonInfo,
    DependencyInfo,
    NoticeInfo,
    ServiceStatus,
    Status,
)

NOTICES_KEPT = 20
QUIET_SECONDS = 1.0  # between two updates for counters that change with every request
# Fields of a service that `brief_json` leaves out: what an overview does not show, and what can be long.
_DETAILS: Final[dict[str, Any]] = {
    "building": {"steps": True},
    "last_build": {"steps": True, "failure": True},
    "last_error": {"failure": {"lines": True, "diagnostics": True}},
    "last_prune": True,
    "desired": {"changes": True},
    "disk": True,
}


class StatusBoard:
    """An observer that holds the current `Status`, the last builds and the newest lines.

    `status` is the live object: read it, do not change it, copy what is to be kept.
    """

    def __init__(self) -> None:
        self.status = Status(daemon=DaemonInfo(boot=secrets.token_hex(4)))
        self.lines = LogBuffer()
        self.closed = False
        self.version = 0  # changes with the document, except for what is only counted
        self._services: dict[str, ServiceView] = {}
        self._build_ids = count(1)
        self._json: str | None = None
        self._brief: dict[str, str] = {}
        self._waiters: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def notify(self, event: Event) -> None:
        """Fold `event` into the document and wake those who wait."""
        if isinstance(event, BuildStepOutput | ContainerOutput):
            self.lines.add(event)
            self._wake_waiters()
            return
        if isinstance(event, LoopLag):  # a metric, no part of the document
            return
        if isinstance(event, ServiceRemoved):
            self._remove_service(event.service)
        else:
            self._apply_event(event)
        self._json = None
        self._brief.clear()
        if isinstance(event, FrontExchange | SourceEvents):
            self._publish_soon()
        else:
            self._publish_change()

    def service(self, name: str) -> ServiceStatus | None:
        """Return the service of that name, if there is one."""
        view = self._services.get(name)
        return view.status if view else None

    def builds(self, name: str) -> list[BuildInfo]:
        """Return the last builds of a service, newest first."""
        view = self._services.get(name)
        return list(reversed(view.builds)) if view else []

    def explained_image(self, name: str, revision: str = "") -> ImageExplained | None:
        """Return the newest explained image of a service, or that of the revision with this start."""
        view = self._services.get(name)
        found = reversed(view.explained) if view else iter(())
        return next((each for each in found if each.revision.startswith(revision)), None)

    def brief_json(self, whole: str) -> str:
        """Return the document with the details of service `whole`, or of the only one; cached like `json`."""
        names = [service.name for service in self.status.services]
        if len(names) < 2:
            return self.json()
        whole = whole if whole in names else ""
        if whole not in self._brief:
            brief = {number: _DETAILS for number, name in enumerate(names) if name != whole}
            self._brief[whole] = self.status.model_dump_json(exclude={"services": brief})
        return self._brief[whole]

    def json(self) -> str:
        """Return the document as JSON; made once for all who ask between two events."""
        if self._json is None:
            self._json = self.status.model_dump_json()
        return self._json

    async def changed(self, version: int, line: int) -> None:
        """Return when the document is newer than `version`, a line after `line` exists, or at `close`."""
        if self.closed or version != self.version or line != self.lines.last:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def close(self) -> None:
        """Wake all waiters; from now on no change is reported."""
        self.closed = True
        if self._timer:
            self._timer.cancel()
        self._wake_waiters()

    def _apply_event(self, event: Event) -> None:
        status = self.status
        match event:
            case DaemonStarted():
                status.daemon.version, status.daemon.project = event.version, event.project
                status.daemon.url, status.daemon.started_at = event.url, event.at
                for name in event.services:  # known from the start: a client can ask immediately
                    self._view_of(name)
            case DaemonStopping():
                status.daemon.stopping = event.reason
            case EngineUp() | EngineDown():
                self._apply_engine(event)
                return
            case ConfigurationRefused():
                status.daemon.refused = event.reason
                for name, view in self._services.items():
                    concerned = event.services is None or name in event.services
                    own = event if concerned else replace(event, reason="")
                    view.apply_event(own, status.engine.up)
                return
            case Notice():
                level = event.level if event.level in ("warning", "error") else "info"
                status.notices.append(
                    NoticeInfo.model_validate(
                        {"at": event.at, "service": event.service, "level": level, "text": event.text}
                    )
                )
                del status.notices[:-NOTICES_KEPT]
            case DependencyChanged():
                self._apply_dependency(event)
            case DependencyRemoved():
                status.dependencies = [each for each in status.dependencies if each.name != event.name]
            case InternalError():
                status.daemon.internal_errors += 1
        if event.service:
            self._view_of(event.service).apply_event(event, status.engine.up)

    def _apply_dependency(self, event: DependencyChanged) -> None:
        found = self.status.dependencies
        before = next((each for each in found if each.name == event.name), None)
        since = before.since if before and before.state == event.state else event.at
        now = DependencyInfo(
            name=event.name,
            state=event.state,
            since=since,
            reason=event.reason,
            image=event.image,
            containers=list(event.containers),
            waits_for=list(event.waits_for),
            needed_by=list(event.needed_by),
            restarts=event.restarts,
        )
        if before:
            found[found.index(before)] = now
        else:
            found.append(now)

    def _remove_service(self, name: str) -> None:
        if name in self._services:
            self.status.services.remove(self._services.pop(name).status)

    def _view_of(self, name: str) -> ServiceView:
        if name not in self._services:
            self._services[name] = ServiceView(name, self._build_ids)
            self.status.services.append(self._services[name].status)
        return self._services[name]

    def _apply_engine(self, event: EngineUp | EngineDown) -> None:
        engine, up = self.status.engine, isinstance(event, EngineUp)
        if engine.up is not up:
            engine.up, engine.since = up, event.at
        if isinstance(event, EngineUp):
            engine.version, engine.store = event.version, event.store
            engine.endpoint, engine.reason = event.endpoint, ""
        else:
            engine.reason = event.reason
        for view in self._services.values():
            view.apply_event(event, up)

    def _publish_change(self) -> None:
        self.version += 1
        self._wake_waiters()

    def _publish_soon(self) -> None:
        if self._waiters and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._publish_counters)

    def _publish_counters(self) -> None:
        self._timer = None
        self._publish_change()

    def _wake_waiters(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
