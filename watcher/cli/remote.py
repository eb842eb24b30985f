"""The client of a running daemon's API: find it by its lock, send requests, explain failures.

It imports nothing of the daemon and no large library, because a command must not take longer to start than
the answer takes. Answers stay JSON, see `JsonObject`.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from watcher import labels
from watcher.cli.service_files import has_service
from watcher.errors import (
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_NOT_RUNNING,
    ConfigError,
    NotRunning,
    WatcherError,
)
from watcher.observers.printable import printable
from watcher.system import lock

NOT_RUNNING = "no watcher is running for {project}: start one with `watcher run`"
SERVICE_INSTALLED = (
    "; its service is installed: `watcher up` starts it, `watcher service status` shows its state"
)
STARTING = "the watcher for {project} is still starting (process {pid})"
STOPPED = "the watcher has stopped"
POLL = 0.1  # seconds between two checks whether a watcher has started
TIMEOUT = 10.0  # seconds until an answer is late


class ProjectSelection(Protocol):
    """The project and the service that a command is about. `Settings` implement it."""

    @property
    def project(self) -> Path:
        """Return the project folder as given."""
        ...

    @property
    def root(self) -> Path:
        """Return the absolute project folder; raises ConfigError."""
        ...

    @property
    def service(self) -> str | None:
        """Return the service, or None for all."""
        ...


class JsonObject(dict[str, Any]):
    """A JSON object with its fields as attributes, so it reads like the models in `status_schema`."""

    def __getattr__(self, name: str) -> Any:
        """Return the field of this name."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def parse_document(text: str | bytes) -> Any:
    """Parse a JSON text; each object becomes a `JsonObject`."""
    return json.loads(text, object_hook=JsonObject)


class Refused(WatcherError):
    """The daemon refused the request. Status 409 means that the requested action failed."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"the watcher refused: {detail}")
        self.exit_status, self.outcome = {
            404: (EXIT_CONFIG, "config"),  # unknown service
            409: (EXIT_FAILED, "failed"),
        }.get(code, (EXIT_NOT_RUNNING, "not-running"))


def find_project_folder(folder: Path) -> Path:
    """Return the closest folder, from `folder` upwards, with a running watcher; else `folder`.

    If there is none, but exactly one watcher runs for a folder below, that one is taken and named on
    standard error: the answer is about another folder than the current one.
    """
    try:
        absolute = folder.resolve()
    except OSError:  # the current folder is gone
        return folder
    for one in (absolute, *absolute.parents):
        if lock.find_running(labels.project_id(one)) is not None:
            return one
    below = list_below(absolute)
    if len(below) != 1:
        return folder
    _name_project(below[0])
    return Path(below[0])


def list_below(folder: Path) -> list[str]:
    """Return the projects with a running watcher in subfolders of `folder`."""
    projects = (running.project for running in lock.list_running().values() if running.project)
    return sorted(each for each in projects if folder in Path(each).parents)


@cache
def _name_project(project: str) -> None:
    """Print once which project a command is about."""
    print(f"watcher: this is about {printable(project)}, the only watched project below", file=sys.stderr)


def find_daemon(place: ProjectSelection, start_timeout: float = 0.0) -> lock.Running:
    """Find the project's running daemon within `start_timeout` seconds; raises NotRunning, ConfigError."""
    project, until = place.root, time.monotonic() + start_timeout
    while True:
        running = lock.find_running(labels.project_id(project))
        if running and running.url:
            return running
        if time.monotonic() >= until:
            break
        time.sleep(POLL)
    if running:
        raise NotRunning(STARTING.format(project=project, pid=running.pid))
    if not project.is_dir():
        raise ConfigError("project", str(place.project), "there is no such folder")
    service = SERVICE_INSTALLED if has_service(project) else ""
    raise NotRunning(NOT_RUNNING.format(project=project) + service + _name_others(project))


def _name_others(project: Path) -> str:
    """Return where watchers run that the user may have meant."""
    if below := list_below(project):
        return f"; below it {', '.join(below)} are watched: choose one with --project"
    return "; `watcher list` shows those that run" if lock.list_running() else ""


def is_being_replaced(place: ProjectSelection) -> bool:
    """Return whether a successor is replacing the daemon and answers in a moment."""
    running = lock.find_running(labels.project_id(place.root))
    return running is not None and (running.upgrading or not running.url)


def is_running(place: ProjectSelection) -> bool:
    """Return whether a daemon holds the project's lock, even if it does not answer."""
    return lock.find_running(labels.project_id(place.root)) is not None


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """Status and body of an answer."""

    status: int
    body: bytes


class Api:
    """Send requests to one daemon, each on a new connection. Raises NotRunning if it goes away."""

    def __init__(self, url: str, token: str, timeout: float | None) -> None:
        """`timeout` limits each part of an answer, in seconds; None is no limit."""
        parts = urlsplit(url)
        self._url, self._timeout = url, timeout
        self._host, self._port = parts.hostname or "", parts.port
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """Return the body of a good answer; raises Refused otherwise."""
        return read_body(self._request("GET", path, params, self._timeout))

    def post(
        self, path: str, params: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> ApiResponse:
        """Return the answer, whatever its status. `timeout` overrides the client's."""
        return self._request("POST", path, params, timeout or self._timeout)

    def _request(
        self, method: str, path: str, params: Mapping[str, str] | None, timeout: float | None
    ) -> ApiResponse:
        with self._open(method, path, params or {}, {}, timeout) as answer:
            return ApiResponse(answer.status, answer.read())

    def stream_messages(self, only: str, last: str = "") -> Iterator[str]:
        """Yield the data of one kind of messages of /api/events until the daemon stops.

        https://html.spec.whatwg.org/multipage/server-sent-events.html; the daemon sends one data line each.
        """
        headers = {"Last-Event-ID": last} if last else {}
        with self._open("GET", "/api/events", {"only": only}, headers, None) as answer:
            if answer.status >= http.client.BAD_REQUEST:
                read_body(ApiResponse(answer.status, answer.read()))
            while line := answer.readline():
                if line.startswith(b"data: "):
                    yield line.removeprefix(b"data: ").rstrip(b"\r\n").decode("utf-8", "replace")

    @contextmanager
    def _open(
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


def connect(place: ProjectSelection, *, timeout: float | None = TIMEOUT, start_timeout: float = 0.0) -> Api:
    """Return a client of the running daemon's API; raises NotRunning if there is none."""
    running = find_daemon(place, start_timeout)
    return Api(running.url, running.token, timeout)


def read_body(answer: ApiResponse) -> bytes:
    """Return the body of a good answer; raises Refused with the daemon's reason otherwise."""
    if answer.status >= http.client.BAD_REQUEST:
        try:
            detail = json.loads(answer.body)["detail"]
        except (ValueError, KeyError, TypeError):
            detail = f"HTTP {answer.status}: {answer.body.decode('utf-8', 'replace')[:200]}"
        raise Refused(answer.status, detail)
    return answer.body
