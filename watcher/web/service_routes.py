"""The routes about services: of one by path, and of one or all by query.

No `from __future__ import annotations` here: FastAPI has to see the dependency that each router is made with.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query

from watcher.errors import WatcherError
from watcher.observers.api_schema import (
    Accepted,
    BuildList,
    ImageExplanation,
    LogList,
    Problem,
    ServiceList,
    ServiceSummary,
    Settled,
)
from watcher.observers.status_board import StatusBoard
from watcher.observers.status_schema import ServiceStatus
from watcher.web.controls import Controls
from watcher.web.stream import DaemonStopped, settle, settle_everything, unless_stopping

_NOT_FOUND: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "No service of that name."},
}
_NOTHING_RUNS: dict[int | str, dict[str, object]] = {
    409: {"model": Problem, "description": "No build or deploy is running."}
}
_NO_TREE: dict[int | str, dict[str, object]] = {
    503: {"model": Problem, "description": "The tree cannot be scanned now."}
}
_STOPPING: dict[int | str, dict[str, object]] = {
    503: {"model": Problem, "description": "The watcher is stopping."}
}

_NOT_EXPLAINED: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "No such service, or no explained image of it."}
}

Select = Callable[..., Sequence[str]]


def make_service_routers(board: StatusBoard, controls: Controls) -> tuple[APIRouter, APIRouter]:
    """Return the routes below /api, and those below /api/services/{service}."""

    def select_by_query(
        service: Annotated[
            str | None, Query(max_length=200, description="Name of a service; all services if left out.")
        ] = None,
    ) -> Sequence[str]:
        return _select(board, service)

    def select_by_path(
        service: Annotated[str, Path(max_length=200, description="Name of the service.")],
    ) -> Sequence[str]:
        return _select(board, service)

    by_query, by_path = APIRouter(), APIRouter()
    for router, select in ((by_query, select_by_query), (by_path, select_by_path)):
        _add_reading(router, board, select)
        _add_actions(router, board, controls, select)
        _add_scans(router, board, controls, select)

    @by_query.get("/services", tags=["reading"])
    async def list_services() -> ServiceList:
        """All managed services, one short entry each."""
        return ServiceList(services=[ServiceSummary.of(each) for each in board.status.services])

    @by_path.get("", responses=_NOT_FOUND, tags=["reading"])
    async def get_service(names: Annotated[Sequence[str], Depends(select_by_path)]) -> ServiceStatus:
        """Everything about one service."""
        found = board.service(names[0])
        if found is None:
            raise HTTPException(404, f"service = {names[0]!r}: it was just removed")
        return found

    @by_path.get("/image", responses=_NOT_EXPLAINED, tags=["reading"])
    async def get_image(names: Annotated[Sequence[str], Depends(select_by_path)]) -> ImageExplanation:
        """What the newest explained final image consists of."""
        return _explain_image(board, names[0], "")

    @by_path.get("/image/{revision}", responses=_NOT_EXPLAINED, tags=["reading"])
    async def get_image_of_revision(
        names: Annotated[Sequence[str], Depends(select_by_path)],
        revision: Annotated[str, Path(pattern="^[0-9a-f]{4,64}$", description="Its first digits.")],
    ) -> ImageExplanation:
        """What the final image of a revision consists of, and what changed in it."""
        return _explain_image(board, names[0], revision)

    return by_query, by_path


def _explain_image(board: StatusBoard, name: str, revision: str) -> ImageExplanation:
    found = board.explained_image(name, revision)
    if found is None:
        idle = "that happens in idle time, while it is live"
        if not revision:
            raise HTTPException(404, f"no image of the service is explained yet: {idle}")
        remedy = f"`watcher image {revision[:12]}` explains it while it exists"
        raise HTTPException(404, f"the image of revision {revision[:12]} is not explained: {idle}; {remedy}")
    return ImageExplanation.of(found)


class AllServices(tuple[str, ...]):
    """All services, because none was named."""

    __slots__ = ()


def _select(board: StatusBoard, name: str | None) -> Sequence[str]:
    """Return the named service, or all; raises HTTPException 404 if there is none."""
    names = [service.name for service in board.status.services]
    if name is None and names:
        return AllServices(names)
    if name in names:
        return [name]
    known = ", ".join(names) or "none yet"
    raise HTTPException(404, f"service = {name!r}: there is no such service (known: {known})")


def _combine(accepted: list[Accepted]) -> Accepted:
    """Return the only answer, or one for all services with the single ones in it."""
    if len(accepted) == 1:
        return accepted[0]
    builds = [each.last_build for each in accepted if each.last_build is not None]
    last = max(builds, default=None)
    return Accepted(service="", action=accepted[0].action, last_build=last, services=accepted)


def _add_reading(router: APIRouter, board: StatusBoard, select: Select) -> None:
    @router.get("/builds", responses=_NOT_FOUND, tags=["reading"])
    async def list_builds(
        names: Annotated[Sequence[str], Depends(select)],
        limit: Annotated[int, Query(ge=1, le=100)] = 100,
    ) -> BuildList:
        """The last builds of a service, or of all of them, with their steps, newest first."""
        builds = (build for name in names for build in board.builds(name))
        newest = sorted(builds, key=lambda build: build.id, reverse=True)
        return BuildList(service=names[0] if len(names) == 1 else "", builds=newest[:limit])

    @router.get("/logs", responses=_NOT_FOUND, tags=["reading"])
    async def list_log_lines(
        names: Annotated[Sequence[str], Depends(select)],
        source: Literal["build", "container"] | None = None,
        tail: Annotated[int, Query(ge=1, le=4000)] = 200,
        after: Annotated[int, Query(ge=0, description="Only lines with a higher number.")] = 0,
    ) -> LogList:
        """The newest lines of builds and containers, oldest first; of several services as they came."""
        name = names[0] if len(names) == 1 else ""
        lines = board.lines.tail(tail, service=name, source=source or "", after=after)
        return LogList(lines=lines, dropped=bool(after) and board.lines.dropped(after))


def _add_actions(router: APIRouter, board: StatusBoard, controls: Controls, select: Select) -> None:
    @router.post("/rebuild", status_code=202, responses=_NOT_FOUND, tags=["actions"])
    async def rebuild_service(names: Annotated[Sequence[str], Depends(select)]) -> Accepted:
        """Build the tree again, even if it is live or failed."""
        accepted = []
        for name in names:
            found = board.service(name)
            last = found.last_build.id if found and found.last_build else 0
            controls.rebuild(name)
            accepted.append(Accepted(service=name, action="rebuild", last_build=last))
        return _combine(accepted)

    @router.post("/cancel", status_code=202, responses=_NOT_FOUND | _NOTHING_RUNS, tags=["actions"])
    async def cancel_service(names: Annotated[Sequence[str], Depends(select)]) -> Accepted:
        """Cancel the running build or deploy; the live container keeps serving."""
        cancelled = [name for name in names if controls.cancel(name)]
        if not cancelled:
            raise HTTPException(409, f"no build or deploy of {', '.join(names)} is running")
        return _combine([Accepted(service=name, action="cancel") for name in cancelled])

    @router.post("/pause", status_code=202, responses=_NOT_FOUND, tags=["actions"])
    async def pause_service(names: Annotated[Sequence[str], Depends(select)]) -> Accepted:
        """Cancel the running build and start no more; the live container keeps serving."""
        for name in names:
            controls.pause(name)
        return _combine([Accepted(service=name, action="pause") for name in names])

    @router.post("/resume", status_code=202, responses=_NOT_FOUND, tags=["actions"])
    async def resume_service(names: Annotated[Sequence[str], Depends(select)]) -> Accepted:
        """Start builds again after a pause."""
        for name in names:
            controls.resume(name)
        return _combine([Accepted(service=name, action="resume") for name in names])


def _add_scans(router: APIRouter, board: StatusBoard, controls: Controls, select: Select) -> None:
    @router.post("/rescan", status_code=202, responses=_NOT_FOUND | _NO_TREE, tags=["actions"])
    async def rescan_service(names: Annotated[Sequence[str], Depends(select)]) -> Accepted:
        """Scan the whole tree now; return its revision. Of several, those that cannot be scanned say why."""
        accepted = []
        for name in names:
            try:
                revision, problem = await unless_stopping(board, controls.rescan(name)), ""
            except WatcherError as error:
                revision, problem = "", str(error)
            accepted.append(Accepted(service=name, action="rescan", revision=revision, problem=problem))
        if all(each.problem for each in accepted):
            raise HTTPException(503, "; ".join(dict.fromkeys(each.problem for each in accepted)))
        return _combine(accepted)

    @router.post("/wait", responses=_NOT_FOUND | _STOPPING, tags=["actions"])
    async def wait_for_service(
        names: Annotated[Sequence[str], Depends(select)],
        timeout: Annotated[float, Query(ge=0, le=3600, description="Seconds.")] = 60.0,
        after_build: Annotated[
            int | None,
            Query(ge=0, description="Only once a build with a higher number has ended, of each service."),
        ] = None,
    ) -> Settled:
        """Scan the tree, then wait until it (or a newer save) is live, failed, or paused.

        Without a service, wait for all of them.
        """
        try:
            if isinstance(names, AllServices):
                return await settle_everything(board, names, controls.rescan, timeout, after_build)
            name = names[0]
            return await settle(board, name, lambda: controls.rescan(name), timeout, after_build)
        except DaemonStopped as error:
            raise HTTPException(503, str(error)) from error
