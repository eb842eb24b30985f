"""The routes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, Protocol

from fastapi import FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from prometheus_client import CollectorRegistry

from watcher import __version__
from watcher.errors import WatcherError
from watcher.observers.api_schema import Accepted, BuildList, LogList, Problem, Settled
from watcher.observers.exposition import expose_metrics
from watcher.observers.status_board import StatusBoard
from watcher.observers.status_schema import (
    Status,
)
from watcher.settings import HttpSettings
from watcher.web.guard import Guard, require_token
from watcher.web.stream import DaemonStopped, settle, settle_all, stream

ServiceName = Annotated[
    str | None, Query(description="Name of the service; may be left out when there is one.", max_length=200)
]
_PROBLEMS: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "No service of that name."},
}


class Controls(Protocol):
    """The daemon's functions that the API calls. `service` is always a known name."""

    def rebuild(self, service: str) -> None:
        """Build the tree again, whatever is known of it."""
        ...

    def cancel(self, service: str) -> bool:
        """Stop the build or deploy that runs; False when there is none that can be stopped."""
        ...

    def pause(self, service: str) -> None:
        """Stop the running build, and start no more."""
        ...

    def resume(self, service: str) -> None:
        """Go on after a pause."""
        ...

    async def upgrade(self) -> None:
        """Make way for the program as it is installed now. Raises WatcherError when it could not start."""
        ...

    async def rescan(self, service: str) -> str:
        """Scan the whole tree now and return its revision. Can raise WatcherError."""
        ...


@cache
def page() -> tuple[str, str]:
    """The status page, and the Content-Security-Policy that allows its own script and style and no others."""
    html = files("watcher.web").joinpath("page.html").read_text("utf-8")

    def hashes(tag: str) -> str:
        found = (part.partition(f"</{tag}>")[0] for part in html.split(f"<{tag}>")[1:])
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    policy = (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


def create_app(
    board: StatusBoard, registry: CollectorRegistry, controls: Controls, settings: HttpSettings
) -> FastAPI:
    """The app. Raises ConfigError when `settings` would leave it open to others without a token."""
    require_token(settings.host, settings.token)
    app = FastAPI(
        title="watcher",
        version=__version__,
        summary="Keeps the dev container equal to the source tree; this is what it says about it.",
        docs_url=None,  # these pages load their scripts from a CDN
        redoc_url=None,
    )
    app.state.board = board
    app.add_middleware(Guard, host=settings.host, token=settings.token)
    _add_pages(app, board, registry)
    _add_reading(app, board)
    _add_actions(app, board, controls)
    return app


def _named(board: StatusBoard, name: str | None) -> str:
    """The service that is meant; raises HTTPException 404 where that is not clear."""
    names = [service.name for service in board.status.services]
    if name is None and len(names) == 1:
        return names[0]
    if name in names:
        return name
    known = ", ".join(names) or "none yet"
    raise HTTPException(404, f"service = {name!r}: there is no such service (known: {known})")


def unready(board: StatusBoard) -> str:
    """Why the daemon cannot do its work now; empty when it can."""
    status = board.status
    if status.daemon.stopping:
        return "stopping"
    if status.engine.up is False:
        return f"the engine does not answer: {status.engine.reason}"
    waiting = [service.name for service in status.services if service.wanted is None]
    if waiting or not status.services:
        return f"the tree is not known yet: {', '.join(waiting) or 'no service'}"
    return ""


def _add_pages(app: FastAPI, board: StatusBoard, registry: CollectorRegistry) -> None:
    @app.get("/", include_in_schema=False)
    async def show_page() -> HTMLResponse:
        html, policy = page()
        return HTMLResponse(html, headers={"content-security-policy": policy, "cache-control": "no-cache"})

    @app.get("/metrics", include_in_schema=False)
    async def show_metrics(request: Request) -> Response:
        body, content_type = expose_metrics(registry, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    @app.get("/livez", response_class=PlainTextResponse, tags=["health"])
    async def livez() -> str:
        """Whether the daemon's loop turns: it does when this answers."""
        return "ok\n"

    @app.get(
        "/readyz",
        response_class=PlainTextResponse,
        tags=["health"],
        responses={503: {"description": "Not now; the body says why.", "content": {"text/plain": {}}}},
    )
    async def readyz() -> PlainTextResponse:
        """Whether the daemon can do its work: trees known, engine answering, not stopping."""
        reason = unready(board)
        return PlainTextResponse(f"{reason or 'ok'}\n", 503 if reason else 200)


def _add_reading(app: FastAPI, board: StatusBoard) -> None:
    @app.get("/api/status", response_model=Status, tags=["reading"])
    async def status() -> Response:
        """Everything that is known now."""
        return Response(board.json(), media_type="application/json")

    @app.get("/api/builds", responses=_PROBLEMS, tags=["reading"])
    async def builds(
        service: ServiceName = None, limit: Annotated[int, Query(ge=1, le=100)] = 100
    ) -> BuildList:
        """The last builds with their steps, newest first."""
        name = _named(board, service)
        return BuildList(service=name, builds=board.builds(name)[:limit])

    @app.get("/api/logs", responses=_PROBLEMS, tags=["reading"])
    async def logs(
        service: ServiceName = None,
        source: Literal["build", "container"] | None = None,
        tail: Annotated[int, Query(ge=1, le=4000)] = 200,
        after: Annotated[int, Query(ge=0, description="Only lines with a higher number.")] = 0,
    ) -> LogList:
        """The newest lines that builds and containers printed, oldest first."""
        name = _named(board, service)
        lines = board.lines.tail(tail, service=name, source=source or "", after=after)
        return LogList(lines=lines, dropped=bool(after) and board.lines.dropped(after))

    @app.get("/api/events", response_class=EventSourceResponse, tags=["reading"])
    async def events(
        last_event_id: Annotated[str | None, Header(max_length=100)] = None,
        only: Annotated[Literal["status", "lines"] | None, Query(description="Leave the other out.")] = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """News as server-sent events, until the daemon stops.

        `status` carries the document of /api/status: first immediately, then at most ten times a second.
        `lines` carries new log lines as /api/logs does; with Last-Event-ID, from where that one left off.
        """
        async for item in stream(board, last_event_id or "", only):
            yield item


def _add_actions(app: FastAPI, board: StatusBoard, controls: Controls) -> None:
    @app.post("/api/rebuild", status_code=202, responses=_PROBLEMS, tags=["actions"])
    async def rebuild(service: ServiceName = None) -> Accepted:
        """Build the tree again, even if it is live or known to fail."""
        name = _named(board, service)
        found = board.service(name)
        last = found.last_build.id if found and found.last_build else 0
        controls.rebuild(name)
        return Accepted(service=name, action="rebuild", last_build=last)

    @app.post(
        "/api/cancel",
        status_code=202,
        responses=_PROBLEMS | {409: {"model": Problem, "description": "Nothing runs that could be stopped."}},
        tags=["actions"],
    )
    async def cancel(service: ServiceName = None) -> Accepted:
        """Stop the build, or the deploy that waits for its container; what is live serves on."""
        name = _named(board, service)
        if not controls.cancel(name):
            raise HTTPException(409, f"nothing is being built or brought up for {name}")
        return Accepted(service=name, action="cancel")

    @app.post("/api/pause", status_code=202, responses=_PROBLEMS, tags=["actions"])
    async def pause(service: ServiceName = None) -> Accepted:
        """Stop the running build, and start no more."""
        name = _named(board, service)
        controls.pause(name)
        return Accepted(service=name, action="pause")

    @app.post("/api/resume", status_code=202, responses=_PROBLEMS, tags=["actions"])
    async def resume(service: ServiceName = None) -> Accepted:
        """Go on after a pause."""
        name = _named(board, service)
        controls.resume(name)
        return Accepted(service=name, action="resume")

    unfit: dict[int | str, dict[str, object]] = {
        409: {"model": Problem, "description": "The program as it is installed now does not start."}
    }

    @app.post("/api/upgrade", status_code=202, responses=unfit, tags=["actions"])
    async def upgrade() -> Accepted:
        """Go on as the program that is installed now, in the same process, without a refused request."""
        try:
            await controls.upgrade()
        except WatcherError as error:
            raise HTTPException(409, str(error)) from error
        return Accepted(service="", action="upgrade")

    problems = _PROBLEMS | {503: {"model": Problem, "description": "The tree cannot be looked at now."}}

    @app.post("/api/rescan", status_code=202, responses=problems, tags=["actions"])
    async def rescan(service: ServiceName = None) -> Accepted:
        """Scan the whole tree now; return its revision."""
        name = _named(board, service)
        try:
            revision = await controls.rescan(name)
        except WatcherError as error:
            raise HTTPException(503, str(error)) from error
        return Accepted(service=name, action="rescan", revision=revision)

    stopped = _PROBLEMS | {503: {"model": Problem, "description": "The watcher is being stopped."}}

    @app.post("/api/wait", responses=stopped, tags=["actions"])
    async def wait(
        service: ServiceName = None,
        timeout: Annotated[float, Query(ge=0, le=3600, description="Seconds.")] = 60.0,
        after_build: Annotated[
            int | None, Query(ge=0, description="Only once a build with a higher number has ended.")
        ] = None,
    ) -> Settled:
        """Scan the tree, then wait until it (or a newer save) is live, failed, or paused.

        Without a service, wait for all of them.
        """
        names = [each.name for each in board.status.services]
        try:
            if service is None and after_build is None and len(names) > 1:
                return await settle_all(board, names, controls.rescan, timeout)
            name = _named(board, service)
            return await settle(board, name, lambda: controls.rescan(name), timeout, after_build)
        except DaemonStopped as error:
            raise HTTPException(503, str(error)) from error
