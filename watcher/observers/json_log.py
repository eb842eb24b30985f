"""The log for programs: one line of JSON for each event and each of Python's own log records."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from typing import Any, TextIO

from watcher.observers.events import (
    BuildFinished,
    BuildOutcome,
    BuildStepOutput,
    BuildStepProgress,
    BuildStepStarted,
    ContainerLost,
    ContainerOutput,
    DeployFinished,
    EngineDown,
    Event,
    FrontExchange,
    FrontHeld,
    FrontOld,
    InternalError,
    LoopLag,
    Notice,
    RevisionStateChanged,
    SourceEvents,
)
from watcher.observers.revision_state import GOOD_DEPLOYS

# Events of every request, file or line of output: they are counted, not logged.
_NOT_LOGGED = (
    FrontExchange,
    FrontHeld,
    FrontOld,
    LoopLag,
    RevisionStateChanged,  # follows from events that are logged
    SourceEvents,
    BuildStepStarted,
    BuildStepProgress,
    BuildStepOutput,
    ContainerOutput,
)


def name_event(event: Event) -> str:
    """Return the name of an event's type in snake case: `build_finished`."""
    return _snake_case(type(event).__name__)


@cache
def _snake_case(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).removeprefix("_")


def to_record(event: Event) -> dict[str, Any]:
    """`event` as plain data: `at` in ISO 8601 (UTC), `event` its name, then its fields."""
    values = asdict(event)
    values.pop("at")
    if isinstance(values.get("phases"), tuple):
        values["phases"] = dict(values["phases"])
    return {"at": _format_time(event.at), "event": name_event(event), **values}


def _format_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonLog:
    """An observer that writes each event as one line of JSON to `file`."""

    def __init__(self, file: TextIO | None = None, *, journal: bool = False) -> None:
        """`journal`: begin each line with its priority, for systemd's journal."""
        self._file, self._journal = file or sys.stdout, journal

    def notify(self, event: Event) -> None:
        """Write `event`, unless it is one of those that are only counted."""
        if not isinstance(event, _NOT_LOGGED):
            priority = f"<{priority_of(event)}>" if self._journal else ""
            print(priority + json.dumps(to_record(event), ensure_ascii=False), file=self._file, flush=True)


def priority_of(event: Event) -> int:
    """Return the priority of syslog(3): 3 error, 4 warning, 6 information."""
    match event:
        case InternalError() | Notice(level="error"):
            return 3
        case Notice(level="warning") | EngineDown() | ContainerLost():
            return 4
        case BuildFinished(outcome=BuildOutcome.FAILED):
            return 4
        case DeployFinished(outcome=outcome) if outcome not in GOOD_DEPLOYS:
            return 4
    return 6


def report_lost(lines: int, reason: str) -> str:
    """Return the record about lines that could not be written."""
    values = {"at": _format_time(time.time()), "event": "lines_lost", "lines": lines, "reason": reason}
    return json.dumps(values) + "\n"


class JsonFormatter(logging.Formatter):
    """Python's log records (of libraries, and of a failing observer) in the same form."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        values = {
            "at": _format_time(record.created),
            "event": "log",
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values, ensure_ascii=False)


def configure_logging(*, as_json: bool, file: TextIO | None = None) -> None:
    """Send Python's own log, warnings and worse, to `file` (standard error), as JSON or as plain lines."""
    handler = logging.StreamHandler(file or sys.stderr)
    if as_json:
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
