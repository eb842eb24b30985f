"""The commands that ask a running daemon: each returns the exit status of the process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live
from rich.text import Text

from watcher import labels, lock, report
from watcher.errors import EXIT_FAILED, EXIT_TIMEOUT, ConfigError, WatcherError
from watcher.observe import short
from watcher.settings import Settings
from watcher.status import LogLine, LogList, Status

NOT_RUNNING = "no watcher keeps {project}: start one with `watcher run`"
LONGEST_WAIT = 3600.0  # seconds of one request; a longer wait is several
STOPPED = "the watcher has stopped"


@contextmanager
def daemon(settings: Settings, *, timeout: float | None = 10.0) -> Iterator[httpx.Client]:
    """A client of the running daemon's API; raises WatcherError when there is none, or it goes away."""
    if not settings.root.is_dir():
        raise ConfigError("project", str(settings.project), "there is no such folder")
    running = lock.find(labels.project_id(settings.root))
    if running is None or not running.url:
        raise WatcherError(NOT_RUNNING.format(project=settings.root))
    headers = {"Authorization": f"Bearer {running.token}"} if running.token else {}
    try:
        with httpx.Client(base_url=running.url, headers=headers, timeout=timeout, trust_env=False) as client:
            yield client
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise WatcherError(f"the watcher at {running.url} does not answer: {reason}") from error


def _read(response: httpx.Response) -> bytes:
    """The body of a good answer; raises WatcherError with the daemon's own words for another."""
    response.read()
    if response.is_error:
        try:
            detail = response.json()["detail"]
        except (ValueError, KeyError, TypeError):
            detail = response.text
        raise WatcherError(f"the watcher refused: {detail}")
    return response.content


def _news(api: httpx.Client, only: str, last: str = "") -> Iterator[str]:
    """The data of one kind of messages of /api/events, as they come, until the daemon stops.

    https://html.spec.whatwg.org/multipage/server-sent-events.html; the daemon sends one data line a message.
    """
    headers = {"last-event-id": last} if last else {}
    with api.stream("GET", "/api/events", params={"only": only}, headers=headers, timeout=None) as answer:
        if answer.is_error:
            _read(answer)
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield line.removeprefix("data: ")


def _service(settings: Settings) -> dict[str, str]:
    return {"service": settings.service} if settings.service else {}


def _known(document: Status, service: str | None) -> None:
    names = [found.name for found in document.services]
    if service is not None and service not in names:
        known = ", ".join(names) or "none yet"
        raise ConfigError("service", service, f"the watcher keeps no such service (known: {known})")


def status(settings: Settings, *, watch: bool, as_json: bool) -> int:
    """`watcher status`."""
    with daemon(settings) as api:
        if watch:
            _watch(api, settings.service, as_json=as_json)
            raise WatcherError(STOPPED)
        text = _read(api.get("/api/status"))
    if as_json:
        print(json.dumps(json.loads(text), indent=2))
        return 0
    document = Status.model_validate_json(text)
    _known(document, settings.service)
    for line in report.lines(document, time.time(), settings.service):
        print(line)
    return 0


def _watch(api: httpx.Client, service: str | None, *, as_json: bool) -> None:
    """Show the status anew whenever it changes: in place on a terminal, elsewhere as more lines."""
    out = Console(highlight=False, markup=False)
    if as_json:
        for text in _news(api, "status"):
            print(text, flush=True)
    elif out.is_terminal:
        with Live(console=out, auto_refresh=False) as live:
            for document in map(Status.model_validate_json, _news(api, "status")):
                _known(document, service)
                shown = report.lines(document, time.time(), service)
                live.update(Text("\n".join(shown), no_wrap=True, overflow="ellipsis"), refresh=True)
    else:
        before: list[str] = []
        for document in map(Status.model_validate_json, _news(api, "status")):
            _known(document, service)
            shown = report.lines(document, time.time(), service)
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

    with daemon(settings) as api:
        boot = Status.model_validate_json(_read(api.get("/api/status"))).daemon.boot
        params = {"tail": str(tail), **_service(settings), **({"source": source} if source else {})}
        found = LogList.model_validate_json(_read(api.get("/api/logs", params=params)))
        for line in found.lines:
            show(line)
        if not follow:
            return 0
        last = found.lines[-1].seq if found.lines else 0
        for news in map(LogList.model_validate_json, _news(api, "lines", f"{boot}.{last}")):
            if news.dropped:
                print("… lines are missing here", file=sys.stderr)
            for line in news.lines:
                if settings.service in (None, line.service) and source in (None, line.source):
                    show(line)
        raise WatcherError(STOPPED)


def wait(settings: Settings, *, timeout: float | None, as_json: bool) -> int:
    """`watcher wait`."""
    end = None if timeout is None else time.monotonic() + timeout
    with daemon(settings, timeout=LONGEST_WAIT + 30.0) as api:
        while True:
            left = float("inf") if end is None else max(0.0, end - time.monotonic())
            params = {"timeout": str(min(LONGEST_WAIT, left)), **_service(settings)}
            settled: dict[str, Any] = json.loads(_read(api.post("/api/wait", params=params)))
            if settled["outcome"] != "timeout" or left <= LONGEST_WAIT:
                break
    if as_json:
        print(json.dumps(settled, indent=2))
    elif settled["outcome"] == "live":
        print(f"live {short(settled['revision'])}")
    else:
        failure = settled["failure"] or {"summary": f"{settled['outcome']}", "lines": []}
        print(f"{settled['outcome']} {short(settled['revision'])}: {failure['summary']}", file=sys.stderr)
        for line in failure["lines"]:
            print(line, file=sys.stderr)
    return {"live": 0, "timeout": EXIT_TIMEOUT}.get(settled["outcome"], EXIT_FAILED)


def act(settings: Settings, action: str) -> int:
    """`watcher rebuild`, `watcher pause`, `watcher resume`."""
    with daemon(settings) as api:
        _read(api.post(f"/api/{action}", params=_service(settings)))
    return 0
