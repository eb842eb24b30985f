"""Tell the service manager (systemd) how the daemon is: ready, its state in one line, alive, stopping."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from watcher.observers.events import (
    BuildFinished,
    BuildStarted,
    ContainerLost,
    DaemonStopping,
    DeployFinished,
    DeployStarted,
    EngineDown,
    EngineUp,
    Event,
    Held,
    Paused,
    RevisionStateChanged,
)
from watcher.observers.humanize import short
from watcher.observers.status_board import StatusBoard
from watcher.observers.status_schema import Status
from watcher.system.notify_socket import notify_manager, watchdog_interval

Send = Callable[..., bool]
_CHANGING = (  # events after which a service can have another phase
    BuildFinished,
    BuildStarted,
    ContainerLost,
    DeployFinished,
    DeployStarted,
    EngineDown,
    EngineUp,
    Held,
    Paused,
    RevisionStateChanged,
)
UPGRADE = "upgrade"  # reason to stop of a program that another one replaces


def describe_status(status: Status) -> str:
    """Return the state of all services in one line, for `systemctl status`."""
    services = status.services
    if status.engine.up is False:
        return f"the engine does not answer: {status.engine.reason}"
    if len(services) == 1:
        (service,) = services
        live = f" {short(service.live.revision)}" if service.live else ""
        return f"{service.name}: {service.phase}{live} {' '.join(service.urls)}".rstrip()
    counts = Counter(service.phase for service in services)
    return ", ".join(f"{number} {phase}" for phase, number in counts.most_common())


class Supervision:
    """An observer that sends the state when it changes. Without a service manager it does nothing."""

    def __init__(self, board: StatusBoard, send: Send = notify_manager) -> None:
        """`board` gets each event before this does."""
        self._board, self._send, self._sent = board, send, ""

    def notify(self, event: Event) -> None:
        """Send what changed with an event."""
        if isinstance(event, DaemonStopping) and event.reason == UPGRADE:
            # The successor is the same process: if this one stopped, systemd would end the unit.
            self._send(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000, STATUS="upgrading")
        elif isinstance(event, DaemonStopping):
            self._send(STOPPING=1, STATUS=f"stopping: {event.reason}")
        elif isinstance(event, _CHANGING):
            self._send_status()

    def announce_ready(self) -> None:
        """Send that every port is listened on, so that units which need this one can start."""
        self._send(READY=1)
        self._send_status()

    async def keep_alive(self) -> None:
        """Send signs of life from the event loop until cancelled; they end when the loop is stuck."""
        interval = watchdog_interval()
        while True:
            await asyncio.sleep(interval or 3600.0)
            if interval:
                self._send(WATCHDOG=1)

    def _send_status(self) -> None:
        text = describe_status(self._board.status)
        if text != self._sent:
            self._sent = text
            self._send(STATUS=text)
