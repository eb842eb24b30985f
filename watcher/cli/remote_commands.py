"""The commands that ask a running daemon: each returns the exit status of the process."""

from __future__ import annotations

import json
import sys
import time

import httpx
from rich.live import Live
from rich.text import Text

from watcher.cli import status_text
from watcher.cli.remote import POLL, STOPPED, connect, makes_way, messages, read, runs
from watcher.errors import EXIT_FAILED, EXIT_PAUSED, EXIT_TIMEOUT, EXIT_UNKNOWN, ConfigError, NotRunning
from watcher.observers import humanize
from watcher.observers.api_schema import Accepted, LogLine, LogList, Settled
from watcher.observers.events import short
from watcher.observers.status_schema import (
    Status,
)
from watcher.observers.terminal import Terminal
from watcher.settings import Settings

UPGRADE_SECONDS = 60.0  # until a successor must answer
LONGEST_WAIT = 3600.0  # seconds of one request; a longer wait is several


def _service(settings: Settings) -> dict[str, str]:
    return {"service": settings.service} if settings.service else {}


def _known(document: Status, service: str | None) -> None:
    names = [found.name for found in document.services]
    if service is not None and service not in names:
        known = ", ".join(names) or "none yet"
        raise ConfigError("service", service, f"the watcher keeps no such service (known: {known})")


def status(settings: Settings, *, watch: bool, as_json: bool) -> int:
    """`watcher status`."""
    with connect(settings) as api:
        if watch:
            _watch(api, settings.service, as_json=as_json)
            raise NotRunning(STOPPED)
        text = read(api.get("/api/status"))
    document = Status.model_validate_json(text)
    _known(document, settings.service)
    if as_json:
        print(json.dumps(json.loads(text), indent=2))
        return 0
    for line in status_text.lines(document, time.time(), settings.service):
        print(line)
    return 0


def _watch(api: httpx.Client, service: str | None, *, as_json: bool) -> None:
    """Show the status anew whenever it changes: in place on a terminal, elsewhere as more lines."""
    out = Terminal()
    if as_json:
        for text in messages(api, "status"):
            print(text, flush=True)
    elif out.is_terminal:
        with Live(console=out, auto_refresh=False) as live:
            for document in map(Status.model_validate_json, messages(api, "status")):
                _known(document, service)
                shown = status_text.lines(document, time.time(), service)
                live.update(Text("\n".join(shown), no_wrap=True, overflow="ellipsis"), refresh=True)
    else:
        before: list[str] = []
        for document in map(Status.model_validate_json, messages(api, "status")):
            _known(document, service)
            shown = status_text.lines(document, time.time(), service)
            if shown != before:
                print("\n".join(shown), end="\n\n", flush=True)
            before = shown


def logs(settings: Settings, *, follow: bool, tail: int, source: str | None, as_json: bool) -> int:
    """`watcher logs`."""

    def show(line: LogLine) -> None:
        if as_json:
            print(line.model_dump_json(), flush=follow)
        elif source:
            print(line.text, flush=follow)
        else:
            print(f"{line.stage or 'build' if line.source == 'build' else 'app'} │ {line.text}", flush=follow)

    with connect(settings) as api:
        boot = Status.model_validate_json(read(api.get("/api/status"))).daemon.boot
        params = {"tail": str(tail), **_service(settings), **({"source": source} if source else {})}
        found = LogList.model_validate_json(read(api.get("/api/logs", params=params)))
        for line in found.lines:
            show(line)
        if not follow:
            return 0
        last = found.lines[-1].seq if found.lines else 0
        for news in map(LogList.model_validate_json, messages(api, "lines", f"{boot}.{last}")):
            if news.dropped:
                print("… lines are missing here", file=sys.stderr)
            for line in news.lines:
                if settings.service in (None, line.service) and source in (None, line.source):
                    show(line)
        raise NotRunning(STOPPED)


_WAIT_STATUS = {"live": 0, "paused": EXIT_PAUSED, "unknown": EXIT_UNKNOWN, "timeout": EXIT_TIMEOUT}
_WORDS = {
    "paused": "paused: nothing is built until `watcher resume`",
    "timeout": "the time is up before the tree is live",
}


def wait(settings: Settings, *, timeout: float | None, start_timeout: float, as_json: bool) -> int:
    """`watcher wait`."""
    end = _end(timeout)
    first = start_timeout if timeout is None else min(start_timeout, timeout)
    while True:
        try:
            with connect(settings, timeout=LONGEST_WAIT + 30.0, start_timeout=first) as api:
                return _shown(_settled(api, settings, end), as_json=as_json)
        except NotRunning:
            if time.monotonic() >= end or not makes_way(settings):
                raise
            first = min(UPGRADE_SECONDS, end - time.monotonic())
            time.sleep(POLL)


def _end(timeout: float | None) -> float:
    """The moment of the monotonic clock at which the time is up."""
    return float("inf") if timeout is None else time.monotonic() + timeout


def _settled(api: httpx.Client, settings: Settings, end: float, after_build: int | None = None) -> Settled:
    """What becomes of the tree; raises NotRunning when the daemon stops meanwhile."""
    while True:
        left = max(0.0, end - time.monotonic())
        params = {"timeout": str(min(LONGEST_WAIT, left)), **_service(settings)}
        if after_build is not None:
            params["after_build"] = str(after_build)
        answer = api.post("/api/wait", params=params)
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise NotRunning(STOPPED)
        settled = Settled.model_validate_json(read(answer))
        if settled.outcome != "timeout" or left <= LONGEST_WAIT:
            return settled


def _shown(settled: Settled, *, as_json: bool) -> int:
    """Print what became of the tree; the exit status that says it too."""
    if as_json:
        print(settled.model_dump_json(indent=2))
    elif settled.outcome == "live":
        where = f" at {' '.join(settled.urls)}" if settled.urls else ""
        print(f"live {short(settled.revision)}{where}{humanize.old_connections(settled.old_connections)}")
    else:
        revision = f" {short(settled.revision)}" if settled.revision else ""
        why = settled.failure.summary if settled.failure else _WORDS.get(settled.outcome, settled.outcome)
        print(f"{settled.outcome}{revision}: {why}", file=sys.stderr)
        for line in settled.failure.lines if settled.failure else ():
            print(line, file=sys.stderr)
    return _WAIT_STATUS.get(settled.outcome, EXIT_FAILED)


def rebuild(settings: Settings, *, wait: bool, timeout: float | None, as_json: bool) -> int:
    """`watcher rebuild`."""
    end = _end(timeout)
    with connect(settings, timeout=LONGEST_WAIT + 30.0) as api:
        text = read(api.post("/api/rebuild", params=_service(settings)))
        accepted = Accepted.model_validate_json(text)
        if wait:
            return _shown(_settled(api, settings, end, accepted.last_build), as_json=as_json)
        return _accepted(accepted, as_json=as_json)


def act(settings: Settings, action: str, *, as_json: bool) -> int:
    """`watcher cancel`, `watcher pause`, `watcher resume`."""
    with connect(settings) as api:
        text = read(api.post(f"/api/{action}", params=_service(settings)))
        return _accepted(Accepted.model_validate_json(text), as_json=as_json)


def _accepted(accepted: Accepted, *, as_json: bool) -> int:
    if as_json:
        print(accepted.model_dump_json(indent=2))
    return 0


def upgrade(settings: Settings) -> int:
    """`watcher upgrade`."""
    with connect(settings) as api:
        before = Status.model_validate_json(read(api.get("/api/status"))).daemon
        read(api.post("/api/upgrade", timeout=2 * UPGRADE_SECONDS))  # it tries the new program first
    until = time.monotonic() + UPGRADE_SECONDS
    while time.monotonic() < until:
        try:
            with connect(settings) as api:
                after = Status.model_validate_json(read(api.get("/api/status"))).daemon
        except NotRunning:
            if not runs(settings):
                raise
        else:
            if after.boot != before.boot:
                print(f"watcher {before.version} → {after.version}, {after.url}")
                return 0
        time.sleep(POLL)
    raise NotRunning(f"the new program has not answered within {UPGRADE_SECONDS:g} s")
