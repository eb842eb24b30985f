"""The app: its page, health checks and the routes about the whole daemon."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from fastapi import FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from watcher import __version__
from watcher.errors import WatcherError
from watcher.observers.api_schema import Accepted, Problem
from watcher.observers.exposition import MetricRegistry, expose_metrics
from watcher.observers.status_board import StatusBoard
from watcher.observers.status_schema import (
    Status,
)
from watcher.settings import HttpSettings
from watcher.web.controls import Controls
from watcher.web.guard import Guard, require_token
from watcher.web.service_routes import make_service_routers
from watcher.web.stream import stream_messages

_NO_UPGRADE: dict[int | str, dict[str, object]] = {
    409: {"model": Problem, "description": "The installed version does not start."}
}


@cache
def read_page() -> tuple[str, str]:
    """Return the status page and the Content-Security-Policy that allows only its own script and style."""
    html = files("watcher.web").joinpath("page.html").read_text("utf-8")

    def hash_parts(tag: str) -> str:
        found = (part.partition(f"</{tag}>")[0] for part in html.split(f"<{tag}>")[1:])
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    policy = (
        f"default-src 'none'; script-src {hash_parts('script')}; style-src {hash_parts('style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


FIRST_STATUS = '<script type="application/json" id="first">'


def fill_page(html: str, status: str) -> str:
    """Return the page with `status`, a JSON document, in it, so that it is complete when a browser has it.

    No `<` stays in the document: text of a build could otherwise end the element (HTML, section 4.12.1.3).
    """
    before, tag, after = html.partition(FIRST_STATUS)
    return before + tag + status.replace("<", "\\u003c") + after


def create_app(
    board: StatusBoard, registry: MetricRegistry, controls: Controls, settings: HttpSettings
) -> FastAPI:
    """Create the app. Raises ConfigError if `settings` would leave it open to others without a token."""
    require_token(settings.host, settings.token)
    app = FastAPI(
        title="watcher",
        version=__version__,
        summary="Keeps the dev containers equal to the source tree. This is its API.",
        docs_url=None,  # these pages load their scripts from a CDN
        redoc_url=None,
    )
    app.state.board = board
    app.add_middleware(Guard, host=settings.host, token=settings.token)
    _add_pages(app, board, registry, show_status=not settings.token)
    _add_whole(app, board, controls)
    by_query, by_path = make_service_routers(board, controls)
    app.include_router(by_query, prefix="/api")
    app.include_router(by_path, prefix="/api/services/{service}")
    return app


def explain_unready(board: StatusBoard) -> str:
    """Return why the daemon cannot do its work now; empty if it can."""
    status = board.status
    if status.daemon.stopping:
        return "stopping"
    if status.engine.up is False:
        return f"the engine does not answer: {status.engine.reason}"
    waiting = [service.name for service in status.services if service.desired is None]
    if waiting or not status.services:
        return f"the tree was not scanned yet: {', '.join(waiting) or 'no service'}"
    return ""


def _add_pages(app: FastAPI, board: StatusBoard, registry: MetricRegistry, *, show_status: bool) -> None:
    """Add the page, the metrics and the health checks. The page is sent without a token, so it holds no
    status where one is required."""

    @app.get("/", include_in_schema=False)
    async def show_page() -> HTMLResponse:
        html, policy = read_page()
        if show_status:
            html = fill_page(html, board.brief_json(""))
        return HTMLResponse(html, headers={"content-security-policy": policy, "cache-control": "no-cache"})

    @app.get("/metrics", include_in_schema=False)
    async def show_metrics(request: Request) -> Response:
        body, content_type = expose_metrics(registry, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    @app.get("/livez", response_class=PlainTextResponse, tags=["health"])
    async def check_alive() -> str:
        """Whether the daemon's loop is running: any answer means yes."""
        return "ok\n"

    @app.get(
        "/readyz",
        response_class=PlainTextResponse,
        tags=["health"],
        responses={503: {"description": "Not now; the body has the reason.", "content": {"text/plain": {}}}},
    )
    async def check_ready() -> PlainTextResponse:
        """Whether the daemon can do its work: trees known, engine answering, not stopping."""
        reason = explain_unready(board)
        return PlainTextResponse(f"{reason or 'ok'}\n", 503 if reason else 200)


def _add_whole(app: FastAPI, board: StatusBoard, controls: Controls) -> None:
    """Add the routes about the whole daemon."""

    @app.get("/api/status", response_model=Status, tags=["reading"])
    async def get_status() -> Response:
        """Everything that is known now."""
        return Response(board.json(), media_type="application/json")

    @app.get("/api/events", response_class=EventSourceResponse, tags=["reading"])
    async def stream_events(
        last_event_id: Annotated[str | None, Header(max_length=100)] = None,
        only: Annotated[Literal["status", "lines"] | None, Query(description="Leave the other out.")] = None,
        brief: Annotated[
            bool,
            Query(description="Only the named service, or the only one, with steps, changes and prunes."),
        ] = False,
        service: Annotated[
            str, Query(max_length=200, description="The service that `brief` keeps whole.")
        ] = "",
    ) -> AsyncIterator[ServerSentEvent]:
        """Changes as server-sent events, until the daemon stops.

        `status` carries the document of /api/status: first immediately, then at most ten times a second.
        `lines` carries new log lines as /api/logs does; with Last-Event-ID, from where that one left off.
        """
        async for item in stream_messages(board, last_event_id or "", only, service if brief else None):
            yield item

    @app.post("/api/upgrade", status_code=202, responses=_NO_UPGRADE, tags=["actions"])
    async def upgrade_daemon() -> Accepted:
        """Replace the daemon with the installed version, in the same process, without a refused request."""
        try:
            await controls.upgrade()
        except WatcherError as error:
            raise HTTPException(409, str(error)) from error
        return Accepted(service="", action="upgrade")
