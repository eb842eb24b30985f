"""What the terminal shows: one line for each thing that happened, errors in full.

On a terminal, the running build is shown live below the lines and disappears when it is done. Elsewhere
(`plain`, a pipe, CI) its steps become lines, and a long step prints a sign of life. `NO_COLOR` is honoured.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from rich.text import Text

from watcher.observers import humanize
from watcher.observers.console_lines import ConsoleLines, is_due
from watcher.observers.console_service import ServicePrinter
from watcher.observers.console_texts import describe_pruned
from watcher.observers.events import (
    BuildCachePruned,
    BuildStepOutput,
    ContainerOutput,
    DaemonStarted,
    DaemonStarting,
    DaemonStopping,
    DependencyChanged,
    EngineDown,
    EngineUp,
    Event,
    FrontExchange,
    FrontHeld,
    FrontRefused,
    GoCacheTrimmed,
    InternalError,
    Notice,
    Pruned,
    ServiceRemoved,
    ServiceStarted,
    SourceEvents,
    SourceMode,
    SourceScanned,
    SourceScanning,
)
from watcher.observers.front_events import REFUSALS
from watcher.observers.heartbeat import Heartbeat
from watcher.observers.progress_view import ProgressView
from watcher.observers.status_board import StatusBoard

# Frequent events without a line of their own: they change nothing that is shown.
_IGNORED = (BuildStepOutput, ContainerOutput, FrontExchange, FrontHeld, SourceEvents)
REFUSALS_EVERY = 5.0  # seconds between two lines about refused requests
SCANNING_EVERY = 5.0  # seconds between two lines about a long scan


class Console:
    """An observer that prints events, with what the status board knows."""

    def __init__(
        self,
        file: TextIO | None,
        board: StatusBoard,
        *,
        plain: bool = False,
        bell: bool = False,
        environ: Mapping[str, str] = os.environ,
        journal: bool = False,
    ) -> None:
        """`plain`: lines only, no colour; `bell`: ring when the build breaks and when it is fixed;
        `journal`: begin each line with its priority, for systemd's journal.

        `board` gets each event before this does.
        """
        self._lines = ConsoleLines(
            file or sys.stdout, board, plain=plain, bell=bell, environ=environ, journal=journal
        )
        self._print, self._print_detail = self._lines.print_event, self._lines.print_detail
        self.live = self._lines.live
        self._activity: ProgressView | Heartbeat | None = (
            ProgressView(self._lines.terminal, board) if self.live else Heartbeat(board, self._print_detail)
        )
        self._dependencies: dict[str, str] = {}  # last state by name
        self._managed = set[str]()
        self._down = False
        self._refused = 0
        self._refused_at = 0.0
        self._scanning_at: dict[str, float] = {}  # by service
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            **ServicePrinter(self._lines, board).handlers,
            DaemonStarting: self._daemon_starting,
            DaemonStarted: self._daemon_started,
            DaemonStopping: self._daemon_stopping,
            ServiceStarted: self._service_started,
            ServiceRemoved: self._service_removed,
            Notice: self._print_notice,
            EngineUp: self._engine_up,
            EngineDown: self._engine_down,
            SourceMode: self._source_mode,
            SourceScanning: self._source_scanning,
            SourceScanned: self._source_scanned,
            Pruned: self._print_pruned,
            BuildCachePruned: self._print_pruned,
            GoCacheTrimmed: self._print_pruned,
            FrontRefused: self._front_refused,
            DependencyChanged: self._print_dependency,
            InternalError: self._internal_error,
        }

    def notify(self, event: Event) -> None:
        """Print the lines for `event`, if it has any."""
        if isinstance(event, _IGNORED):
            return
        handle = self._handlers.get(type(event))
        if handle:
            handle(event)
        if self._activity:
            self._activity.follow()

    def close(self) -> None:
        """Stop showing running steps. The shell's prompt then starts on a clean line."""
        if self._activity:
            self._activity.close()
            self._activity = None

    def _daemon_starting(self, event: DaemonStarting) -> None:
        self._print(event, "·", f"watcher {event.version}, starting for {event.project}", "bold")

    def _daemon_started(self, event: DaemonStarted) -> None:
        self._print(event, "·", f"watching {event.project}", "bold")
        self._print(event, "·", f"status page and metrics: {event.url}")

    def _daemon_stopping(self, event: DaemonStopping) -> None:
        self.close()
        second = "; a second Ctrl-C exits immediately" if event.reason == "SIGINT" else ""
        self._print(event, "·", f"stopping ({event.reason}){second}")

    def _service_started(self, event: ServiceStarted) -> None:
        self._managed.add(event.service)
        where = " ".join(event.urls) or "no published port"
        unnamed = Event(at=event.at)  # the line names the service itself
        self._print(unnamed, "·", Text.assemble("managing ", (event.service, "bold"), f" at {where}"))
        self._print_detail(
            unnamed, f"{event.compose_file} → image {event.image}, container {event.container}", "dim"
        )

    def _service_removed(self, event: ServiceRemoved) -> None:
        if event.service in self._managed:  # else its start failed, which was said
            self._managed.discard(event.service)
            self._print(event, "·", Text.assemble("no longer managing ", (event.service, "bold")))

    def _print_notice(self, event: Notice) -> None:
        mark, style = {"warning": ("!", "yellow"), "error": ("✗", "red")}.get(event.level, ("·", ""))
        self._print(event, mark, event.text, style)

    def _engine_up(self, event: EngineUp) -> None:
        again = " again" if self._down else ""
        self._down = False
        self._print(event, "·", f"engine {event.version} answers{again} ({event.store}, {event.endpoint})")

    def _engine_down(self, event: EngineDown) -> None:
        if not self._down:
            self._print(event, "!", f"the engine does not answer: {event.reason}", "yellow")
        self._down = True

    def _source_mode(self, event: SourceMode) -> None:
        if event.mode == "polling":
            self._print(event, "!", f"polling for changes: {event.reason}", "yellow")

    def _source_scanning(self, event: SourceScanning) -> None:
        """Print the first line immediately, then at most one per SCANNING_EVERY."""
        if is_due(event.at, self._scanning_at.get(event.service, 0.0), SCANNING_EVERY):
            self._scanning_at[event.service] = event.at
            self._print(event, "·", f"scanning a large change: {event.files} files so far", "dim")

    def _source_scanned(self, event: SourceScanned) -> None:
        if self._scanning_at.pop(event.service, None):
            took = humanize.seconds(event.seconds)
            self._print(event, "·", f"scanned {humanize.count(event.files, 'file')} in {took}", "dim")

    def _internal_error(self, event: InternalError) -> None:
        self._print(event, "✗", f"internal error in {event.where}; the watcher continues", "red")
        self._lines.print_block(event.traceback.splitlines())

    def _print_dependency(self, event: DependencyChanged) -> None:
        """Print what a dependency became; that it was started, or why not, has a line of its own."""
        before = self._dependencies.get(event.name)
        self._dependencies[event.name] = event.state
        if before == event.state:
            return
        if event.state in ("healthy", "completed"):
            verb = "has completed" if event.state == "completed" else "is healthy"
            self._print(event, "·", f"{event.name} {verb}")
        elif event.state == "unhealthy":
            self._print(event, "!", f"{event.name} is unhealthy", "yellow")

    def _print_pruned(self, event: Pruned | BuildCachePruned | GoCacheTrimmed) -> None:
        if text := describe_pruned(event):
            self._print(event, "·", text, "dim")

    def _front_refused(self, event: FrontRefused) -> None:
        """Print the first line immediately, then at most one per REFUSALS_EVERY."""
        self._refused += 1
        if is_due(event.at, self._refused_at, REFUSALS_EVERY):
            what = humanize.count(self._refused, "request")
            answer = f"answered {event.code}" if event.code else "closed"
            self._print(
                event,
                "!",
                f"{what} {answer} by the front: {REFUSALS.get(event.reason, event.reason)}",
                "yellow",
            )
            self._refused, self._refused_at = 0, event.at
