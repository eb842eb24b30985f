"""The client of a running daemon's API: finds it by its lock, asks, and explains what goes wrong.

It imports nothing of the daemon and no large library: a command that asks must not take longer to start than
the answer takes. Answers are JSON as it comes, see `JsonObject`.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from watcher import labels
from watcher.errors import (
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_NOT_RUNNING,
    ConfigError,
    NotRunning,
    WatcherError,
)
from watcher.system import lock

NOT_RUNNING = "no watcher is running for {project}: start one with `watcher run`"
STARTING = "the watcher for {project} is still starting (process {pid})"
STOPPED = "the watcher has stopped"
POLL = 0.1  # seconds between two looks whether a watcher has come up
TIMEOUT = 10.0  # seconds that an answer may take


class Place(Protocol):
    """Which project is meant, and which of its services; `Settings` are one."""

    @property
    def project(self) -> Path:
        """The project folder as it was given."""
        ...

    @property
    def root(self) -> Path:
        """The project folder, absolute; raises ConfigError."""
        ...

    @property
    def service(self) -> str | None:
        """The service that is meant; None for all."""
        ...


class JsonObject(dict[str, Any]):
    """A JSON object whose fields are attributes too, so that it reads like the model in `status_schema`."""

    def __getattr__(self, name: str) -> Any:
        """The field of this name."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def parse_document(text: str | bytes) -> Any:
    """A JSON text with `JsonObject` in place of each object."""
    return json.loads(text, object_hook=JsonObject)


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


def find(place: Place, start_timeout: float = 0.0) -> lock.Running:
    """The project's running daemon, after at most `start_timeout` seconds; raises NotRunning, ConfigError."""
    project, until = place.root, time.monotonic() + start_timeout
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
        raise ConfigError("project", str(place.project), "there is no such folder")
    raise NotRunning(NOT_RUNNING.format(project=project))


def makes_way(place: Place) -> bool:
    """Whether the daemon is being replaced by its successor, which answers in a moment."""
    running = lock.find(labels.project_id(place.root))
    return running is not None and (running.upgrading or not running.url)


def runs(place: Place) -> bool:
    """Whether a daemon holds the project, whether it answers or not."""
    return lock.find(labels.project_id(place.root)) is not None


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A whole answer: its status and body."""

    status: int
    body: bytes


class Api:
    """Asks one daemon; every call is a connection of its own. Raises NotRunning when it goes away."""

    def __init__(self, url: str, token: str, timeout: float | None) -> None:
        """`timeout` is the seconds that each part of an answer may take; None waits for ever."""
        parts = urlsplit(url)
        self._url, self._timeout = url, timeout
        self._host, self._port = parts.hostname or "", parts.port
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """The body of a good answer; raises Refused for another."""
        return read(self._ask("GET", path, params, self._timeout))

    def post(
        self, path: str, params: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> ApiResponse:
        """The answer, whatever its status; `timeout` in place of the client's."""
        return self._ask("POST", path, params, timeout or self._timeout)

    def _ask(
        self, method: str, path: str, params: Mapping[str, str] | None, timeout: float | None
    ) -> ApiResponse:
        with self._answer(method, path, params or {}, {}, timeout) as answer:
            return ApiResponse(answer.status, answer.read())

    def messages(self, only: str, last: str = "") -> Iterator[str]:
        """The data of one kind of messages of /api/events, as they come, until the daemon stops.

        https://html.spec.whatwg.org/multipage/server-sent-events.html; the daemon sends one data line each.
        """
        headers = {"Last-Event-ID": last} if last else {}
        with self._answer("GET", "/api/events", {"only": only}, headers, None) as answer:
            if answer.status >= http.client.BAD_REQUEST:
                read(ApiResponse(answer.status, answer.read()))
            while line := answer.readline():
                if line.startswith(b"data: "):
                    yield line.removeprefix(b"data: ").rstrip(b"\r\n").decode("utf-8", "replace")

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        timeout: float | None,
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        target = f"{path}?{urlencode(params)}" if params else path
        try:
            connection.request(method, target, headers={**self._headers, **headers})
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise NotRunning(f"the watcher at {self._url} does not answer: {reason}") from error
        finally:
            connection.close()


def connect(place: Place, *, timeout: float | None = TIMEOUT, start_timeout: float = 0.0) -> Api:
    """A client of the running daemon's API; raises NotRunning when there is none."""
    running = find(place, start_timeout)
    return Api(running.url, running.token, timeout)


def read(answer: ApiResponse) -> bytes:
    """The body of a good answer; raises Refused with the daemon's own words for another."""
    if answer.status >= http.client.BAD_REQUEST:
        try:
            detail = json.loads(answer.body)["detail"]
        except (ValueError, KeyError, TypeError):
            detail = f"HTTP {answer.status}: {answer.body.decode('utf-8', 'replace')[:200]}"
        raise Refused(answer.status, detail)
    return answer.body
