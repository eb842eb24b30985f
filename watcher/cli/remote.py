"""The client of a running daemon's API: finds it by its lock, asks, and explains what goes wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from watcher import labels
from watcher.errors import (
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_NOT_RUNNING,
    ConfigError,
    NotRunning,
    WatcherError,
)
from watcher.settings import Settings
from watcher.system import lock

NOT_RUNNING = "no watcher is running for {project}: start one with `watcher run`"
STARTING = "the watcher for {project} is still starting (process {pid})"
STOPPED = "the watcher has stopped"
POLL = 0.1  # seconds between two looks whether a watcher has come up


class Refused(WatcherError):
    """The daemon answered, but not as asked. Only what was asked of it can have failed (409)."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"the watcher refused: {detail}")
        self.exit_status, self.outcome = {
            404: (EXIT_CONFIG, "config"),  # no such service
            409: (EXIT_FAILED, "failed"),
        }.get(code, (EXIT_NOT_RUNNING, "not-running"))


def nearest(folder: Path) -> Path:
    """`folder`, or the closest folder above it that a watcher runs for."""
    try:
        absolute = folder.resolve()
    except OSError:  # the current folder is gone
        return folder
    for one in (absolute, *absolute.parents):
        if lock.find(labels.project_id(one)) is not None:
            return one
    return folder


def find(settings: Settings, start_timeout: float = 0.0) -> lock.Running:
    """The project's running daemon, after at most `start_timeout` seconds; raises NotRunning, ConfigError."""
    project, until = settings.root, time.monotonic() + start_timeout
    while True:
        running = lock.find(labels.project_id(project))
        if running and running.url:
            return running
        if time.monotonic() >= until:
            break
        time.sleep(POLL)
    if running:
        raise NotRunning(STARTING.format(project=project, pid=running.pid))
    if not project.is_dir():
        raise ConfigError("project", str(settings.project), "there is no such folder")
    raise NotRunning(NOT_RUNNING.format(project=project))


def makes_way(settings: Settings) -> bool:
    """Whether the daemon is being replaced by its successor, which answers in a moment."""
    running = lock.find(labels.project_id(settings.root))
    return running is not None and (running.upgrading or not running.url)


def runs(settings: Settings) -> bool:
    """Whether a daemon holds the project, whether it answers or not."""
    return lock.find(labels.project_id(settings.root)) is not None


@contextmanager
def connect(
    settings: Settings, *, timeout: float | None = 10.0, start_timeout: float = 0.0
) -> Iterator[httpx.Client]:
    """A client of the running daemon's API; raises NotRunning when there is none, or when it goes away."""
    running = find(settings, start_timeout)
    headers = {"Authorization": f"Bearer {running.token}"} if running.token else {}
    try:
        with httpx.Client(base_url=running.url, headers=headers, timeout=timeout, trust_env=False) as client:
            yield client
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise NotRunning(f"the watcher at {running.url} does not answer: {reason}") from error


def read(response: httpx.Response) -> bytes:
    """The body of a good answer; raises Refused with the daemon's own words for another."""
    response.read()
    if response.is_error:
        try:
            detail = response.json()["detail"]
        except (ValueError, KeyError, TypeError):
            detail = f"HTTP {response.status_code}: {response.text[:200]}"
        raise Refused(response.status_code, detail)
    return response.content


def messages(api: httpx.Client, only: str, last: str = "") -> Iterator[str]:
    """The data of one kind of messages of /api/events, as they come, until the daemon stops.

    https://html.spec.whatwg.org/multipage/server-sent-events.html; the daemon sends one data line a message.
    """
    headers = {"last-event-id": last} if last else {}
    with api.stream("GET", "/api/events", params={"only": only}, headers=headers, timeout=None) as answer:
        if answer.is_error:
            read(answer)
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield line.removeprefix("data: ")
